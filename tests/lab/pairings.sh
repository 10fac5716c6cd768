#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A disk moves between local and SSH hosts in any pairing, to raw and to qcow2, equal to the
# last byte; a second run finds nothing to do; rollback leaves nothing at the target.
. "$(dirname "$0")/../lib/lab.sh"
lab_enter "$0" "$@"
. "$(dirname "$0")/../lib/disks.sh"
lab_host a 10.66.0.11
lab_host b 10.66.0.12
make_disk "$LAB/hosts/a/srv/disk.raw"
cp "$LAB/hosts/a/srv/disk.raw" "$LAB/disk.raw"
mkdir -p "$LAB/hosts/b/srv/out" "$LAB/out.d"
cd "$LAB" || exit 1

for format in raw qcow2; do
	{ echo "plan: pairs"; plan_hosts; echo "machines:"
	  disk_machine ssh-ssh a /srv/disk.raw b /srv/out $format
	  disk_machine ssh-local a /srv/disk.raw here "$LAB/out.d" $format
	  disk_machine local-ssh here "$LAB/disk.raw" b /srv/out $format
	  disk_machine local-local here "$LAB/disk.raw" here "$LAB/out.d" $format
	} >plan.yaml
	# one source image serves two machines here: read only, so that is no fault of the plan
	sed -i "s/local-local/local-again/;s#$LAB/disk.raw\" }#&#" plan.yaml
	cp disk.raw again.raw
	awk -v lab="$LAB" '/local-again:/ { l = 1 } l && /disk.raw/ { sub("disk.raw", "again.raw"); l = 0 } { print }' plan.yaml >p && mv p plan.yaml
	cp "$LAB/hosts/a/srv/disk.raw" "$LAB/hosts/a/srv/disk2.raw"
	awk '/ssh-local:/ { l = 1 } l && /disk.raw/ { sub("disk.raw", "disk2.raw"); l = 0 } { print }' plan.yaml >p && mv p plan.yaml

	expect 0 "$DROVER" check plan.yaml
	expect 0 "$DROVER" preview plan.yaml
	expect 0 "$DROVER" run plan.yaml
	for m in "$LAB/hosts/b/srv/out/ssh-ssh" "$LAB/out.d/ssh-local" "$LAB/hosts/b/srv/out/local-ssh" "$LAB/out.d/local-again"; do
		as_raw "$m/root.base.$format" $format | cmp - disk.raw || fail "$m differs from its source"
	done
	expect 0 "$DROVER" run plan.yaml
	expect 0 "$DROVER" rollback plan.yaml -y
	nothing_in "$LAB/hosts/b/srv/out" "$LAB/out.d" || fail "rollback left files"
	cmp "$LAB/hosts/a/srv/disk.raw" disk.raw || fail "the source was written to"
	rm -rf .drover
done

# Where bwrap is missing, qemu-nbd runs without a network at least, and the log says so.
export COLUMNS=1000
qemu-img convert -f raw -O qcow2 disk.raw "$LAB/hosts/b/srv/boxed.qcow2"
{ echo "plan: boxed"; plan_hosts; echo "machines:"
  disk_machine box b /srv/boxed.qcow2 here "$LAB/out.d" raw; } >plan.yaml
sed -i 's#"/srv/boxed.qcow2"#{ path: /srv/boxed.qcow2, format: qcow2 }#' plan.yaml
expect 0 "$DROVER" run plan.yaml -v
said 'qemu-nbd runs with bwrap: one file, no network'
expect 0 "$DROVER" rollback plan.yaml -y
lab_on b mount --bind /dev/null "$(command -v bwrap)"
expect 0 "$DROVER" run plan.yaml -v
said 'qemu-nbd runs with no network \(bwrap is missing\)'
cmp disk.raw "$LAB/out.d/box/root.base.raw" || fail "the copy differs"
