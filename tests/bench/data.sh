#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# data - the data plane beside those who copy disks today, on one pair of SSH hosts. Every
# side ends in a sync. SIZE (MiB, default 8192) is that of the disks full of data.
#
# first copies of a guest's 4 GiB disk, to raw and to qcow2; a second pass after 1 % of the
# chunks changed; a local raw to qcow2 and to vmdk; the ceiling of one direct stream; what an agent
# needs for a disk of 16 TiB.
. "$(dirname "$0")/../lib/lab.sh"
lab_enter "$0" "$@"
. "$(dirname "$0")/lib.sh"
here=$(cd "$(dirname "$0")/../.." && pwd)
SIZE=${SIZE:-8192}
only=${ONLY:-guest second local ceiling huge}
lab_host a 10.66.0.11
lab_host b 10.66.0.12
from=$LAB/hosts/a/srv to=$LAB/hosts/b/srv
cp "$LAB/key" "$LAB/hosts/a/root/.ssh/id_ed25519"
cp "$LAB/known_hosts" "$LAB/hosts/a/root/.ssh/known_hosts"
plan=$BENCH/plan.yaml

# plan FROM IMAGE TO FORMAT [CONVERT PARAMETERS]
plan() {
	cat >"$plan" <<-END
	plan: data
	hosts:
	  a: { ssh: root@10.66.0.11, identity: $LAB/key, known_hosts: $LAB/known_hosts }
	  b: { ssh: root@10.66.0.12, identity: $LAB/key, known_hosts: $LAB/known_hosts }
	  here: { local: true }
	machines:
	  disk:
	    source: { host: $1, images: { root: "$2" } }
	    target: { host: $3, dir: "$5", format: $4 }
	    convert: [ disks: { $6 } ]
	END
}

# A state that was removed just now would hold up the next one: for five seconds ext4 passes over
# each inode that became free.
gone=0
fresh() {
	[ ! -d "$BENCH/.drover" ] || mv "$BENCH/.drover" "$BENCH/gone.$((gone++))"
	rm -rf "$to/out" "$LAB/out"
	mkdir -p "$to/out" "$LAB/out"
	sync
}
on_a=$BENCH/on-a
printf '#!/bin/bash\nexec nsenter -t %s --net --mount --pid --uts -- bash -c "$1"\n' "$(lab_init_pid a)" >"$on_a"
chmod +x "$on_a"
far='ssh -o Compression=no root@10.66.0.12'
row() { printf '%-52s %s (wanted: at most %s)\n' "$1" "$(ratio "$2" "$3")" "$4"; }
least() { printf '%s\n' "$@" | sort -n | head -n 1; }
random() { head -c "$2M" /dev/urandom >"$1"; }

# The copy is the disk, whatever its format.
same() { qemu-img compare -q -f raw -F "$1" "$2" "$3" || { echo "$3 is not the disk"; exit 1; }; }

case " $only " in *" guest "*)
	DROVER_GUEST_CACHE=${DROVER_GUEST_CACHE:-/root/.cache/drover} \
		"$here/examples/guest/build" "$from/disk.raw" 4G
	BEFORE=fresh
	plan a /srv/disk.raw b raw /srv/out
	measure "guest 4 GiB: drover, raw to raw" "$DROVER" run "$plan"
	raw=$M_WALL
	same raw "$from/disk.raw" "$to/out/disk/root.base.raw"
	plan a /srv/disk.raw b qcow2 /srv/out
	measure "guest 4 GiB: drover, raw to qcow2" "$DROVER" run "$plan"
	qcow2=$M_WALL
	same qcow2 "$from/disk.raw" "$to/out/disk/root.base.qcow2"
	measure "zstd -1 | ssh | zstd -d --sparse" "$on_a" \
		"zstd -1 -q -c /srv/disk.raw | $far 'zstd -d --sparse -q -f -o /srv/out/d && sync /srv/out/d'"
	zstd=$M_WALL
	measure "dd | ssh | dd conv=sparse" "$on_a" \
		"dd if=/srv/disk.raw bs=1M status=none | $far 'dd of=/srv/out/d bs=1M conv=sparse,fsync iflag=fullblock status=none'"
	dd=$M_WALL
	measure "rsync -S" "$on_a" "rsync -S -e ssh /srv/disk.raw root@10.66.0.12:/srv/out/d && $far sync /srv/out/d"
	rsync=$M_WALL
	measure "nbdcopy through ssh" "$on_a" "$far 'truncate -s 4G /srv/out/d && qemu-nbd --fork -f raw -k /srv/n.sock /srv/out/d'
		rm -f /srv/l.sock; $far -N -L /srv/l.sock:/srv/n.sock & tunnel=\$!
		until [ -S /srv/l.sock ]; do read -rt 0.01 <> <(:) || :; done
		nbdcopy --flush /srv/disk.raw 'nbd+unix:///?socket=/srv/l.sock' && $far sync /srv/out/d; kill \$tunnel"
	nbd=$M_WALL
	measure "zstd, then qemu-img convert there" "$on_a" \
		"zstd -1 -q -c /srv/disk.raw | $far 'zstd -d --sparse -q -f -o /srv/out/d && qemu-img convert -f raw -O qcow2 /srv/out/d /srv/out/q && sync /srv/out/q'"
	two=$M_WALL
	row "first copy, raw to raw, of the fastest peer" "$raw" "$(least "$zstd" "$dd" "$rsync" "$nbd")" 0.5
	row "first copy, to qcow2, of the fastest peer" "$qcow2" "$two" 0.5 ;;
