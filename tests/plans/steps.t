=== verbs and parameters that are not there
--- file plan.yaml
plan: steps
hosts: { here: { local: true } }
machines:
  one:
    recipe: v2v
    source: { host: here, images: [/srv/one.raw] }
    target: { host: here, dir: /srv/new }
    assess: [ gest, disks ]
    backup: [ image: { too: "here:/b" } ]
    convert: [ disks: { pases: 2 } ]
    validate: [ boot: { timeout: 5 } ]
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:8:15: the phase assess has no verb 'gest'
    8 |     assess: [ gest, disks ]
      |               ^
  did you mean 'guest'?
plan.yaml:8:21: the phase assess has no verb 'disks'
    8 |     assess: [ gest, disks ]
      |                     ^
  'disks' belongs to the phase convert
plan.yaml:9:15: backup.image needs 'to'
    9 |     backup: [ image: { too: "here:/b" } ]
      |               ^
  to: HOST:/directory where backups are kept
plan.yaml:9:24: backup.image has no parameter 'too'
    9 |     backup: [ image: { too: "here:/b" } ]
      |                        ^
  did you mean 'to'?
plan.yaml:10:25: convert.disks has no parameter 'pases'
   10 |     convert: [ disks: { pases: 2 } ]
      |                         ^
  did you mean 'passes'?
plan.yaml:11:34: 'timeout' is not a duration: '5'
   11 |     validate: [ boot: { timeout: 5 } ]
      |                                  ^
  durations look like 90s, 10m or 1h30m
6 errors

=== steps that are not one verb
--- file plan.yaml
plan: steps
hosts: { here: { local: true } }
machines:
  one:
    recipe: v2v
    source: { host: here, images: [/srv/one.raw] }
    target: { host: here, dir: /srv/new }
    cutover:
      - command:
        argv: [a]
      - [ command ]
      -
      - command: [a]
      - command: { id: "a b", argv: [a] }
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:9:9: a step is one verb with its parameters, not a map of many
    9 |       - command:
      |         ^
  write - VERB: { key: value }, or indent the keys below the verb
plan.yaml:11:9: a step is one verb with its parameters, not a list
   11 |       - [ command ]
      |         ^
  write - VERB: { key: value }, or indent the keys below the verb
plan.yaml:12:8: a step is one verb with its parameters, not nothing
   12 |       -
      |        ^
  write - VERB: { key: value }, or indent the keys below the verb
plan.yaml:13:18: the parameters of 'command' must be a map, not a list
   13 |       - command: [a]
      |                  ^
  write - command: { key: value }
plan.yaml:14:24: 'a b' cannot be an id
   14 |       - command: { id: "a b", argv: [a] }
      |                        ^
5 errors

=== two steps of one name
--- file plan.yaml
plan: steps
hosts: { here: { local: true } }
machines:
  one:
    recipe: v2v
    source: { host: here, images: [/srv/one.raw] }
    target: { host: here, dir: /srv/new }
    cutover:
      - command: { argv: [a] }
      - command: { argv: [b] }
      - command: { id: drain, argv: [c] }
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:10:9: two steps are called 'command'
   10 |       - command: { argv: [b] }
      |         ^
  give one an id: - command: { id: NAME }; the first is in line 9
plan.yaml:11:9: step 'drain' is 'drain' already, not 'command'
   11 |       - command: { id: drain, argv: [c] }
      |         ^
  give it another id; the first is in plans/v2v.yaml, line 30
2 errors

=== places and conditions that make no sense
--- file plan.yaml
plan: steps
hosts: { here: { local: true } }
machines:
  one:
    recipe: v2v
    source: { host: here, images: [/srv/one.raw] }
    target: { host: here, dir: /srv/new }
    convert:
      - disks: { at: here }
    cutover:
      - command: { id: a, at: target, argv: [a], when: "facts.guest.os.id == debian" }
      - command: { id: b, at: hree, argv: [a], when: debian }
      - command: { id: c, argv: [a], when: "machine == one" }
      - command: { id: d, argv: [a], skip: sometimes }
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:9:22: convert.disks runs where it must, `at` cannot move it
    9 |       - disks: { at: here }
      |                      ^
  leave `at` away
plan.yaml:12:31: no host is called 'hree'
   12 |       - command: { id: b, at: hree, argv: [a], when: debian }
      |                               ^
  did you mean 'here'?
plan.yaml:12:54: 'when' cannot be read: 'debian'
   12 |       - command: { id: b, at: hree, argv: [a], when: debian }
      |                                                      ^
  write facts.NAME.FIELD == VALUE, like facts.guest.os.id == debian; logic belongs into a check
plan.yaml:13:44: 'when' cannot be read: 'machine == one'
   13 |       - command: { id: c, argv: [a], when: "machine == one" }
      |                                            ^
  write facts.NAME.FIELD == VALUE, like facts.guest.os.id == debian; logic belongs into a check
plan.yaml:14:44: 'skip' is not true or false: 'sometimes'
   14 |       - command: { id: d, argv: [a], skip: sometimes }
      |                                            ^
  YAML 1.2 knows only true and false
