#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Where disks go at the target: a volume group (LVM's programs are stood in for, see
# tests/lib/fake-lvm), a libvirt pool (a real libvirtd), another directory, by the disk's own
# row, by the target's, and by maps.storage; bigger than they were. What is not ours there is
# refused whole; rollback leaves nothing.
. "$(dirname "$0")/../lib/lab.sh"
lab_enter "$0" "$@"
. "$(dirname "$0")/../lib/disks.sh"
. "$(dirname "$0")/../lib/bad.sh"
here=$(cd "$(dirname "$0")/../.." && pwd)
export here

places_inside() {
	mkdir -p /srv/lvm/data /srv/lvm/bin /srv/pool /srv/other /srv/images
	echo $((400 * 1048576)) >/srv/lvm/data.size
	for tool in lvs vgs lvcreate lvextend lvchange lvremove; do
		cp "$here/tests/lib/fake-lvm" /srv/lvm/bin/$tool
	done
	mount --bind /srv/lvm/bin /usr/local/sbin
	command -v libvirtd >/dev/null || return 0
	lab_libvirtd
}
export -f places_inside
export LAB_INSIDE=places_inside
lab_host b 10.66.0.12
srv=$LAB/hosts/b/srv

make_disk "$LAB/disk.raw"
MIB=1048576
cd "$LAB" || exit 1
mkdir -p ds1/web ds2/web
cp disk.raw ds1/web/one.raw
cp disk.raw ds2/web/two.raw
before=$(sha256sum <disk.raw)

# plan MACHINE [MAPS]: one machine of that text, from here to b.
plan() {
	cat >plan.yaml <<-END2
	plan: places
	hosts:
	  b: { ssh: root@10.66.0.12, identity: "$LAB/key", known_hosts: "$LAB/known_hosts" }
	  here: { local: true }
	${2:-}
	machines:
	  erp:
	$1
	    convert: [ disks: {} ]
	    validate: [ disks: {} ]
	END2
}
same() { head -c "$(stat -c %s disk.raw)" "$1" | cmp - disk.raw; }
zero_from() { tail -c "+$((1 + $(stat -c %s disk.raw)))" "$1" | tr -d '\0' | head -c 1 | [ "$(wc -c)" = 0 ]; }
empty() { nothing_in "$srv/images" "$srv/other" "$srv/pool" "$srv/lvm/data"; }

# ---- a volume group ---------------------------------------------------------------------

plan "    source: { host: here, images: { root: \"$LAB/disk.raw\" } }
    target: { host: b, dir: /srv/images, disks: { root: { vg: data, size: 160MiB } } }"
expect 0 "$DROVER" run plan.yaml
lv=$srv/lvm/data/erp-root
same "$lv" || fail "the volume differs from its source"
zero_from "$lv" || fail "what follows the copy is not blank"
[ "$(stat -c %s "$lv")" = $((160 * MIB)) ] || fail "the volume has not the size of the plan"
grep -qx 'drover/[0-9a-f]*/places/erp/root' "$lv.tag" || fail "the volume does not say whose it is: $(cat "$lv.tag")"
grep -c '^lvcreate ' "$srv/lvm/log" | grep -qx 1 || fail "lvcreate ran more than once"
expect 0 "$DROVER" run plan.yaml
said '^erp +as is +as is'

# a plan that wants more grows what is there
sed -i 's/160MiB/200MiB/' plan.yaml
expect 0 "$DROVER" preview plan.yaml
expect 0 "$DROVER" run plan.yaml
[ "$(stat -c %s "$lv")" = $((200 * MIB)) ] || fail "the volume did not grow"
same "$lv" || fail "the volume differs after it grew"
expect 0 "$DROVER" rollback plan.yaml -y
empty || fail "rollback left files"
rm -rf .drover

# ---- what is not ours ---------------------------------------------------------------------

yes 'of somebody' | head -c 100M >"$lv" && echo somebody >"$lv.tag"
echo precious | dd of="$lv" conv=notrunc status=none
bad 1 "a volume that drover did not make" "$DROVER" preview plan.yaml <<'END'
places  run preview  plan.yaml  2 hosts asked, 0 changed

erp  here -> b, serves: source
  convert      disks   FAILED: host 'b': cannot write to '/dev/data/erp-root': drover did not make it
                       remove it (lvremove data/erp-root), name another vg, or say target: { replace: true } to overwrite it
                       the step stands at plan.yaml:10:16

1 machine:  + 0  ~ 0  - 0  ? 0
1 step could not be asked
Next: drover preview plan.yaml
END
[ "$(head -c 8 "$lv")" = precious ] || fail "a stranger's volume was written to"
[ "$(cat "$lv.tag")" = somebody ] || fail "a stranger's volume was marked"
sed -i 's/dir: .srv.images/&, replace: true/' plan.yaml
expect 0 "$DROVER" run plan.yaml
same "$lv" || fail "the volume that is replaced differs from its source"
expect 0 "$DROVER" rollback plan.yaml -y
empty || fail "rollback left files"
rm -rf .drover

