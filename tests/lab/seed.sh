#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Backup and copy of a serving disk share one read: the copy is filled from the backup, and the
# passes read what was written since. The source's own counters say how often it was read.
. "$(dirname "$0")/../lib/lab.sh"
lab_enter "$0" "$@"
lab_host a 10.66.0.11
lab_host b 10.66.0.12
cd "$LAB" || exit 1
mkdir -p images tracefs
mount -t tracefs none tracefs || { echo "no tracefs here"; exit 77; }

head -c 48M /dev/urandom >disk.raw
truncate -s 64M disk.raw
dev=$(losetup -f --show disk.raw) || fail "no loop device"
ls tracefs/instances >before.list
ours() { ls tracefs/instances | grep '^drover-crate-' | grep -vxFf before.list; }
leave() {
	gate_end
	pkill drover-track	# of this pid namespace
	wait_for 10 eval '! pgrep drover-track'
	ours | (cd tracefs/instances && xargs -r rmdir)
	losetup -d "$dev"
}
trap leave EXIT
cat >"$LAB/hosts/a/srv/write" <<END
#!/bin/sh
for at; do dd if=/dev/urandom of=$dev bs=64k seek=\$at count=1 oflag=direct conv=notrunc status=none || exit 1; done
END
chmod 755 "$LAB/hosts/a/srv/write"
copy=images/crate/root.base.raw
same() { cmp "$dev" $copy || fail "the copy differs: $1"; }
# MiB that were read of the source since the last time
mib() { echo $(($(awk '{ print $3 }' "/sys/block/${dev#/dev/}/stat") >> 11)); }
seen=$(mib)
reads() { # reads MOST WHAT
	local now
	now=$(mib)
	echo "$2: $((now - seen)) MiB of the source were read"
	[ $((now - seen)) -le "$1" ] || fail "$2 read $((now - seen)) MiB of the source, not $1"
	seen=$now
}
nothing_left() {
	[ "$(pgrep -c drover-track)" = 0 ] || fail "$1 left a tracker"
	[ -z "$(ours)" ] || fail "$1 left a tracefs instance"
	nothing_in images "$LAB/hosts/b/srv" || fail "$1 left files"
}

cat >plan.yaml <<END
plan: seed
hosts:
  a: { ssh: root@10.66.0.11, identity: "$LAB/key", known_hosts: "$LAB/known_hosts" }
  b: { ssh: root@10.66.0.12, identity: "$LAB/key", known_hosts: "$LAB/known_hosts" }
  here: { local: true }
machines:
  crate:
    source: { host: a, disks: { root: { path: $dev } } }
    target: { host: here, dir: "$LAB/images", format: raw }
    assess:  [ machine: {} ]
    backup:  [ image: { to: "b:/srv/backup" }, command: { id: serve, argv: [/srv/write, 3, 700] } ]
    convert: [ disks: {} ]
    validate: [ disks: {} ]
accept: [ { finding: guest.no-root, machine: crate, until: 2099-01-01, reason: "only data" } ]
END

expect 0 "$DROVER" preview plan.yaml -o saved
said '\+ root: what is written from the backup on is followed \(traced writes\)'
said 'seed +\+ root from its backup at b:/srv/backup -> '
said '= root: filled from its backup; a pass reads what was written since'
[ "$(pgrep -c drover-track)" = 0 ] || fail "a preview started a tracker"
expect 0 "$DROVER" run saved -v
said 'root: filled from backup [0-9TZ]+-[0-9a-f]+, 48.0 MiB of 64.0 MiB sent'
said ', 98.0 MiB moved'	# the backup, the copy filled from it, and what was written since
said 'root: pass 1, .* its traced writes were read: 2.0 MiB'
reads 84 "backup and copy"	# what assess looks at, too; not 128
same "the first"

# ---- back to before convert, and once more from the same backup ------------------------------------

expect 0 "$DROVER" rollback plan.yaml --to convert -y
nothing_in images || fail "rollback left files at the target"
lab_on a /srv/write 99
seen=$(mib)
expect 0 "$DROVER" run plan.yaml -v
said 'root: filled from backup '
said 'root: pass 1, .* its traced writes were read: 3.0 MiB'	# what the first copy brought, too
reads 12 "once more"
same "once more"
expect 0 "$DROVER" cleanup plan.yaml
[ "$(pgrep -c drover-track)" = 0 ] || fail "cleanup left a tracker"
expect 0 "$DROVER" rollback plan.yaml --to convert -y
expect 0 "$DROVER" preview plan.yaml
said '\. root is not filled from a backup: not all is known that was written since its backup'
expect 0 "$DROVER" rollback plan.yaml -y
nothing_left rollback

# ---- killed half way ------------------------------------------------------------------------------

sed -i "s/root@10.66.0.12/root@$GATE/; s/^  crate:/&\n    stream: relay/" plan.yaml
gate b "$LAB/nothing" 1
expect 0 "$DROVER" run plan.yaml --until backup
gate b "$copy" 8000
lab_aside half "$DROVER" run plan.yaml
engine=$!
wait_for 300 eval "gate_shut || ! kill -0 $engine"
gate_shut || fail "the copy is not filled"
kill -KILL $engine
wait $engine 2>/dev/null
lab_on a /srv/write 3
gate_open
expect 0 "$DROVER" run plan.yaml -v
said 'root: filled from backup .*, ([0-9]|[1-3][0-9]|4[0-3])\.[0-9] MiB of 64.0 MiB sent'	# not all 48 again
said 'root: pass 1, .* its traced writes were read: 2.0 MiB'
same "after a kill"
expect 0 "$DROVER" rollback plan.yaml -y
nothing_left "rollback after a kill"

# ---- at the target's own host, and not what it was ------------------------------------------------

sed -i "s|b:/srv|here:$LAB|" plan.yaml
expect 0 "$DROVER" run plan.yaml --until backup
printf 'XXXXXXXX' | dd of="$(ls backup/packs/*.pack | head -n 1)" bs=1 seek=20000000 conv=notrunc status=none
expect 1 "$DROVER" run plan.yaml
said "cannot fill disk 'root' from backup '$LAB/backup/machines/crate/.*': cannot read backup .* at byte"
said 'the same command again, and the source is read instead'
expect 0 "$DROVER" run plan.yaml -v
said "backup.unreadable: the backup of disk 'root' cannot be read, its copy comes from the source"
said 'root: pass 1, .* all of it was read'
same "a damaged backup"
expect 0 "$DROVER" rollback plan.yaml -y
nothing_left "the last rollback"
nothing_in backup || fail "rollback left a backup"