5 errors

=== behind the fence there is only what boot keeps
--- file plan.yaml
plan: steps
hosts: { here: { local: true } }
defaults: { recipe: v2v, target: { host: here, dir: /srv/new } }
machines:
  one:
    source: { host: here, images: [/srv/one.raw] }
    validate: [ command: { at: fence, argv: [a] } ]
  two:
    source: { host: here, images: [/srv/two.raw] }
    validate: [ boot: { keep: true }, release, command: { after: boot, at: fence, argv: [a] } ]
  tri:
    source: { host: here, images: [/srv/tri.raw] }
    validate: [ boot: { keep: true }, release, command: { at: fence, argv: [a] } ]
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:7:32: nothing runs behind the fence when step 'command' comes
    7 |     validate: [ command: { at: fence, argv: [a] } ]
      |                                ^
  keep the test copy: validate: [ boot: { keep: true }, command: { after: boot, at: fence, ... }, release ]
plan.yaml:13:63: nothing runs behind the fence when step 'command' comes
   13 |     validate: [ boot: { keep: true }, release, command: { at: fence, argv: [a] } ]
      |                                                               ^
  keep the test copy: validate: [ boot: { keep: true }, command: { after: boot, at: fence, ... }, release ]
2 errors

=== a wrong step in a recipe is told once, at the recipe
--- file plan.yaml
plan: steps
hosts: { here: { local: true } }
defaults: { recipe: mine.yaml, target: { host: here, dir: /srv/new } }
machines:
  one: { source: { host: here, images: [/srv/one.raw] } }
  two: { source: { host: here, images: [/srv/two.raw] } }
  tri: { source: { host: here, images: [/srv/tri.raw] }, convert: [ disks: { passes: 2 } ] }
--- file mine.yaml
recipe: mine
convert:
  - disks: { passes: 0 }
  - dsks
--- run check plan.yaml
--- status 2
--- stderr
mine.yaml:3:22: 'passes' must be between 1 and 100: '0'
    3 |   - disks: { passes: 0 }
      |                      ^
mine.yaml:4:5: the phase convert has no verb 'dsks'
    4 |   - dsks
      |     ^
  did you mean 'disks'?
2 errors

=== the end of passes is a size, under a key that is known
--- file plan.yaml
plan: until
hosts: { here: { local: true } }
machines:
  one:
    source: { host: here, images: [/srv/one.raw] }
    target: { host: here, dir: /srv/new }
    convert: [ disks: { until: { changd: 64MiB } } ]
  two:
    source: { host: here, images: [/srv/two.raw] }
    target: { host: here, dir: /srv/new }
    convert: [ disks: { until: { changed: little } } ]
  tri:
    source: { host: here, images: [/srv/tri.raw] }
    target: { host: here, dir: /srv/new }
    convert: [ disks: { until: { changed: 0 } } ]
  far:
    source: { host: here, images: [/srv/far.raw] }
    target: { host: here, dir: /srv/new }
    convert: [ disks: { until: {} } ]
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:7:34: the key 'changd' is not known in 'until'
    7 |     convert: [ disks: { until: { changd: 64MiB } } ]
      |                                  ^
  known here: changed
plan.yaml:11:43: 'changed' is not a size: 'little'
   11 |     convert: [ disks: { until: { changed: little } } ]
      |                                           ^
  sizes look like 512MiB, 40GiB or 1TB
plan.yaml:15:43: 'changed' must be at least 1: '0'
   15 |     convert: [ disks: { until: { changed: 0 } } ]
      |                                           ^
plan.yaml:19:32: 'until' says nothing: it is empty
   19 |     convert: [ disks: { until: {} } ]
      |                                ^
  known here: changed
4 errors

=== an end of passes that no pass comes to is a warning
--- file plan.yaml
plan: until
hosts: { here: { local: true } }
defaults: { target: { host: here, dir: /srv/new } }
machines:
  bytes:
    source: { host: here, images: [/srv/one.raw] }
    convert: [ disks: { until: { changed: 64 } } ]
  chunks:
    source: { host: here, images: [/srv/two.raw] }
    convert: [ disks: { chunk: 4MiB, until: { changed: 2MiB } } ]
  well:
    source: { host: here, images: [/srv/tri.raw] }
    convert: [ disks: { chunk: 256KiB, until: { changed: 256KiB } } ]
--- run check plan.yaml
--- stdout
until: 3 machines, 1 host, 3 steps
Next: drover preview plan.yaml
--- stderr
plan.yaml:7:43: warning: what a pass changed is counted in chunks of 1.0 MiB: 64 B is enough only when it changed nothing at all
    7 |     convert: [ disks: { until: { changed: 64 } } ]
      |                                           ^
  sizes have units: until: { changed: 64MiB }
plan.yaml:10:56: warning: what a pass changed is counted in chunks of 4.0 MiB: 2.0 MiB is enough only when it changed nothing at all
   10 |     convert: [ disks: { chunk: 4MiB, until: { changed: 2MiB } } ]
      |                                                        ^
  sizes have units: until: { changed: 64MiB }