sed -i 's/200MiB/1GiB/; s/, replace: true//' plan.yaml
bad 1 "a group without enough room" "$DROVER" run plan.yaml <<'END'
places  run  plan.yaml  run ID  1 machine, 2 hosts
NOW  BLOCKER  erp      target.space: the disks need 1.0 GiB, volume group 'data' has 400 MiB free
                            mend: free space there, or choose another target.dir
NOW  erp      'erp' stops here: blocker target.space

machine  convert  serves   took
erp      stopped  source  TOOK

run: refused, TIME
Next: mend what blocks, then drover run plan.yaml
drover: cannot convert 'erp': blocker target.space: the disks need 1.0 GiB, volume group 'data' has 400 MiB free
  free space there, or choose another target.dir; or accept it in the plan: accept: [{finding: target.space, machine: erp, until: DATE, reason: WHY}]
END
rm -rf .drover
sed -i 's/1GiB/64MiB/' plan.yaml
bad 1 "a size below the source's" "$DROVER" run plan.yaml <<'END'
places  run  plan.yaml  run ID  1 machine, 2 hosts
NOW  erp      convert.disks         FAILED: host 'here': cannot make disk 'root' 64.0 MiB (67108864 bytes) long: the source has 96.0 MiB (100675584 bytes)
                   say a larger size under target.disks.root, or leave it away
                   the step stands at plan.yaml:10:16

machine  convert  serves   took
erp      FAILED   source  TOOK

run: a step FAILED, see above, TIME
Next: drover run plan.yaml
END
rm -rf .drover
sed -i 's/64MiB/160MiB/; s/vg: data/vg: dato/' plan.yaml
bad 1 "a group that is not there" "$DROVER" run plan.yaml <<'END'
places  run  plan.yaml  run ID  1 machine, 2 hosts
NOW  erp      convert.disks         FAILED: host 'b': cannot use volume group 'dato': lvs: Volume group "dato" not found
                   type on its host: vgs; lvs 'dato'
                   the step stands at plan.yaml:10:16

machine  convert  serves   took
erp      FAILED   source  TOOK

run: a step FAILED, see above, TIME
Next: drover run plan.yaml
END
rm -rf .drover
empty || fail "a refusal left files"

# ---- another directory, a stranger's file in it, a place that changes on the way -------------

plan "    source: { host: here, images: { root: \"$LAB/disk.raw\" } }
    target: { host: b, dir: /srv/images, disks: { root: { dir: /srv/other, size: 128MiB } } }"
echo precious >"$srv/other/erp-root.qcow2"
bad 1 "a file that drover did not make" "$DROVER" preview plan.yaml <<'END'
places  run preview  plan.yaml  2 hosts asked, 0 changed

erp  here -> b, serves: source
  convert      disks   FAILED: host 'b': cannot write to '/srv/other/erp-root.qcow2': drover did not make it
                       move it away, name another place, or say target: { replace: true } to overwrite it
                       the step stands at plan.yaml:10:16

1 machine:  + 0  ~ 0  - 0  ? 0
1 step could not be asked
Next: drover preview plan.yaml
END
[ "$(cat "$srv/other/erp-root.qcow2")" = precious ] || fail "a stranger's file was written to"
rm "$srv/other/erp-root.qcow2"
expect 0 "$DROVER" run plan.yaml
qemu-img info -f qcow2 "$srv/other/erp-root.qcow2" | grep -q "128 MiB" || fail "the qcow2 is not as long as the plan says"
qemu-img convert -f qcow2 -O raw "$srv/other/erp-root.qcow2" plain
same plain || fail "the file differs from its source"
cp plan.yaml kept.yaml
sed -i 's#dir: /srv/other#vg: data#' plan.yaml
bad 1 "a place that changes after the copy" "$DROVER" run plan.yaml <<'END'
places  run  plan.yaml  run ID  1 machine, 2 hosts
NOW  BLOCKER  erp      target.moved: cannot go on with disk 'root': it was begun at '/srv/other/erp-root.qcow2', the plan has another place for it now
                            mend: put the plan back as it was; to have the disk elsewhere, type drover rollback plan.yaml --to convert, and only then change the plan
NOW  erp      'erp' stops here: blocker target.moved

machine  convert  serves   took
erp      as is    source  TOOK

run: refused, TIME
Next: mend what blocks, then drover run plan.yaml
drover: cannot validate 'erp': blocker target.moved: cannot go on with disk 'root': it was begun at '/srv/other/erp-root.qcow2', the plan has another place for it now
  put the plan back as it was; to have the disk elsewhere, type drover rollback plan.yaml --to convert, and only then change the plan; or accept it in the plan: accept: [{finding: target.moved, machine: erp, until: DATE, reason: WHY}]
