#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A logical volume with a mounted ext4 is copied by passes that read what was written, as the
# snapshots tell which LVM keeps of it: killed half way, full between passes and in the midst of
# one, without room, frozen for the last pass. Every copy is held against the volume; nothing is
# left in its group. The source is a small guest: this kernel may have no device mapper.
. "$(dirname "$0")/../lib/lab.sh"
for tool in qemu-system-x86_64 lvm busybox debugfs; do
	command -v $tool >/dev/null || { echo "$tool is not installed"; exit 77; }
done
lab_enter "$0" "$@"
. "$lab_lib/lvm-guest.sh"
lab_host b 10.66.0.12
cd "$LAB" || exit 1
truncate -s 404M disk.raw
lvm_guest 10.66.0.21 "$LAB/disk.raw"
on_guest '
	pvcreate -q /dev/vda && vgcreate -q vg /dev/vda && lvcreate -q -y -L 128M -n data vg &&
	/sbin/mke2fs -q -F -t ext4 -E lazy_itable_init=0,lazy_journal_init=0 /dev/vg/data &&
	mkdir /srv/data && mount /dev/vg/data /srv/data' || fail "no volume"
on_guest '(while sleep 0.5; do date >/srv/data/book; sync; done) >/dev/null 2>&1 &'

guest_plan /dev/vg/data '{}' 'image: { to: "b:/srv/backups" }'
snapshots() { on_guest lvs --noheadings -o lv_tags -S 'lv_name=~^drover-' vg; }
# there_are N M: N snapshots, of which M say of which copy they are
there_are() {
	snapshots >snapshots
	[ "$(grep -c drover- snapshots) $(grep -c drover-root- snapshots)" = "$1 $2" ] || { cat snapshots; fail "there are not $1 snapshots, $2 with a root"; }
}
# noted N: pass N read what its snapshot noted, which is a part of the volume
noted() { said "data: pass $1, .* the writes that its snapshot noted were read: ([0-9.]+ KiB|[1-6]?[0-9.]{1,3} MiB)"; }
whole() { said "data: pass $1, .* all of it was read: $2"; }
# leave_free MIB: so much of the group
leave_free() {
	on_guest "lvremove -q -y vg/filler 2>/dev/null
		free=\$(vgs --noheadings --nosuffix --units m -o vg_free vg | tr -d ' ' | cut -d. -f1)
		[ \$free -le $1 ] || lvcreate -q -y -L \$((free - $1))m -n filler vg" >/dev/null || fail "no filler"
}
# half_way KIB: a pass stands half way, once the copy has so much more on disk
half_way() {
	gate b "$copy" $(($(du -k "$copy" | cut -f1) + $1))
	lab_aside half "$DROVER" sync plan.yaml -v
	engine=$!
	wait_for 300 eval "gate_shut || ! kill -0 $engine"
	gate_shut || fail "the pass does not begin"
}

# ---- without room, and with it ---------------------------------------------------------------------

gate b "$copy" 999999999	# open until half_way
leave_free 12
expect 0 "$DROVER" preview plan.yaml
said "\. data: read while it is written to: volume group 'vg' has no room for a snapshot of it, of 8.0 MiB at least"
said "\. data: the next pass reads all of it and compares digests: volume group 'vg' has no room"
there_are 0 0
leave_free 268
expect 0 "$DROVER" run plan.yaml -v
whole 1 'a snapshot notes what is written from now on'	# the backup, which fills the copy
noted 1
there_are 1 1
expect 0 "$DROVER" cleanup plan.yaml
there_are 0 0
expect 0 "$DROVER" sync plan.yaml -v
whole 2 'a snapshot notes what is written from now on'
there_are 1 1

# ---- killed in the midst of a pass: the engine, and all of it at the source --------------------------

guest_write 20 one
half_way 4096
kill -STOP $engine
on_guest 'for signal in STOP KILL; do
	for p in /proc/[0-9]*; do case $(readlink $p/exe) in *drover*) kill -$signal ${p#/proc/} ;; esac; done
done'
kill -KILL $engine
wait $engine 2>/dev/null
gate_open
there_are 2 1
expect 0 "$DROVER" sync plan.yaml -v
noted 3
there_are 1 1

# ---- one that runs full while it is read, and one between passes ---------------------------------------

leave_free 12
guest_write 36 two
half_way 4096
guest_write 16 three
gate_open
wait $engine || fail "the pass fails"
cp half out
cat out
said "data: its snapshot ran full while it was read; the rest was read from the volume"
noted 4
there_are 1 1
expect 0 "$DROVER" sync plan.yaml -v
noted 5
guest_write 16 four
expect 0 "$DROVER" sync plan.yaml -v
whole 6 'its snapshot is of no use: it ran full'
there_are 1 1

# ---- the last pass, and back -----------------------------------------------------------------------------

guest_write 3 five
expect 0 "$DROVER" cutover plan.yaml -y -v
noted 7
e2fsck -fn "$copy" >fsck 2>&1 || { cat fsck; fail "the copy is no whole file system"; }
guest_same "$copy"
[ "$(wc -l <still)" -ge 6 ] || fail "the volume had but few files: $(cat still)"
there_are 1 1
root=$(git -C .drover show refs/heads/lab/erp/main:facts/final.json | sed -n 's/.*"digest": "\([0-9a-f]*\)".*/\1/p')
grep -q "drover-root-$root" snapshots || fail "the snapshot does not go on from the last pass: $root"
expect 0 "$DROVER" rollback plan.yaml -y
there_are 0 0
nothing_in "$LAB/hosts/b/srv" || fail "rollback left files at the target"
