#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A source that is no domain to drover (its disk is named in the plan) but whose power is one
# of a real libvirt at another host: switched off and proven off in the cutover, and no longer
# started with its host; rollback starts it again, as it was.
. "$(dirname "$0")/../lib/lab.sh"
lab_needs virsh libvirtd qemu-system-x86_64
lab_enter "$0" "$@"
. "$(dirname "$0")/../lib/disks.sh"

libvirt_inside() { lab_libvirtd 'user = "root"'; }
export -f libvirt_inside
export LAB_INSIDE=libvirt_inside
lab_host a 10.66.0.11
wait_for 300 lab_on a virsh -q uri || fail "no libvirtd"
make_disk "$LAB/hosts/a/srv/disk.raw"
cat >"$LAB/hosts/a/srv/old.xml" <<'END'
<domain type='qemu'>
  <name>old</name>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices><disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/srv/disk.raw'/>
    <target dev='vda' bus='virtio'/></disk></devices>
</domain>
END
lab_on a virsh -q define /srv/old.xml && lab_on a virsh -q autostart old && lab_on a virsh -q start old || fail "no domain"
state() { lab_on a virsh -q domstate old | head -n 1; }
autostart() { lab_on a virsh -q dominfo old | sed -n 's/^Autostart: *//p'; }

cd "$LAB" || exit 1
mkdir there
cat >plan.yaml <<END
plan: power
hosts:
  a: { ssh: root@10.66.0.11, identity: "$LAB/key", known_hosts: "$LAB/known_hosts" }
  here: { local: true }
machines:
  erp:
    source: { host: here, images: { root: "$LAB/hosts/a/srv/disk.raw" }, power: { libvirt: { domain: old, at: a } } }
    target: { host: here, dir: "$LAB/there", format: raw }
    convert: [ disks: {} ]
    cutover: [ "off": {} ]
END
expect 0 "$DROVER" run plan.yaml
[ "$(state)" = running ] || fail "the source must serve after run"
expect 0 "$DROVER" cutover plan.yaml --preview
said 'off'
expect 0 "$DROVER" cutover plan.yaml -y
[ "$(state)" = "shut off" ] || fail "the source must be off"
[ "$(autostart)" = disable ] || fail "the source would start with its host"
expect 0 "$DROVER" cutover plan.yaml -y
expect 0 "$DROVER" rollback plan.yaml -y
[ "$(state)" = running ] || fail "the source must run again"
[ "$(autostart)" = enable ] || fail "the source must start with its host again"
nothing_in there || fail "rollback left files"

# A domain that is not known there is no proof of anything.
sed -i 's/domain: old/domain: odl/' plan.yaml
expect 0 "$DROVER" run plan.yaml
expect 1 "$DROVER" cutover plan.yaml -y
said "odl"
[ "$(state)" = running ] || fail "the source must serve on"