END
cp kept.yaml plan.yaml
expect 0 "$DROVER" rollback plan.yaml -y
empty || fail "rollback left files"
rm -rf .drover

# ---- where maps.storage sends a store ----------------------------------------------------------

plan "    source: { host: here, images: { root: \"$LAB/ds1/web/one.raw\", more: \"$LAB/ds2/web/two.raw\" } }
    target: { host: b, dir: /srv/images }" "maps: { storage: { ds1: { dir: /srv/other }, \"$LAB/ds2\": { vg: data } } }"
expect 0 "$DROVER" run plan.yaml
qemu-img convert -f qcow2 -O raw "$srv/other/erp-root.qcow2" plain
same plain || fail "the mapped file differs from its source"
same "$srv/lvm/data/erp-more" || fail "the mapped volume differs from its source"
expect 0 "$DROVER" rollback plan.yaml -y
empty || fail "rollback left files"
rm -rf .drover

# ---- a pool of libvirt ---------------------------------------------------------------------------

if command -v libvirtd >/dev/null && command -v virsh >/dev/null; then
	wait_for 30 lab_on b virsh -q uri || fail "no libvirtd at b"
	plan "    source: { host: here, images: { root: \"$LAB/disk.raw\" } }
    target: { host: b, dir: /srv/images, pool: fast, disks: { root: { size: 128MiB } } }"
	bad 1 "a pool that is not there" "$DROVER" run plan.yaml <<'END'
places  run  plan.yaml  run ID  1 machine, 2 hosts
NOW  erp      convert.disks         FAILED: host 'b': cannot place disk 'root': cannot use storage pool 'fast': Storage pool not found: no storage pool with matching name 'fast'
                   type on its host: virsh pool-list --all
                   the step stands at plan.yaml:10:16

machine  convert  serves   took
erp      FAILED   source  TOOK

run: a step FAILED, see above, TIME
Next: drover run plan.yaml
END
	rm -rf .drover
	lab_on b virsh -q pool-define-as fast dir --target /srv/pool
	bad 1 "a pool that is not started" "$DROVER" run plan.yaml <<'END'
places  run  plan.yaml  run ID  1 machine, 2 hosts
NOW  erp      convert.disks         FAILED: host 'b': cannot place disk 'root': cannot use storage pool 'fast': it is not started
                   type on its host: virsh pool-start 'fast'
                   the step stands at plan.yaml:10:16

machine  convert  serves   took
erp      FAILED   source  TOOK

run: a step FAILED, see above, TIME
Next: drover run plan.yaml
END
	rm -rf .drover
	lab_on b virsh -q pool-start fast
	expect 0 "$DROVER" run plan.yaml
	lab_on b virsh -q vol-list fast >"$LAB/out"
	said 'erp-root.qcow2 +/srv/pool/erp-root.qcow2'
	lab_on b virsh -q vol-info --pool fast erp-root.qcow2 >"$LAB/out"
	said '^Capacity: +128.00 MiB'
	expect 0 "$DROVER" rollback plan.yaml -y
	empty || fail "rollback left files"
	[ -z "$(lab_on b virsh -q vol-list fast)" ] || fail "libvirt still lists the volume"
	rm -rf .drover

	# a domain whose disk is a volume of a pool: the pool is its store
	mkdir "$srv/old"
	cp disk.raw "$srv/old/web.raw"
	lab_on b virsh -q pool-create-as old dir --target /srv/old
	cat >"$srv/web.xml" <<-END2
	<domain type='qemu'><name>web</name><memory>262144</memory><os><type>hvm</type></os><devices>
	<disk type='volume' device='disk'><driver name='qemu' type='raw'/><source pool='old' volume='web.raw'/>
	<target dev='vda' bus='virtio'/></disk></devices></domain>
	END2
	lab_on b virsh -q define /srv/web.xml || fail "the domain cannot be defined"
	plan "    source: { host: b, domain: web }
    target: { host: b, dir: /srv/images }
    assess: [ machine: {} ]" "maps: { storage: { old: { dir: /srv/other } } }
accept: [ { finding: guest.no-root, reason: data only } ]"
	expect 0 "$DROVER" run plan.yaml
	qemu-img convert -f qcow2 -O raw "$srv/other/erp-vda.qcow2" plain
	same plain || fail "the domain's disk differs from its source"
	expect 0 "$DROVER" rollback plan.yaml -y
	empty || fail "rollback left files"
else
	echo "no libvirt: no pools"
fi
[ "$(sha256sum <disk.raw)" = "$before" ] || fail "the source was written to"
bad_end
