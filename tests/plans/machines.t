=== machines that wait in a circle are all named
--- file plan.yaml
plan: circle
hosts: { here: { local: true } }
defaults: { recipe: v2v, target: { host: here, dir: /srv/new } }
machines:
  a: { after: [b], source: { host: here, images: [/srv/a.raw] } }
  b: { after: [c, d], source: { host: here, images: [/srv/b.raw] } }
  c: { after: [a], source: { host: here, images: [/srv/c.raw] } }
  d: { after: [d], source: { host: here, images: [/srv/d.raw] } }
  e: { after: [aa, f], source: { host: here, images: [/srv/e.raw] } }
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:5:15: machines wait in a circle: a -> b -> c -> a
    5 |   a: { after: [b], source: { host: here, images: [/srv/a.raw] } }
      |               ^
plan.yaml:8:15: machines wait in a circle: d -> d
    8 |   d: { after: [d], source: { host: here, images: [/srv/d.raw] } }
      |               ^
plan.yaml:9:16: no machine is called 'aa'
    9 |   e: { after: [aa, f], source: { host: here, images: [/srv/e.raw] } }
      |                ^
plan.yaml:9:20: no machine is called 'f'
    9 |   e: { after: [aa, f], source: { host: here, images: [/srv/e.raw] } }
      |                    ^
4 errors

=== two machines at one disk
--- file plan.yaml
plan: shared
hosts: { old: { ssh: root@old }, new: { ssh: root@new } }
defaults: { recipe: v2v, target: { host: new, dir: /srv/new } }
machines:
  a: { source: { host: old, images: [/srv/a.raw] } }
  b: { source: { host: old, images: { root: { path: /srv/a.raw } } } }
  c: { source: { host: old, disks: { root: wwn-1, data: { id: wwn-1 } } } }
  d: { source: { host: new, disks: { root: wwn-1 } } }
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:6:53: the source image 'old:/srv/a.raw' is used twice
    6 |   b: { source: { host: old, images: { root: { path: /srv/a.raw } } } }
      |                                                     ^
  machines 'a' (plan.yaml:5) and 'b'
plan.yaml:7:63: the source disk 'old:wwn-1' is used twice
    7 |   c: { source: { host: old, disks: { root: wwn-1, data: { id: wwn-1 } } } }
      |                                                               ^
  machine 'c' names it twice
2 errors

=== two machines writing one target
--- file plan.yaml
plan: shared
hosts: { old: { ssh: root@old }, new: { ssh: root@new } }
defaults: { recipe: v2v, target: { host: new, dir: /srv/new } }
machines:
  a: { source: { host: old, images: [/srv/a.raw] }, target: { disks: { root: { path: /dev/vg/x } } } }
  b: { source: { host: old, images: [/srv/b.raw] }, target: { disks: { root: { path: /dev/vg/x, format: qcow2 } } } }
  c: { source: { host: old, images: [/srv/c.raw] }, target: { disks: { root: { path: /srv/new/a } } } }
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:6:86: two disks would be written to 'new:/dev/vg/x'
    6 |   b: { source: { host: old, images: [/srv/b.raw] }, target: { disks: { root: { path: /dev/vg/x, format: qcow2 } } } }
      |                                                                                      ^
  machines 'a' (plan.yaml:5) and 'b'
plan.yaml:6:105: disk 'root' goes to a device, which is raw
    6 |   b: { source: { host: old, images: [/srv/b.raw] }, target: { disks: { root: { path: /dev/vg/x, format: qcow2 } } } }
      |                                                                                                         ^
  leave `format` away, or write format: raw
plan.yaml:7:86: two disks would be written to 'new:/srv/new/a'
    7 |   c: { source: { host: old, images: [/srv/c.raw] }, target: { disks: { root: { path: /srv/new/a } } } }
      |                                                                                      ^
  machines 'a' (plan.yaml:5) and 'c'
3 errors

=== a source that a target would overwrite
--- file plan.yaml
plan: shared
hosts: { old: { ssh: root@old }, new: { ssh: root@new } }
defaults: { recipe: v2v, target: { host: old, dir: /srv/new } }
machines:
  a: { source: { host: old, disks: [/dev/sda] }, target: { disks: { root: { path: /dev/sdb } } } }
  b: { source: { host: old, disks: [/dev/sdb] } }
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:5:83: the source disk 'old:/dev/sdb' of 'b' would be overwritten
    5 |   a: { source: { host: old, disks: [/dev/sda] }, target: { disks: { root: { path: /dev/sdb } } } }
      |                                                                                   ^
  name another place; drover writes to no source