esac

# One chunk in a hundred gets 4 KiB of something else.
change() {
	local i
	for ((i = RANDOM % 100; i < SIZE; i += 100)); do
		dd if=/dev/urandom of="$from/full.raw" bs=4k count=1 seek=$((i * 256)) conv=notrunc status=none
	done
	sync
}
sent() { sed -n 's/^ *v-a: *\([0-9]*\).*/\1/p' /proc/self/net/dev; }

case " $only " in *" second "*)
	random "$from/full.raw" "$SIZE"
	fresh
	plan a /srv/full.raw b raw /srv/out
	"$DROVER" run "$plan" >/dev/null
	BEFORE=change
	before=$(sent)
	measure "second pass, 1 % changed: drover sync, by digest" "$DROVER" sync "$plan"
	ours=$M_WALL
	printf '%-52s %s MiB of %s changed\n' "on the wire, a pass" \
		$((($(sent) - before) / RUNS / 1048576)) $((SIZE / 100))
	cmp "$from/full.raw" "$to/out/disk/root.base.raw" || exit 1
	BEFORE=fresh measure "(rsync's first copy)" "$on_a" \
		"rsync --whole-file -e ssh /srv/full.raw root@10.66.0.12:/srv/out/d" >/dev/null
	BEFORE=change
	# -I: a change in the second of the last copy is a change too
	measure "rsync --inplace --no-whole-file" "$on_a" \
		"rsync -I --inplace --no-whole-file -e ssh /srv/full.raw root@10.66.0.12:/srv/out/d && $far sync /srv/out/d"
	row "second pass, by digest" "$ours" "$M_WALL" 0.1
	rm -f "$from/full.raw" ;;
esac

case " $only " in *" local "*)
	random "$LAB/full.raw" "$SIZE"
	BEFORE=fresh
	for format in ${FORMATS:-qcow2 vmdk}; do
		plan here "$LAB/full.raw" here "$format" "$LAB/out"
		measure "local raw to $format: drover" "$DROVER" run "$plan"
		ours=$M_WALL
		same "$format" "$LAB/full.raw" "$LAB/out/disk/root.base.$format"
		measure "qemu-img convert" bash -c "qemu-img convert -f raw -O $format $LAB/full.raw $LAB/out/q && sync $LAB/out/q"
		row "local raw to $format" "$ours" "$M_WALL" 1.3
	done
	rm -f "$LAB/full.raw" ;;
esac

case " $only " in *" ceiling "*)
	random "$from/full.raw" "$SIZE"
	warm() { fresh; cat "$from/full.raw" >/dev/null; }
	BEFORE=warm
	plan a /srv/full.raw b raw /srv/out
	measure "random data in the page cache: drover" "$DROVER" run "$plan"
	ours=$M_WALL
	measure "cp --reflink=never" bash -c "cp --reflink=never $from/full.raw $to/out/d && sync $to/out/d"
	row "ceiling of one stream" "$ours" "$M_WALL" 2.0
	rm -f "$from/full.raw" ;;
esac

# The largest resident set of any agent while CMD runs, in MiB.
agents_mib() {
	local pid top=0 now
	"$@" >"$BENCH/log" 2>&1 &
	pid=$!
	while kill -0 $pid 2>/dev/null; do
		now=$(for p in $(pgrep -f 'drover-agent|--serve|--call'); do sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$p/status" 2>/dev/null; done | sort -n | tail -n 1)
		[ "${now:-0}" -le $top ] || top=$now
		read -rt 0.2 <> <(:) || :
	done
	echo $((top / 1024))
}

# No file of ext4 is as long: memory holds both.
case " $only " in *" huge "*)
	fresh
	for host in a b; do
		lab_on $host mkdir -p /srv/huge
		lab_on $host mount -t tmpfs huge /srv/huge
	done
	lab_on a truncate -s 16T /srv/huge/disk.raw
	plan a /srv/huge/disk.raw b raw /srv/huge
	mib=$(agents_mib "$DROVER" run "$plan")
	tail -n 3 "$BENCH/log"
	map=$(lab_on b stat -c %s /srv/huge/disk/root.map)
	echo "a disk of 16 TiB: an agent needs $mib MiB (wanted: at most 64), its map $(awk -v m="$map" 'BEGIN { printf "%.1f", m / (16 * 1048576) }') bytes per chunk (at most 40)" ;;
esac
measured
