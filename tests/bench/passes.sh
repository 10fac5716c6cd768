#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# passes - a further pass after 1 % of a disk's chunks changed: by a libvirt domain's dirty bitmap
# and by a device's traced writes, each beside comparing the digests of the same disk. SIZE (MiB,
# default 8192) of it are full of data. `drover sync` as a whole; medians of RUNS (5).
. "$(dirname "$0")/../lib/lab.sh"
lab_enter "$0" "$@"
. "$(dirname "$0")/lib.sh"
SIZE=${SIZE:-8192}
only=${ONLY:-bitmap trace}

libvirt_inside() {
	[ "$1" = a ] || return 0
	lab_libvirtd
}
export -f libvirt_inside
export LAB_INSIDE=libvirt_inside
lab_host a 10.66.0.11
lab_host b 10.66.0.12
srv=$LAB/hosts/a/srv to=$LAB/hosts/b/srv
cd "$LAB" || exit 1

# plan SOURCE CHANGES
plan() {
	cat >plan.yaml <<-END
	plan: bench
	hosts:
	  a: { ssh: root@10.66.0.11, identity: "$LAB/key", known_hosts: "$LAB/known_hosts" }
	  b: { ssh: root@10.66.0.12, identity: "$LAB/key", known_hosts: "$LAB/known_hosts" }
	accept: [ { finding: guest.no-root, reason: data only } ]
	machines:
	  disk:
	    source: { host: a, $1 }
	    target: { host: b, dir: /srv/out, format: raw }
	    assess: [ machine: {} ]
	    convert: [ disks: { changes: $2 } ]
	END
}
say() { "$DROVER" "$@" >"$BENCH/log" 2>&1 || { tail -n 30 "$BENCH/log"; fail "drover $1"; }; }
# Passes of SOURCE, found by WAY and by digests. `change` writes to the disk.
compare() {
	local source=$1 way=$2 noted
	plan "$source" "$way"
	say run plan.yaml
	BEFORE=change measure "$way: drover sync" "$DROVER" sync plan.yaml
	noted=$M_WALL
	BEFORE= measure "the same, nothing changed" "$DROVER" sync plan.yaml
	plan "$source" digest
	say sync plan.yaml
	BEFORE=change measure "the same by digest" "$DROVER" sync plan.yaml
	printf '%-52s %s (wanted: at most 0.2)\n' "second pass, by $way, of that by digest" "$(ratio "$noted" "$M_WALL")"
	say cleanup plan.yaml
	rm -rf .drover "$to/out"
}

case " $only " in *" bitmap "*)
	wait_for 300 lab_on a virsh -q uri || fail "no libvirtd at a"
	head -c "${SIZE}M" /dev/urandom >"$srv/full.raw"
	qemu-img convert -f raw -O qcow2 "$srv/full.raw" "$srv/full.qcow2"
	rm "$srv/full.raw"
	cat >"$srv/old.xml" <<-'END'
	<domain type='qemu'>
	  <name>old</name>
	  <memory unit='MiB'>64</memory>
	  <os><type arch='x86_64' machine='pc'>hvm</type></os>
	  <devices>
	    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/srv/full.qcow2'/>
	      <target dev='vda' bus='virtio'/></disk>
	  </devices>
	</domain>
	END
	lab_on a virsh -q define /srv/old.xml && lab_on a virsh -q start old || fail "no domain"
	# by QEMU's own monitor, as the guest would
	change() {
		local i
		for ((i = RANDOM % 100; i < SIZE; i += 100)); do
			echo "qemu-monitor-command --hmp old 'qemu-io -d /machine/peripheral/virtio-disk0/virtio-backend \"write -P $((RANDOM % 255)) ${i}M 4k\"'"
		done | lab_on a virsh -q >/dev/null
		sync
	}
	compare "domain: old" bitmap
	lab_on a virsh -q destroy old
	rm "$srv/full.qcow2" ;;
esac

case " $only " in *" trace "*)
	head -c "${SIZE}M" /dev/urandom >"$LAB/full.raw"
	dev=$(losetup -f --show --direct-io=on "$LAB/full.raw") || fail "no loop device"
	trap 'losetup -d "$dev"; rm -rf "$BENCH"' EXIT
	change() {
		local i
		for ((i = RANDOM % 100; i < SIZE; i += 100)); do
			dd if=/dev/urandom of="$dev" bs=4k count=1 seek=$((i * 256)) conv=notrunc oflag=direct status=none
		done
		sync
	}
	compare "disks: { root: { path: $dev } }" trace ;;
esac
measured
