=== the smallest plan is right
--- file plan.yaml
plan: small
hosts:
  here: { local: true }
machines:
  one:
    recipe: v2v
    source: { host: here, images: [/srv/one.raw] }
    target: { host: here, dir: /srv/new }
--- run check plan.yaml
--- stdout
small: 1 machine, 1 host, 16 steps
Next: drover preview plan.yaml

=== a plan of every part of the language is right
--- file plan.yaml
plan: erp
include: [hosts.yaml]
vars: { images: /var/lib/libvirt/images }
secrets: { kvm: { env: KVM_SUDO } }   # references only
limits: { convert: 4, host: 2 }
maps:
  networks: { "VM Network": br10, bond0.20: br20 }
defaults:
  recipe: p2v
  target: { host: kvm1, dir: "${images}", format: qcow2 }
machines:
  erp-db:
    labels: { app: erp, tier: db, wave: 1 }
    source:
      host: db1
      disks: { root: { id: wwn-0x5000c500a1 }, data: { id: wwn-0x5000c500a2 }, scratch: { id: wwn-0x5000c500a3, copy: false } }
      power: { command: { off: [ipmi, db1, "off"], on: [ipmi, db1, "on"], status: [ipmi, db1, status], at: here } }
    target:
      cpus: 8
      memory: 32GiB
      disks: { root: { format: qcow2 }, data: { path: /dev/data/erp-db } }
      nics:  { bond0.20: { network: br20, mac: keep, address: 10.1.0.5/24, gateway: 10.1.0.1 } }
    downtime: 10m
    backup:
      - image: { to: "kvm1:/backup" }
    cutover:
      - command: { id: lb-out, before: drain, at: here, argv: [lb, out], probe: [lb, is-out], undo: [lb, in] }
      - check:   { id: login, after: start, at: target, file: hooks/login.lua, with: { url: "http://10.1.0.5/" } }
  erp-web:
    after: [erp-db]
    source: { host: web1, disks: { root: { id: ata-INTEL_1 } } }
accept: [ { finding: net.mtu, machine: erp-db, until: 2027-02-01, reason: CHG123 } ]
--- file hosts.yaml
hosts:
  db1:  { ssh: root@db1.example.net }
  web1: { ssh: root@web1.example.net:2222, identity: ~/.ssh/web }
  kvm1: { ssh: { user: ops, host: kvm1.example.net }, become: { sudo: { password: "secret:kvm" } } }
  here: { local: true }
--- file hooks/login.lua
return true
--- run check plan.yaml
--- stdout
erp: 2 machines, 4 hosts, 36 steps
Next: drover preview plan.yaml

=== a plan written out has its variables, short forms and defaults put in
--- file plan.yaml
plan: small
hosts: { here: { local: true }, old: { ssh: root@old } }
vars: { to: /srv/new }
machines:
  one:
    source: { host: old, disks: [/dev/sda, wwn-0x1], nics: { eth0: "52:54:00:12:34:56" } }
    target: { host: here, dir: "${to}/${machine}", memory: 4096MiB }
    downtime: 90s
    assess: [ file: { path: /etc/hostname } ]
    cutover:
      - file: { id: "off", at: target, path: "/srv/${facts.guest.hostname}/$${x}", expect: absent, when: facts.guest.os.id == debian }
--- run check --expand plan.yaml
--- stdout
plan: small
hosts:
  here:
    local: true
  old:
    ssh:
      user: root
      host: old
machines:
  one:
    source:
      host: old
      disks:
        root:
          path: /dev/sda
          copy: true
        disk1:
          id: wwn-0x1
          copy: true
      nics:
        eth0:
          mac: "52:54:00:12:34:56"
    target:
      host: here
      dir: "/srv/new/${machine}"
      memory: 4GiB
      format: qcow2
      replace: false
      start: auto
      disks:
        root:
          format: qcow2
        disk1:
          format: qcow2
    downtime: 90s
    assess:
      - file:
          path: /etc/hostname
          expect: any
    cutover:
      - file:
          id: "off"
          at: target
          when: "facts.guest.os.id == debian"
          path: "/srv/${facts.guest.hostname}/$${x}"
          expect: absent

=== a plan written out is a plan that means the same
--- file plan.yaml
plan: small
hosts:
  here:
    local: true
  old:
    ssh:
      user: root
      host: old
machines:
  one:
    source:
      host: old
      images:
        root:
          path: /srv/one.raw
          format: raw
          copy: true
    target:
      host: here
      dir: "/srv/new/${machine}"
      memory: 4GiB
      format: qcow2
      replace: false
      start: auto
      disks:
        root:
          format: qcow2
    downtime: 90s
    assess:
      - file:
          path: /etc/hostname
          expect: any
--- run check --expand plan.yaml
--- stdout
plan: small
hosts:
  here:
    local: true
  old:
    ssh:
      user: root
      host: old
machines:
  one:
    source:
      host: old
      images:
        root:
          path: /srv/one.raw
          format: raw
          copy: true
    target:
      host: here
      dir: "/srv/new/${machine}"
      memory: 4GiB
      format: qcow2
      replace: false
      start: auto
      disks:
        root:
          format: qcow2
    downtime: 90s
    assess:
      - file:
          path: /etc/hostname
          expect: any

