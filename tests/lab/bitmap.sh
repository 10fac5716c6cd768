#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A running libvirt domain is copied by passes that read what was written, as the dirty bitmap
# of its qcow2 disk tells: paused and switched off for the last one, killed half way, crashed,
# with no room beside it. Every copy is held against the disk; nothing is left at the source.
. "$(dirname "$0")/../lib/lab.sh"
lab_needs virsh libvirtd qemu-system-x86_64
lab_enter "$0" "$@"

libvirt_inside() {
	[ "$1" = a ] || return 0
	mkdir /srv/images
	mount -t tmpfs -o size=640m,mode=755 images /srv/images
	lab_libvirtd
}
export -f libvirt_inside
export LAB_INSIDE=libvirt_inside
lab_host a 10.66.0.11
lab_host b 10.66.0.12
wait_for 300 lab_on a virsh -q uri || fail "no libvirtd"
srv=$LAB/hosts/a/srv
disk=/srv/images/one.qcow2
copy=$LAB/hosts/b/srv/erp/vda.base.raw
cd "$LAB" || exit 1

# ---- the domain: no system, QEMU's own monitor writes to its disk -------------------------

head -c 24M /dev/urandom >seed
truncate -s 96M seed
lab_on a qemu-img convert -f raw -O qcow2 "$LAB/seed" $disk
lab_on a chmod 600 $disk
lab_on a truncate -s 2M /srv/images/two.raw
lab_on a qemu-img create -q -f qcow2 /srv/images/three.qcow2 4M
cat >"$srv/old.xml" <<'END'
<domain type='qemu'>
  <name>old</name>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/srv/images/one.qcow2'/>
      <target dev='vda' bus='virtio'/></disk>
    <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/srv/images/two.raw'/>
      <target dev='vdb' bus='virtio'/></disk>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/srv/images/three.qcow2'/>
      <target dev='vdc' bus='virtio'/></disk>
  </devices>
</domain>
END
cat >"$srv/status" <<'END'
#!/bin/sh
virsh -q domstate old | sed -n 's/^shut off$/off/; s/^running$/on/; 1p'
END
chmod 755 "$srv/status"
virsh() { lab_on a virsh -q "$@"; }
virsh define /srv/old.xml && virsh start old || fail "no domain"

# guest WRITE [NUMBER]: as the guest would on a disk, and flushed.
guest() {
	local said command
	for command in "$1" flush; do
		said=$(virsh qemu-monitor-command --hmp old \
			"qemu-io -d /machine/peripheral/virtio-disk${2:-0}/virtio-backend \"$command\"" | tr -d '\r\n ')
		[ -z "$said" ] || fail "no $command: $said"
	done
}
state() { virsh domstate old | head -n 1; }
same() {
	lab_on a qemu-img compare -U -q -f qcow2 -F raw $disk "$copy" || fail "the copy of vda differs: $1"
	lab_on a qemu-img compare -U -q -f qcow2 -F raw /srv/images/three.qcow2 "${copy/vda/vdc}" || fail "the copy of vdc differs: $1"
}
backs_up() { virsh backup-dumpxml old 2>/dev/null | grep -q .; }
checkpoints() { virsh checkpoint-list old --name | grep -c .; }
nothing_left() {
	backs_up && fail "$1 left a backup"
	[ "$(checkpoints)" = 0 ] || fail "$1 left a checkpoint"
	[ -z "$(lab_on a find /srv/images -name '*drover*')" ] || fail "$1 left a scratch file"
	lab_on a qemu-img info -U $disk | grep -q 'name: drover' && fail "$1 left a bitmap in the image"
	nothing_in "$LAB/hosts/b/srv" || fail "$1 left files at the target"
}
# by N WHAT: pass N of the first disk read so much, by its bitmap
by() { said "vda: pass $1, .* the writes in its dirty bitmap were read: $2"; }

cat >plan.yaml <<END
plan: lab
hosts:
  a: { ssh: root@10.66.0.11, identity: "$LAB/key", known_hosts: "$LAB/known_hosts" }
  b: { ssh: root@$GATE, identity: "$LAB/key", known_hosts: "$LAB/known_hosts" }
