=== words that read differently to different programs
--- file plan.yaml
plan: no
hosts: { here: { local: true } }
machines:
  one:
    recipe: v2v
    labels: { wave: 010, version: 1.10, public: yes, count: 3, ok: true }
    source: { host: here, domain: 007 }
    target: { host: here, dir: /srv/new }
    downtime: ~
accept: [ { finding: 1.5, reason: true } ]
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:1:7: 'plan' must be text, and no is a boolean to many programs
    1 | plan: no
      |       ^
  put quotes around it: "no"
plan.yaml:6:21: 'label' must be text, and 010 is a number
    6 |     labels: { wave: 010, version: 1.10, public: yes, count: 3, ok: true }
      |                     ^
  put quotes around it: "010"
plan.yaml:6:35: 'label' must be text, and 1.10 is a number
    6 |     labels: { wave: 010, version: 1.10, public: yes, count: 3, ok: true }
      |                                   ^
  put quotes around it: "1.10"
plan.yaml:6:49: 'label' must be text, and yes is a boolean to many programs
    6 |     labels: { wave: 010, version: 1.10, public: yes, count: 3, ok: true }
      |                                                 ^
  put quotes around it: "yes"
plan.yaml:6:68: 'label' must be text, and true is a boolean
    6 |     labels: { wave: 010, version: 1.10, public: yes, count: 3, ok: true }
      |                                                                    ^
  put quotes around it: "true"
plan.yaml:7:35: 'domain' must be text, and 007 is a number
    7 |     source: { host: here, domain: 007 }
      |                                   ^
  put quotes around it: "007"
plan.yaml:9:15: 'downtime' has no value
    9 |     downtime: ~
      |               ^
plan.yaml:10:22: 'finding' must be text, and 1.5 is a number
   10 | accept: [ { finding: 1.5, reason: true } ]
      |                      ^
  put quotes around it: "1.5"
plan.yaml:10:35: 'reason' must be text, and true is a boolean
   10 | accept: [ { finding: 1.5, reason: true } ]
      |                                   ^
  put quotes around it: "true"
9 errors

=== sizes, rates, durations and numbers that are none
--- file plan.yaml
plan: units
hosts: { here: { local: true } }
limits: { convert: 0, host: two, backup: "2", bandwidth: 400MiB }
machines:
  one:
    recipe: v2v
    source: { host: here, images: [/srv/one.raw], memory: 1k, cpus: 1.5 }
    target: { host: here, dir: srv/new, memory: 32Gb, cpus: 5000, format: qed, replace: maybe, start: now }
    downtime: 10
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:3:20: 'convert' must be between 1 and 100000: '0'
    3 | limits: { convert: 0, host: two, backup: "2", bandwidth: 400MiB }
      |                    ^
plan.yaml:3:29: 'host' is not a whole number: 'two'
    3 | limits: { convert: 0, host: two, backup: "2", bandwidth: 400MiB }
      |                             ^
plan.yaml:3:42: 'backup' must be a whole number, not text
    3 | limits: { convert: 0, host: two, backup: "2", bandwidth: 400MiB }
      |                                          ^
  leave the quotes away
plan.yaml:3:58: 'bandwidth' is not a rate: '400MiB'
    3 | limits: { convert: 0, host: two, backup: "2", bandwidth: 400MiB }
      |                                                          ^
  rates look like 400MiB/s
plan.yaml:7:59: 'memory' is not a size: '1k'
    7 |     source: { host: here, images: [/srv/one.raw], memory: 1k, cpus: 1.5 }
      |                                                           ^
  sizes look like 512MiB, 40GiB or 1TB
plan.yaml:7:69: 'cpus' is not a whole number: '1.5'
    7 |     source: { host: here, images: [/srv/one.raw], memory: 1k, cpus: 1.5 }
      |                                                                     ^
plan.yaml:8:32: 'dir' is not an absolute path: 'srv/new'
    8 |     target: { host: here, dir: srv/new, memory: 32Gb, cpus: 5000, format: qed, replace: maybe, start: now }
      |                                ^
  paths on a host begin with /
