#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# downtime - of the cutover of a libvirt domain that writes 2 MiB/s, from one host to another, for
# disks of several sizes (SIZES, GiB; 4 8 16), each three quarters full: from the instant at which
# the source's domain stands still to that at which the target's runs, as both libvirts tell them.
# What follows is the guest's own boot. Medians of RUNS (5); the sizes take turns, so that what
# else becomes of the machine meanwhile meets all alike. Needs 50 GiB in /var/tmp, and half an hour.
. "$(dirname "$0")/../lib/lab.sh"
here=$(cd "$(dirname "$0")/../.." && pwd)
ROOT=1		# GiB of its system's partition; behind it lies data, as on a disk of several
export DROVER_GUEST_CACHE=${DROVER_GUEST_CACHE:-/root/.cache/drover}
guest_image() { "$here/examples/guest/build" "$1" ${ROOT}G || { echo "no guest"; exit 1; }; }
if [ -z "${LAB:-}" ]; then	# the lab has no network to get packages from
	tmp=$(mktemp -d /var/tmp/drover-bench.XXXXXX)
	guest_image "$tmp/guest"
	rm -rf "$tmp"
fi
lab_enter "$0" "$@"
. "$(dirname "$0")/lib.sh"
SIZES=${SIZES:-4 8 16}

lab_libvirt_pair
for host in a b; do
	lab_on $host virsh event --event lifecycle --loop --timestamp >"$BENCH/events.$host" 2>&1 &
done
srv=$LAB/hosts/a/srv
cd "$LAB" || exit 1

# ---- the machines --------------------------------------------------------------------
# One plan, a machine of each size. They are one guest: while one runs, the others stand still.

cat >plan.yaml <<END
plan: bench
hosts:
  a: { ssh: root@10.66.0.11, identity: "$LAB/key", known_hosts: "$LAB/known_hosts" }
  b: { ssh: root@10.66.0.12, identity: "$LAB/key", known_hosts: "$LAB/known_hosts" }
machines:
END
for size in $SIZES; do
	sed "s/NAME/old$size/; s|/srv/old|/srv/old$size|; /cdrom/d; /<video>/d" "$here/tests/lib/domain.xml" >"$srv/old$size.xml"
	cat >>plan.yaml <<-END
	  erp$size:
	    recipe: v2v
	    source: { host: a, domain: old$size }
	    target: { host: b, dir: /srv/images, nics: { ens192: { network: br0 } } }
	    validate: [ boot: { skip: true } ]
	    cutover: [ quiesce: { mode: pause } ]
	END
done
guest() { lab_guest "$srv/guest-key" "$@"; }
# It writes from its boot on.
writer() {
	guest 'cat >/usr/local/sbin/writer && chmod 755 /usr/local/sbin/writer' <<-'END'
	#!/bin/bash
	while for i in {1..64}; do
		dd if=/dev/urandom of=/var/tmp/written bs=2M count=1 seek=$i conv=notrunc,fsync status=none &
		sleep 1
	done; do :; done
	END
	guest 'printf "[Service]\nExecStart=/usr/local/sbin/writer\n[Install]\nWantedBy=multi-user.target\n" \
		>/etc/systemd/system/writer.service && systemctl -q enable --now writer && sync'
}
# disk GIB: the guest's system, and random data until three quarters are full
disk() {
	local data=$(($1 * 768 - ROOT * 1024 / 3)) image=$srv/old$1.qcow2
	guest_image "$srv/old.raw"
	qemu-img convert -f raw -O qcow2 "$srv/old.raw" "$image"
	rm "$srv/old.raw"
	qemu-img resize -q "$image" "$1G"
	qemu-nbd --fork -t --cache=unsafe -k "$LAB/fill" --pid-file="$LAB/fill.pid" \
		--image-opts "driver=raw,offset=$((ROOT << 30)),file.driver=qcow2,file.file.filename=$image" || fail "no disk"
	head -c "${data}M" /dev/urandom | nbdcopy - "nbd+unix:///?socket=$LAB/fill" || fail "the disk cannot be filled"
	kill "$(cat "$LAB/fill.pid")"
	wait_for 60 eval '! pgrep -F "$LAB/fill.pid"'
	sync
}
come_up() { wait_for 600 guest true || fail "the machine does not come up"; }
rest() { lab_on a virsh -q suspend "old$1" || fail "old$1 does not rest"; }

# ---- a cutover -----------------------------------------------------------------------

say() { "$DROVER" "$@" >"$BENCH/log" 2>&1 || { tail -n 30 "$BENCH/log"; fail "drover $1"; }; }
# The instant of the last such event, in seconds.
event() { date +%s.%N -d "$(grep -F "$2" "$BENCH/events.$1" | tail -n 1 | cut -d: -f1-3)"; }
# cutover GIB: its lines are left in $BENCH/log, the seconds without the boot in $BENCH/times.GIB
cutover() {
	come_up
	wait_for 60 guest systemctl -q is-active writer || fail "nobody writes"
	say sync plan.yaml -m "erp$1"
	local before=$(kept)
	say cutover plan.yaml -m "erp$1" -y --json
	KEPT=$(echo "$before $(kept)" | awk '{ printf "%.2f s of two processors taken away, %.2f waiting for a disk", $3 - $1, $4 - $2 }')
	awk -v from="$(event a "'old$1': Suspended")" -v to="$(event b "'erp$1': Started")" \
		'BEGIN { printf "%.3f\n", to - from }' >>"$BENCH/times.$1"
}
# What drover says of it: how long each step took, and nobody served.
spent() {
	jq -rs '[.[] | select(.t == "step" and .state == "done" and .took_ms) | "\(.step | sub("cutover."; "")) \(.took_ms)"] +
		[.[] | select(.t == "figures") | "nobody served \(.down_ms)"] | join(", ")' "$BENCH/log"
}
# How long the processors were kept waiting so far, s: by their own host, and for a disk.
kept() { awk -v hz="$(getconf CLK_TCK)" '$1 == "cpu" { print $9 / hz, $6 / hz }' /proc/stat; }

for size in $SIZES; do
	disk "$size"
	lab_on a virsh -q define "/srv/old$size.xml" && lab_on a virsh -q start "old$size" || fail "no domain"
	come_up
	writer || fail "the machine takes no writer"
	say run plan.yaml -m "erp$size"
	rest "$size"
done
for i in $(seq "$RUNS"); do
	for size in $SIZES; do
		lab_on a virsh -q resume "old$size" || fail "old$size does not go on"
		cutover "$size"
		printf '%2d GiB, cutover %d: %s s without the boot; of the steps, ms: %s (%s)\n' "$size" "$i" "$(tail -n 1 "$BENCH/times.$size")" "$(spent)" "$KEPT"
		say rollback plan.yaml -m "erp$size" --to cutover --discard-target-writes -y
		come_up
		rest "$size"
	done
done
for size in $SIZES; do
	median <"$BENCH/times.$size" >>"$BENCH/medians"
	printf '%-52s %s s (wanted: under 5)\n' "downtime beside the boot, $size GiB of disk" "$(tail -n 1 "$BENCH/medians")"
done
sort -n "$BENCH/medians" | sed -n '1p;$p' | paste -s | awk \
	'{ printf "%-52s %.2f (wanted: at most 1.20)\n", "the longest of them, of the shortest", $2 / $1 }'
measured
