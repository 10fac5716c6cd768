#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A check that is broken, endless or greedy; a state directory that is read only, foreign or
# damaged; a source that cannot be proven off. The whole message, and: nothing is lost, the state can be
# read, and `run` goes on once it is mended. No host but this one is needed.
. "$(dirname "$0")/../lib/lab.sh"
lab_enter "$0" "$@"
. "$(dirname "$0")/../lib/disks.sh"
. "$(dirname "$0")/../lib/bad.sh"
make_disk "$LAB/disk.raw"
before=$(sha256sum <"$LAB/disk.raw")
mkdir "$LAB/there"
cd "$LAB" || exit 1

# plan FURTHER: one machine, from here to here.
plan() {
	cat >plan.yaml <<-END
	plan: bad
	hosts: { here: { local: true } }
	machines:
	  erp:
	    source: { host: here, images: { root: "$LAB/disk.raw" } }
	    target: { host: here, dir: "$LAB/there", format: raw }
	    convert: [ disks: {} ]
	    $1
	END
}
fresh() {
	must "the source is as before: $1" test "$(sha256sum <"$LAB/disk.raw")" = "$before"
	must "no agent is left after: $1" wait_for 120 no_agent
	rm -rf .drover there/*
}

plan "validate: [ check: { id: asks, file: asks.lua, timeout: 1s } ]"
echo 'drover.ok("all is' >asks.lua
bad 2 "a check with a syntax error" "$DROVER" run plan.yaml <<'END'
plan.yaml:8:42: the check is not Lua: asks.lua:1: unfinished string near '"all is'
    8 |     validate: [ check: { id: asks, file: asks.lua, timeout: TIME } ]
      |                                          ^
END
printf 'local n = 0\nwhile true do n = n + 1 end\n' >asks.lua
bad 1 "a check without end" "$DROVER" run plan.yaml <<'END'
bad  run  plan.yaml  run ID  1 machine, 1 host
NOW  erp      convert.disks         done
NOW  erp      validate.asks         FAILED: asks.lua:2: did not end within TIME
                   `timeout:` in the plan allows more
                   the step stands at plan.yaml:8:17

machine  convert  validate  serves   took
erp      done     FAILED    source  TOOK

run: a step FAILED, see above, TIME, SIZE moved
Next: drover run plan.yaml
END
plan "validate: [ check: { id: asks, file: asks.lua } ]"
printf 'local t = {}\nwhile true do t[#t + 1] = ("x"):rep(1 << 20) end\n' >asks.lua
bad 1 "a check that eats memory" "$DROVER" run plan.yaml <<'END'
bad  run  plan.yaml  run ID  1 machine, 1 host
NOW  erp      validate.asks         FAILED: asks.lua:2: needs more than 64.0 MiB of memory
                   `memory:` in the plan allows more
                   the step stands at plan.yaml:8:17

machine  convert  validate  serves   took
erp      as is    FAILED    source  TOOK

run: a step FAILED, see above, TIME
Next: drover run plan.yaml
END
bad 0 "the status after bad checks" "$DROVER" status plan.yaml <<'END'
bad  plan ID  state LAB/.drover

machine  serves  phase     done  step now              last error
erp      source  validate   1/2  validate.asks failed  asks.lua:2: needs more than 64.0 MiB of memory

erp validate.asks (NOW): asks.lua:2: needs more than 64.0 MiB of memory
  `memory:` in the plan allows more
Next: drover run plan.yaml
END
must "the copy stands" cmp disk.raw there/erp/root.base.raw
echo 'drover.ok("all is well")' >asks.lua
expect 0 "$DROVER" run plan.yaml

mount --bind .drover .drover
mount -o remount,bind,ro .drover
bad 111 "a state that is read only" "$DROVER" run plan.yaml <<'END'
drover: cannot lock state 'LAB/.drover': Read-only file system
  recording needs a directory that can be written to: mend that, or name another one with --state DIR
END
bad 0 "the status of a state that is read only" "$DROVER" status plan.yaml <<'END'
bad  plan ID  state LAB/.drover

machine  serves  phase     done  step now  last error
erp      source  validate   2/2  -         -

All is done. To take it back: drover rollback plan.yaml
END
umount .drover
mkdir .other
echo mine >.other/thesis
bad 111 "a directory that is no state" "$DROVER" run plan.yaml --state .other <<'END'
drover: cannot use state '.other': it holds 'thesis' and was not made by drover
  name another directory with --state DIR, or an empty one
END
must "it is left alone" test "$(ls -A .other)" = thesis
cp -a .drover .whole
find .drover/objects -type f | while read -r f; do chmod u+w "$f"; printf 'XXXX' | dd of="$f" bs=1 conv=notrunc status=none; done
bad 111 "objects that are damaged" "$DROVER" run plan.yaml <<'END'
drover: cannot use state 'LAB/.drover': damaged object 'LAB/.drover/objects/XX/ID': its compressed data is damaged
  bring the file back from a backup or a clone of this state, or move LAB/.drover aside and start anew: drover probes before it changes anything; `git -C LAB/.drover fsck` says what else is missing
END
rm -rf .drover
mv .whole .drover
must "nothing at the target was touched meanwhile" cmp disk.raw there/erp/root.base.raw
expect 0 "$DROVER" rollback plan.yaml -y
must "nothing is at the target" nothing_in there
fresh "bad states"

# A source whose power says neither on nor off is not proven off: it serves on.
cat >plan.yaml <<-END
plan: bad
hosts: { here: { local: true } }
machines:
  erp:
    source: { host: here, images: { root: "$LAB/disk.raw" },
              power: { command: { off: ["true"], on: [touch, "$LAB/on"], status: [echo, perhaps] } } }
    target: { host: here, dir: "$LAB/there", format: raw }
    convert: [ disks: {} ]
    cutover: [ "off": {} ]
END
expect 0 "$DROVER" run plan.yaml
bad 1 "a source that cannot be proven off" "$DROVER" cutover plan.yaml -y <<'END'
bad  cutover  plan.yaml  run ID  1 machine, 1 host
NOW  erp      cutover.off           FAILED: cannot tell whether 'erp' is on: source.power.command.status printed neither `on` nor `off`
                   the step stands at plan.yaml:9:16

machine  cutover  serves   took
erp      FAILED   source  TOOK

cutover: a step FAILED, see above, TIME
Next: drover cutover plan.yaml
END
bad 0 "the status: the source serves" "$DROVER" status plan.yaml <<'END'
bad  plan ID  state LAB/.drover

machine  serves  phase    done  step now            last error
erp      source  cutover   1/2  cutover.off failed  cannot tell whether 'erp' is on: source.power.command.status printed neither `on` nor `off`

erp cutover.off (NOW): cannot tell whether 'erp' is on: source.power.command.status printed neither `on` nor `off`
Next: drover cutover plan.yaml
END
expect 0 "$DROVER" rollback plan.yaml -y
must "nothing is at the target" nothing_in there
fresh "power"
bad_end
