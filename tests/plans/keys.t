=== unknown keys, at every level
--- file plan.yaml
plan: keys
hots: {}
hosts: { here: { local: true, indentity: x } }
machines:
  one:
    recipe: v2v
    labels: { app: x }
    sources: {}
    source: { host: here, images: { root: { path: /srv/one.raw, formt: raw } } }
    target: { host: here, dir: /srv/new, flavour: big }
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:2:1: the key 'hots' is not known
    2 | hots: {}
      | ^
  did you mean 'hosts'?
plan.yaml:3:31: the key 'indentity' is not known in 'host'
    3 | hosts: { here: { local: true, indentity: x } }
      |                               ^
  did you mean 'identity'?
plan.yaml:8:5: the key 'sources' is not known in 'machine'
    8 |     sources: {}
      |     ^
  did you mean 'source'?
plan.yaml:9:65: the key 'formt' is not known in 'image'
    9 |     source: { host: here, images: { root: { path: /srv/one.raw, formt: raw } } }
      |                                                                 ^
  did you mean 'format'?
plan.yaml:10:42: the key 'flavour' is not known in 'target'
   10 |     target: { host: here, dir: /srv/new, flavour: big }
      |                                          ^
  known here: host, dir, vg, pool, format, cpus, memory, replace, start, disks, nics
5 errors

=== reserved keys
--- file plan.yaml
plan: keys
environments: {}
groups: {}
waves: {}
windows: {}
rehearsal: {}
state: {}
hosts: { here: { local: true } }
machines:
  one: { recipe: v2v, source: { host: here, images: [/srv/one.raw] }, target: { host: here, dir: /srv/new } }
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:2:1: 'environments' is not supported yet
    2 | environments: {}
      | ^
  the name is reserved; drover does not do this yet
plan.yaml:3:1: 'groups' is not supported yet
    3 | groups: {}
      | ^
  the name is reserved; drover does not do this yet
plan.yaml:4:1: 'waves' is not supported yet
    4 | waves: {}
      | ^
  the name is reserved; drover does not do this yet
plan.yaml:5:1: 'windows' is not supported yet
    5 | windows: {}
      | ^
  the name is reserved; drover does not do this yet
plan.yaml:6:1: 'rehearsal' is not supported yet
    6 | rehearsal: {}
      | ^
  the name is reserved; drover does not do this yet
plan.yaml:7:1: 'state' is not supported yet
    7 | state: {}
      | ^
  the name is reserved; drover does not do this yet
6 errors

=== what is not supported yet
--- file plan.yaml
plan: later
hosts: { here: { local: true } }
defaults: { recipe: v2v, target: { host: here, dir: /srv/new } }
machines:
  a: { source: { host: here, vmx: /srv/a.vmx } }
  b: { source: { host: here, ova: /srv/a.ova } }
  c: { source: { host: here, vcenter: { vm: c } } }
  d: { source: { host: here, disks: [/dev/sda], power: { ipmi: { host: bmc } } } }
  e: { source: { host: here, disks: [/dev/sdb], power: { redfish: {} } } }
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:5:30: 'vmx' is not supported yet
    5 |   a: { source: { host: here, vmx: /srv/a.vmx } }
      |                              ^
  use `images` with the .vmdk files
plan.yaml:6:30: 'ova' is not supported yet
    6 |   b: { source: { host: here, ova: /srv/a.ova } }
      |                              ^
  unpack it and use `images`
plan.yaml:7:30: 'vcenter' is not supported yet
    7 |   c: { source: { host: here, vcenter: { vm: c } } }
      |                              ^
  export the VM and use `images`
plan.yaml:8:58: 'ipmi' is not supported yet
    8 |   d: { source: { host: here, disks: [/dev/sda], power: { ipmi: { host: bmc } } } }
      |                                                          ^
  use `command` with ipmitool
plan.yaml:9:58: 'redfish' is not supported yet
    9 |   e: { source: { host: here, disks: [/dev/sdb], power: { redfish: {} } } }
      |                                                          ^
  use `command` with curl, or a script of yours
5 errors

=== no name, no machines
--- file plan.yaml
hosts: { here: { local: true } }
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml: the plan has no machines
  add machines: { NAME: { source: ..., target: ... } }
plan.yaml:1:1: 'plan' is missing
    1 | hosts: { here: { local: true } }
      | ^
  begin with the plan's name: plan: NAME
2 errors

=== maps where lists are meant, and the other way
--- file plan.yaml
plan: kinds
include: hosts.yaml
hosts: [ here ]
machines:
  one: [ recipe, v2v ]
  two:
    recipe: { name: v2v }
    after: one
    source:
    target: here
    cutover: { check: {} }