=== comments, quotes and order do not matter, units are what they mean
--- file plan.yaml
# a comment
machines:
    one: # another
        target:
            dir: '/srv/new'
            host: "here"
        source:
            images:
            - /srv/one.raw
            host: here
        recipe: v2v
hosts: {"here": {local: true}}
plan: |-
  small
--- run check plan.yaml
--- stdout
small: 1 machine, 1 host, 16 steps
Next: drover preview plan.yaml

=== an anchor is a shorter way to say the same thing
--- file plan.yaml
plan: small
hosts: { here: { local: true } }
machines:
  one:
    recipe: v2v
    source: { host: here, images: [/srv/one.raw] }
    target: &there { host: here, dir: /srv/new }
  two:
    recipe: v2v
    source: { host: here, images: [/srv/two.raw] }
    target: *there
--- run check plan.yaml
--- stdout
small: 2 machines, 1 host, 32 steps
Next: drover preview plan.yaml

=== a host that nobody uses is told, and is no error
--- file plan.yaml
plan: small
hosts:
  here: { local: true }
  lost: { ssh: root@lost }
machines:
  one: { recipe: v2v, source: { host: here, images: [/srv/one.raw] }, target: { host: here, dir: /srv/new } }
--- run check plan.yaml
--- stdout
small: 1 machine, 2 hosts, 16 steps
Next: drover preview plan.yaml
--- stderr
plan.yaml:4:3: warning: host 'lost' is used by no machine and no step
    4 |   lost: { ssh: root@lost }
      |   ^
  remove it, or name it where it was meant

=== a recipe of one's own is a file beside the plan
--- file plan.yaml
plan: small
hosts: { here: { local: true } }
vars: { file: mine }
defaults: { recipe: recipes/mine.yaml }
machines:
  one: { source: { host: here, images: [/srv/one.raw] }, target: { host: here, dir: /srv/new } }
--- file recipes/mine.yaml
recipe: mine
vars: { file: theirs, id: settled }
assess:
  - file: { id: "${id}", path: "/etc/${file}" }
--- run check --expand plan.yaml
--- stdout
plan: small
hosts:
  here:
    local: true
machines:
  one:
    source:
      host: here
      images:
        root:
          path: /srv/one.raw
          format: raw
          copy: true
    target:
      host: here
      dir: /srv/new
      format: qcow2
      replace: false
      start: auto
      disks:
        root:
          format: qcow2
    assess:
      - file:
          id: settled
          path: /etc/mine
          expect: any

=== defaults lay steps over the recipe, and a machine over both
--- file plan.yaml
plan: small
hosts: { here: { local: true } }
defaults:
  recipe: mine.yaml
  target: { host: here, dir: /srv/new }
  cutover:
    - file: { id: tell, after: start, path: /all }
machines:
  one:
    source: { host: here, images: [/srv/one.raw] }
    assess: [ file: { id: guest, skip: true } ]
    backup: []
    convert: [ file: { id: disks, expect: present } ]
    cutover:
      - file: { id: tell, path: /one }
      - file: { id: second, after: drain, path: /a }
      - file: { id: third, after: drain, path: /b, needs: [second, convert.disks] }
      - file: { id: first, before: cutover.drain, path: /c }
      - file: { id: last, path: /d }
      - file: { id: start, before: last }
--- file mine.yaml
recipe: mine
assess:
  - file: { id: host, path: /host }
  - file: { id: guest, path: /guest }
convert:
  - file: { id: disks, path: /disks }
cutover:
  - file: { id: drain, path: /drain }
  - file: { id: start, path: /start }
--- run check --expand plan.yaml
--- stdout
plan: small
hosts:
  here:
    local: true
machines:
  one:
    source:
      host: here
      images:
        root:
          path: /srv/one.raw
          format: raw
          copy: true
    target:
      host: here
      dir: /srv/new
      format: qcow2
      replace: false
      start: auto
      disks:
        root:
          format: qcow2
    assess:
      - file:
          id: host
          path: /host
          expect: any
    convert:
      - file:
          id: disks
          path: /disks
          expect: present
    cutover:
      - file:
          id: first
          path: /c
          expect: any
      - file:
          id: drain
          path: /drain
          expect: any
      - file:
          id: second
          path: /a
          expect: any
      - file:
          id: third
          needs: [second, convert.disks]
          path: /b
          expect: any
      - file:
          id: tell
          path: /one
          expect: any
      - file:
          id: start
          path: /start
          expect: any
      - file:
          id: last
          path: /d
          expect: any

=== errors are told to programs too
--- file plan.yaml
plan: small
hosts: { here: { local: true } }
machines:
  one: { recipe: v2w, source: { host: here, images: [/srv/one.raw] }, target: { host: here, dir: /srv/new } }
--- run check --json plan.yaml
--- status 2
--- stdout
{"v":1,"t":"error","at":"NOW","file":"plan.yaml","line":4,"column":18,"error":"no recipe is called 'v2w'","hint":"did you mean 'v2v'?"}