plan.yaml:8:49: 'memory' is not a size: '32Gb'
    8 |     target: { host: here, dir: srv/new, memory: 32Gb, cpus: 5000, format: qed, replace: maybe, start: now }
      |                                                 ^
  sizes look like 512MiB, 40GiB or 1TB
plan.yaml:8:61: 'cpus' must be between 1 and 4096: '5000'
    8 |     target: { host: here, dir: srv/new, memory: 32Gb, cpus: 5000, format: qed, replace: maybe, start: now }
      |                                                             ^
plan.yaml:8:75: 'format' must be raw, qcow2, vmdk, vhdx, vpc or vdi: 'qed'
    8 |     target: { host: here, dir: srv/new, memory: 32Gb, cpus: 5000, format: qed, replace: maybe, start: now }
      |                                                                           ^
plan.yaml:8:89: 'replace' is not true or false: 'maybe'
    8 |     target: { host: here, dir: srv/new, memory: 32Gb, cpus: 5000, format: qed, replace: maybe, start: now }
      |                                                                                         ^
  YAML 1.2 knows only true and false
plan.yaml:8:103: 'start' must be auto, libvirt, systemd or qemu: 'now'
    8 |     target: { host: here, dir: srv/new, memory: 32Gb, cpus: 5000, format: qed, replace: maybe, start: now }
      |                                                                                                       ^
plan.yaml:9:15: 'downtime' is not a duration: '10'
    9 |     downtime: 10
      |               ^
  durations look like 90s, 10m or 1h30m
13 errors

=== addresses and dates
--- file plan.yaml
plan: net
hosts: { here: { local: true, data: example.net } }
machines:
  one:
    recipe: v2v
    source: { host: here, images: [/srv/one.raw], nics: { eth0: 52:54:00:12:34, eth1: { mac: "52:54:00:12:34:56" } } }
    target:
      host: here
      dir: /srv/new
      nics:
        eth0: { address: 10.1.0.5, gateway: 10.1.0, mac: same, dns: [10.1.0.1, ns] }
        eth1: { address: 10.1.0.300/24, mac: "52:54:00:12:34:5g" }
accept:
  - { finding: a, until: 2027-02-30, reason: x }
  - { finding: a, until: soon, reason: x }
  - { finding: a, machine: two }
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:2:37: 'data' is not an address with or without ports, like 10.9.0.11 or 10.9.0.11:7000-7099: 'example.net'
    2 | hosts: { here: { local: true, data: example.net } }
      |                                     ^
plan.yaml:6:65: 'nic' is not a MAC address like 52:54:00:12:34:56: '52:54:00:12:34'
    6 |     source: { host: here, images: [/srv/one.raw], nics: { eth0: 52:54:00:12:34, eth1: { mac: "52:54:00:12:34:56" } } }
      |                                                                 ^
plan.yaml:11:26: 'address' is not an address with its prefix, like 10.1.0.5/24: '10.1.0.5'
   11 |         eth0: { address: 10.1.0.5, gateway: 10.1.0, mac: same, dns: [10.1.0.1, ns] }
      |                          ^
plan.yaml:11:45: 'gateway' is not an IP address: '10.1.0'
   11 |         eth0: { address: 10.1.0.5, gateway: 10.1.0, mac: same, dns: [10.1.0.1, ns] }
      |                                             ^
plan.yaml:11:58: 'mac' must be keep, new or an address like 52:54:00:12:34:56: 'same'
   11 |         eth0: { address: 10.1.0.5, gateway: 10.1.0, mac: same, dns: [10.1.0.1, ns] }
      |                                                          ^
plan.yaml:11:80: 'dns' is not an IP address: 'ns'
   11 |         eth0: { address: 10.1.0.5, gateway: 10.1.0, mac: same, dns: [10.1.0.1, ns] }
      |                                                                                ^
plan.yaml:12:26: 'address' is not an address with its prefix, like 10.1.0.5/24: '10.1.0.300/24'
   12 |         eth1: { address: 10.1.0.300/24, mac: "52:54:00:12:34:5g" }
      |                          ^
