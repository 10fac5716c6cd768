#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# stream - the 4 GiB guest's disk from one SSH host to another through the engine, beside
# `zstd -1 | ssh | zstd -d --sparse` from source to target directly. Wanted: not slower.
. "$(dirname "$0")/../lib/lab.sh"
lab_enter "$0" "$@"
. "$(dirname "$0")/lib.sh"
here=$(cd "$(dirname "$0")/../.." && pwd)
lab_host a 10.66.0.11
lab_host b 10.66.0.12
DROVER_GUEST_CACHE=${DROVER_GUEST_CACHE:-/root/.cache/drover} "$here/examples/guest/build" "$LAB/hosts/a/srv/disk.raw" 4G
mkdir -p "$LAB/hosts/b/srv/out"
cp "$LAB/key" "$LAB/hosts/a/root/.ssh/id_ed25519"
cp "$LAB/known_hosts" "$LAB/hosts/a/root/.ssh/known_hosts"
cat >"$BENCH/plan.yaml" <<END
plan: stream
hosts:
  a: { ssh: root@10.66.0.11, identity: $LAB/key, known_hosts: $LAB/known_hosts }
  b: { ssh: root@10.66.0.12, identity: $LAB/key, known_hosts: $LAB/known_hosts }
machines:
  disk:
    source: { host: a, images: { root: /srv/disk.raw } }
    target: { host: b, dir: /srv/out, format: raw }
    convert: [ disks: {} ]
END
fresh() { rm -rf "$BENCH/.drover" "$LAB/hosts/b/srv/out"; mkdir -p "$LAB/hosts/b/srv/out"; sync; }
peer() { lab_on a bash -c 'zstd -1 -c /srv/disk.raw | ssh root@10.66.0.12 "zstd -d --sparse -q -f -o /srv/out/disk.raw && sync /srv/out/disk.raw"'; }
export -f peer lab_on lab_init_pid
BEFORE=fresh
measure "drover run (convert through the engine)" "$DROVER" run "$BENCH/plan.yaml"
ours=$M_WALL
out=$(find "$LAB/hosts/b/srv/out" -type f -size +1G | head -n 1)
cmp "$LAB/hosts/a/srv/disk.raw" "${out:-nothing}" || { echo "the copy is not the disk"; exit 1; }
measure "zstd -1 | ssh | zstd -d --sparse" bash -c peer
echo "ratio $(ratio "$ours" "$M_WALL") (wanted: at most 1.0)"
