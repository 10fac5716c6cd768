# SPDX-License-Identifier: Apache-2.0
# disks.sh - small disk images and plans that only move them; sourced after lab.sh.

# make_disk FILE: 96 MiB with data, zeros and holes, of a size that is no multiple of a chunk.
make_disk() {
	mkdir -p "$(dirname "$1")"
	rm -f "$1"
	truncate -s $((96 * 1048576 + 12288)) "$1"
	dd if=/dev/urandom of="$1" bs=1M count=20 conv=notrunc status=none
	yes 'a line that compresses well' | head -c 9000000 | dd of="$1" bs=1M seek=40 conv=notrunc status=none
	dd if=/dev/urandom of="$1" bs=4096 count=3 seek=24576 conv=notrunc status=none
}

# plan_hosts: hosts a and b of the lab by SSH, and this one.
plan_hosts() {
	cat <<-END
	hosts:
	  a: { ssh: root@10.66.0.11, identity: "$LAB/key", known_hosts: "$LAB/known_hosts" }
	  b: { ssh: root@10.66.0.12, identity: "$LAB/key", known_hosts: "$LAB/known_hosts" }
	  here: { local: true }
	END
}

# disk_machine NAME FROM IMAGE TO DIR FORMAT: a machine of which only the disk is moved.
disk_machine() {
	cat <<-END
	  $1:
	    source: { host: $2, images: { root: "$3" } }
	    target: { host: $4, dir: "$5", format: $6 }
	    convert: [ disks: {} ]
	    validate: [ disks: {} ]
	END
}

# as_raw FILE FORMAT: its plain content, on standard output.
as_raw() {
	if [ "$2" = raw ]; then cat "$1"; else
		qemu-img convert -f "$2" -O raw "$1" "$LAB/plain" && cat "$LAB/plain" && rm "$LAB/plain"
	fi
}
