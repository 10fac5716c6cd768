--- file two.yaml
plan: small
hosts: { here: { local: true } }
defaults:
  target: { host: here, dir: "${plan_dir}/new", format: raw }
  convert: [ disks: {} ]
machines:
  one: { source: { host: here, images: { root: "${plan_dir}/one.raw" } } }
  two: { source: { host: here, images: { root: "${plan_dir}/two.raw" } } }

=== a reader that leaves early ends a preview without a word
--- file plan.yaml
plan: small
hosts: { here: { local: true } }
machines:
  one:
    source: { host: here, images: ["${plan_dir}/one.raw"] }
    target: { host: here, dir: /srv/new }
    assess: [ host ]
--- sh
mkfifo unread
exec 3<>unread 4>unread 3<&-
(drover preview plan.yaml >&4)
echo "status $?"
--- stdout
status 141

=== a failed step is told once where both streams are one
--- file plan.yaml
plan: small
hosts: { here: { local: true } }
machines:
  one:
    source: { host: here, images: ["${plan_dir}/one.raw"] }
    target: { host: here, dir: /srv/new }
    convert:
      - command: { argv: [/nowhere/at/all], probe: [test, -e, "${plan_dir}/done"] }
--- sh
export COLUMNS=200
drover run plan.yaml 2>&1 | sed 's/ in [0-9][0-9]*s:/:/; s/[0-9][0-9]*m\?s$/NOW/'
exit ${PIPESTATUS[0]}
--- status 1
--- stdout
small  run  plan.yaml  run ID  1 machine, 1 host
NOW       one      convert.command       FAILED: cannot run '/nowhere/at/all': No such file or directory
                   the step stands at plan.yaml:8:9

machine  convert  serves   took
one      FAILED   source   NOW

run: a step FAILED, see above, NOW
Next: drover run plan.yaml

=== what a failed step says to type is what comes next, for that machine alone
--- sh
cp two.yaml plan.yaml
yes | head -c 1M | tee one.raw >two.raw
drover run plan.yaml -y >log || cat log
truncate -s 2M one.raw
COLUMNS=200 drover sync plan.yaml 2>&1 | grep '^Next'
sed -i 's/disks: {}/disks: { passes: 2 }/' plan.yaml
COLUMNS=200 drover run plan.yaml 2>&1 | grep '^Next'
COLUMNS=200 drover status plan.yaml | tail -n 1
drover rollback plan.yaml --machine one --to convert -y >log && drover run plan.yaml -y >log || cat log
cmp one.raw new/one/root.base.raw || cat log
--- stdout
Next: drover rollback plan.yaml --machine one --to convert, then drover run plan.yaml --machine one
Next: drover rollback plan.yaml --machine one --to convert, then drover run plan.yaml --machine one
Next: drover rollback plan.yaml --machine one --to convert, then drover run plan.yaml --machine one

=== a copy that was begun in another directory is not forgotten, and what to type is for its machine alone
--- sh
cp two.yaml plan.yaml
yes | head -c 1M | tee one.raw >two.raw
drover run plan.yaml -y >log || cat log
sed -i 's#one.raw" } }#&, target: { dir: "${plan_dir}/other" }#' plan.yaml
COLUMNS=300 drover preview plan.yaml | grep -o 'target.moved.*\|type drover.*convert' | sed "s#$PWD/##g"
COLUMNS=300 drover run plan.yaml 2>&1 | grep -o 'type drover.*convert'
drover rollback plan.yaml --machine one -y >log 2>&1
echo "rollback ended with $?"; find new other -name '*.raw' 2>/dev/null
cp two.yaml plan.yaml
drover rollback plan.yaml -y >log 2>&1 || cat log
find new other -name '*.raw' 2>/dev/null || true
--- stdout
target.moved: cannot go on with the copy: it was begun in 'here:new/one', the plan has 'here:other/one' now
type drover rollback plan.yaml --machine one --to convert
type drover rollback plan.yaml --machine one --to convert
type drover rollback plan.yaml --machine one --to convert
rollback ended with 1
new/one/root.base.raw
new/two/root.base.raw

=== a copy that was cleared by hand is begun anew elsewhere, and known there
--- sh
cat >plan.yaml <<END
plan: small
hosts: { here: { local: true }, also: { local: true } }
machines:
  one:
    source: { host: here, images: { root: $PWD/one.raw } }
    target: { host: here, dir: $PWD/new, format: raw }
    convert: [ disks: {} ]
