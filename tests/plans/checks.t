=== a check whose file is not there
--- file plan.yaml
plan: steps
hosts: { here: { local: true } }
machines:
  one:
    recipe: v2v
    source: { host: here, images: [/srv/one.raw] }
    target: { host: here, dir: /srv/new }
    cutover:
      - check: { file: hooks/login.lua }
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:9:24: cannot read 'hooks/login.lua': No such file or directory
    9 |       - check: { file: hooks/login.lua }
      |                        ^
  the path starts at the plan's folder

=== a check that is not Lua
--- file plan.yaml
plan: steps
hosts: { here: { local: true } }
defaults: { recipe: v2v, target: { host: here, dir: /srv/new } }
machines:
  one:
    source: { host: here, images: [/srv/one.raw] }
    cutover:
      - check: { id: open, file: checks/open.lua }
      - check: { id: compiled, file: checks/compiled.lua }
      - check: { id: folder, file: checks }
      - check: { id: fine, file: checks/fine.lua }
--- file checks/open.lua
local up = true
if up then
  return
--- file checks/fine.lua
return true
--- make
printf '\033Lua' >checks/compiled.lua
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:8:34: the check is not Lua: checks/open.lua:4: 'end' expected (to close 'if' at line 2) near <eof>
    8 |       - check: { id: open, file: checks/open.lua }
      |                                  ^
plan.yaml:9:38: the check is not Lua: checks/compiled.lua: compiled Lua is not accepted, only text
    9 |       - check: { id: compiled, file: checks/compiled.lua }
      |                                      ^
plan.yaml:10:36: cannot read 'checks': Is a directory
   10 |       - check: { id: folder, file: checks }
      |                                    ^
  the path starts at the plan's folder
3 errors

=== a check that is no check
--- file plan.yaml
plan: steps
hosts: { here: { local: true } }
machines:
  one:
    recipe: v2v
    source: { host: here, images: [/srv/one.raw] }
    target: { host: here, dir: /srv/new }
    cutover:
      - check: {}
      - check: { id: a, use: prot }
      - check: { id: b, use: port, file: b.lua }
      - check: { id: c, use: port, with: { port: 22 }, at: target }
--- file b.lua
return true
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:9:9: the check says nothing to run
    9 |       - check: {}
      |         ^
  file: NAME.lua is yours, use: NAME a ready-made one
plan.yaml:10:30: no ready-made check is called 'prot'
   10 |       - check: { id: a, use: prot }
      |                              ^
  did you mean 'port'?
plan.yaml:11:9: a check has `file` or `use`, not both
   11 |       - check: { id: b, use: port, file: b.lua }
      |         ^
  file: NAME.lua is yours, use: NAME a ready-made one
3 errors

=== a preview in assess runs checks with the reading calls, and says what others will do
--- file plan.yaml
plan: small
hosts: { here: { local: true } }
machines:
  one:
    source: { host: here, images: [/srv/one.raw] }
    target: { host: here, dir: /srv/new }
    assess:
      - check: { id: reads, file: reads.lua }
      - check: { id: runs, file: runs.lua }
    validate:
      - check: { id: later, use: port, at: target, with: { port: 22 } }
--- file reads.lua
local s = assert(drover.stat("/nowhere/at/all"))
drover.warn("there is no place like it")
drover.ok(s.exists and "it is there" or "it is not there")
--- file runs.lua
drover.run{ "reboot", "now" }
--- run preview plan.yaml
--- stdout
small  run preview  plan.yaml  1 host asked, 0 changed

warning  one      check.reads: there is no place like it

one  here -> here, serves: source
  assess       reads   = it is not there
               runs    ? check runs.lua at source, runs reboot now at source
  validate     later   ? check port at target

1 machine:  + 0  ~ 0  - 0  ? 2
Next: drover run plan.yaml

=== a check that is broken names its file and line
--- file plan.yaml
plan: small
hosts: { here: { local: true } }
machines:
  one:
    source: { host: here, images: [/srv/one.raw] }
    target: { host: here, dir: /srv/new }
    assess:
      - check: { file: broken.lua }
--- file broken.lua
local s = drover.stat("/")
print(s.nonsense.kind)
--- run preview plan.yaml
--- status 1
--- stdout
small  run preview  plan.yaml  1 host asked, 0 changed

one  here -> here, serves: source
  assess       check   FAILED: broken.lua:2: attempt to index a nil value (field
                       'nonsense')
                       the check itself is broken, or what it asked for is not
                       there
                       the step stands at plan.yaml:8:9

1 machine:  + 0  ~ 0  - 0  ? 0
1 step could not be asked
Next: drover preview plan.yaml
--- stderr
plan.yaml:8:9: step one assess.check: broken.lua:2: attempt to index a nil value (field 'nonsense')
    8 |       - check: { file: broken.lua }
      |         ^
  the check itself is broken, or what it asked for is not there

=== an endless loop in a check ends at its deadline
--- file plan.yaml
plan: small
hosts: { here: { local: true } }
machines:
  one:
    source: { host: here, images: [/srv/one.raw] }
    target: { host: here, dir: /srv/new }
    assess:
      - check: { file: loop.lua, timeout: 300ms }
--- file loop.lua
while true do
	pcall(function() while true do end end)
end
--- run preview plan.yaml
--- status 1
--- stdout
small  run preview  plan.yaml  1 host asked, 0 changed

one  here -> here, serves: source
  assess       check   FAILED: loop.lua:2: did not end within 300ms
                       `timeout:` in the plan allows more
                       the step stands at plan.yaml:8:9

1 machine:  + 0  ~ 0  - 0  ? 0
1 step could not be asked
Next: drover preview plan.yaml
--- stderr
plan.yaml:8:9: step one assess.check: loop.lua:2: did not end within 300ms
    8 |       - check: { file: loop.lua, timeout: 300ms }
      |         ^
  `timeout:` in the plan allows more

=== a memory bomb in a check meets its limit
--- file plan.yaml
plan: small
hosts: { here: { local: true } }
machines:
  one:
    source: { host: here, images: [/srv/one.raw] }
    target: { host: here, dir: /srv/new }
    assess:
      - check: { file: bomb.lua, memory: 8MiB }
--- file bomb.lua
local t = { drover.stat("/") }
while true do
	t[#t + 1] = ("x"):rep(1000) .. #t
end
--- run preview plan.yaml
--- status 1
--- stdout
small  run preview  plan.yaml  1 host asked, 0 changed

one  here -> here, serves: source
  assess       check   FAILED: bomb.lua:3: needs more than 8.0 MiB of memory
                       `memory:` in the plan allows more
                       the step stands at plan.yaml:8:9

1 machine:  + 0  ~ 0  - 0  ? 0
1 step could not be asked
Next: drover preview plan.yaml
--- stderr
plan.yaml:8:9: step one assess.check: bomb.lua:3: needs more than 8.0 MiB of memory
    8 |       - check: { file: bomb.lua, memory: 8MiB }
      |         ^
  `memory:` in the plan allows more
