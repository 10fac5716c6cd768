#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# stream - a disk from one SSH host to another, straight and through the engine, beside
# `zstd -1 | ssh | zstd -d --sparse` from source to target and, for scale, a local cp. Every side
# ends in a sync. The disks: the 4 GiB guest's, and SIZE MiB (1024) without holes, of random bytes
# and of text. Wanted for the guest's: not slower than the peer. ONLY=guest|random|text: one of them.
. "$(dirname "$0")/../lib/lab.sh"
lab_enter "$0" "$@"
. "$(dirname "$0")/lib.sh"
here=$(cd "$(dirname "$0")/../.." && pwd)
SIZE=${SIZE:-1024}
lab_host a 10.66.0.11
lab_host b 10.66.0.12
from=$LAB/hosts/a/srv to=$LAB/hosts/b/srv
cp "$LAB/key" "$LAB/hosts/a/root/.ssh/id_ed25519"
cp "$LAB/known_hosts" "$LAB/hosts/a/root/.ssh/known_hosts"

plan() {
	cat >"$BENCH/plan.yaml" <<-END
	plan: stream
	hosts:
	  a: { ssh: root@10.66.0.11, identity: $LAB/key, known_hosts: $LAB/known_hosts }
	  b: { ssh: root@10.66.0.12, identity: $LAB/key, known_hosts: $LAB/known_hosts }
	machines:
	  disk:
	    stream: $1
	    source: { host: a, images: { root: /srv/disk.raw } }
	    target: { host: b, dir: /srv/out, format: raw }
	    convert: [ disks: {} ]
	END
}
fresh() { rm -rf "$BENCH/.drover" "$to/out"; mkdir -p "$to/out"; sync; }
peer() { lab_on a bash -c 'zstd -1 -c /srv/disk.raw | ssh root@10.66.0.12 "zstd -d --sparse -q -f -o /srv/out/disk.raw && sync /srv/out/disk.raw"'; }
copy() { lab_on b cp --reflink=never /srv/disk.raw /srv/out/disk.raw && lab_on b sync /srv/out/disk.raw; }
export -f peer copy lab_on lab_init_pid
BEFORE=fresh

disk() {
	case $1 in
	guest) DROVER_GUEST_CACHE=${DROVER_GUEST_CACHE:-/root/.cache/drover} "$here/examples/guest/build" "$from/disk.raw" 4G ;;
	random) head -c "${SIZE}M" /dev/urandom >"$from/disk.raw" ;;
	text) perl -e 'srand 7; my $n = $ARGV[0] << 20; while ($n > 0) { my $s = join(" ", map { int(rand 100000) } 1 .. 9999) . "\n"; print $s; $n -= length $s }' "$SIZE" |
		head -c "${SIZE}M" >"$from/disk.raw" ;;
	esac
}

for what in ${ONLY:-guest random text}; do
	disk "$what"
	for way in direct relay; do
		plan $way
		measure "$what: drover, $way" "$DROVER" run "$BENCH/plan.yaml"
		eval "$way=$M_WALL"
		cmp "$from/disk.raw" "$to/out/disk/root.base.raw" || { echo "the copy is not the disk"; exit 1; }
	done
	measure "$what: zstd -1 | ssh | zstd -d --sparse" bash -c peer
	zstd=$M_WALL
	ln -f "$from/disk.raw" "$to/disk.raw"
	measure "$what: cp --reflink=never, local" bash -c copy
	rm "$to/disk.raw"
	echo "$what: direct to zstd | ssh $(ratio "$direct" "$zstd"), relay to it $(ratio "$relay" "$zstd"), direct to cp $(ratio "$direct" "$M_WALL")"
done
measured