END
to() { sed -i "s#host: [a-z]*, dir: [^,]*#host: $1, dir: $PWD/$2#" plan.yaml; }
yes | head -c 1M >one.raw
drover run plan.yaml -y >log || cat log
to here second
drover run plan.yaml -y >log 2>&1 && cat log
rm -r new
drover run plan.yaml -y >log 2>&1 || cat log
to here new
COLUMNS=300 drover run plan.yaml -y 2>&1 | grep -o "target.moved.*" | sed "s#$PWD/##g"
to also second		# the same machine by another name
drover run plan.yaml -y >log 2>&1 || cat log
to also third
COLUMNS=300 drover run plan.yaml -y 2>&1 | grep -o "target.[lm].*" | sed "s#$PWD/##g"
to also fourth
COLUMNS=300 drover run plan.yaml -y 2>&1 | grep -o "target.[lm].*" | sed "s#$PWD/##g"
find second third -name '*.raw'
--- stdout
target.moved: cannot go on with the copy: it was begun in 'here:second/one', the plan has 'here:new/one' now
target.moved: cannot go on with the copy: it was begun in 'here:second/one', the plan has 'here:new/one' now
target.left: the copy that was begun in 'here:second/one' stays there, the plan has 'also:third/one' now
target.moved: cannot go on with the copy: it was begun in 'also:third/one', the plan has 'also:fourth/one' now
target.moved: cannot go on with the copy: it was begun in 'also:third/one', the plan has 'also:fourth/one' now
second/one/root.base.raw
third/one/root.base.raw
=== a further pass that failed is in the status until one succeeds
--- sh
cat >plan.yaml <<END
plan: small
hosts: { here: { local: true } }
machines:
  one:
    source: { host: here, images: { root: $PWD/one.raw } }
    target: { host: here, dir: $PWD/new, format: raw }
    convert: [ disks: {} ]
    cutover: [ quiesce: { mode: shutdown }, pass: {} ]
END
yes | head -c 1M >one.raw
export COLUMNS=300
drover run plan.yaml -y >log || cat log
mv one.raw away
drover sync plan.yaml >log 2>&1
drover status plan.yaml | sed -n '3,$s/  */ /gp' | sed "s|$PWD|DIR|g; s/([-0-9TZ:]*)/(TIME)/"
mv away one.raw
drover sync plan.yaml >log 2>&1 || cat log
drover status plan.yaml | sed -n '3,$s/  */ /gp'
--- stdout
machine serves phase done step now last error
one source convert 1/3 sync failed cannot find disk 'root': 'DIR/one.raw': No such file or directory
one sync (TIME): cannot find disk 'root': 'DIR/one.raw': No such file or directory
 it is looked for on the source's host: is it attached, and the path right?
Next: drover sync plan.yaml
machine serves phase done step now last error
one source convert 1/3 - -
Next: drover cutover plan.yaml

=== a rollback that finds a difference has undone all, and says what to look at
--- sh
cat >plan.yaml <<END
plan: small
hosts: { here: { local: true } }
machines:
  one:
    source: { host: here, images: [$PWD/one.raw] }
    target: { host: here, dir: /srv/new }
    backup:
      - command: { argv: [touch, $PWD/kept], probe: [test, -e, $PWD/kept], undo: [rm, -f, $PWD/kept] }
    convert:
      - command: { argv: [touch, $PWD/made], probe: [test, -e, $PWD/made], undo: [rm, -f, $PWD/made] }
END
export COLUMNS=200
drover run plan.yaml -y >log || cat log
rm kept
drover rollback plan.yaml --to convert -y 2>&1 | sed 's/^[0-9:]\{8\}/HH:MM:SS/; s/, [0-9.]*m\?s$/, TIME/; s/ [0-9.]*m\?s$/ TIME/; s/  *run [0-9a-f]*/ run ID/'
[ ! -e made ]
--- stdout
small  rollback  plan.yaml run ID  1 machine, 1 host
HH:MM:SS  one      convert.command       undone
HH:MM:SS  one      'one' is not as it was before convert: steps/backup.command/result.json

machine  convert  serves   took
one      undone   source   TIME

