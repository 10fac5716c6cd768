#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A physical server (a real Debian in QEMU, reached by SSH, written to all the time) is moved
# to another host with a brief freeze; it boots there from virtio, answers at its old address,
# and holds every write acknowledged before the freeze. A check asks the copy behind its fence.
# Rolled back before it served, the source goes on as before. Its disk comes in warm passes, by
# traced writes; the link to the target is cut in the midst of two of them.
. "$(dirname "$0")/../lib/lab.sh"
lab_enter "$0" "$@"
here=$(cd "$(dirname "$0")/../.." && pwd)

# the old network: the lab's bridge carries the server's subnet too
ip addr add 10.77.0.1/24 dev lab0
DROVER_GUEST_CACHE=${DROVER_GUEST_CACHE:-/root/.cache/drover} "$here/examples/guest/build" "$LAB/old.raw" 4G || fail "no guest"
power="$here/examples/guest/power"
"$power" on "$LAB/old.raw" lab0
lab_host kvm1 10.66.0.11
lab_on kvm1 bash -c 'ip link add br20 type bridge && ip addr flush dev eth0 && ip link set eth0 master br20 &&
	ip addr add 10.66.0.11/24 dev br20 && ip link set br20 up && mkdir -p /srv/images'

cat >"$LAB/plan.yaml" <<END
plan: lab
hosts:
  db1:  { ssh: root@10.77.0.10, identity: "$LAB/guest-key", known_hosts: "$LAB/known_hosts" }
  kvm1: { ssh: root@10.66.0.11, identity: "$LAB/key", known_hosts: "$LAB/known_hosts" }
  here: { local: true }
limits: { bandwidth: 16MiB/s }	# so that there is time to cut a link in the midst of a pass
machines:
  ledger:
    recipe: p2v
    source:
      host: db1
      disks: { root: /dev/sda }
      power:
        command:
          at: here
          on: ["$power", "on", "$LAB/old.raw", lab0]
          off: ["$power", cut, "$LAB/old.raw"]
          status: ["$power", status, "$LAB/old.raw"]
    target:
      host: kvm1
      dir: /srv/images
      format: qcow2
      memory: 512MiB
      start: qemu
      nics: { ens192: { network: br20, mac: keep, address: 10.77.0.10/24, gateway: 10.77.0.1 } }
    downtime: 10m
    convert: [ disks: { passes: 4, until: { changed: 64MiB } } ]
    validate:
      - boot: { keep: true }
      - check: { id: behind, at: fence, use: port, with: { address: 10.77.0.10, port: 7000 }, retry: 10m }
      - release
    cutover:
      - check: { id: answers, after: start, at: here, use: port, with: { address: 10.77.0.10, port: 7000 }, retry: 15m }
END
cd "$LAB" || exit 1

sshd_up() { exec 3<>/dev/tcp/10.77.0.10/22; }
wait_for 1200 "$here/tests/lib/client" count 10.77.0.10 || fail "the server does not come up"
wait_for 600 eval '(sshd_up)' || fail "its sshd does not come up"
expect 111 "$DROVER" hosts plan.yaml
said 'drover hosts .* --pin db1'
expect 0 "$DROVER" hosts plan.yaml --pin db1 -y
expect 0 "$DROVER" hosts plan.yaml

"$here/tests/lib/client" write 10.77.0.10 "$LAB/acked" &
writer=$!

expect 0 "$DROVER" check plan.yaml
expect 0 "$DROVER" preview plan.yaml
said '/etc/fstab'
expect 0 "$DROVER" run plan.yaml
said 'validate.behind +done'
said 'validate.release +done'
lab_on kvm1 sh -c '[ -z "$(ip netns list)" ] && ! pgrep qemu-system' || fail "the fenced copy is left"
[ "$("$power" status "$LAB/old.raw")" = on ] || fail "the source must serve after run"

# back before the target served: the source goes on as before
before=$("$here/tests/lib/client" count 10.77.0.10)
takes_writes() { [ "$("$here/tests/lib/client" count 10.77.0.10)" -gt "$before" ]; }
expect 0 "$DROVER" rollback plan.yaml -y
nothing_in "$LAB/hosts/kvm1/srv/images" || fail "rollback left files at the target"
wait_for 300 takes_writes || fail "the source does not take writes"

# and for good: passes by traced writes while it serves, the last one under the freeze
begin() {	# begin VERB: in the background, with its output in out
	echo "\$ drover $* plan.yaml"
	from=$(link_bytes kvm1)
	"$DROVER" "$@" plan.yaml -v >"$LAB/out" 2>&1 &
	run=$!
}
over() { got=0; wait $run || got=$?; cat "$LAB/out"; [ $got = 0 ] || fail "status $got instead of 0"; }
on_db1() { lab_guest "$LAB/guest-key" "$@"; }

# the first pass: the connection is lost with the link
begin run
cut_after kvm1 24 "$from" "$LAB/out"
ss -K dst 10.66.0.11 >/dev/null 2>&1
wait_for 120 grep -qE 'host kvm1 +DOWN' "$LAB/out" || fail "the loss is not told: $(cat "$LAB/out")"
ip link set v-kvm1 up
over
said 'convert.disks +done'
# a later one: it stands until the link is there again, and goes on
on_db1 'head -c 48M /dev/urandom >/root/filler && sync && sha256sum </root/filler' >"$LAB/filler" ||
	fail "the server does not write"
begin sync
cut_after kvm1 16 "$from" "$LAB/out"
ip link set v-kvm1 up
over
said 'root: pass [0-9]+, .* its traced writes were read'
said 'The last pass of a cutover now: .* \(P50\), .* \(P90\)'
expect 0 "$DROVER" cutover plan.yaml -y -v
said 'root: pass [0-9]+, .* its traced writes were read'
figures='frozen for [0-9.ms]+ until it was off, nobody served for [0-9.ms]+, changes by traced writes, proven: root [0-9a-f]{12}'
said "$figures"
kill $writer
wait $writer 2>/dev/null
cp "$LAB/acked" "$LAB/acked.all"
[ "$("$power" status "$LAB/old.raw")" = off ] || fail "the source must be off"
"$here/tests/lib/client" all 10.77.0.10 >"$LAB/out" || fail "the target does not tell its book"
sort "$LAB/out" >"$LAB/have"
sort -u "$LAB/acked.all" >"$LAB/want"
lost=$(comm -13 "$LAB/have" "$LAB/want")
[ -z "$lost" ] || fail "acknowledged writes are lost: $lost"
[ "$(wc -l <"$LAB/want")" -gt 100 ] || fail "the writer wrote too little to prove anything"
echo "every one of $(wc -l <"$LAB/want") acknowledged writes is there"
on_db1 'findmnt -no SOURCE /; ip -br addr show ens192; grep -c UUID= /etc/fstab; cat /proc/cmdline; sha256sum </root/filler' \
	>"$LAB/out" 2>&1
cat "$LAB/out"
said "$(cat "$LAB/filler")"
said '^/dev/vda1$'
said '^ens192 +UP'
said 'root=UUID='
expect 0 "$DROVER" status plan.yaml
said 'TARGET|target'
said "$figures"
expect 1 "$DROVER" rollback plan.yaml
said 'discard-target-writes'
