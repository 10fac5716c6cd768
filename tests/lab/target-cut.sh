#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The power of the target's host is cut in the midst of a pass. Its disks have a cache that loses
# all that was not flushed (nbdkit's, behind a loop device), and one of them stands in the midst
# of a flush when the power goes. Where copy and map lie on two disks, once the copy's forgets
# while the map's keeps every byte, and once the other way round: a map that enters what was not
# synced, or goes on to stand for what is being overwritten, is found out. Before the second
# pass goes on its source is what it was for the first, so that such an entry would fit again.
# Every copy ends equal, and no more than 64 MiB are written twice.
. "$(dirname "$0")/../lib/lab.sh"
[ -c /dev/fuse ] || { echo "no /dev/fuse here: a disk that forgets cannot be made"; exit 77; }
lab_needs nbdkit nbdfuse perl
lab_enter "$0" "$@"
. "$lab_lib/bad.sh"	# no_agent
cd "$LAB" || exit 1
ulimit -c 0
trap "losetup -nO NAME,BACK-FILE | sed -n 's#  *$LAB/.*##p' | xargs -r losetup -d" EXIT	# of a run that fails
MIB=1048576
data=88		# MiB, of 96

# ---- the target's host ---------------------------------------------------------------------------
# Either c, the disk with the copy, forgets, which may have the map too; or m, a disk with the map alone.

# forgetful DISK LOG: a loop device ($dev), and DISK.img is what it really holds.
forgetful() {
	nbdkit -U "$1.sock" -P "$1.pid" --filter=log --filter=cache file "$1.img" "$2" 2>>noise
	: >"$1"
	nbdfuse "$1" --unix "$1.sock" 2>>noise &
	fuse=$!
	wait_for 60 test -s "$1" || fail "no disk $1: $(cat noise)"
	dev=$(losetup -f --show "$1")
}
power_on() {
	if [ $forgets = c ]; then
		mkfifo c.log
		"$lab_lib/cutter" c &
		cutter=$!
		forgetful c logfile=c.log
		[ $as = device ] || mount "$dev" on_c || fail "the copy's disk cannot be mounted"
		ln -sf "$dev" copy
	else
		forgetful m "logscript=. $LAB/stall"
		mount "$dev" on_m || fail "the map's disk cannot be mounted"
		ln -sf "$(losetup -f --show c.img)" copy
	fi
}
# What is asked before m does a thing: it does not flush once the copy has so much of its source.
cat >stall <<END
if [ \$act\$type = FlushENTER ] && [ -e $LAB/cut.at ] && cmp -sn "\$(cat $LAB/cut.at)" $LAB/source.raw $LAB/c.img; then
	kill -STOP \$PPID
	until grep -q '^State:.T' /proc/\$PPID/status; do :; done
	: >$LAB/cut
fi
END
power_off() {
	kill -KILL $(pgrep -f '[d]rover-agent|[-]-serve') $(pgrep -x qemu-nbd) 2>/dev/null
	kill -KILL $fuse "$(cat $forgets.pid)"
	wait $fuse ${cutter:-} 2>/dev/null
	cutter=
	wait_for 60 no_agent || fail "an agent outlives its host"
	! mountpoint -q on_$forgets || wait_for 60 umount on_$forgets || fail "its disk stays mounted"
	losetup -d "$dev"
	[ $forgets = c ] || losetup -d "$(readlink copy)"
	wait_for 60 umount $forgets || fail "its disk is still used"
	rm -f c.log $forgets.pid $forgets.sock
}

# ---- passes --------------------------------------------------------------------------------------

written() { cat c.wrote 2>/dev/null || echo 0; }	# to c, since the power is on

# cut_in VERB MIB: at the next flush after so much of its pass was written the power is cut.
cut_in() {
	power_on
	echo $(($2 * MIB + $(written))) >cut.at
	echo "\$ drover $1 plan.yaml, cut after $2 MiB"
	lab_aside said "$DROVER" "$1" plan.yaml -v
	engine=$!
	wait_for 300 eval "test -e cut || ! kill -0 $engine"
	[ -e cut ] || fail "the pass does not come so far"
	kill -KILL $engine
	wait $engine 2>/dev/null
	power_off
	rm cut cut.at
	before=$(written)
}

# goes_on VERB: to its end; then the power goes once more, and what is left is the source.
goes_on() {
	power_on
	expect 0 "$DROVER" "$1" plan.yaml -v
	! grep -q "not what was sent" "$LAB/out" || fail "the map was wrong"
	power_off
	after=$(written)
	[ $as = device ] || mount -o loop c.img on_c || fail "what is left cannot be mounted"
	case $as in
	device) cmp -n $((96 * MIB)) source.raw c.img ;;
	raw) cmp source.raw "$(find on_c -name '*.raw')" ;;
	qcow2) qemu-img compare -q -f raw -F qcow2 source.raw "$(find on_c -name '*.qcow2')" ;;
	esac || fail "the copy differs from its source"
	[ $as = device ] || umount on_c
}

# both_passes WHAT: of a new copy.
both_passes() {
	echo "---- $1"
	truncate -s 160M c.img
	[ $as = device ] || mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 c.img
	truncate -s 16M m.img
	mkfs.ext4 -q -F m.img
	plan >plan.yaml
	cp one.raw source.raw
	cut_in run 40
	goes_on run
	if [ $forgets = c ]; then
		echo "$before bytes were written before the cut, $after after it"
		[ $((before + after)) -le $(((data + 64 + 4) * MIB)) ] || fail "too much is written twice"
	fi
	cp two.raw source.raw
	cut_in sync 24
	cp one.raw source.raw
	goes_on sync
	rm -rf c.img m.img c.wrote kept .drover
}
plan() {
	cat <<-END
	plan: cut
	hosts: { here: { local: true } }
	machines:
	  erp:
	    source: { host: here, images: { root: "$LAB/source.raw" } }
	    target: { host: here, dir: "$LAB/$map_in", disks: { root: { $where } } }
	    convert: [ disks: {} ]
	END
}

for v in one two; do
	head -c $((data * MIB)) /dev/urandom >$v.raw
	truncate -s 96M $v.raw
done
# zeros, too, overwrite what is known
dd if=/dev/zero of=two.raw bs=1M seek=8 count=4 conv=notrunc status=none
mkdir on_c on_m

as=device where="path: $LAB/copy, format: raw"
forgets=c map_in=kept
both_passes "a device that forgets, a map that stays as it is"
forgets=m map_in=on_m
both_passes "a device that stays as it is, a map's disk that forgets"
as=qcow2 where="dir: $LAB/on_c, format: qcow2"
forgets=c map_in=kept
both_passes "a qcow2 on a disk that forgets, a map that stays as it is"
as=raw where="format: raw" map_in=on_c
both_passes "a file and its map on one disk that forgets"
