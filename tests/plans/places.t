=== the design's own example is a plan
--- file hosts.yaml
hosts:
  web1: { ssh: root@web1.example.net }
--- file hooks/login.lua
check.ok("in")
--- file plan.yaml
plan: erp
include: [hosts.yaml]
vars: { images: /var/lib/libvirt/images }
secrets: { ilo: { command: [pass, show, ilo] }, kvm: { env: KVM_SUDO } }   # references only; file:, env:, command:, prompt:
hosts:
  db1:  { ssh: root@db1.example.net }
  kvm1: { ssh: ops@kvm1.example.net, become: { sudo: { password: "secret:kvm" } }, data: 10.9.0.11 }
  here: { local: true }
limits: { convert: 4, host: 2, bandwidth: 400MiB/s }
maps:
  networks: { "VM Network": br10, bond0.20: br20 }
  storage:  { ds1: { pool: fast }, ds2: { vg: data } }
defaults:
  recipe: p2v
  target: { host: kvm1, dir: "${images}", format: qcow2 }
machines:
  erp-db:
    labels: { app: erp, tier: db, wave: 1 }
    source:
      host: db1
      disks: { root: { id: wwn-0x5000c500a1 }, data: { id: wwn-0x5000c500a2 }, scratch: { id: wwn-0x5000c500a3, copy: false } }
      power: { command: { off: [...], on: [...], status: [...] } }   # or ipmi, redfish, libvirt, manual
    target:
      cpus: 8
      memory: 32GiB
      disks: { root: { format: qcow2 }, data: { vg: data, size: 2TiB, format: raw } }
      nics:  { bond0.20: { network: br20, mac: keep, address: 10.1.0.5/24, gateway: 10.1.0.1 } }
    downtime: 10m
    backup:
      - image: { to: "kvm1:/backup" }
    cutover:
      - command: { id: lb-out, before: drain, at: here, argv: [...], probe: [...], undo: [...] }
      - check:   { id: login, after: start, at: target, file: hooks/login.lua, with: { url: "http://10.1.0.5/" } }
  erp-web:
    after: [erp-db]
    source: { host: web1, disks: { root: { id: ata-INTEL_1 } } }
accept: [ { finding: net.mtu, machine: erp-db, until: 2027-02-01, reason: CHG123 } ]
--- run check plan.yaml
--- stdout
erp: 2 machines, 4 hosts, 36 steps
Next: drover preview plan.yaml

=== where a disk goes is said once, and in words of its own
--- file plan.yaml
plan: places
hosts: { here: { local: true } }
maps: { storage: { ds1: { pool: fast, vg: data }, ds2: {} } }
defaults: { recipe: v2v }
machines:
  two-ways:
    source: { host: here, images: [/srv/a.raw] }
    target: { host: here, dir: /srv/new, disks: { root: { vg: data, pool: fast } } }
  two-targets:
    source: { host: here, images: [/srv/b.raw] }
    target: { host: here, dir: /srv/new, vg: data, pool: fast }
  formats:
    source: { host: here, images: [/srv/c.raw, /srv/d.raw] }
    target: { host: here, dir: /srv/new, vg: data, disks: { root: { format: qcow2 }, disk1: { vg: "-x", size: 1000 } } }
  sizes:
    source: { host: here, images: [/srv/e.raw, /srv/f.raw] }
    target: { host: here, dir: /srv/new, disks: { root: { size: 5000000000, pool: "a/b" }, disk1: { size: big } } }
  one:
    source: { host: here, images: { x-y: /srv/g.raw } }
    target: { host: here, dir: /srv/new, disks: { x-y: { path: /dev/data/one-x-y } } }
  one-x:
    source: { host: here, images: { "y": /srv/h.raw } }
    target: { host: here, dir: /srv/new, vg: data }
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:3:43: a disk goes to one place: `pool` and `vg` are two
    3 | maps: { storage: { ds1: { pool: fast, vg: data }, ds2: {} } }
      |                                           ^
  leave one of them away