accept: [ { finding: guest.no-root, reason: data only } ]
machines:
  erp:
    stream: relay
    source:
      host: a
      domain: old
      power: { command: { on: [virsh, start, old], off: [virsh, destroy, old], status: [/srv/status] } }
    target: { host: b, dir: /srv, format: raw }
    assess: [ machine: {} ]
    convert: [ disks: {} ]
    cutover: [ quiesce: { mode: pause }, pass: {} ]
END

# ---- killed half way through the first pass ------------------------------------------------

half_way() {
	gate b "$copy" 8000
	lab_aside first "$DROVER" run plan.yaml
	engine=$!
	wait_for 300 eval "gate_shut || ! kill -0 $engine"
	gate_shut || fail "the copy does not begin"
	backs_up || fail "no backup runs"
}
half_way
kill -STOP $engine
lab_on a bash -c 'for signal in STOP KILL; do	# agent, step, and who would end the backup
	for p in /proc/[0-9]*; do [[ $(readlink $p/exe) == *drover* ]] && kill -$signal ${p#/proc/}; done
done'
kill -KILL $engine
wait $engine 2>/dev/null
gate_open
backs_up || fail "somebody is left who ended the backup"
expect 0 "$DROVER" rollback plan.yaml -y
nothing_left "rollback after a kill of all"

half_way
kill -KILL $engine
wait $engine 2>/dev/null
wait_for 120 eval '! backs_up' || fail "the backup outlives its step"
guest 'write -P 3 1M 1M'
gate_open

# ---- passes ----------------------------------------------------------------------------------

expect 0 "$DROVER" preview plan.yaml
said '\+ vda: a checkpoint of libvirt, later passes read what was written since'
said "= vda: read at one instant, .* lies in '/srv/images' until its end"
said '= vdc: read at one instant'
said '\. vdb: .* compares digests: libvirt keeps dirty bitmaps in qcow2 images that stand alone only'
expect 0 "$DROVER" run plan.yaml -v
said 'vda: pass 1, .* all of it was read: its writes are noted from now on'
same "first pass"
[ "$(state)" = running ] || fail "the domain must serve"
[ "$(checkpoints)" = 1 ] || fail "there is not one checkpoint"
guest 'write -P 7 40M 3M'
guest 'write -P 8 5M 64k'
guest 'write -P 9 1M 64k' 2
expect 0 "$DROVER" sync plan.yaml -v
by 2 '4.0 MiB'
said 'vdc: pass 2, .* the writes in its dirty bitmap were read: 1.0 MiB'
same "second pass"
expect 0 "$DROVER" cutover plan.yaml --preview
said '= vda: its dirty bitmap is kept; a pass reads what was written'
said 'read [0-9.]* .iB, send [0-9.]* .iB'	# by what the passes measured, not all 102 MiB

# paused for the last one; it goes back, and the bitmap goes on
guest 'write -P 9 60M 2M'
expect 0 "$DROVER" cutover plan.yaml -y -v
by 3 '2.0 MiB'
[ "$(state)" = paused ] || fail "the domain must stand still"
same "last pass, paused"
expect 0 "$DROVER" rollback plan.yaml --to cutover -y
[ "$(state)" = running ] || fail "the domain must serve again"
guest 'write -P 10 61M 1M'
expect 0 "$DROVER" sync plan.yaml -v
by 4 '2.0 MiB'	# also what the last pass brought: a held one begins no bitmap
same "a pass after going back"

# ---- what is in the way ------------------------------------------------------------------------

lab_on a fallocate -l 200M /srv/images/big
expect 1 "$DROVER" sync plan.yaml
said "cannot read the disks of the running domain 'old': cannot go on reading '$disk' while its domain runs: .* is left free beside it"
lab_on a rm /srv/images/big

cat >"$srv/other.xml" <<END
<domainbackup mode='pull'>
  <server transport='unix' socket='$(lab_on a sh -c 'echo /var/lib/libvirt/qemu/domain-*')/other.sock'/>
  <disks><disk name='vda' backup='yes' type='file'><scratch file='/srv/images/other'/></disk></disks>
</domainbackup>
END
virsh backup-begin old --backupxml /srv/other.xml || fail "no other backup"
expect 1 "$DROVER" sync plan.yaml
said "cannot read the disks of the running domain 'old': another backup of it runs"
virsh domjobabort old

# QEMU is killed: no bitmap is whole
lab_on a pkill -KILL qemu-system
wait_for 120 eval '[ "$(state)" = "shut off" ]' || fail "libvirt does not see that QEMU is gone"
virsh start old || fail "the domain does not start"
guest 'write -P 11 70M 1M'
expect 0 "$DROVER" cutover plan.yaml --preview
said "pass.whole: the last pass would read all of disk 'vda' while nobody is served: its dirty bitmap is missing, or not whole"
expect 1 "$DROVER" cutover plan.yaml -y
said "cannot cutover 'erp': blocker pass.whole: "
said 'drover sync plan.yaml reads it while the source serves; cut over after that; or accept it in the plan'
[ "$(state)" = running ] || fail "a cutover that is refused must leave the source alone"
expect 0 "$DROVER" sync plan.yaml -v
said 'vda: pass 5, .* all of it was read: its dirty bitmap is of no use'
same "a pass after a crash"
[ "$(checkpoints)" = 1 ] || fail "checkpoints pile up"

# ---- switched off for the last pass: the bitmap is in the image -----------------------------------

sed -i 's/mode: pause/mode: shutdown/' plan.yaml
guest 'write -P 12 71M 1M'
expect 0 "$DROVER" cutover plan.yaml -y -v
by 6 '1.0 MiB'
[ "$(state)" = "shut off" ] || fail "the domain must be off"
same "last pass, off"
expect 0 "$DROVER" rollback plan.yaml --to cutover -y
guest 'write -P 13 72M 1M'
expect 0 "$DROVER" sync plan.yaml -v
by 7 '2.0 MiB'	# also what the last pass brought: a bitmap in an image is not begun anew
same "a pass after it was off"

# ---- what the target's storage changed is sent again, from the domain that runs ------------------

sed -i 's/^    cutover:/    validate: [ disks: {} ]\n&/' plan.yaml
printf 'other bytes' | dd of="$copy" bs=1 seek=10485777 conv=notrunc status=none
guest 'write -P 14 10M 64k'
expect 0 "$DROVER" run plan.yaml -v
said "disk.mended: 1.0 MiB of disk 'vda' was not what had been written there"
same "a mended copy"
backs_up && fail "mending left a backup"

# the step's own word to end the backup is refused, once: the guard says it again
cat >"$srv/refuses" <<'END'
#!/bin/sh
case $2 in domjobabort) rm /srv/refuse 2>/dev/null && exit 1 ;; esac
exec /srv/virsh "$@"
END
lab_on a sh -c 'cp /usr/bin/virsh /srv/virsh && chmod 755 /srv/refuses && mount --bind /srv/refuses /usr/bin/virsh'
touch "$srv/refuse"
guest 'write -P 15 11M 64k'
expect 0 "$DROVER" sync plan.yaml -v
by 9 '2.0 MiB'	# the bitmap is of the mended copy too
same "a pass after a mend"
[ ! -e "$srv/refuse" ] || fail "the step does not end its backup"
wait_for 120 eval '! backs_up' || fail "a backup that could not be ended goes on"

