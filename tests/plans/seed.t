=== a copy of what was backed up before is filled from the backup
--- file plan.yaml
plan: small
hosts: { a: { ssh: root@a }, b: { ssh: root@b }, here: { local: true } }
machines:
  one:
    source: { host: a, disks: [/dev/sda] }
    target: { host: here, dir: /srv }
    assess: [ machine: {} ]
    backup: [ image: { to: "b:/backup" } ]
    convert: [ disks: { track: 72h } ]
--- sh
drover check --expand plan.yaml >one.yaml
sed -n '/backup:/,$p' one.yaml
drover check --expand one.yaml | cmp - one.yaml
--- stdout
    backup:
      - image:
          to: "b:/backup"
          freeze: none
          follow: 72h
          chunk: 1MiB
          compress: zstd
          free: skip
          bad_sectors: fail
    convert:
      - seed:
          from: "b:/backup"
          chunk: 1MiB
          compress: auto
      - disks:
          freeze: none
          changes: auto
          track: 72h
          seed: auto
          chunk: 1MiB
          compress: auto
          free: skip
          bad_sectors: fail
=== seed: none, changes: digest and no backup leave it to the source
--- file plan.yaml
plan: small
hosts: { a: { ssh: root@a }, b: { ssh: root@b }, here: { local: true } }
defaults:
  target: { host: here, dir: /srv }
machines:
  none:
    source: { host: a, disks: [/dev/sda] }
    backup: [ image: { to: "b:/backup" } ]
    convert: [ disks: { seed: none } ]
  digest:
    source: { host: a, disks: [/dev/sdb] }
    backup: [ image: { to: "b:/backup" } ]
    convert: [ disks: { changes: digest } ]
  bare:
    source: { host: a, disks: [/dev/sdc] }
    convert: [ disks: {} ]
--- sh
drover check --expand plan.yaml | grep -cE 'seed:$|follow:'
drover check plan.yaml
--- stdout
0
small: 3 machines, 3 hosts, 5 steps
Next: drover preview plan.yaml
=== a backup that reads otherwise than the copy is no seed of it
--- file plan.yaml
plan: small
hosts: { a: { ssh: root@a }, b: { ssh: root@b }, here: { local: true } }
machines:
  one:
    source: { host: a, disks: [/dev/sda] }
    target: { host: here, dir: /srv }
    backup: [ image: { to: "b:/backup" } ]
    convert:
      - disks: { chunk: 256KiB }
--- run check plan.yaml
--- stdout
small: 1 machine, 3 hosts, 2 steps
Next: drover preview plan.yaml
--- stderr
plan.yaml:9:9: warning: the copy is not filled from the backup: `chunk` is not the same in both
    9 |       - disks: { chunk: 256KiB }
      |         ^
  say the same in backup.image, or `seed: none` here