rollback: undone, but NOT proven to be as before, TIME
Next: drover diff plan.yaml convert --machine one
drover: 'one' is not as it was before convert: steps/backup.command/result.json
  drover diff plan.yaml convert --machine one

=== what a torn journal lost is said by the run that mends it
--- file plan.yaml
plan: small
hosts: { here: { local: true } }
machines:
  one:
    source: { host: here, images: ["${plan_dir}/one.raw"] }
    target: { host: here, dir: /srv/new }
    convert:
      - command: { argv: [touch, "${plan_dir}/done"], probe: [test, -e, "${plan_dir}/done"] }
--- sh
drover run plan.yaml >said || cat said
printf 'torn' >>.drover/journal/small*
drover run plan.yaml | sed 's/[0-9][0-9]*m\?s$/NOW/'
--- stdout
note: the journal ended in 4 bytes of an unfinished record, which nobody was
      told of: cut
small  run  plan.yaml  run ID  1 machine, 1 host

machine  convert  serves   took
one      as is    source   NOW

run: done, NOW
Next: drover status plan.yaml

=== status knows the phase of a machine that has steps in a few phases only
--- file plan.yaml
plan: small
hosts: { here: { local: true } }
machines:
  one:
    source: { host: here, images: ["${plan_dir}/one.raw"] }
    target: { host: here, dir: /srv/new }
    convert:
      - command: { argv: [touch, "${plan_dir}/done"], probe: [test, -e, "${plan_dir}/done"], undo: [rm, "${plan_dir}/done"] }
--- sh
exec 2>&1
drover run plan.yaml >said || cat said
drover status plan.yaml --state .drover | tail -n +2
drover rollback plan.yaml -y >said || cat said
drover status plan.yaml --state .drover | tail -n +2
--- stdout

machine  serves  phase    done  step now  last error
one      source  convert   1/1  -         -

All is done. To take it back: drover rollback plan.yaml --state .drover

machine  serves  phase  done  step now  last error
one      source  -       0/1  -         -

Next: drover run plan.yaml --state .drover

=== a step that asked again is not done is told with what goes on with it
--- file plan.yaml
plan: small
hosts: { here: { local: true } }
machines:
  one:
    source: { host: here, images: ["${plan_dir}/one.raw"] }
    target: { host: here, dir: /srv/new }
    convert:
      - command: { argv: ["true"], probe: [test, -e, "${plan_dir}/done"] }
--- sh
drover run plan.yaml >/dev/null
--- status 1
--- stderr
plan.yaml:8:9: step one convert.command: cannot finish 'convert.command': it ran without an error, but asked again it says 'absent'
    8 |       - command: { argv: ["true"], probe: [test, -e, "${plan_dir}/done"] }
      |         ^
  drover run plan.yaml goes on with it

=== two interrupts cancel the step, and status names it
--- file plan.yaml
plan: small
hosts: { here: { local: true } }
machines:
  one:
    source: { host: here, images: ["${plan_dir}/one.raw"] }
    target: { host: here, dir: /srv/new }
    convert:
      - command: { argv: [sh, "${plan_dir}/stop"], probe: [test, -e, "${plan_dir}/done"] }
--- file stop
cd "${0%/*}"
until [ -s pid ]; do sleep 0.1; done
read -r pid <pid
kill -INT "$pid"
kill -TERM "$pid"
exec sleep 60
--- sh
COLUMNS=200 drover run plan.yaml >out 2>&1 &
echo $! >pid.new
mv pid.new pid
wait $!
echo "status $?"
sed 's/ in [0-9][0-9]*s:/:/; s/[0-9][0-9]*m\?s$/TIME/' out
drover status plan.yaml --state .drover | sed '1d; s/(20[^)]*)/(NOW)/'
--- stdout
status 3
small  run  plan.yaml  run ID  1 machine, 1 host
NOW       stopping: running steps go on to a safe point; interrupt again to cancel them
NOW       one      convert.command       stopped: 'any.command' was stopped
                   the step stands at plan.yaml:8:9

machine  convert  serves   took
one      stopped  source   TIME

run: stopped; the same command goes on with it, TIME
Next: drover run plan.yaml

machine  serves  phase    done  step now                 last error
one      source  convert   0/1  convert.command stopped  'any.command' was stopped

one convert.command (NOW): 'any.command' was stopped
Next: drover run plan.yaml --state .drover