plan.yaml:3:56: 'ds2' goes to no place
    3 | maps: { storage: { ds1: { pool: fast, vg: data }, ds2: {} } }
      |                                                        ^
  write { dir: /path }, { pool: NAME } or { vg: NAME }
plan.yaml:8:75: a disk goes to one place: `vg` and `pool` are two
    8 |     target: { host: here, dir: /srv/new, disks: { root: { vg: data, pool: fast } } }
      |                                                                           ^
  leave one of them away
plan.yaml:11:58: a disk goes to one place: `vg` and `pool` are two
   11 |     target: { host: here, dir: /srv/new, vg: data, pool: fast }
      |                                                          ^
  leave one of them away
plan.yaml:14:77: disk 'root' goes to a volume, which is raw
   14 |     target: { host: here, dir: /srv/new, vg: data, disks: { root: { format: qcow2 }, disk1: { vg: "-x", size: 1000 } } }
      |                                                                             ^
  leave `format` away, or write format: raw
plan.yaml:14:99: 'vg' is no name of a volume group: '-x'
   14 |     target: { host: here, dir: /srv/new, vg: data, disks: { root: { format: qcow2 }, disk1: { vg: "-x", size: 1000 } } }
      |                                                                                                   ^
plan.yaml:14:111: 'size' must be at least 1MiB: '1000'
   14 |     target: { host: here, dir: /srv/new, vg: data, disks: { root: { format: qcow2 }, disk1: { vg: "-x", size: 1000 } } }
      |                                                                                                               ^
plan.yaml:17:65: 'size' must be a multiple of 4KiB: '5000000000'
   17 |     target: { host: here, dir: /srv/new, disks: { root: { size: 5000000000, pool: "a/b" }, disk1: { size: big } } }
      |                                                                 ^
plan.yaml:17:83: 'pool' is no name of a storage pool: 'a/b'
   17 |     target: { host: here, dir: /srv/new, disks: { root: { size: 5000000000, pool: "a/b" }, disk1: { size: big } } }
      |                                                                                   ^
plan.yaml:17:107: 'size' is not a size: 'big'
   17 |     target: { host: here, dir: /srv/new, disks: { root: { size: 5000000000, pool: "a/b" }, disk1: { size: big } } }
      |                                                                                                           ^
  sizes look like 512MiB, 40GiB or 1TB
plan.yaml:23:46: two disks would be written to 'here:/dev/data/one-x-y'
   23 |     target: { host: here, dir: /srv/new, vg: data }
      |                                              ^
  machines 'one' (plan.yaml:18) and 'one-x'
11 errors

=== a plan written out says where its disks go
--- file plan.yaml
plan: places
hosts: { here: { local: true } }
maps: { storage: { ds1: { pool: fast }, /srv/deep: { dir: /srv/fast } } }
machines:
  one:
    source: { host: here, images: { root: /vmfs/volumes/ds1/one/one.raw, data: /srv/b.raw, more: /srv/c.raw } }
    target:
      host: here
      dir: /srv/new
      vg: slow
      disks: { data: { pool: big, size: 2TiB }, more: { dir: /srv/x } }
    assess: [ file: { path: /etc/hostname } ]
--- run check --expand plan.yaml
--- stdout
plan: places
hosts:
  here:
    local: true
maps:
  storage:
    ds1:
      pool: fast
    /srv/deep:
      dir: /srv/fast
machines:
  one:
    source:
      host: here
      images:
        root:
          path: /vmfs/volumes/ds1/one/one.raw
          format: raw
          copy: true
        data:
          path: /srv/b.raw
          format: raw
          copy: true
        more:
          path: /srv/c.raw
          format: raw
          copy: true
    target:
      host: here
      dir: /srv/new
      vg: slow
      disks:
        root: {}
        data:
          pool: big
          size: 2TiB
        more:
          dir: /srv/x
          format: qcow2
      format: qcow2
      replace: false
      start: auto
    assess:
      - file:
          path: /etc/hostname
          expect: any
