=== variables that are not there, or nearly
--- file plan.yaml
plan: vars
vars: { images: /srv }
hosts: { here: { local: true } }
machines:
  one:
    recipe: v2v
    source: { host: here, images: [ "${image}/one.raw" ] }
    target: { host: here, dir: "/x/${elsewhere}/y", memory: "${facts.machine.memory}" }
    labels: { a: "${open" }
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:7:38: no variable is called 'image'
    7 |     source: { host: here, images: [ "${image}/one.raw" ] }
      |                                      ^
  did you mean 'images'?
plan.yaml:8:36: no variable is called 'elsewhere'
    8 |     target: { host: here, dir: "/x/${elsewhere}/y", memory: "${facts.machine.memory}" }
      |                                    ^
  define it: vars: { elsewhere: ... }; a plain ${ is written $${
plan.yaml:8:62: no variable is called 'facts.machine.memory'
    8 |     target: { host: here, dir: "/x/${elsewhere}/y", memory: "${facts.machine.memory}" }
      |                                                              ^
  'facts.machine.memory' is not known here, only in steps
plan.yaml:9:19: '${' without a '}'
    9 |     labels: { a: "${open" }
      |                   ^
4 errors

=== variables that go in a circle
--- file plan.yaml
plan: vars
vars: { a: "1${b}", b: "2${c}", c: "3${a}", d: "${d}" }
hosts: { here: { local: true } }
machines:
  one: { recipe: v2v, source: { host: here, images: [/srv/one.raw] }, target: { host: here, dir: "/srv/${a}" } }
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:2:14: variables go in a circle: b -> c -> a -> b
    2 | vars: { a: "1${b}", b: "2${c}", c: "3${a}", d: "${d}" }
      |              ^
plan.yaml:2:49: variables go in a circle: d -> d
    2 | vars: { a: "1${b}", b: "2${c}", c: "3${a}", d: "${d}" }
      |                                                 ^
2 errors

=== variables may use each other, numbers and the plan's own name
--- file plan.yaml
plan: vars
vars: { a: "${b}/new", b: /srv, n: 2 }
hosts: { here: { local: true } }
machines:
  one:
    recipe: v2v
    labels: { app: erp }
    source: { host: here, images: ["${b}/one.raw"], cpus: "${n}" }
    target: { host: here, dir: "${a}/${plan}/${labels.app}/${machine}" }
    cutover:
      - command: { argv: [echo, "${machine}", "${facts.source.host.kernel}", "$${HOME}"] }
--- run check plan.yaml
--- stdout
vars: 1 machine, 1 host, 17 steps
Next: drover preview plan.yaml

=== a label that a machine has not
--- file plan.yaml
plan: vars
hosts: { here: { local: true } }
defaults: { recipe: v2v, target: { host: here, dir: "/srv/${labels.app}" } }
machines:
  one: { labels: { app: x }, source: { host: here, images: [/srv/one.raw] } }
  two: { source: { host: here, images: [/srv/two.raw] } }
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:3:53: cannot put in '${labels.app}': it is not known
    3 | defaults: { recipe: v2v, target: { host: here, dir: "/srv/${labels.app}" } }
      |                                                     ^
  machine 'two' has no such label

=== a variable is one plain value
--- file plan.yaml
plan: vars
vars: { list: [a, b], map: { a: b } }
hosts: { here: { local: true } }
machines:
  one: { recipe: v2v, source: { host: here, images: [/srv/one.raw] }, target: { host: here, dir: /srv/new } }
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:2:15: 'list' must be a plain value
    2 | vars: { list: [a, b], map: { a: b } }
      |               ^
plan.yaml:2:28: 'map' must be a plain value
    2 | vars: { list: [a, b], map: { a: b } }
      |                            ^
2 errors
