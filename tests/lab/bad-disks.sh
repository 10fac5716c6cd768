#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Disks that cannot be copied: a source that is missing, in use, or shrinks; a target that is
# somebody else's, too small, or fills up; a missing tool. The whole message, and: the source is
# as it was, the target too, the state can be read, and `run` goes on once it is mended.
. "$(dirname "$0")/../lib/lab.sh"
lab_enter "$0" "$@"
. "$(dirname "$0")/../lib/disks.sh"
. "$(dirname "$0")/../lib/bad.sh"
lab_host b 10.66.0.12
srv=$LAB/hosts/b/srv
mkdir -p "$srv/out"
make_disk "$LAB/disk.raw"
before=$(sha256sum <"$LAB/disk.raw")
cd "$LAB" || exit 1

# plan SOURCE TARGET [FURTHER]: one machine, from here to b.
plan() {
	cat >plan.yaml <<-END
	plan: bad
	hosts:
	  b: { ssh: root@10.66.0.12, identity: "$LAB/key", known_hosts: "$LAB/known_hosts" }
	  here: { local: true }
	machines:
	  erp:
	    source: { host: here, $1 }
	    target: { host: b, $2 }
	    convert: [ disks: {} ]
	    validate: [ disks: {} ]
	${3:+    $3}
	accept: [ { finding: guest.no-root, machine: erp, until: 2099-01-01, reason: data only } ]
	END
}
image="images: { root: \"$LAB/disk.raw\" }"
out="dir: /srv/out, format: raw"

# fresh WHAT: nothing is lost, and the next case begins anew.
fresh() {
	must "the source is as before: $1" test "$(sha256sum <"$LAB/disk.raw")" = "$before"
	must "no agent is left after: $1" wait_for 120 no_agent
	rm -rf .drover
}

plan "images: { root: \"$LAB/disc.raw\" }" "$out"
bad 1 "a source that is not there" "$DROVER" run plan.yaml <<'END'
bad  run  plan.yaml  run ID  1 machine, 2 hosts
NOW  erp      convert.disks         FAILED: host 'here': cannot find disk 'root': 'LAB/disc.raw': No such file or directory
                   it is looked for on the source's host: is it attached, and the path right?
                   the step stands at plan.yaml:9:16

machine  convert  serves   took
erp      FAILED   source  TOOK

run: a step FAILED, see above, TIME
Next: drover run plan.yaml
END
bad 0 "the status after a missing source" "$DROVER" status plan.yaml <<'END'
bad  plan ID  state LAB/.drover

machine  serves  phase    done  step now              last error
erp      source  convert   0/2  convert.disks failed  host 'here': cannot find disk 'root': 'LAB/disc.raw': No such file or directory

erp convert.disks (NOW): host 'here': cannot find disk 'root': 'LAB/disc.raw': No such file or directory
  it is looked for on the source's host: is it attached, and the path right?
Next: drover run plan.yaml
END
must "nothing is at the target" nothing_in "$srv/out"
fresh "a source that is not there"

plan "disks: { root: { id: wwn-0x5000c500a1 } }" "$out"
bad 1 "a device that is not there" "$DROVER" run plan.yaml <<'END'
bad  run  plan.yaml  run ID  1 machine, 2 hosts
NOW  erp      convert.disks         FAILED: host 'here': cannot find disk 'root': no disk here has the id 'wwn-0x5000c500a1'
                   what is there: lsblk -do NAME,SIZE,SERIAL,WWN, and ls -l /dev/disk/by-id
                   the step stands at plan.yaml:9:16

machine  convert  serves   took
erp      FAILED   source  TOOK

run: a step FAILED, see above, TIME
Next: drover run plan.yaml
END
must "nothing is at the target" nothing_in "$srv/out"
fresh "a device that is not there"

plan "$image" "$out" "assess: [ machine: {} ]"
qemu-nbd -f raw --persistent -k "$LAB/in-use.sock" disk.raw &
nbd=$!
wait_for 120 test -S "$LAB/in-use.sock"
bad 0 "a source that is in use" "$DROVER" run plan.yaml <<'END'
bad  run  plan.yaml  run ID  1 machine, 2 hosts
NOW  warning  erp      disk.busy: disk 'root' (LAB/disk.raw) is in use by another program on the source
                            mend: shut the machine down, or let cutover quiesce it
NOW  accepted erp      guest.no-root: no disk of 'erp' holds a root file system
NOW  erp      assess.machine        done
NOW  erp      convert.disks         done
NOW  erp      validate.disks        done

machine  assess   convert  validate  serves   took
erp      done     done     done      source  TOOK