virsh destroy old
expect 0 "$DROVER" cleanup plan.yaml
[ "$(checkpoints)" = 0 ] || fail "cleanup left a checkpoint"
lab_on a qemu-img info $disk | grep -q 'name: drover' && fail "cleanup left a bitmap"
virsh start old || fail "the domain does not start after cleanup"
expect 0 "$DROVER" rollback plan.yaml -y
nothing_left rollback

# ---- a copy that is filled from a backup: the backup begins the checkpoint ---------------------------

sed -i 's|^    convert:|    backup: [ image: { to: "b:/srv/backup" } ]\n&|' plan.yaml
expect 0 "$DROVER" run plan.yaml --until backup
[ "$(checkpoints)" = 1 ] || fail "the backup begins no checkpoint"
guest 'write -P 14 73M 1M'
guest 'write -P 15 2M 64k' 2
expect 0 "$DROVER" run plan.yaml -v
said 'vda: filled from backup '
said 'vdc: filled from backup '
by 1 '1.0 MiB'
said 'vdc: pass 1, .* the writes in its dirty bitmap were read: 1.0 MiB'
said 'vdb: pass 1, .* all of it was read'
same "filled from a backup"
[ "$(checkpoints)" = 1 ] || fail "checkpoints pile up"
expect 0 "$DROVER" rollback plan.yaml -y
nothing_left "a rollback of both"
