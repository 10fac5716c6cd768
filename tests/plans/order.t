=== steps placed nowhere, or in a circle
--- file plan.yaml
plan: steps
hosts: { here: { local: true } }
machines:
  one:
    recipe: v2v
    source: { host: here, images: [/srv/one.raw] }
    target: { host: here, dir: /srv/new }
    cutover:
      - command: { id: w, before: drian, argv: [a] }
      - command: { id: x, before: y, argv: [a] }
      - command: { id: y, after: z, argv: [a] }
      - command: { id: z, after: x, argv: [a] }
      - command: { id: v, before: drain, after: off, argv: [a] }
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:9:35: no step of cutover is called 'drian'
    9 |       - command: { id: w, before: drian, argv: [a] }
      |                                   ^
  did you mean 'drain'?
plan.yaml:10:35: steps are placed in a circle: x -> y -> z -> x
   10 |       - command: { id: x, before: y, argv: [a] }
      |                                   ^
plan.yaml:13:49: step 'v' has both before and after
   13 |       - command: { id: v, before: drain, after: off, argv: [a] }
      |                                                 ^
  one place is enough; use `needs` for what must be done first
3 errors

=== steps that wait in a circle
--- file plan.yaml
plan: steps
hosts: { here: { local: true } }
machines:
  one:
    recipe: v2v
    source: { host: here, images: [/srv/one.raw] }
    target: { host: here, dir: /srv/new }
    convert:
      - command: { id: x, needs: [y], argv: [a] }
      - command: { id: y, needs: [x], argv: [a] }
      - command: { id: no, after: disks, argv: [a] }
      - command: { id: z, needs: [z, no, cutover.start, valdate.boot, assess.host], argv: [a] }
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:9:35: steps wait in a circle: convert.x -> convert.y -> convert.x
    9 |       - command: { id: x, needs: [y], argv: [a] }
      |                                   ^
  the steps of a machine run in the order written; a step can only need one that stands before it
plan.yaml:12:35: steps wait in a circle: convert.z -> convert.z
   12 |       - command: { id: z, needs: [z, no, cutover.start, valdate.boot, assess.host], argv: [a] }
      |                                   ^
  the steps of a machine run in the order written; a step can only need one that stands before it
plan.yaml:12:42: steps wait in a circle: convert.z -> cutover.start -> convert.z
   12 |       - command: { id: z, needs: [z, no, cutover.start, valdate.boot, assess.host], argv: [a] }
      |                                          ^
  the steps of a machine run in the order written; a step can only need one that stands before it
plan.yaml:12:57: no step is called 'valdate.boot'
   12 |       - command: { id: z, needs: [z, no, cutover.start, valdate.boot, assess.host], argv: [a] }
      |                                                         ^
  did you mean 'validate.boot'?
4 errors

=== steps in an order in which they fail
--- file plan.yaml
plan: order
hosts: { here: { local: true } }
defaults:
  recipe: v2v
  target: { host: here, dir: /srv/new }
machines:
  one:
    source: { host: here, images: [/srv/one.raw], power: { manual: {} } }
    cutover: [ proof: { before: pass } ]
  two:
    source: { host: here, images: [/srv/two.raw], power: { manual: {} } }
    cutover: [ pass: { skip: true }, "off": { skip: true } ]
  tri:
    source: { host: here, images: [/srv/tri.raw], power: { manual: {} } }
    cutover: [ pass: { id: late, after: replay } ]
  four:
    source: { host: here, images: [/srv/four.raw], power: { manual: {} } }
    cutover: [ quiesce: { after: pass } ]
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:9:16: cutover.proof comes before cutover.pass: it reads back what the last pass wrote
    9 |     cutover: [ proof: { before: pass } ]
      |                ^
  put it behind that: proof: { after: pass }
plan.yaml:12:16: cutover.proof comes without cutover.pass: it reads back what the last pass wrote
   12 |     cutover: [ pass: { skip: true }, "off": { skip: true } ]
      |                ^
  leave that out too: proof: { skip: true }
plan.yaml:12:16: cutover.readback comes without cutover.pass: it reads back what the last pass wrote
   12 |     cutover: [ pass: { skip: true }, "off": { skip: true } ]
      |                ^
  leave that out too: readback: { skip: true }
plan.yaml:12:38: cutover.start comes without cutover.off: a target starts only when its source is proven off
   12 |     cutover: [ pass: { skip: true }, "off": { skip: true } ]
      |                                      ^
  leave that out too: start: { skip: true }
plan.yaml:15:16: cutover.pass comes after cutover.replay: a pass ends every overlay of the one before
   15 |     cutover: [ pass: { id: late, after: replay } ]
      |                ^
  put it before that: late: { before: replay }
plan.yaml:18:16: cutover.quiesce comes after cutover.pass: what the source writes after its last pass would be lost
   18 |     cutover: [ quiesce: { after: pass } ]
      |                ^
  put it before that: quiesce: { before: pass }
6 errors

=== steps of one's own in an order in which they fail
--- file plan.yaml
plan: order
hosts: { here: { local: true } }
machines:
  one:
    source: { host: here, images: [/srv/one.raw], power: { manual: {} } }
    target: { host: here, dir: /srv/new }
    cutover: [ readback, pass, start, "off", quiesce ]
  two:
    source: { host: here, images: [/srv/two.raw], power: { manual: {} } }
    target: { host: here, dir: /srv/new }
    cutover: [ proof, start ]
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:7:16: cutover.readback comes before cutover.pass: it reads back what the last pass wrote
    7 |     cutover: [ readback, pass, start, "off", quiesce ]
      |                ^
  put it behind that: readback: { after: pass }
plan.yaml:7:26: cutover.pass comes before cutover.quiesce: what the source writes after its last pass would be lost
    7 |     cutover: [ readback, pass, start, "off", quiesce ]
      |                          ^
  put it behind that: pass: { after: quiesce }
plan.yaml:7:32: cutover.start comes before cutover.off: a target starts only when its source is proven off
    7 |     cutover: [ readback, pass, start, "off", quiesce ]
      |                                ^
  put it behind that: start: { after: off }
plan.yaml:11:16: cutover.proof comes without cutover.pass: it reads back what the last pass wrote
   11 |     cutover: [ proof, start ]
      |                ^
  put `- pass` before it
plan.yaml:11:23: cutover.start comes without cutover.off: a target starts only when its source is proven off
   11 |     cutover: [ proof, start ]
      |                       ^
  put `- off` before it
5 errors

=== a pass more, before the source stands still
--- file plan.yaml
plan: order
hosts: { here: { local: true } }
machines:
  one:
    recipe: v2v
    source: { host: here, images: [/srv/one.raw], power: { manual: {} } }
    target: { host: here, dir: /srv/new }
    cutover: [ pass: { id: early, before: quiesce } ]
--- run check plan.yaml
--- stdout
order: 1 machine, 1 host, 17 steps
Next: drover preview plan.yaml
