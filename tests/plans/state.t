--- file plan.yaml
plan: erp
hosts: { here: { local: true } }
machines:
  db:
    source: { host: here, images: [/tmp/none.raw] }
    target: { host: here, dir: /tmp/none }
    assess: [ host: {} ]

=== status of a plan that was never run says so
--- run status plan.yaml --state st
--- stdout
Nothing is recorded of plan 'erp': no run of it has begun (state st).
Every source serves as before.
Next: drover preview plan.yaml --state st

=== the log of a plan that was never run says so
--- run log plan.yaml
--- stdout
Nothing is recorded yet.
Next: drover run plan.yaml

=== show of a machine that was never run says so
--- run show plan.yaml --state st
--- status 100
--- stderr
drover: cannot find 'db' in state 'st': nothing was recorded of it
  `drover run plan.yaml --state st` begins its history

=== diff wants one machine
--- file plan.yaml
plan: erp
hosts: { here: { local: true } }
machines:
  db:
    source: { host: here, images: [/tmp/none.raw] }
    target: { host: here, dir: /tmp/none/db }
    assess: [ host: {} ]
  web:
    source: { host: here, images: [/tmp/none2.raw] }
    target: { host: here, dir: /tmp/none/web }
    assess: [ host: {} ]
--- run diff plan.yaml
--- status 100
--- stderr
drover: cannot diff 2 machines at once
  name one: drover diff plan.yaml -m db

=== a limit that is no number is refused
--- run log plan.yaml -n many
--- status 100
--- stderr
drover: cannot use --limit 'many': it is no number of lines from 1
  for example: drover log plan.yaml -n 20

=== a directory that drover did not make is refused
--- file thesis/text
mine
--- run status plan.yaml --state thesis
--- status 111
--- stderr
drover: cannot use state 'thesis': it holds 'text' and was not made by drover
  name another directory with --state DIR, or an empty one

=== a state of a newer drover is refused
--- make
mkdir st && echo '{"format": "drover state", "version": 7}' > st/drover.json
--- run status plan.yaml --state st
--- status 111
--- stderr
drover: cannot use state 'st': it has format 7, this drover knows 1
  a newer drover made it: use that one

=== a damaged description of the state is refused
--- make
mkdir st && echo '{"format": "dro' > st/drover.json
--- run status plan.yaml --state st
--- status 111
--- stderr
drover: cannot use state 'st': its file 'drover.json' is damaged
  it reads {"format": "drover state", "version": 1, "lineage": ID}; ID is in git -C st show refs/drover/PLAN/meta:epoch.json

=== a step that an earlier one of its phase did is not done again, nor undone
--- file plan.yaml
plan: small
hosts: { here: { local: true } }
machines:
  one:
    source: { host: here, images: [/tmp/none.raw] }
    target: { host: here, dir: /tmp/none }
    convert:
      - command: { id: first, argv: [mkdir, -p, "${plan_dir}/a/b"], probe: [test, -d, "${plan_dir}/a/b"], undo: [rm, -r, "${plan_dir}/a"] }
      - command: { id: second, argv: [sh, -c, "echo ran >>${plan_dir}/ran; mkdir -p ${plan_dir}/a"], probe: [test, -d, "${plan_dir}/a"], undo: [sh, -c, "echo undone >>${plan_dir}/ran"] }
      - command: { id: third, argv: [touch, "${plan_dir}/a/c"], probe: [test, -e, "${plan_dir}/a/c"], undo: [rm, -f, "${plan_dir}/a/c"] }
--- sh
exec 2>&1
drover run plan.yaml | grep convert\\.; ls -R a; cat ran
drover rollback plan.yaml -y >out 2>&1 || cat out
ls -R a || :; cat ran || :
--- stdout
NOW       one      convert.first         done
NOW       one      convert.third         done
a:
b
c

a/b:
cat: ran: No such file or directory
ls: cannot access 'a': No such file or directory
cat: ran: No such file or directory

=== what to type next names the state and the machines that were meant
--- file plan.yaml
plan: erp
hosts: { here: { local: true } }
machines:
  db:
    source: { host: here, images: [/tmp/none.raw] }
    target: { host: here, dir: /tmp/none/db }
    assess: [ command: { argv: ["true"] } ]
    validate: [ command: { argv: ["false"] } ]
  web:
    source: { host: here, images: [/tmp/none2.raw] }
    target: { host: here, dir: /tmp/none/web }
    assess: [ command: { argv: ["true"] } ]
--- sh
drover run plan.yaml --state st -m 'w*b' | tail -n 1
drover run plan.yaml --state st -m db 2>err | tail -n 1
drover rollback plan.yaml --state st -m db --preview | tail -n 1
drover status plan.yaml --state st | tail -n 1
cp plan.yaml "erp's plan.yaml"
drover run "erp's plan.yaml" --state "a;b" -m '[w;&]eb' | tail -n 1
--- stdout
Next: drover status plan.yaml --state st --machine 'w*b'
Next: drover run plan.yaml --state st --machine db
Next: drover rollback plan.yaml --state st --machine db
Next: drover run plan.yaml --state st -m db
Next: drover status 'erp'\''s plan.yaml' --state 'a;b' --machine '[w;&]eb'
