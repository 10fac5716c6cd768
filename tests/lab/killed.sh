#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The engine is killed with SIGKILL half way through a copy: `run` goes on and ends equal,
# rollback ends clean; a second engine is refused meanwhile and told who holds the state.
. "$(dirname "$0")/../lib/lab.sh"
lab_enter "$0" "$@"
. "$(dirname "$0")/../lib/disks.sh"
lab_host a 10.66.0.11
lab_host b 10.66.0.12
truncate -s 2G "$LAB/hosts/a/srv/disk.raw"
dd if=/dev/urandom of="$LAB/hosts/a/srv/disk.raw" bs=1M count=400 conv=notrunc status=none
mkdir -p "$LAB/hosts/b/srv/out"
cd "$LAB" || exit 1
{ echo "plan: killed"; plan_hosts; echo "machines:"; disk_machine erp a /srv/disk.raw b /srv/out raw; } >plan.yaml
# a slow link, so that there is a half way
tc qdisc add dev v-b root tbf rate 400mbit burst 1mb latency 50ms

begun() { [ "$(du -k "$LAB/hosts/b/srv/out/erp/root.base.raw" 2>/dev/null | cut -f1)" -gt 20000 ]; }
agents_gone() { ! lab_on b pgrep -f 'drover-agent|/proc/self/exe' >/dev/null; }
for round in 1 2; do
	"$DROVER" run plan.yaml >"$LAB/first" 2>&1 &
	engine=$!
	wait_for 60 begun || { cat "$LAB/first"; fail "the copy does not begin"; }
	if [ $round = 1 ]; then
		expect 4 "$DROVER" run plan.yaml
		said "pid $engine"
		expect 0 "$DROVER" status plan.yaml
	fi
	kill -KILL $engine
	wait $engine 2>/dev/null
	[ $round = 2 ] && break
	tc qdisc del dev v-b root
	expect 0 "$DROVER" run plan.yaml
	cmp "$LAB/hosts/a/srv/disk.raw" "$LAB/hosts/b/srv/out/erp/root.base.raw" || fail "the copies differ"
	expect 0 "$DROVER" rollback plan.yaml -y
	tc qdisc add dev v-b root tbf rate 400mbit burst 1mb latency 50ms
done
tc qdisc del dev v-b root
expect 0 "$DROVER" rollback plan.yaml -y
[ -z "$(find "$LAB/hosts/b/srv/out" -type f)" ] || fail "rollback left files"
expect 0 "$DROVER" status plan.yaml
