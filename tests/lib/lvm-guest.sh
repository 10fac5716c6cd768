# SPDX-License-Identifier: Apache-2.0
# lvm-guest.sh - a host with a device mapper, which this machine's kernel may lack: Debian's
# kernel in QEMU with nothing but an initramfs of busybox, sshd, LVM and mke2fs. Sourced after
# lab_enter; it boots in some seconds.
#
# lvm_guest IP DISK     boots it at IP with the file DISK as /dev/vda; its host key is pinned.
# on_guest CMD          a line for its shell.
# guest_cut             its power is cut.
# guest_boot            it is switched on again.
# guest_plan DEVICE QUIESCE [BACKUP]
#                       plan.yaml: DEVICE is copied to host b as the disk `data`, its image $copy. When it
#                       stands still /run/still lists what is in /srv/data, /run/mounts what is mounted.
# guest_write MIB FILE  into /srv/data.
# guest_same IMAGE      it holds what was in /srv/data when that stood still; the list is `still` now.

# guest_file PATH TO: out of the image of the example's guest.
guest_file() { debugfs -R "dump $1 $2" "$guest_image" 2>/dev/null && [ -s "$2" ] || fail "no $1 in the guest"; }

# guest_module NAME: it and what it needs, in order, into the list.
guest_module() {
	local line needed
	touch "$guest_root/modules/list"
	line=$(grep -E "/$1:" "$LAB/modules.dep") || return 0	# it is in the kernel
	for needed in ${line#*:}; do guest_module "${needed##*/}"; done
	grep -qxF "$1" "$guest_root/modules/list" && return
	guest_file "/lib/modules/$guest_kernel/${line%%:*}" "$guest_root/modules/$1"
	echo "$1" >>"$guest_root/modules/list"
}

# guest_program PATH: with its libraries.
guest_program() {
	local lib
	cp -L "$1" "$guest_root/sbin/"
	for lib in $(ldd "$1" | grep -o '/[^ ]*'); do cp -Ln "$lib" "$guest_root/lib/"; done
}

guest_init() {
	cat <<-END
	#!/bin/busybox sh
	/bin/busybox --install -s /bin
	export PATH=/sbin:/bin LD_LIBRARY_PATH=/lib
	mount -t proc proc /proc
	mount -t sysfs sys /sys
	mount -t devtmpfs dev /dev
	mkdir /dev/shm
	mount -t tmpfs -o mode=755 run /run
	mkdir /run/sshd /run/lock
	for m in \$(cat /modules/list); do insmod /modules/\$m; done
	ip link set lo up
	ip addr add $1/24 dev eth0
	ip link set eth0 up
	/sbin/sshd -f /etc/ssh/sshd_config && echo READY
	while :; do sleep 1000; done
	END
}

guest_initramfs() {
	local tool
	mkdir -p "$guest_root"/{bin,sbin,dev,proc,sys,run,tmp,srv,modules,lib,lib64,var/empty,etc/ssh,etc/lvm,root/.ssh}
	cp "$(command -v busybox)" "$guest_root/bin/busybox"
	for tool in lvm sshd mke2fs; do guest_program "$(command -v $tool)"; done
	cp -L /lib64/ld-linux-x86-64.so.2 "$guest_root/lib64/"
	for tool in lvs vgs lvcreate lvremove lvchange lvresize pvcreate vgcreate; do ln -s lvm "$guest_root/sbin/$tool"; done
	for tool in virtio_pci virtio_blk virtio_net dm-mod dm-snapshot ext4 vfat nls_cp437 nls_ascii; do guest_module $tool.ko; done
	echo 'activation { udev_sync = 0 udev_rules = 0 }' >"$guest_root/etc/lvm/lvm.conf"
	printf 'root:x:0:0:root:/root:/bin/sh\nsshd:x:100:100::/run/sshd:/bin/false\n' >"$guest_root/etc/passwd"
	printf 'HostKey /etc/ssh/key\nSetEnv PATH=/sbin:/bin LD_LIBRARY_PATH=/lib\nStrictModes no\n' >"$guest_root/etc/ssh/sshd_config"
	cp "$LAB/key.pub" "$guest_root/root/.ssh/authorized_keys"
	ssh-keygen -q -t ed25519 -N '' -f "$guest_root/etc/ssh/key"
	guest_init "$1" >"$guest_root/init"
	chmod 755 "$guest_root/init"
	(cd "$guest_root" && find . | busybox cpio -o -H newc) >"$LAB/initrd" 2>/dev/null
}

on_guest() { ssh -i "$LAB/key" -o BatchMode=yes -o UserKnownHostsFile="$LAB/known_hosts" "root@$guest_ip" "$@"; }

lvm_guest() {
	guest_ip=$1
	local cache=${DROVER_GUEST_CACHE:-/root/.cache/drover} top=${lab_lib%/tests/lib}
	guest_root=$LAB/guest guest_image=$LAB/guest.raw?offset=1048576
	DROVER_GUEST_CACHE=$cache "$top/examples/guest/build" "$LAB/guest.raw" 4G || fail "no guest"
	guest_kernel=$(debugfs -R 'ls -p /lib/modules' "$guest_image" 2>/dev/null | awk -F/ '$6 ~ /^[0-9]/ { print $6 }')
	guest_file "/boot/vmlinuz-$guest_kernel" "$LAB/vmlinuz"
	guest_file "/lib/modules/$guest_kernel/modules.dep" "$LAB/modules.dep"
	guest_initramfs "$1"
	rm "$LAB/guest.raw"
	printf '%s %s\n' "$1" "$(cut -d' ' -f1,2 "$guest_root/etc/ssh/key.pub")" >>"$LAB/known_hosts"
	ip tuntap add tap0 mode tap
	ip link set tap0 master lab0 up
	guest_disk=$2
	guest_boot
}

guest_boot() {
	: >"$LAB/console"
	qemu-system-x86_64 -machine q35 -accel tcg,thread=multi -cpu max -smp 2 -m 384 -display none \
		-serial "file:$LAB/console" -no-user-config -nodefaults \
		-kernel "$LAB/vmlinuz" -initrd "$LAB/initrd" -append "console=ttyS0 quiet panic=1" \
		-drive "file=$guest_disk,format=raw,if=none,id=disk" -device virtio-blk-pci,drive=disk \
		-netdev tap,id=net,ifname=tap0,script=no,downscript=no -device virtio-net-pci,netdev=net &
	guest_pid=$!
	wait_for 600 grep -q READY "$LAB/console" && wait_for 120 on_guest true || { cat "$LAB/console"; fail "the guest does not come up"; }
}

guest_cut() {
	kill -KILL $guest_pid
	wait $guest_pid 2>/dev/null
}

guest_plan() {
	cat >plan.yaml <<-END
	plan: lab
	hosts:
	  a: { ssh: root@$guest_ip, identity: "$LAB/key", known_hosts: "$LAB/known_hosts" }
	  b: { ssh: root@$GATE, identity: "$LAB/key", known_hosts: "$LAB/known_hosts" }
	accept: [ { finding: guest.no-root, reason: data only } ]
	machines:
	  erp:
	    stream: relay
	    source: { host: a, disks: { data: { path: $1 } } }
	    target: { host: b, dir: /srv/images, format: raw }
	    downtime: 5m
	    assess: [ machine: {} ]
	    ${3:+backup: [ $3 ]}
	    convert: [ disks: {} ]
	    cutover:
	      - quiesce: $2
	      - pass: {}
	      - proof: {}
	      - command:
	          id: still
	          at: source
	          argv: [sh, -c, "cat /proc/mounts >/run/mounts; cd /srv/data && find . -type f | xargs sha256sum >/run/still"]
	END
	copy=$LAB/hosts/b/srv/images/erp/data.base.raw
}

guest_write() { on_guest "head -c $(($1 << 20)) /dev/urandom >/srv/data/$2 && sync" || fail "the guest does not write"; }

guest_same() {
	on_guest cat /run/still >still
	mkdir files
	debugfs -R "rdump / files" "$1" 2>/dev/null
	(cd files && sha256sum --quiet --strict -c ../still) || fail "the copy is not what the disk was while it stood still"
}
