#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The examples for real hosts, as they stand, against the lab's: an alias leads to each name, a
# loop device stands for the server's disk. The preview gets to the end, and touches nothing.
. "$(dirname "$0")/../lib/lab.sh"
lab_enter "$0" "$@"
here=$(cd "$(dirname "$0")/../.." && pwd)
lab_host db1 10.66.0.11
lab_host kvm1 10.66.0.12
lab_host kvm2 10.66.0.13
cd "$LAB" || exit 1
cp -r "$here/examples/." .
for n in 1:db1 2:kvm1 3:kvm2; do
	echo "10.66.0.1${n%:*} ${n#*:}.example.net" >>names.hosts
	sed -n "s/^10.66.0.1${n%:*} /${n#*:}.example.net /p" known_hosts >>names
done
cat names >>known_hosts
mount --bind names.hosts /etc/hosts
truncate -s 64M disk.raw scratch.raw
mkfs.ext4 -q -F disk.raw
dev=$(losetup -f --show disk.raw) || { echo "no loop device"; exit 77; }
trap 'losetup -d $dev $scratch' EXIT
scratch=$(losetup -f --show scratch.raw) || fail "no second loop device"
sed -i -e "s|id: wwn-0x5000c500a1b2c3d4|path: $dev|; s|id: wwn-0x5000c500a1b2c3d5|path: $scratch|" \
	-e 's/ops@/root@/; s/, become: { sudo: true }//' \
	-e "s|\(ssh: [^ }]*\)|\1, identity: $LAB/key, known_hosts: $LAB/known_hosts|" p2v.yaml v2v-libvirt.yaml
sha256sum disk.raw scratch.raw >before
for plan in p2v v2v-libvirt; do
	expect 0 "$DROVER" check $plan.yaml
	expect 0 "$DROVER" hosts $plan.yaml
done
expect 0 "$DROVER" preview p2v.yaml
said 'BLOCKER +erp-db +guest.no-root'	# there is none in the lab
said 'root: its writes are traced|root: its writes are not traced'
said 'scratch not copied'
said 'a copy of erp-db boots behind a fence'
grep -q "disk 'scratch'" out && fail "a disk that stays is found fault with"
expect 1 "$DROVER" preview v2v-libvirt.yaml
said "cannot describe domain 'shop-web'"	# no libvirtd here
sha256sum -c --quiet before || fail "a preview wrote to the source"
