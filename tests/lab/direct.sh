#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Streams that go from host to host: the port range and address of the plan, what happens when
# the way is blocked, and that nothing listens or runs afterwards.
. "$(dirname "$0")/../lib/lab.sh"
lab_enter "$0" "$@"
. "$(dirname "$0")/../lib/disks.sh"
lab_host a 10.66.0.11
lab_host b 10.66.0.12
make_disk "$LAB/hosts/a/srv/disk.raw"
mkdir -p "$LAB/hosts/b/srv/out"
cd "$LAB" || exit 1

# plan STREAM DATA: the disk from a to b, which can be met at DATA.
plan() {
	{ echo "plan: direct"; echo "defaults: { stream: $1 }"
	  plan_hosts | sed "s#^  b: { #&data: \"$2\", #"; echo "machines:"
	  disk_machine m a /srv/disk.raw b /srv/out raw; } >plan.yaml
}
how() { "$DROVER" show plan.yaml HEAD evidence/convert.disks/stream.text; }
listeners() { lab_on "$1" ss -Hltn | grep -cv ':22 '; }
clean() {
	cmp hosts/a/srv/disk.raw hosts/b/srv/out/m/root.base.raw || fail "the copy differs"
	for h in a b; do
		[ "$(listeners $h)" = 0 ] || fail "something listens on $h"
		[ "$(lab_on $h ps -A -o comm= | grep -cv '^\(sshd\|ps\)$')" = 0 ] || fail "something runs on $h"
	done
	expect 0 "$DROVER" rollback plan.yaml -y
	rm -rf .drover
}

plan direct 10.66.0.12:7000-7003
expect 0 "$DROVER" preview plan.yaml
said "= the data goes straight from host to host, or not at all"
expect 0 "$DROVER" run plan.yaml
said ', 29.0 MiB moved'	# not what the preview had guessed
how | grep -qE "^direct: directly from 'a' to 'b' at 10.66.0.12 port 700[0-3], [0-9]+ connection" || fail "not direct: $(how)"
clean

plan relay 10.66.0.12
expect 0 "$DROVER" run plan.yaml
how | grep -q '^relay: through the engine, as the plan says$' || fail "not relayed: $(how)"
clean

# No way there: told at once.
ip -n b addr add 10.77.0.12/32 dev lo
plan auto 10.77.0.12:7000
expect 0 "$DROVER" run plan.yaml
said "m +the data goes through the engine, as it cannot go directly: 'a' cannot reach 'b'"
expect 0 "$DROVER" sync plan.yaml
said '^Next: drover status plan.yaml'	# this plan has no cutover
how | grep -q "^relay: through the engine, as it cannot go directly: 'a' cannot reach 'b' at 10.77.0.12 port 7000: cannot connect: Network is unreachable" || fail "it says: $(how)"
clean
plan direct 10.77.0.12:7000
expect 1 "$DROVER" run plan.yaml
said "cannot open a direct"
said "or say stream: auto"
[ "$(listeners b)" = 0 ] || fail "something listens on b"
expect 0 "$DROVER" rollback plan.yaml -y
rm -rf .drover

# A way that swallows everything, as a firewall does: two seconds, then the other way.
ip -n a neigh add 10.66.0.99 lladdr 02:00:00:00:00:99 dev eth0
ip -n a route add 10.77.0.12/32 via 10.66.0.99
plan auto 10.77.0.12:7000
expect 0 "$DROVER" run plan.yaml
how | grep -q "^relay: .*'a' cannot reach 'b' at 10.77.0.12 port 7000: no answer within 2 s" || fail "it says: $(how)"
clean
# Not again for the last pass, while nobody serves.
echo "    cutover: [ pass: {} ]" >>plan.yaml
expect 0 "$DROVER" run plan.yaml
expect 0 "$DROVER" cutover plan.yaml -y
said 'Next: drover rollback plan.yaml --to cutover'	# nothing of it starts the target
last=$("$DROVER" show plan.yaml HEAD evidence/cutover.pass/stream.text)
grep -q "^relay: .* directly: the copies before could not" <<<"$last" || fail "the last pass: $last"
clean

# Slow enough that what happens to it happens in its midst. A rate: it holds on both ways.
limit() { sed -i "/^limits/d; /^hosts:/i limits: { bandwidth: $1 }" plan.yaml; }
for way in direct relay; do
	plan $way 10.66.0.12:7000
	limit 8MiB/s
	began=${EPOCHREALTIME/./}
	expect 0 "$DROVER" run plan.yaml
	[ $((${EPOCHREALTIME/./} - began)) -ge 2000000 ] || fail "20 MiB at 8 MiB/s took less than 2 s"
	clean
done

# begun: some of it is at the target.
begun() { [ "$(du -k hosts/b/srv/out/m/root.base.raw 2>/dev/null | cut -f1)" -gt 2000 ]; }
slowly() {
	plan direct 10.66.0.12:7000
	limit "$1"
	lab_aside slow "$DROVER" run plan.yaml
	run=$!
	wait_for 60 begun || fail "it does not begin"
}
# The link is gone for a second: it goes on.
slowly 4MiB/s
ip link set v-b down; read -rt 1 <> <(:) || :; ip link set v-b up
wait $run || fail "a short cut ended it"
clean

# The connection is gone for good: another one is made, and it goes on.
slowly 8MiB/s
lab_on a ss -K -tn '( sport = :7000 or dport = :7000 )' >/dev/null
wait $run || fail "it does not go on"
grep -q 'done in .*(attempt 2 of 3)' slow || fail "a cut was not noticed"
clean

# Both agents are killed with all that they started: the engine begins again by itself.
slowly 4MiB/s
for h in a b; do
	lab_on $h kill -KILL $(lab_on $h ps -A -o pid=,comm= | awk '$2 != "sshd" && $2 != "ps" { print $1 }')
done
wait $run || fail "it did not begin again"
clean
