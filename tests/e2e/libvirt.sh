#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A virtual machine moves between two hosts that each have a libvirtd of their own. All that
# the plan says of it is the name of its domain. It is paused for the last pass, boots at the
# other host from virtio, answers at its old address with every acknowledged write, and its old
# domain is off and stays off. Rolled back after it served, it runs where it was; moved
# again (shut down this time) and finalized, it goes on without its overlay.
. "$(dirname "$0")/../lib/lab.sh"
lab_needs virsh libvirtd qemu-system-x86_64 mmdebstrap
lab_enter "$0" "$@"
here=$(cd "$(dirname "$0")/../.." && pwd)

# QEMU runs as a user of its own, as it does on every real host.
lab_libvirt_pair
uuids=$(for host in a b; do lab_on $host virsh capabilities | grep -o '<uuid>.*</uuid>'; done | sort -u | wc -l)
[ "$uuids" = 2 ] || fail "both hosts have one libvirtd"

# ---- the machine where it is ---------------------------------------------------------

DROVER_GUEST_CACHE=${DROVER_GUEST_CACHE:-/root/.cache/drover} "$here/examples/guest/build" "$LAB/hosts/a/srv/old.raw" 4G || fail "no guest"
(cd "$LAB/hosts/a/srv" && qemu-img convert -f raw -O qcow2 old.raw old.qcow2 && rm old.raw) || fail "no image"
sed 's/NAME/erp-ledger/' "$here/tests/lib/domain.xml" >"$LAB/hosts/a/srv/old.xml"
lab_on a virsh -q define /srv/old.xml || fail "the old domain cannot be defined"
lab_on a virsh -q autostart erp-ledger
lab_on a virsh -q start erp-ledger || fail "the old domain does not start"

# the target's libvirt knows the bridge as a network, and has a machine of the same name
lab_on b sh -c 'echo "<network><name>lan</name><forward mode=\"bridge\"/><bridge name=\"br0\"/></network>" >/srv/lan.xml &&
	virsh -q net-define /srv/lan.xml && virsh -q net-start lan' || fail "no network at b"
lab_on b sh -c 'echo "<domain type=\"qemu\"><name>ledger</name><memory>1024</memory><os><type>hvm</type></os></domain>" \
	>/srv/other.xml && virsh -q define /srv/other.xml' || fail "no other domain at b"

state() { lab_on "$1" virsh -q domstate "$2" 2>/dev/null | head -n 1; }
autostart() { lab_on "$1" virsh -q dominfo "$2" | sed -n 's/^Autostart: *//p'; }
ssh_guest() { lab_guest "$LAB/hosts/a/srv/guest-key" "$@"; }
client() { "$here/tests/lib/client" "$@"; }

cat >"$LAB/plan.yaml" <<END
plan: lab
hosts:
  a: { ssh: root@10.66.0.11, identity: "$LAB/key", known_hosts: "$LAB/known_hosts" }
  b: { ssh: root@10.66.0.12, identity: "$LAB/key", known_hosts: "$LAB/known_hosts" }
  here: { local: true }
vars: { quiesce: pause }
machines:
  ledger:
    recipe: v2v
    source: { host: a, domain: erp-ledger }
    target:
      host: b
      dir: /srv/images
      nics: { ens192: { network: lan } }
    validate:
      - boot: { skip: true }	# its own test has it; two guests more are minutes here
    cutover:
      - quiesce: { mode: "\${quiesce}" }
      - check: { id: answers, after: start, at: here, use: port, with: { address: 10.77.0.10, port: 7000 }, retry: 15m }
END
cd "$LAB" || exit 1

enough() { [ "$(wc -l <"$LAB/acked")" -gt 20 ]; }
# What the target must be once it serves; all acknowledged writes are there.
proves_target() {
	[ "$(state a erp-ledger)" = "shut off" ] || fail "the source domain must be off"
	[ "$(autostart a erp-ledger)" = disable ] || fail "the source domain would start with its host"
	[ "$(state b ledger)" = running ] || fail "the target does not run in libvirt"
	[ "$(autostart b ledger)" = enable ] || fail "the target does not start with its host"
	client all 10.77.0.10 | sort >"$LAB/have"
	sort -u "$LAB/acked" | comm -13 "$LAB/have" - >"$LAB/lost"
	[ ! -s "$LAB/lost" ] || fail "acknowledged writes are lost: $(paste -sd, "$LAB/lost"); the last was $(tail -n 1 "$LAB/acked"), of $(wc -l <"$LAB/have") there the last $(sort -k2n "$LAB/have" | tail -n 1)"
	expect 0 ssh_guest 'findmnt -no SOURCE /; ip -br addr show ens192; nproc; grep MemTotal /proc/meminfo'
	said '^/dev/vda1$'
	said '^ens192 +UP.* 10\.77\.0\.10/24'
	said '^2$'
	said 'MemTotal: +4[0-9]{5} kB'
}

