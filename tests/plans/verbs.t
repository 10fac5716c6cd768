--- file plan.yaml
plan: small
hosts: { here: { local: true } }
machines:
  one:
    source: { host: here, images: [/srv/one.raw] }
    target: { host: here, dir: /srv/new }
    assess: [ host ]

=== a verb that is mistyped is answered with the one that was meant
--- run preveiw plan.yaml
--- status 100
--- stderr
drover: unknown verb 'preveiw'
  did you mean `drover preview`?

=== an option that is mistyped is answered with the one that was meant
--- run run plan.yaml --unitl convert
--- status 100
--- stderr
drover: unknown option '--unitl'
  did you mean --until?

=== an option that is like none is answered with where they are listed
--- run run plan.yaml --kep
--- status 100
--- stderr
drover: unknown option '--kep'
  `drover help run` lists the options

=== run ends with validate
--- run run plan.yaml --until cutover
--- status 100
--- stderr
drover: `drover run` ends with validate
  the switch is `drover cutover plan.yaml`

=== a machine that is mistyped is answered with the one that was meant
--- run preview plan.yaml -m oen
--- status 100
--- stderr
drover: no machine of plan 'small' matches 'oen'
  did you mean --machine one?

=== finalizing what does not serve yet is refused before anybody is asked
--- sh
drover run plan.yaml >said || cat said
drover finalize plan.yaml -y
--- status 1
--- stderr
drover: cannot finalize 'one': the target does not serve
  drover cutover plan.yaml --machine one

=== of a plan that was never run there is nothing to take back, to clean or to end
--- file plan.yaml
plan: small
hosts: { here: { local: true } }
machines:
  one:
    recipe: v2v
    source: { host: here, images: [/srv/one.raw] }
    target: { host: here, dir: /srv/new }
--- sh
drover rollback plan.yaml --state st
drover cleanup plan.yaml --state st
drover finalize plan.yaml --state st
test ! -e st
--- stdout
Nothing is recorded of plan 'small': no run of it has begun (state st).
Every source serves as before.
Next: drover preview plan.yaml --state st
Nothing is recorded of plan 'small': no run of it has begun (state st).
Every source serves as before.
Next: drover preview plan.yaml --state st
Nothing is recorded of plan 'small': no run of it has begun (state st).
Every source serves as before.
Next: drover preview plan.yaml --state st

=== a plan's name that is mistyped is answered with the one that was meant
--- file there/erp.yaml
plan: erp
--- sh
drover run plam.yaml
drover check there/epr.yaml
drover check there
drover check nowhere.yaml
--- status 2
--- stderr
drover: cannot read 'plam.yaml': No such file or directory
  did you mean plan.yaml?
drover: cannot read 'there/epr.yaml': No such file or directory
  did you mean there/erp.yaml?
drover: cannot read 'there': Is a directory
  did you mean there/erp.yaml?
drover: cannot read 'nowhere.yaml': No such file or directory
  a plan is a YAML file that begins with plan: NAME

=== a plan without cutover steps is not asked about
--- run cutover plan.yaml
--- status 100
--- stderr
drover: cannot cut over one: the plan has no cutover steps
  `drover run plan.yaml` does all that it says; the recipes p2v and v2v have a cutover

=== what cannot be saved is said before any host is asked
--- sh
mkdir folder
drover preview plan.yaml -o folder
drover preview plan.yaml -o nowhere/x
--- status 111
--- stderr
drover: cannot save the preview as 'folder': Is a directory
  no host was asked yet; give -o a file in a directory that can be written to
drover: cannot save the preview as 'nowhere/x': No such file or directory
  no host was asked yet; give -o a file in a directory that can be written to

=== a phase whose phases before are not done is refused, once
--- file plan.yaml
plan: small
hosts: { here: { local: true } }
machines:
  one:
    source: { host: here, images: [/srv/one.raw] }
    target: { host: here, dir: /srv/new }
    assess: [ host ]
    validate: [ command: { argv: ["true"] } ]
--- run run plan.yaml --only validate
--- status 1
--- stderr
drover: cannot validate 'one': assess.host is not done
  drover run plan.yaml --machine one

=== a host that is mistyped is answered with the one that was meant
--- run hosts plan.yaml --pin hre
--- status 100
--- stderr
drover: cannot pin 'hre': no host of the plan is called so
  did you mean drover hosts plan.yaml --pin here?

=== the version is told whichever way it is asked for
--- sh
drover version | sed 's/[0-9][0-9.]*/N/'
drover --version | sed 's/[0-9][0-9.]*/N/'
drover -V | sed 's/[0-9][0-9.]*/N/'
--- stdout
drover N
drover N
drover N