run: done, TIME, SIZE moved
Next: drover status plan.yaml
END
kill $nbd; wait $nbd
expect 0 "$DROVER" rollback plan.yaml -y	# it is the same machine, though nobody uses it now
must "nothing is at the target" nothing_in "$srv/out"
fresh "a source that is in use"

# More random data at its beginning than may be under way: when the gate shuts, the sender
# cannot be near the end.
cp disk.raw shrinks.raw
dd if=/dev/urandom of=shrinks.raw bs=1M count=60 conv=notrunc status=none
cp shrinks.raw kept.raw
plan "images: { root: \"$LAB/shrinks.raw\" }" "$out"
gate b "$srv/out/erp/root.base.raw" 2048
sed -i "s/root@10.66.0.12/root@$GATE/; s/^accept:/    stream: relay\n&/" plan.yaml
shrink() { wait_for 250 gate_shut && truncate -s 64M shrinks.raw; gate_open; }
shrink &
bad 1 "a source that shrinks" "$DROVER" run plan.yaml <<'END'
bad  run  plan.yaml  run ID  1 machine, 2 hosts
NOW  erp      convert.disks         FAILED: host 'here': cannot copy disk 'root': cannot read 'LAB/shrinks.raw' at byte 67108864: it ends there now, it had 100675584 bytes
                   something made it shorter: stop that and bring it back, then drover run plan.yaml; or drover rollback plan.yaml --to convert
                   the step stands at plan.yaml:9:16

machine  convert  serves   took
erp      FAILED   source  TOOK

run: a step FAILED, see above, TIME
Next: drover run plan.yaml
END
wait $!
bad 1 "a source that has shrunk" "$DROVER" run plan.yaml <<'END'
bad  run  plan.yaml  run ID  1 machine, 2 hosts
NOW  erp      convert.disks         FAILED: host 'b': cannot go on with disk 'root': it has 67108864 bytes now, the copy was begun with 100675584
                   drover rollback plan.yaml --to convert, then drover run plan.yaml
                   the step stands at plan.yaml:9:16

machine  convert  serves   took
erp      FAILED   source  TOOK

run: a step FAILED, see above, TIME
Next: drover rollback plan.yaml --to convert, then drover run plan.yaml
END
bad 0 "the status after a shrunk source" "$DROVER" status plan.yaml <<'END'
bad  plan ID  state LAB/.drover

machine  serves  phase    done  step now              last error
erp      source  convert   0/2  convert.disks failed  host 'b': cannot go on with disk 'root': it has 67108864 bytes now, the copy was begun with 100675584

erp convert.disks (NOW): host 'b': cannot go on with disk 'root': it has 67108864 bytes now, the copy was begun with 100675584
  drover rollback plan.yaml --to convert, then drover run plan.yaml
Next: drover rollback plan.yaml --to convert, then drover run plan.yaml
END
mv kept.raw shrinks.raw
expect 0 "$DROVER" run plan.yaml
cmp shrinks.raw "$srv/out/erp/root.base.raw" || fail "the copies differ"

# It grows between two passes: the copy stays what it is, and what the hint says leads on.
cp "$srv/out/erp/root.base.raw" as-it-was
echo more >>shrinks.raw
truncate -s 120M shrinks.raw
bad 1 "a source that grew between two passes" "$DROVER" sync plan.yaml <<'END'
bad  sync  plan.yaml  run ID  1 machine, 2 hosts
NOW  erp      convert.disks         FAILED: host 'b': cannot go on with disk 'root': it has 125829120 bytes now, the copy was begun with 100675584
                   drover rollback plan.yaml --to convert, then drover run plan.yaml
                   the step stands at plan.yaml:9:16

machine  convert  serves   took
erp      FAILED   source  TOOK

sync: a step FAILED, see above, TIME
Next: drover rollback plan.yaml --to convert, then drover run plan.yaml
END
cmp as-it-was "$srv/out/erp/root.base.raw" || fail "the copy of a source that grew was written to"
expect 0 "$DROVER" rollback plan.yaml --to convert -y
expect 0 "$DROVER" run plan.yaml
cmp shrinks.raw "$srv/out/erp/root.base.raw" || fail "the copies differ"
expect 0 "$DROVER" rollback plan.yaml -y
gate_end
must "nothing is at the target" nothing_in "$srv/out"
fresh "a source that shrinks"

mkdir -p "$srv/out/erp"
echo mine >"$srv/out/erp/root.base.raw"
plan "$image" "$out"
bad 1 "a target that is somebody else's, preview" "$DROVER" preview plan.yaml <<'END'
bad  run preview  plan.yaml  2 hosts asked, 0 changed

erp  here -> b, serves: source
  convert      disks   FAILED: host 'b': cannot write to '/srv/out/erp': it holds files that drover did not make
                       move it away, choose another target.dir, or say target: { replace: true } to overwrite it
                       the step stands at plan.yaml:9:16

