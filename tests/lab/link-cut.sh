#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The link to the target is cut in the midst of a copy, and the connection with it, while the
# agent there knows of nothing: the run comes back, ends what was at work, and goes on. Cut
# again, for a while: the stream stands, and goes on.
. "$(dirname "$0")/../lib/lab.sh"
lab_enter "$0" "$@"
. "$(dirname "$0")/../lib/disks.sh"
lab_host b 10.66.0.12
dd if=/dev/urandom of="$LAB/disk.raw" bs=1M count=64 status=none
cd "$LAB" || exit 1
cat >plan.yaml <<END
plan: cut
hosts:
  b: { ssh: root@10.66.0.12, identity: "$LAB/key", known_hosts: "$LAB/known_hosts" }
  here: { local: true }
limits: { bandwidth: 16MiB/s }
machines:
  erp:
    source: { host: here, images: { root: "$LAB/disk.raw" } }
    target: { host: b, dir: /srv/out, format: raw }
    stream: relay
    assess: [ machine: {} ]
    convert: [ disks: {} ]
accept: [ { finding: guest.no-root, machine: erp, until: 2099-01-01, reason: "only data" } ]
END
from=$(link_bytes b)
"$DROVER" run plan.yaml -v >out 2>&1 &
run=$!
cut_after b 8 "$from" out
ss -K dst 10.66.0.12 >/dev/null 2>&1
wait_for 60 grep -qE 'host b +DOWN' out || fail "the loss is not told: $(cat out)"
ip link set v-b up
cut_after b 24 "$from" out
ip link set v-b up
wait $run || fail "the run ended with $?: $(cat out)"
cat out
grep -q 'attempt 2 of 3' out || fail "nothing was lost"
cmp disk.raw "$LAB/hosts/b/srv/out/erp/root.base.raw" || fail "the copies differ"
expect 0 "$DROVER" rollback plan.yaml -y