=== a saved preview that is damaged is told
--- file x.preview
{"drover": "preview", "v": 1,
--- run run x.preview
--- status 5
--- stderr
drover: cannot use the saved preview 'x.preview': it is damaged
  make it again, with `drover preview`, the plan's file and -o x.preview

=== a damaged preview that still names its plan says what to type
--- file erp.yaml
plan: erp
--- sh
printf '{"drover": "preview", "v": 1, "file": "erp.yaml", "opt' >x.preview
drover run x.preview
--- status 5
--- stderr
drover: cannot use the saved preview 'x.preview': it is damaged
  make it again: drover preview erp.yaml -o x.preview

=== options beside a saved preview must be those it was made with
--- file x.preview
{"drover": "preview", "v": 1, "file": "/nowhere/plan.yaml", "options": {"machine": "a"}, "preview": {}}
--- run run x.preview --machine b
--- status 100
--- stderr
drover: --machine b is not what the preview was made with
  leave it out, or make another preview

=== a cutover that would be refused is, before anybody is asked to confirm it
--- file plan.yaml
plan: small
hosts: { here: { local: true } }
machines:
  one:
    source: { host: here, images: ["${plan_dir}/one.raw"] }
    target: { host: here, dir: /srv/new/one }
    assess: [ command: { argv: ["true"] } ]
    cutover: [ quiesce ]
  two:
    source: { host: here, images: ["${plan_dir}/two.raw"] }
    target: { host: here, dir: /srv/new/two }
    assess: [ command: { argv: ["true"] } ]
    cutover: [ quiesce ]
--- sh
drover cutover plan.yaml -m one --wait soon
drover cutover plan.yaml -m one
drover cutover plan.yaml
test ! -e .drover
drover run plan.yaml -m one >said || cat said
drover cutover plan.yaml -m two
drover cutover plan.yaml
--- status 6
--- stderr
drover: cannot use --wait 'soon': it is no duration
  for example: drover cutover plan.yaml --wait 30m
drover: cannot cut over 'one': assess.command is not done
  drover run plan.yaml --machine one
drover: cannot cut over 'one': assess.command is not done
  drover run plan.yaml --machine one
drover: cannot cut over 'two': assess.command is not done
  drover run plan.yaml --machine two
drover: nobody is at a terminal to confirm: Cut over one, two: the source stops serving, the target starts.
  give -y to say yes beforehand

=== a cutover that a blocker keeps back says so, and asks nobody
--- file plan.yaml
plan: small
hosts: { here: { local: true } }
machines:
  one:
    source: { host: here, images: ["${plan_dir}/one.raw"] }
    target: { host: here, dir: /srv/new }
    assess: [ check: { file: no.lua } ]
    cutover: [ quiesce ]
--- file no.lua
drover.finding{ severity = "blocker", code = "check.day", text = "not today", remedy = "wait" }
--- sh
drover run plan.yaml >/dev/null 2>&1
drover cutover plan.yaml
--- status 1
--- stderr
drover: cannot cut over 'one': blocker check.day: not today
  wait; or accept it in the plan: accept: [{finding: check.day, machine: one, until: DATE, reason: WHY}]

=== after a cutover that starts nothing, status names the way back
--- file plan.yaml
plan: small
hosts: { here: { local: true } }
machines:
  one:
    source: { host: here, images: ["${plan_dir}/one.raw"], power: { command: { off: [touch, "${plan_dir}/off"], on: [rm, "${plan_dir}/off"], status: [sh, "${plan_dir}/power"] } } }
    target: { host: here, dir: "${plan_dir}/new" }
    cutover: [ quiesce, "off" ]
--- file power
test -e "${0%/*}/off" && echo off || echo on
--- sh
exec 2>&1
truncate -s 1M one.raw
drover cutover plan.yaml -y | tail -n 1
drover status plan.yaml --state .drover | tail -n +2
drover rollback plan.yaml --to cutover -y | tail -n 1
drover status plan.yaml | tail -n 1
--- stdout
Next: drover rollback plan.yaml --to cutover, and the source serves again

machine  serves  phase    done  step now  last error
one      nobody  cutover   2/2  -         -

Next: drover rollback plan.yaml --state .drover --to cutover, and the source
      serves again
Next: drover preview plan.yaml
Next: drover cutover plan.yaml

=== a run beside a machine whose cutover was begun says what that one waits for
--- file plan.yaml
plan: small
hosts: { here: { local: true } }
defaults: { target: { host: here, dir: "${plan_dir}/new" } }
machines:
  one:
    source: { host: here, images: ["${plan_dir}/one.raw"], power: { command: { off: [touch, "${plan_dir}/off"], on: [rm, "${plan_dir}/off"], status: [sh, "${plan_dir}/power"] } } }
    cutover: [ quiesce, "off" ]
  two:
    source: { host: here, images: ["${plan_dir}/two.raw"] }
    assess: [ file: { path: "${plan_dir}/two.raw" } ]
--- file power
test -e "${0%/*}/off" && echo off || echo on
--- sh
exec 2>&1
truncate -s 1M one.raw two.raw
drover cutover plan.yaml --machine one -y | tail -n 2 | head -n 1
drover run plan.yaml | sed -n 's/, [0-9.]*m*s$//; /^\(run:\|Next:\|      drover\)/p'
echo "ended with ${PIPESTATUS[0]}"
--- stdout
Next: drover rollback plan.yaml --machine one --to cutover, and the source
drover: cannot run 'one': its cutover was begun and nobody serves
  drover cutover plan.yaml --machine one, or drover rollback plan.yaml --machine one --to cutover
run: not done for every machine, see above
Next: drover cutover plan.yaml --machine one, or
      drover rollback plan.yaml --machine one --to cutover
ended with 1

=== the way back that status names is for those alone whose cutover was begun
--- file plan.yaml
plan: small
hosts: { here: { local: true } }
defaults: { target: { host: here, dir: "${plan_dir}/new" }, cutover: [ quiesce, "off" ] }
machines:
  one: { source: { host: here, images: ["${plan_dir}/one.raw"], power: { command: { off: [touch, "${plan_dir}/off1"], on: [rm, "${plan_dir}/off1"], status: [sh, "${plan_dir}/power", off1] } } } }
  two: { source: { host: here, images: ["${plan_dir}/two.raw"], power: { command: { off: [touch, "${plan_dir}/off2"], on: [rm, "${plan_dir}/off2"], status: [sh, "${plan_dir}/power", off2] } } } }
  six: { source: { host: here, images: ["${plan_dir}/six.raw"], power: { command: { off: [touch, "${plan_dir}/off6"], on: [rm, "${plan_dir}/off6"], status: [sh, "${plan_dir}/power", off6] } } } }
--- file power
test -e "${0%/*}/$1" && echo off || echo on
--- sh
truncate -s 1M one.raw two.raw six.raw
for m in one two; do drover cutover plan.yaml -m $m -y >log || cat log; done
drover status plan.yaml | sed '1,/six/d'
drover status plan.yaml -m one | tail -n 1
drover cutover plan.yaml -m six -y >log || cat log
drover status plan.yaml | tail -n 1
--- stdout

Next: drover cutover plan.yaml -m six
  or: drover rollback plan.yaml -m one --to cutover, and the source serves again
  or: drover rollback plan.yaml -m two --to cutover, and the source serves again
Next: drover rollback plan.yaml -m one --to cutover, and the source serves again
Next: drover rollback plan.yaml --to cutover, and the source serves again

=== a list of backups fits on a terminal of 80 columns, a table for each place
--- sh
cat >plan.yaml <<END
plan: small
hosts: { backup-store: { local: true } }
defaults: { target: { host: backup-store, dir: $PWD/new } }
machines:
  fileserver-london-2:
    source: { host: backup-store, images: { data-1: $PWD/one.raw } }
    backup: [ image: { to: "backup-store:$PWD/backups/of/the/shop" } ]
  mail:
    source: { host: backup-store, images: { root: $PWD/two.raw } }
    backup: [ image: { to: "backup-store:$PWD/backups/of/the/office" } ]
END
yes | head -c 3M | tee one.raw >two.raw
drover run plan.yaml -y >log || cat log
script -qec 'stty cols 80; drover backups list plan.yaml' /dev/null | tr -d '\r' |
	sed "s:$PWD:HERE:; s/20......T......Z-......../20261122T033310Z-e89a4a68/; s/  [0-9][0-9]* B/  214 B/"
--- stdout
backup-store:HERE/backups/of/the/shop
MACHINE              BACKUP                     DISK       SIZE  ADDED  DIGEST
fileserver-london-2  20261122T033310Z-e89a4a68  data-1  3.0 MiB  214 B  8f4ae54~

backup-store:HERE/backups/of/the/office
MACHINE  BACKUP                     DISK     SIZE  ADDED  DIGEST
mail     20261122T033310Z-e89a4a68  root  3.0 MiB  214 B  8f4ae547c554

=== what a verb of backups cannot heed is refused, with what can
--- sh
drover backups list plan.yaml --sample
drover backups list plan.yaml 5
drover backups verify plan.yaml --keep 3
drover backups restore plan.yaml 20260201T100000Z-7f3a2c91 root /srv/root.raw --preview
drover backups prune plan.yaml --sample --keep 3
drover backups restor plan.yaml 20260201T100000Z-7f3a2c91 root /srv/root.raw
drover backups restore
drover backups plan.yaml
drover backups prune plan.yaml
--- status 100
--- stderr
drover: `drover backups list` takes no option --sample
  --sample belongs to: backups verify
drover: `drover backups list` does not know what to do with '5'
  usage: drover backups list [options] PLAN
drover: `drover backups verify` takes no option --keep
  --keep belongs to: backups prune
drover: `drover backups restore` takes no option --preview
  --preview belongs to: backups prune
drover: `drover backups prune` takes no option --sample
  --sample belongs to: backups verify
drover: 'backups' knows no 'restor'
  did you mean `drover backups restore`?
drover: 'backups' wants list, verify, restore or prune, and a plan
  drover backups list PLAN
drover: 'backups' wants list, verify, restore or prune, and a plan
  drover backups list PLAN
drover: 'backups prune' wants to know how many to keep
  drover backups prune plan.yaml --keep 3, for the newest three of each machine
