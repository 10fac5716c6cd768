#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Half way through a copy: the engine is killed with SIGKILL, or interrupted. `run` goes on and
# ends equal, rollback ends clean; a second engine is refused meanwhile and told who holds the
# state. A gate holds each copy where it is, so that half way is half way at any speed.
. "$(dirname "$0")/../lib/lab.sh"
lab_enter "$0" "$@"
. "$(dirname "$0")/../lib/disks.sh"
lab_host a 10.66.0.11
lab_host b 10.66.0.12
truncate -s 2G "$LAB/hosts/a/srv/disk.raw"
dd if=/dev/urandom of="$LAB/hosts/a/srv/disk.raw" bs=1M count=120 conv=notrunc status=none
mkdir -p "$LAB/hosts/b/srv/out"
copy=$LAB/hosts/b/srv/out/erp/root.base.raw
cd "$LAB" || exit 1
{ echo "plan: killed"; plan_hosts; echo "machines:"; disk_machine erp a /srv/disk.raw b /srv/out raw; } >plan.yaml
sed -i "s/root@10.66.0.12/root@$GATE/; \$a\    stream: relay" plan.yaml

half_way() {	# a run in the background that stands half way through its copy
	gate b "$copy" 20000
	lab_aside first "$DROVER" run plan.yaml
	engine=$!
	wait_for 300 eval "gate_shut || ! kill -0 $engine"
	gate_shut || fail "the copy does not begin"
}
ended() {	# with this status
	local got=0
	wait $engine 2>/dev/null || got=$?
	[ $got = "$1" ] || fail "status $got instead of $1"
}
says() { grep -q "$1" first; }
is_whole() { cmp "$LAB/hosts/a/srv/disk.raw" "$copy" || fail "the copies differ"; }
is_clean() { nothing_in "$LAB/hosts/b/srv/out" || fail "rollback left files"; }

# Killed: a second run is refused meanwhile; the next one goes on.
half_way
expect 4 "$DROVER" run plan.yaml
said "pid $engine"
expect 0 "$DROVER" status plan.yaml
kill -KILL $engine
ended 137
gate_open
expect 0 "$DROVER" run plan.yaml
is_whole
expect 0 "$DROVER" rollback plan.yaml -y
is_clean

# Killed, and rolled back at once.
half_way
kill -KILL $engine
ended 137
gate_open
expect 0 "$DROVER" rollback plan.yaml -y
is_clean
expect 0 "$DROVER" status plan.yaml

# Interrupted once: the copy stops where it is.
half_way
kill -INT $engine
wait_for 300 says 'stopping:' || fail "the interrupt is not seen"
gate_open
ended 3
! cmp -s "$LAB/hosts/a/srv/disk.raw" "$copy" || fail "the copy went on to its end"
expect 0 "$DROVER" status plan.yaml
said 'drover run plan.yaml'
expect 0 "$DROVER" run plan.yaml
is_whole
expect 0 "$DROVER" rollback plan.yaml -y
is_clean

# The same into an image of another hypervisor.
sed -i 's/format: raw/format: vmdk/' plan.yaml
copy=${copy%.raw}.vmdk
half_way
kill -KILL $engine
ended 137
gate_open
expect 0 "$DROVER" run plan.yaml
qemu-img compare -q -f raw -F vmdk "$LAB/hosts/a/srv/disk.raw" "$copy" || fail "the copies differ"
expect 0 "$DROVER" rollback plan.yaml -y
is_clean