# ---- there, and back after it served --------------------------------------------------

wait_for 600 client count 10.77.0.10 || fail "the machine does not come up"
"$here/tests/lib/client" write 10.77.0.10 "$LAB/acked" &	# no function: what $! names is it, not a shell around it
writer=$!
expect 0 "$DROVER" check plan.yaml
expect 0 "$DROVER" preview plan.yaml
said 'sda /srv/old.qcow2 4.0 GiB'
said 'sda: a checkpoint of libvirt, later passes read what was written since'
said 'target.domain-taken: .*another domain called .ledger.'
lab_on b virsh -q undefine ledger
expect 0 "$DROVER" run plan.yaml
[ "$(state a erp-ledger)" = running ] || fail "the source must serve after run"
expect 0 "$DROVER" cutover plan.yaml --preview
said 'domain erp-ledger: paused'
said 'started by libvirt'
wait_for 300 enough || fail "the writer wrote too little to prove anything"
held=$(wc -l <"$LAB/acked")
expect 0 "$DROVER" cutover plan.yaml -y -v
said "sda: pass 2, .* the writes in its dirty bitmap were read"
kill $writer
wait $writer 2>/dev/null
proves_target

expect 1 "$DROVER" rollback plan.yaml -y
said 'discard-target-writes'
[ "$(state b ledger)" = running ] || fail "a refused rollback must leave the target alone"
expect 0 "$DROVER" rollback plan.yaml -y --discard-target-writes
said 'serves: source'
lab_on b virsh -q list --all --name | grep . && fail "rollback left a domain at the target"
nothing_in "$LAB/hosts/b/srv/images" || fail "rollback left files at the target"
[ "$(state a erp-ledger)" = running ] || fail "the source domain must run again"
[ "$(autostart a erp-ledger)" = enable ] || fail "the source domain must start with its host again"
wait_for 600 client count 10.77.0.10 || fail "the source does not come back"
[ "$(client count 10.77.0.10)" -ge "$held" ] || fail "the source lost what it had"

# ---- again, shut down this time, and for good --------------------------------------------

sed -i 's/quiesce: pause/quiesce: shutdown/' plan.yaml
: >"$LAB/acked"		# what the target took is given up
"$here/tests/lib/client" write 10.77.0.10 "$LAB/acked" &
writer=$!
expect 0 "$DROVER" run plan.yaml
wait_for 300 enough || fail "the writer wrote too little to prove anything"
expect 0 "$DROVER" cutover plan.yaml -y -v
said "sda: pass 2, .* the writes in its dirty bitmap were read"
kill $writer
wait $writer 2>/dev/null
proves_target
boots=$(ssh_guest cat /proc/sys/kernel/random/boot_id)
expect 6 "$DROVER" finalize plan.yaml -y
said "nobody is at a terminal to confirm: Finalize plan .lab.: afterwards no rollback is possible"
expect 0 "$DROVER" finalize plan.yaml --confirm lab
lab_on b virsh -q domblklist ledger >"$LAB/out"
said '^ *vda +/srv/images/ledger/sda\.base\.qcow2'
lab_on b virsh -q domblklist --inactive ledger >"$LAB/out"
said '^ *vda +/srv/images/ledger/sda\.base\.qcow2'
lab_on b test ! -e /srv/images/ledger/sda.qcow2 || fail "the overlay is still there"
[ "$(ssh_guest cat /proc/sys/kernel/random/boot_id)" = "$boots" ] || fail "finalize must not restart the machine"
before=$(client count 10.77.0.10)
"$here/tests/lib/client" write 10.77.0.10 "$LAB/acked" &
writer=$!
wait_for 300 eval "[ \$(client count 10.77.0.10) -gt $((before + 5)) ]" || fail "the machine takes no writes any more"
kill $writer
expect 0 "$DROVER" cleanup plan.yaml
[ "$(state b ledger)" = running ] || fail "cleanup must leave the machine alone"
lab_on b sh -c '! ls -d /run/drover 2>/dev/null | grep .' || fail "something temporary is left at the target"