=== disks and NICs that the source has not
--- file plan.yaml
plan: names
hosts: { old: { ssh: root@old } }
defaults: { recipe: v2v, target: { host: old, dir: /srv/new } }
machines:
  a:
    source: { host: old, images: { root: /srv/a.raw }, nics: { ens192: { mac: "52:54:00:12:34:56" } } }
    target: { disks: { rot: { format: raw } }, nics: { ens193: { network: br0 } } }
  b:
    source: { host: old, images: [/srv/b.raw, /srv/b2.raw] }
    target: { disks: { root: {}, disk1: {}, swap: {} }, nics: { eth0: { network: br0 } } }
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:7:24: the source of 'a' has no disk 'rot'
    7 |     target: { disks: { rot: { format: raw } }, nics: { ens193: { network: br0 } } }
      |                        ^
  did you mean 'root'?
plan.yaml:7:56: the source of 'a' has no nic 'ens193'
    7 |     target: { disks: { rot: { format: raw } }, nics: { ens193: { network: br0 } } }
      |                                                        ^
  did you mean 'ens192'?
plan.yaml:10:45: the source of 'b' has no disk 'swap'
   10 |     target: { disks: { root: {}, disk1: {}, swap: {} }, nics: { eth0: { network: br0 } } }
      |                                             ^
  disks of a list are called root, disk1, disk2 ...
3 errors

=== machines without what they need
--- file plan.yaml
plan: parts
hosts: { old: { ssh: root@old } }
machines:
  a: {}
  b: { recipe: v2v, source: { host: old }, target: { host: old } }
  c: { recipe: v2v, source: { images: [/srv/c.raw], disks: [/dev/sda] }, target: { dir: /srv/new } }
  d: { recipe: v2v, source: { host: old, disks: [] }, target: { host: old, dir: /srv } }
  e: { source: { host: old, domain: e }, target: { host: old, dir: /srv } }
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:4:3: machine 'a' has no source
    4 |   a: {}
      |   ^
  add source: { host: ... }
plan.yaml:4:3: machine 'a' has no steps
    4 |   a: {}
      |   ^
  add recipe: p2v or recipe: v2v
plan.yaml:4:3: machine 'a' has no target
    4 |   a: {}
      |   ^
  add target: { host: ... }
plan.yaml:5:29: the source of 'b' has no disks
    5 |   b: { recipe: v2v, source: { host: old }, target: { host: old } }
      |                             ^
  write disks: [/dev/sda], images: [/path] or domain: NAME
plan.yaml:5:52: 'dir' is missing
    5 |   b: { recipe: v2v, source: { host: old }, target: { host: old } }
      |                                                    ^
  dir: directory for image files, maps and overlays
plan.yaml:6:29: 'host' is missing
    6 |   c: { recipe: v2v, source: { images: [/srv/c.raw], disks: [/dev/sda] }, target: { dir: /srv/new } }
      |                             ^
  host: where the machine or its images are
plan.yaml:6:39: a source has disks or images, not both
    6 |   c: { recipe: v2v, source: { images: [/srv/c.raw], disks: [/dev/sda] }, target: { dir: /srv/new } }
      |                                       ^
  split it into two machines
plan.yaml:6:82: 'host' is missing
    6 |   c: { recipe: v2v, source: { images: [/srv/c.raw], disks: [/dev/sda] }, target: { dir: /srv/new } }
      |                                                                                  ^
  host: where the machine goes
plan.yaml:7:49: the source of 'd' has no disks
    7 |   d: { recipe: v2v, source: { host: old, disks: [] }, target: { host: old, dir: /srv } }
      |                                                 ^
plan.yaml:8:3: machine 'e' has no steps
    8 |   e: { source: { host: old, domain: e }, target: { host: old, dir: /srv } }
      |   ^
  add recipe: p2v or recipe: v2v
10 errors

=== disks named in two ways, power in none
--- file plan.yaml
plan: parts
hosts: { old: { ssh: root@old } }
defaults: { recipe: v2v, target: { host: old, dir: /srv/new } }
machines:
  a: { source: { host: old, disks: { root: { id: a, path: /dev/sda }, data: { copy: false } } } }
  b: { source: { host: old, disks: [/dev/sdb], power: {} } }
  c: { source: { host: old, disks: [/dev/sdc], power: { libvirt: {} } } }
  d: { source: { host: old, disks: [/dev/sdd], power: { manual: {}, libvirt: { domain: d } } } }
  e: { source: { host: old, disks: [/dev/sde], power: { command: { off: [a] } } } }
  f: { source: { host: old, disks: [/dev/sdf], power: by-hand } }
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:5:44: a disk is named in one way
    5 |   a: { source: { host: old, disks: { root: { id: a, path: /dev/sda }, data: { copy: false } } } }
      |                                            ^
  one of id, path or serial; an id is the safest
