#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A disk goes from a host to the same host: its agent joins both ends, and no byte passes
# through a network or the engine; nothing is left running.
. "$(dirname "$0")/../lib/lab.sh"
lab_enter "$0" "$@"
. "$(dirname "$0")/../lib/disks.sh"
lab_host a 10.66.0.11
make_disk "$LAB/hosts/a/srv/disk.raw"
mkdir -p "$LAB/hosts/a/srv/out"
cd "$LAB" || exit 1

# plan STREAM: where the host could be met nobody comes.
plan() {
	{ echo "plan: one"; echo "defaults: { stream: $1 }"
	  plan_hosts | sed 's#^  a: { #&data: "10.77.0.12:7000", #'; echo "machines:"
	  disk_machine m a /srv/disk.raw a /srv/out qcow2; } >plan.yaml
}
how() { "$DROVER" show plan.yaml HEAD evidence/convert.disks/stream.text; }
clean() {
	qemu-img compare -q -f raw -F qcow2 hosts/a/srv/disk.raw hosts/a/srv/out/m/root.base.qcow2 || fail "the copy differs"
	[ "$(lab_on a ps -A -o comm= | grep -cv '^\(sshd\|ps\)$')" = 0 ] || fail "something runs on a"
	expect 0 "$DROVER" rollback plan.yaml -y
	rm -rf .drover
}

plan direct
expect 0 "$DROVER" preview plan.yaml
said "= the data goes directly on 'a', from process to process"
before=$(link_bytes a)
expect 0 "$DROVER" run plan.yaml
how | grep -qx "direct: directly on 'a', from process to process" || fail "it says: $(how)"
[ $(($(link_bytes a) - before)) -lt $((16 << 20)) ] || fail "the disk went over the link"

# What says whose it is was cut short: a rollback takes nothing away before it is put right.
marker=hosts/a/srv/out/m/.drover
truncate -s 20 $marker
expect 1 "$DROVER" rollback plan.yaml -y
said "'/srv/out/m/.drover' is damaged"
sed -n 's/.* put \({.*}\) into a new .*/\1/p' out | head -n 1 >$marker
clean
[ ! -e hosts/a/srv/out/m ] || fail "left: $(ls -A hosts/a/srv/out/m)"

# As the plan says: there and back.
plan relay
before=$(link_bytes a)
expect 0 "$DROVER" run plan.yaml
how | grep -qx 'relay: through the engine, as the plan says' || fail "it says: $(how)"
[ $(($(link_bytes a) - before)) -gt $((20 << 20)) ] || fail "the disk did not go over the link"
clean

# The agent is killed with both ends: both begin again, and are joined again.
plan auto
sed -i '/^hosts:/i limits: { read: 8MiB/s }' plan.yaml
lab_aside slow "$DROVER" run plan.yaml
run=$!
begun() { [ "$(du -k hosts/a/srv/out/m/root.base.qcow2 2>/dev/null | cut -f1)" -gt 2000 ]; }
wait_for 60 begun || fail "it does not begin"
lab_on a kill -KILL $(lab_on a ps -A -o pid=,comm= | awk '$2 != "sshd" && $2 != "ps" { print $1 }')
wait $run || fail "it did not begin again"
how | grep -q "^direct: directly on 'a'" || fail "it says: $(how)"
clean