1 machine:  + 0  ~ 0  - 0  ? 0
1 step could not be asked
Next: drover preview plan.yaml
END
bad 1 "a target that is somebody else's" "$DROVER" run plan.yaml <<'END'
bad  run  plan.yaml  run ID  1 machine, 2 hosts
NOW  erp      convert.disks         FAILED: host 'b': cannot write to '/srv/out/erp': it holds files that drover did not make
                   move it away, choose another target.dir, or say target: { replace: true } to overwrite it
                   the step stands at plan.yaml:9:16

machine  convert  serves   took
erp      FAILED   source  TOOK

run: a step FAILED, see above, TIME
Next: drover run plan.yaml
END
must "it is not written to" test "$(cat "$srv/out/erp/root.base.raw")" = mine
bad 0 "its rollback" "$DROVER" rollback plan.yaml -y <<'END'
bad  rollback  plan.yaml  run ID  1 machine, 2 hosts
NOW  erp      'erp' is as it was before convert: tree ID, asked again and equal

machine  serves   took
erp      source  TOOK

rollback: done, TIME
Next: drover preview plan.yaml
END
must "rollback leaves it too" test "$(cat "$srv/out/erp/root.base.raw")" = mine
plan "$image" "$out, replace: true"
expect 0 "$DROVER" run plan.yaml
cmp disk.raw "$srv/out/erp/root.base.raw" || fail "the copies differ"
mv .drover first
plan "$image" "$out"
bad 1 "a target of another state" "$DROVER" run plan.yaml <<'END'
bad  run  plan.yaml  run ID  1 machine, 2 hosts
NOW  erp      convert.disks         FAILED: host 'b': cannot write to '/srv/out/erp': it was made from another state directory
                   move it away, choose another target.dir, or say target: { replace: true } to overwrite it
                   the step stands at plan.yaml:9:16

machine  convert  serves   took
erp      FAILED   source  TOOK

run: a step FAILED, see above, TIME
Next: drover run plan.yaml
END
cmp disk.raw "$srv/out/erp/root.base.raw" || fail "the other state's copy was touched"
rm -rf .drover
mv first .drover
expect 0 "$DROVER" rollback plan.yaml -y
rm -rf "$srv/out/erp"
fresh "a target that is somebody else's"

mkdir "$srv/small"
lab_on b mount -t tmpfs -o size=16m small /srv/small
plan "$image" "dir: /srv/small, format: raw" "assess: [ machine: {} ]"
bad 0 "a target that is too small, preview" "$DROVER" preview plan.yaml <<'END'
bad  run preview  plan.yaml  2 hosts asked, 0 changed

BLOCKER  erp      target.space: the disks need 28.6 MiB, '/srv/small' has 16.0 MiB free
                  mend: free space there, or choose another target.dir
accepted erp      guest.no-root: no disk of 'erp' holds a root file system

erp  here -> b, serves: source
  assess       machine  = asked
  convert      disks    . root: it is read whole: its content is unknown
                        . root: the next pass reads all of it and compares digests: it is no block device
                        + root LAB/disk.raw 96.0 MiB -> /srv/small/erp/root.base.raw
                        read 29.0 MiB, send 29.0 MiB, write 28.6 MiB
  validate     disks    ? root read back whole, once it is copied, at most 96.0 MiB to read

1 machine:  + 1  ~ 0  - 0  ? 1   29.0 MiB to send
1 blocker: a run will refuse
Next: mend what blocks, then drover preview plan.yaml
END
bad 1 "a target that is too small" "$DROVER" run plan.yaml <<'END'
bad  run  plan.yaml  run ID  1 machine, 2 hosts
NOW  accepted erp      guest.no-root: no disk of 'erp' holds a root file system
NOW  erp      assess.machine        done
NOW  BLOCKER  erp      target.space: the disks need 28.6 MiB, '/srv/small' has 16.0 MiB free
                            mend: free space there, or choose another target.dir
NOW  erp      'erp' stops here: blocker target.space

machine  assess   convert  serves   took
erp      done     stopped  source  TOOK

run: refused, TIME
Next: mend what blocks, then drover run plan.yaml
drover: cannot convert 'erp': blocker target.space: the disks need 28.6 MiB, '/srv/small' has 16.0 MiB free
  free space there, or choose another target.dir; or accept it in the plan: accept: [{finding: target.space, machine: erp, until: DATE, reason: WHY}]
END
must "nothing was written" test -z "$(lab_on b find /srv/small -type f)"
fresh "a target that is too small"
plan "$image" "dir: /srv/small, format: raw"
BAD_ALSO="s#at byte [0-9]+, length [0-9]+#at byte N#"
bad 1 "a target that fills up" "$DROVER" run plan.yaml <<'END'
bad  run  plan.yaml  run ID  1 machine, 2 hosts
NOW  erp      convert.disks         FAILED: host 'b': cannot write '/srv/small/erp/root.base.raw' at byte N: No space left on device
                   free space there; the same command then goes on where it stopped
                   the step stands at plan.yaml:9:16