plan.yaml:5:77: a disk is named in one way
    5 |   a: { source: { host: old, disks: { root: { id: a, path: /dev/sda }, data: { copy: false } } } }
      |                                                                             ^
  one of id, path or serial; an id is the safest
plan.yaml:6:55: power is switched in one way
    6 |   b: { source: { host: old, disks: [/dev/sdb], power: {} } }
      |                                                       ^
  one of command, libvirt or manual
plan.yaml:7:55: libvirt switches which domain?
    7 |   c: { source: { host: old, disks: [/dev/sdc], power: { libvirt: {} } } }
      |                                                       ^
  write power: { libvirt: { domain: NAME } }
plan.yaml:8:55: power is switched in one way
    8 |   d: { source: { host: old, disks: [/dev/sdd], power: { manual: {}, libvirt: { domain: d } } } }
      |                                                       ^
  one of command, libvirt or manual
plan.yaml:9:66: 'on' is missing
    9 |   e: { source: { host: old, disks: [/dev/sde], power: { command: { off: [a] } } } }
      |                                                                  ^
  on: switches it on again
plan.yaml:9:66: 'status' is missing
    9 |   e: { source: { host: old, disks: [/dev/sde], power: { command: { off: [a] } } } }
      |                                                                  ^
  status: prints on or off as its first word
plan.yaml:10:55: 'power' must be manual or libvirt: 'by-hand'
   10 |   f: { source: { host: old, disks: [/dev/sdf], power: by-hand } }
      |                                                       ^
8 errors

=== names that cannot be names
--- file plan.yaml
plan: a/b
hosts: { old: { ssh: root@old } }
defaults: { recipe: v2v, target: { host: old, dir: /srv/new } }
machines:
  "../etc": { source: { host: old, disks: [/dev/sda] } }
  b.lock: { source: { host: old, disks: [/dev/sdb] } }
  c: { source: { host: old, disks: { "a b": /dev/sdc } } }
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:1:7: 'plan' cannot be a name: 'a/b'
    1 | plan: a/b
      |       ^
plan.yaml:5:3: '../etc' cannot be a name
    5 |   "../etc": { source: { host: old, disks: [/dev/sda] } }
      |   ^
  names are letters, digits, '.', '_' and '-', at most 64; they begin with a letter or digit, and do not end in .lock
plan.yaml:6:3: 'b.lock' cannot be a name
    6 |   b.lock: { source: { host: old, disks: [/dev/sdb] } }
      |   ^
  names are letters, digits, '.', '_' and '-', at most 64; they begin with a letter or digit, and do not end in .lock
plan.yaml:7:38: 'a b' cannot be a name
    7 |   c: { source: { host: old, disks: { "a b": /dev/sdc } } }
      |                                      ^
  names are letters, digits, '.', '_' and '-', at most 64; they begin with a letter or digit, and do not end in .lock
4 errors

=== what is waived must be there, with a reason and a day
--- file plan.yaml
plan: accept
hosts: { old: { ssh: root@old } }
machines:
  erp: { recipe: v2v, source: { host: old, disks: [/dev/sda] }, target: { host: old, dir: /srv/new } }
accept:
  - { finding: net.mtu, machine: epr, until: 2027-02-01, reason: CHG123 }
  - { finding: net.mtu, until: 2027-2-1, reason: CHG123 }
  - { machine: erp }
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:6:34: no machine is called 'epr'
    6 |   - { finding: net.mtu, machine: epr, until: 2027-02-01, reason: CHG123 }
      |                                  ^
  did you mean 'erp'?
plan.yaml:7:32: 'until' is not a date like 2027-02-01: '2027-2-1'
    7 |   - { finding: net.mtu, until: 2027-2-1, reason: CHG123 }
      |                                ^
plan.yaml:8:5: 'finding' is missing
    8 |   - { machine: erp }
      |     ^
  finding: the finding's code, like net.mtu
plan.yaml:8:5: 'reason' is missing
    8 |   - { machine: erp }
      |     ^
  reason: why it may stand
4 errors