accept: none
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:2:10: 'include' must be a list of texts, not text
    2 | include: hosts.yaml
      |          ^
  write it as a list: [hosts.yaml]
plan.yaml:3:8: 'hosts' must be a map, not a list
    3 | hosts: [ here ]
      |        ^
  hosts: where agents run
plan.yaml:5:8: 'machine' must be a map, not a list
    5 |   one: [ recipe, v2v ]
      |        ^
  machine: what moves
plan.yaml:7:13: 'recipe' must be text, not a map
    7 |     recipe: { name: v2v }
      |             ^
plan.yaml:8:12: 'after' must be a list of texts, not text
    8 |     after: one
      |            ^
  write it as a list: [one]
plan.yaml:9:12: 'source' has no value
    9 |     source:
      |            ^
  source: the machine as it is
plan.yaml:10:13: 'target' must be a map, not text
   10 |     target: here
      |             ^
  target: the machine as it shall be
plan.yaml:11:14: 'cutover' must be a list, not a map
   11 |     cutover: { check: {} }
      |              ^
  cutover: the steps of this phase, in order
plan.yaml:12:9: 'accept' must be a list, not text
   12 | accept: none
      |         ^
  accept: findings that are waived
9 errors

=== a recipe is no plan
--- file plan.yaml
recipe: mine
assess: [ machine ]
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:1:1: this is a recipe, not a plan
    1 | recipe: mine
      | ^
  name it in a machine or in defaults: recipe: FILE

=== a plan is no recipe
--- file plan.yaml
plan: a
hosts: { here: { local: true } }
machines:
  one: { recipe: other.yaml, source: { host: here, images: [/srv/one.raw] }, target: { host: here, dir: /srv/new } }
--- file other.yaml
plan: b
hosts: { here: { local: true } }
machines: {}
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:4:18: 'other.yaml' is a plan, not a recipe
    4 |   one: { recipe: other.yaml, source: { host: here, images: [/srv/one.raw] }, target: { host: here, dir: /srv/new } }
      |                  ^
  a recipe has no hosts and no machines; use `include` for plans

=== an include that is not there, and a name in two files
--- file plan.yaml
plan: a
include: [hosts.yaml, more.yaml]
hosts: { here: { local: true } }
machines:
  one: { recipe: v2v, source: { host: here, images: [/srv/one.raw] }, target: { host: here, dir: /srv/new } }
--- file hosts.yaml
hosts:
  here: { ssh: root@there }
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:2:23: cannot read 'more.yaml': No such file or directory
    2 | include: [hosts.yaml, more.yaml]
      |                       ^
hosts.yaml:2:3: 'here' is defined twice in hosts
    2 |   here: { ssh: root@there }
      |   ^
  also in plan.yaml, line 3
hosts.yaml:2:16: host 'here' cannot be both local and reached by ssh
    2 |   here: { ssh: root@there }
      |                ^
3 errors

=== an error in an included file names that file
--- file plan.yaml
plan: a
include: [sub/hosts.yaml]
machines:
  one: { recipe: v2v, source: { host: here, images: [/srv/one.raw] }, target: { host: here, dir: /srv/new } }
--- file sub/hosts.yaml
include: [more.yaml]
hosts:
  here: { local: yes }
--- file sub/more.yaml
limits: { host: many }
--- run check plan.yaml
--- status 2
--- stderr
sub/hosts.yaml:3:18: 'local' is not true or false: 'yes'
    3 |   here: { local: yes }
      |                  ^
  YAML 1.2 knows only true and false
sub/more.yaml:1:17: 'host' is not a whole number: 'many'
    1 | limits: { host: many }
      |                 ^
2 errors

=== a recipe that is not there
--- file plan.yaml
plan: a
hosts: { here: { local: true } }
defaults: { target: { host: here, dir: /srv/new } }
machines:
  one: { recipe: p2w, source: { host: here, images: [/srv/one.raw] } }
  two: { recipe: mine.yaml, source: { host: here, images: [/srv/two.raw] } }
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:5:18: no recipe is called 'p2w'
    5 |   one: { recipe: p2w, source: { host: here, images: [/srv/one.raw] } }
      |                  ^
  did you mean 'p2v'?
plan.yaml:6:18: cannot read 'mine.yaml': No such file or directory
    6 |   two: { recipe: mine.yaml, source: { host: here, images: [/srv/two.raw] } }
      |                  ^
2 errors
