#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A serving file system on a block device: passes by its traced writes, drover sync, a last
# pass under a freeze, and what is left behind of all that: nothing.
. "$(dirname "$0")/../lib/lab.sh"
lab_enter "$0" "$@"
lab_host a 10.66.0.11
cd "$LAB" || exit 1
mkdir -p images tracefs
mount -t tracefs none tracefs || { echo "no tracefs here"; exit 77; }

truncate -s 96M disk.raw
mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0,nodiscard disk.raw
dev=$(losetup -f --show disk.raw) || fail "no loop device"
# other labs have their own, and what a killed run left before is not ours to count
ls tracefs/instances >before.list
ours() { ls tracefs/instances | grep '^drover-shelf-' | grep -vxFf before.list; }
leave() {
	pkill drover-track	# of this pid namespace
	wait_for 10 eval '! pgrep drover-track'
	ours | (cd tracefs/instances && xargs -r rmdir)
	lab_on a umount /srv/data
	losetup -d "$dev"
}
trap leave EXIT
lab_on a mkdir /srv/data
lab_on a mount "$dev" /srv/data
book() { lab_on a bash -c "head -c $1 /dev/urandom >/srv/data/book && sync -f /srv/data/book"; }
book 3M

cat >plan.yaml <<END
plan: warm
hosts:
  a: { ssh: root@10.66.0.11, identity: "$LAB/key", known_hosts: "$LAB/known_hosts" }
  here: { local: true }
machines:
  shelf:
    source: { host: a, disks: { root: { path: $dev } } }
    target: { host: here, dir: "$LAB/images", format: raw }
    downtime: 5m
    assess:  [ machine: {} ]
    convert: [ disks: { passes: 4, until: { changed: 16MiB } } ]
    validate: [ disks: {} ]
    cutover: [ quiesce: { mode: freeze }, pass: {}, proof: {} ]
accept: [ { finding: guest.no-root, machine: shelf, until: 2099-01-01, reason: "only data" } ]
END
trackers() { pgrep -c drover-track; }
nothing_left() {
	[ "$(trackers)" = 0 ] || fail "$1 left a tracker"
	[ -z "$(ours)" ] || fail "$1 left a tracefs instance"
}
state() { git -C .drover show "refs/heads/warm/shelf/main:$1"; }

expect 0 "$DROVER" preview plan.yaml
said 'root: its writes are traced'
said "disk 'root' is in use or was not shut down"	# it has no partitions to name
[ "$(trackers)" = 0 ] || fail "a preview started a tracker"
expect 1 "$DROVER" sync plan.yaml
said "its disks were not copied yet"
expect 0 "$DROVER" run plan.yaml -v
said 'root: pass 2, .* its traced writes were read'
[ "$(trackers)" = 1 ] || fail "no tracker follows the disk"

map=images/shelf/root.map
cp $map earlier.map

# a further pass brings what was written, reads it back and is in the history
book 5M
expect 0 "$DROVER" sync plan.yaml -v
said 'root: pass 3, .* its traced writes were read'
said 'The last pass of a cutover now: .* \(P50\), .* \(P90\)'
said 'read back and equal'
state facts/sync.json >sync.json || fail "the digest is not in git"
grep -q '"pass": 3' sync.json || fail "git knows another pass: $(cat sync.json)"
expect 0 "$DROVER" log plan.yaml
said 'sync: pass 3, .* changed, root [0-9a-f]{12}'

# a map that came to harm since: no cutover begins that would read or send all in its downtime
refused() {	# refused WHY: and what it says to type mends it
	expect 1 "$DROVER" cutover plan.yaml -y
	said "cannot cutover 'shelf': blocker pass.whole: the last pass would $1"
	said 'mend: drover sync plan.yaml reads it while the source serves'
	grep -q 'cutover.quiesce' out && fail "the source was stopped for it"
	expect 0 "$DROVER" sync plan.yaml
}
cp earlier.map $map
refused "read all of disk 'root' while nobody is served: the target's copy is not the one that was followed"
rm $map
refused "send all of disk 'root' again while nobody is served: its map '.*/root.map' is gone"

# on and on, until it is told to stop
made() { [ "$(grep -cE 'pass [0-9]+:' keep.out)" -ge "$1" ]; }
on_and_on() {	# on_and_on COUNT: until so many passes are over
	: >keep.out	# what the one before it said is not its
	lab_aside keep.out "$DROVER" sync plan.yaml --keep
	keep=$!
	wait_for 120 made "$1" || fail "sync --keep made no $1 passes"
}
on_and_on 2
kill -INT $keep
wait $keep || fail "sync --keep ended with $?"
! grep -q FAILED keep.out || fail "a pass that was told to end has failed"

# what sync told is no obstacle on the way back
expect 0 "$DROVER" rollback plan.yaml --to validate -y
said '^Next: drover preview plan.yaml'	# a cleanup would end the tracker, which goes on
expect 0 "$DROVER" run plan.yaml
[ "$(trackers)" = 1 ] || fail "the tracker is gone"

# the last pass: what was written until the freeze; the cutover takes over from the passes
on_and_on 1
expect 4 "$DROVER" rollback plan.yaml -y
said '`drover cutover plan.yaml` takes over from it'
kill -STOP $keep
expect 4 "$DROVER" cutover plan.yaml -y --wait 1s
said 'has not ended within 1s'
kill -CONT $keep
book 4M
lab_on a cat /srv/data/book >book.want
expect 0 "$DROVER" cutover plan.yaml -y -v
wait $keep || fail "sync --keep ended with $?"
said 'waiting until the sync --keep of pid [0-9]+'
said 'its traced writes were read'
said 'cutover.pass the data goes .* cutover.quiesce running'	# its stream was open first
debugfs -R "dump /book $LAB/book.got" images/shelf/root.base.raw 2>/dev/null
cmp book.want book.got || fail "the target lacks what was written before the freeze"

expect 0 "$DROVER" rollback plan.yaml -y
nothing_left rollback
nothing_in images || fail "rollback left files at the target"

# cleanup ends the tracker: the next pass reads everything once, and says so
expect 0 "$DROVER" run plan.yaml
expect 0 "$DROVER" cleanup plan.yaml
nothing_left cleanup
expect 0 "$DROVER" sync plan.yaml -v
said 'all of it was read: nothing followed its writes since the pass before, as after a restart of its host; they are followed from now on'
expect 0 "$DROVER" rollback plan.yaml -y
nothing_left "the last rollback"