plan.yaml:12:46: 'mac' must be keep, new or an address like 52:54:00:12:34:56: '52:54:00:12:34:5g'
   12 |         eth1: { address: 10.1.0.300/24, mac: "52:54:00:12:34:5g" }
      |                                              ^
plan.yaml:14:26: 'until' is no day of the calendar: '2027-02-30'
   14 |   - { finding: a, until: 2027-02-30, reason: x }
      |                          ^
plan.yaml:15:26: 'until' is not a date like 2027-02-01: 'soon'
   15 |   - { finding: a, until: soon, reason: x }
      |                          ^
plan.yaml:16:5: 'reason' is missing
   16 |   - { finding: a, machine: two }
      |     ^
  reason: why it may stand
11 errors

=== a program is a list, never a line for a shell
--- file plan.yaml
plan: argv
hosts: { here: { local: true } }
machines:
  one:
    recipe: v2v
    source:
      host: here
      images: [/srv/one.raw]
      power: { command: { off: virsh destroy one, on: [], status: [virsh, domstate, one] } }
    target: { host: here, dir: /srv/new }
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:9:32: 'off' must be a program and its arguments, not text
    9 |       power: { command: { off: virsh destroy one, on: [], status: [virsh, domstate, one] } }
      |                                ^
  write it as a list: [systemctl, stop, web]; no shell reads it
plan.yaml:9:55: 'on' must name a program
    9 |       power: { command: { off: virsh destroy one, on: [], status: [virsh, domstate, one] } }
      |                                                       ^
2 errors

=== numbers have no signs or blanks in them
--- file plan.yaml
plan: net
hosts: { here: { local: true } }
limits: { bandwidth: [ { rate: 1MiB/s, from: "+8:00", to: "18: 0" } ] }
machines:
  one:
    recipe: v2v
    source: { host: here, images: [/srv/one.raw] }
    target:
      host: here
      dir: /srv/new
      nics:
        eth0: { address: 10.1.0.5/-1 }
        eth1: { address: 10.1.0.6/+24 }
accept:
  - { finding: a, until: 2027-02-+1, reason: x }
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:3:46: 'from' is not a time of the day like 06:30: '+8:00'
    3 | limits: { bandwidth: [ { rate: 1MiB/s, from: "+8:00", to: "18: 0" } ] }
      |                                              ^
plan.yaml:3:59: 'to' is not a time of the day like 06:30: '18: 0'
    3 | limits: { bandwidth: [ { rate: 1MiB/s, from: "+8:00", to: "18: 0" } ] }
      |                                                           ^
plan.yaml:12:26: 'address' is not an address with its prefix, like 10.1.0.5/24: '10.1.0.5/-1'
   12 |         eth0: { address: 10.1.0.5/-1 }
      |                          ^
plan.yaml:13:26: 'address' is not an address with its prefix, like 10.1.0.5/24: '10.1.0.6/+24'
   13 |         eth1: { address: 10.1.0.6/+24 }
      |                          ^
plan.yaml:15:26: 'until' is not a date like 2027-02-01: '2027-02-+1'
   15 |   - { finding: a, until: 2027-02-+1, reason: x }
      |                          ^
5 errors

=== a link has two ends, which are hosts of the plan
--- file plan.yaml
plan: links
hosts: { here: { local: true } }
limits:
  links:
    - { hosts: [here], bandwidth: 1MiB/s }
    - { hosts: [here, hree], bandwidth: 1MiB/s }
    - { hosts: [here, "h*"], bandwidth: [ { rate: 1MiB/s, from: "08:00", to: "18:00" } ] }
machines:
  one:
    source: { host: here, images: [/srv/one.raw] }
    target: { host: here, dir: /srv/new }
    convert: [ disks: {} ]
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:5:16: a link has two ends
    5 |     - { hosts: [here], bandwidth: 1MiB/s }
      |                ^
  for example: hosts: [db1, "kvm*"]
plan.yaml:6:23: no host is called 'hree'
    6 |     - { hosts: [here, hree], bandwidth: 1MiB/s }
      |                       ^
  did you mean 'here'?
2 errors
