#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A real systemd, that of a Debian guest. As a target's it keeps a machine as a unit that starts
# with the host; rollback takes unit, disk and interface away. As a source's its services are
# drained before a cutover, and started again when the cutover goes back. The machine in the
# unit is no QEMU (a guest in a guest takes minutes) but what stands in for one, tests/lib/fake-qemu.
. "$(dirname "$0")/../lib/lab.sh"
lab_enter "$0" "$@"
here=$(cd "$(dirname "$0")/../.." && pwd)
cd "$LAB" || exit 1
ip addr add 10.77.0.1/24 dev lab0
DROVER_GUEST_CACHE=${DROVER_GUEST_CACHE:-/root/.cache/drover} "$here/examples/guest/build" "$LAB/old.raw" 4G || fail "no guest"
"$here/examples/guest/power" on "$LAB/old.raw" lab0
client() { "$here/tests/lib/client" "$@"; }
on_guest() { lab_guest "$LAB/guest-key" "$@"; }
wait_for 1200 client count 10.77.0.10 || fail "the guest does not come up"
wait_for 600 on_guest true || fail "its sshd does not come up"
export COLUMNS=1000
hosts="hosts:
  db1:  { ssh: root@10.77.0.10, identity: \"$LAB/guest-key\", known_hosts: \"$LAB/known_hosts\" }
  here: { local: true }"

# ---- a machine in a unit -------------------------------------------------------------

on_guest 'mkdir -p /srv/images && cat >/usr/local/bin/qemu-system-x86_64 && chmod 755 /usr/local/bin/qemu-system-x86_64 &&
	ip link add br9 type bridge && ip link set br9 up' <"$here/tests/lib/fake-qemu" || fail "the guest is no target"
tools="$(command -v qemu-img) $(command -v qemu-nbd)"	# Debian 12's, as the guest is
# shellcheck disable=SC2086,SC2046 # words
tar -chz $tools $(ldd $tools | grep -o '/[^ :]*$\|/[^ ]* (' | tr -d '( ') 2>/dev/null | on_guest 'tar -xz -C / --skip-old-files'
truncate -s 4M tiny.raw
echo tiny | dd of=tiny.raw conv=notrunc status=none
cat >tiny-power <<'END'
#!/bin/sh
# The switch of a server that is a file.
cd "$(dirname "$0")" || exit 1
case $1 in
on) : >tiny-is-on ;;
off) rm -f tiny-is-on ;;
status) if [ -e tiny-is-on ]; then echo on; else echo off; fi ;;
esac
END
chmod +x tiny-power
./tiny-power on
cat >units.yaml <<END
plan: units
$hosts
machines:
  tiny:
    source:
      host: here
      images: { root: "$LAB/tiny.raw" }
      firmware: bios
      cpus: 1
      memory: 64MiB
      power: { command: { on: ["$LAB/tiny-power", "on"], off: ["$LAB/tiny-power", "off"], status: ["$LAB/tiny-power", status] } }
    target: { host: db1, dir: /srv/images, format: raw, start: systemd, nics: { eth0: { network: br9 } } }
    assess: [ machine: {} ]
    convert: [ disks: {} ]
    reconfigure: [ machine: {} ]
    cutover: [ replay: {}, off: {}, start: { grace: 0s } ]
accept: [ { finding: guest.no-root, machine: tiny, until: 2099-01-01, reason: its disk holds no system } ]
END
expect 0 "$DROVER" hosts units.yaml --pin db1 -y
expect 0 "$DROVER" run units.yaml
expect 0 "$DROVER" cutover units.yaml --preview
said 'machine tiny, started by systemd'
expect 0 "$DROVER" cutover units.yaml -y
[ ! -e tiny-is-on ] || fail "the source is on beside its target"
expect 0 on_guest 'systemctl is-active drover-tiny && systemctl is-enabled drover-tiny && ls /sys/class/net/br9/brif'
said '^active$'
said '^enabled$'
said '^drv'
expect 0 "$DROVER" cleanup units.yaml
expect 0 on_guest 'systemctl is-active drover-tiny'
expect 1 "$DROVER" rollback units.yaml -y
said 'discard-target-writes'
expect 0 "$DROVER" rollback units.yaml -y --discard-target-writes
[ -e tiny-is-on ] || fail "the source is not on again"
expect 3 on_guest 'systemctl is-active drover-tiny'
expect 0 on_guest '[ -z "$(find /etc/systemd/system -name "drover-*")$(ls /sys/class/net/br9/brif)$(find /srv/images -type f)" ]'

# ---- services that are drained ---------------------------------------------------------

cat >drain.yaml <<END
plan: drain
$hosts
machines:
  ledger:
    source: { host: db1, disks: { root: /dev/sda }, power: { command: { on: ["true"], off: ["true"], status: [echo, "on"] } } }
    target: { host: here, dir: "$LAB/there", format: raw }
    cutover:
      - drain: { services: [ledgerd.service, nothing-of-this-name.service] }
      - check: { id: drained, at: source, use: service, with: { name: ledgerd } }
END
expect 0 "$DROVER" cutover drain.yaml --preview
said 'service ledgerd.service: stopped'
expect 1 "$DROVER" cutover drain.yaml -y
said 'cutover.drain +done'
said 'service ledgerd is inactive'
wait_for 300 client count 10.77.0.10 || fail "the service does not run again"
expect 0 on_guest 'systemctl is-active ledgerd'
"$here/examples/guest/power" cut "$LAB/old.raw"