machine  convert  serves   took
erp      FAILED   source  TOOK

run: a step FAILED, see above, TIME
Next: drover run plan.yaml
END
bad 0 "the status after a full target" "$DROVER" status plan.yaml <<'END'
bad  plan ID  state LAB/.drover

machine  serves  phase    done  step now              last error
erp      source  convert   0/2  convert.disks failed  host 'b': cannot write '/srv/small/erp/root.base.raw' at byte N: No space left on device

erp convert.disks (NOW): host 'b': cannot write '/srv/small/erp/root.base.raw' at byte N: No space left on device
  free space there; the same command then goes on where it stopped
Next: drover run plan.yaml
END
BAD_ALSO=
lab_on b mount -o remount,size=200m /srv/small
expect 0 "$DROVER" run plan.yaml
lab_on b cat /srv/small/erp/root.base.raw | cmp - disk.raw || fail "the copies differ"
expect 0 "$DROVER" rollback plan.yaml -y
must "nothing is at the target" test -z "$(lab_on b find /srv/small -type f)"
fresh "a target that fills up"

truncate -s 32M device
loop=$(losetup --show -f device)
if [ -n "$loop" ]; then
	exec 7<"$loop"
	losetup -d "$loop"	# gone with the last who has it open
	BAD_ALSO="s#$loop\b#LOOP#g"
	plan "$image" "dir: $LAB/maps, disks: { root: { path: $loop, format: raw } }"
	sed -i 's/host: b,/host: here,/' plan.yaml
bad 1 "a device that is too small" "$DROVER" run plan.yaml <<'END'
bad  run  plan.yaml  run ID  1 machine, 1 host
NOW  erp      convert.disks         FAILED: cannot copy to 'LOOP': it has 32.0 MiB (33554432 bytes), the source 96.0 MiB (100675584 bytes)
                   make the target at least as large as the source
                   the step stands at plan.yaml:9:16

machine  convert  serves   took
erp      FAILED   source  TOOK

run: a step FAILED, see above, TIME
Next: drover run plan.yaml
END
	must "nothing was written" cmp -n 33554432 device /dev/zero
	exec 7<&-
	BAD_ALSO=
	rm -rf maps
	fresh "a device that is too small"
else
	echo "no loop device: no device that is too small"
fi

for t in qemu-img qemu-nbd; do lab_on b mount --bind /dev/null "$(command -v $t)"; done
plan "$image" "dir: /srv/out, format: qcow2"
bad 0 "tools that are missing, hosts" "$DROVER" hosts plan.yaml <<'END'
host  state  system  arch  agent  as  has  lacks
b  ready  LINUX  x86_64  0.1.0  root  -  qemu-img, qemu-nbd
here  ready  LINUX  x86_64  0.1.0  root  qemu-img, qemu-nbd  -
on b: apt-get install qemu-utils
END
bad 1 "a tool that is missing, preview" "$DROVER" preview plan.yaml <<'END'
bad  run preview  plan.yaml  2 hosts asked, 0 changed

erp  here -> b, serves: source
  convert      disks   FAILED: host 'b': cannot run 'qemu-img': it is not installed here
                       install the package qemu-utils: apt-get install qemu-utils
                       the step stands at plan.yaml:9:16

1 machine:  + 0  ~ 0  - 0  ? 0
1 step could not be asked
Next: drover preview plan.yaml
END
bad 1 "a tool that is missing" "$DROVER" run plan.yaml <<'END'
bad  run  plan.yaml  run ID  1 machine, 2 hosts
NOW  erp      convert.disks         FAILED: host 'b': cannot run 'qemu-img': it is not installed here
                   install the package qemu-utils: apt-get install qemu-utils
                   the step stands at plan.yaml:9:16

machine  convert  serves   took
erp      FAILED   source  TOOK

run: a step FAILED, see above, TIME
Next: drover run plan.yaml
END
must "nothing is at the target" nothing_in "$srv/out"
bad 0 "the status after missing tools" "$DROVER" status plan.yaml <<'END'
bad  plan ID  state LAB/.drover

machine  serves  phase    done  step now              last error
erp      source  convert   0/2  convert.disks failed  host 'b': cannot run 'qemu-img': it is not installed here

erp convert.disks (NOW): host 'b': cannot run 'qemu-img': it is not installed here
  install the package qemu-utils: apt-get install qemu-utils
Next: drover run plan.yaml
END
fresh "a tool that is missing"
bad_end
