#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# far - what a stream gets of a link that is far: RTT milliseconds there and back (100), shaped by tbf
# to RATE Mbit/s (200). A disk of SIZE MiB (256) of random bytes, straight; the share of the link that
# the pass got, its slow start and last sync included; medians of RUNS (5). Wanted: at least 0.9.
. "$(dirname "$0")/../lib/lab.sh"
lab_enter "$0" "$@"
. "$(dirname "$0")/lib.sh"
here=$(cd "$(dirname "$0")/../.." && pwd)
SIZE=${SIZE:-256} RTT=${RTT:-100} RATE=${RATE:-200}
lab_host a 10.66.0.11
lab_host b 10.66.0.12
from=$LAB/hosts/a/srv to=$LAB/hosts/b/srv
${CC:-cc} -std=c11 -Wall -Wextra -O2 -o "$BENCH/farlink" "$here/tests/lib/farlink.c"
"$BENCH/farlink" a 10.88.0.11 b 10.88.0.12 $((RTT / 2)) >"$BENCH/far.ready" &
wait_for 10 grep -q ready "$BENCH/far.ready" || { echo "the far link does not come up"; exit 1; }
for h in a b; do
	ip netns exec $h tc qdisc add dev far0 root tbf rate "${RATE}mbit" burst 256k latency 200ms
done
head -c "${SIZE}M" /dev/urandom >"$from/disk.raw"
cat >"$BENCH/plan.yaml" <<END
plan: far
hosts:
  a: { ssh: root@10.66.0.11, identity: $LAB/key, known_hosts: $LAB/known_hosts }
  b: { ssh: root@10.66.0.12, identity: $LAB/key, known_hosts: $LAB/known_hosts, data: 10.88.0.12 }
machines:
  disk:
    stream: direct
    source: { host: a, images: { root: /srv/disk.raw } }
    target: { host: b, dir: /srv/out, format: raw }
    convert: [ disks: {} ]
END
# How long the pass of the run before took, ms.
note() { [ ! -e "$BENCH/log" ] || sed -n 's/.*root: pass 1, .* sent in \([0-9]*\) ms.*/\1/p' "$BENCH/log" >>"$BENCH/passes"; }
fresh() { note; rm -rf "$BENCH/.drover" "$to/out"; mkdir -p "$to/out"; sync; }
BEFORE=fresh
measure "$SIZE MiB over ${RATE} Mbit/s, $RTT ms: the whole run" "$DROVER" --json run "$BENCH/plan.yaml"
"$DROVER" show "$BENCH/plan.yaml" HEAD evidence/convert.disks/stream.text
cmp "$from/disk.raw" "$to/out/disk/root.base.raw" || { echo "the copy is not the disk"; exit 1; }
note
ms=$(median <"$BENCH/passes")
awk -v s="$SIZE" -v r="$RATE" -v t="$ms" 'BEGIN { printf "share of the link, from the first byte to the last sync: %.3f (wanted: at least 0.9)\n", s * 8388.608 / r / t }'
measured
