#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Links as they should not be: one that loses a packet in twenty, one of 1 Mbit/s, and one that
# is away for so long that the kernels give all connections up. The copies arrive, or the next
# run goes on with them.
. "$(dirname "$0")/../lib/lab.sh"
lab_enter "$0" "$@"
. "$(dirname "$0")/../lib/disks.sh"
${CC:-cc} -std=c11 -O2 -o "$LAB/farlink" "$lab_lib/farlink.c" || { echo "no C compiler here"; exit 77; }
lab_host a 10.66.0.11
lab_host b 10.66.0.12
srv=$LAB/hosts/a/srv
copy=$LAB/hosts/b/srv/out/m/root.base.raw
cd "$LAB" || exit 1

# plan STREAM DATA: the disk from a to b, which can be met at DATA.
plan() {
	{ echo "plan: links"
	  plan_hosts | sed "s#^  b: { #&data: \"$2\", #"
	  echo "machines:"
	  disk_machine m a /srv/disk.raw b /srv/out raw
	  echo "    stream: $1"; } >plan.yaml
}
far() {
	"$LAB/farlink" a 10.88.0.11 b 10.88.0.12 "$@" >far.ready &
	far=$!
	wait_for 60 grep -q ready far.ready || fail "the far link does not come up"
}
arrived() {
	cmp "$srv/disk.raw" "$copy" || fail "the copies differ: $1"
	expect 0 "$DROVER" rollback plan.yaml -y
	rm -rf .drover
}

# A packet in twenty is lost, in either direction.
make_disk "$srv/disk.raw"
plan direct 10.88.0.12
far 1 20
expect 0 "$DROVER" run plan.yaml
arrived "a link that loses packets"
kill $far; wait $far 2>/dev/null

# 1 Mbit/s: what was sent is all that fits into the time.
dd if=/dev/urandom of="$srv/disk.raw" bs=100K count=2 status=none
truncate -s 96M "$srv/disk.raw"
far 1
for h in a b; do lab_on $h tc qdisc add dev far0 root tbf rate 1mbit burst 32k latency 400ms; done
expect 0 "$DROVER" run plan.yaml
arrived "a slow link"
kill $far; wait $far 2>/dev/null

# Away for good, as a minute is to TCP: the connections end at both ends while nothing passes.
# The engine tries again by itself; if that is too early for the link, the next run goes on.
make_disk "$srv/disk.raw"
plan relay 10.66.0.12
sed -i "s/root@10.66.0.12/root@$GATE/" plan.yaml
gate b "$copy" 2000
lab_aside said "$DROVER" run plan.yaml
run=$!
wait_for 300 eval "gate_shut || ! kill -0 $run"
gate_shut || fail "the copy does not begin"
ip link set v-b down
gate_open
ss -K dst 10.66.0.12 >/dev/null 2>&1
lab_on b ss -K src 10.66.0.12 >/dev/null 2>&1
ip link set v-b up
status=0
wait $run || status=$?
[ $status = 0 ] || expect 0 "$DROVER" run plan.yaml
grep -q 'any more' said || fail "the engine did not notice"
arrived "a link that was away"
