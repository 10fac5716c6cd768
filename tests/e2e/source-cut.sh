#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The power of a physical server is cut while it is copied by traced writes: in the midst of a pass, and
# while it is frozen for the last one. It comes up again, and the pass goes on by itself: what the target
# had synced is not sent again; since nobody knows what was written before the reboot all is read and
# compared once. Under the freeze it is not: the cutover goes back, and serves again. The pass that follows
# makes it possible, by traced writes. Its ESP, which has no freeze, is read-only meanwhile and writable
# again when it serves. The server is a small guest.
. "$(dirname "$0")/../lib/lab.sh"
for tool in qemu-system-x86_64 lvm busybox debugfs; do
	command -v $tool >/dev/null || { echo "$tool is not installed"; exit 77; }
done
lab_enter "$0" "$@"
. "$lab_lib/lvm-guest.sh"
lab_host b 10.66.0.12
cd "$LAB" || exit 1
truncate -s 290M disk.raw
sfdisk -q disk.raw <<END
label: gpt
size=32M, type=uefi
size=256M, type=linux
END
truncate -s 32M esp.raw
busybox mkdosfs -n ESP esp.raw
dd if=esp.raw of=disk.raw bs=1M seek=1 conv=notrunc status=none
mkfs.ext4 -q -F -E offset=$((33 << 20)),lazy_itable_init=0,lazy_journal_init=0 disk.raw 256M
in_use() {
	on_guest 'mkdir -p /srv/data /boot/efi && mount /dev/vda2 /srv/data && mount -t vfat /dev/vda1 /boot/efi &&
		date >>/boot/efi/started' || fail "the disk cannot be mounted"
}
# cut_in VERB MIB: once the copy has so much more on disk the power is cut, and comes again.
cut_in() {
	gate b "$copy" $(($(du -k "$copy" | cut -f1) + ($2 << 10)))
	echo "\$ drover $1 plan.yaml, cut after $2 MiB"
	lab_aside said "$DROVER" "$1" plan.yaml -v -y
	engine=$!
	wait_for 600 eval "gate_shut || ! kill -0 $engine"
	gate_shut || fail "the pass does not come so far"
	guest_cut
	guest_boot
	in_use
	gate_open
}
over() {
	local got=0
	wait $engine || got=$?
	cat said
	cp said out
	[ $got = "$1" ] || fail "status $got instead of $1"
}

lvm_guest 10.66.0.21 "$LAB/disk.raw"
guest_plan /dev/vda '{ mode: freeze }'
in_use
guest_write 8 one
gate b "$copy" 999999999	# open until cut_in
expect 0 "$DROVER" run plan.yaml -v
said 'data: pass 1, .* all of it was read: its writes are followed from now on'

# in a pass: of 96 MiB no more than 64 and what the reboot changed come twice
guest_write 96 two
cut_in sync 92
over 0
said 'convert.disks +running.* \(attempt 2 of 3\)'
said 'data: pass 2, .* all of it was read: nothing followed its writes since the pass before'
sent=$(sed -n 's/.*data: pass 2, \([0-9]*\).* MiB of .* sent in.*/\1/p' out)
[ "$sent" -le $((96 - 92 + 64 + 16)) ] || fail "$sent MiB were sent again"

# under the freeze
guest_write 20 three
cut_in cutover 8
over 1
said 'blocker pass.whole: the last pass would read all of disk .data. while nobody is served'
said "'erp' is as it was before cutover"
guest_write 3 four
expect 0 "$DROVER" status plan.yaml
said '^erp +source'
expect 0 "$DROVER" sync plan.yaml -v
said 'data: pass 3, .* all of it was read: nothing followed its writes since the pass before'
guest_write 3 five
expect 0 "$DROVER" cutover plan.yaml -y -v
said 'data: pass 4, .* its traced writes were read'
guest_same "$copy?offset=$((33 << 20))"
[ "$(wc -l <still)" = 5 ] || fail "the disk had other files: $(cat still)"

# the ESP
on_guest 'cat /run/mounts' | grep -q '/boot/efi vfat ro,' || fail "the ESP was written to: $(on_guest cat /run/mounts)"
dd if="$copy" of=copied bs=1M skip=1 count=32 status=none
dd if=disk.raw of=esp.raw bs=1M skip=1 count=32 status=none
cmp copied esp.raw || fail "the ESP's copy is another"
expect 0 "$DROVER" rollback plan.yaml -y
on_guest 'date >>/boot/efi/started && date >>/srv/data/serves' || fail "it does not serve again"
