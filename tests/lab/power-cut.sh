#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The engine's power is cut again and again while it works on a plan of many steps. The state
# lies on ext4 on a loop device on a file of an XFS; `cp --reflink` of that file is, at one
# instant, what a disk would hold. After each cut the state opens, git's fsck is clean, every
# outcome that was said is there, and so is an intent for every effect; the run goes on from it,
# no step runs twice, and the tree is that of a run that nothing disturbed.
. "$(dirname "$0")/../lib/lab.sh"
lab_enter "$0" "$@"
. "$(dirname "$0")/../lib/bad.sh"	# no_agent

steps=60 cuts=10
skip() { echo "skipped: $*"; exit 77; }
command -v mkfs.xfs >/dev/null || skip "mkfs.xfs is not installed"
truncate -s 512M "$LAB/xfs.img"
mkfs.xfs -q -m reflink=1 "$LAB/xfs.img" || skip "mkfs.xfs makes no file system with reflinks"
mkdir "$LAB/store" "$LAB/disk" "$LAB/world" "$LAB/calm" "$LAB/plan"
mount -o loop "$LAB/xfs.img" "$LAB/store" 2>"$LAB/why" || skip "no loop device or no XFS here: $(cat "$LAB/why")"
truncate -s 64M "$LAB/store/disk.img"
mkfs.ext4 -q "$LAB/store/disk.img"
mount -o loop "$LAB/store/disk.img" "$LAB/disk" 2>"$LAB/why" || skip "no second loop device: $(cat "$LAB/why")"
trap 'umount "$LAB/disk" "$LAB/store" 2>/dev/null' EXIT

# plan WORLD: each step makes a file of its own there, at one instant; a second time would tell.
cat >"$LAB/once" <<'END'
#!/bin/sh
if [ -e "$1/$2" ]; then echo again >>"$1/$2"; else echo ran >"$1/$2.new" && mv "$1/$2.new" "$1/$2"; fi
END
chmod +x "$LAB/once"
plan() {
	echo "plan: cut"
	echo "hosts: { here: { local: true } }"
	echo "machines:"
	echo "  erp:"
	echo "    source: { host: here, images: { root: \"$LAB/source.raw\" } }"
	echo "    target: { host: here, dir: \"$LAB/out\", format: raw }"
	echo "    convert:"
	for n in $(seq $steps); do
		echo "      - command: { id: c$n, argv: [\"../once\", \"../$1\", c$n], probe: [test, -e, \"../$1/c$n\"] }"
	done | sed "s#\"\\.\\./#\"$LAB/#g"
}
truncate -s 1M "$LAB/source.raw"
cd "$LAB/plan" || exit 1
plan world >plan.yaml

# done_of FILE: the steps of which it says that they are done.
done_of() { sed -n 's/.*"step":"\(c[0-9]*\)","state":"done".*/\1/p' "$1" | sort; }

RANDOM=4711
lab_words "$LAB/said"
for cut in $(seq $cuts); do
	mkfifo "$LAB/pipe"
	"$DROVER" run plan.yaml --state "$LAB/disk/state" --json >"$LAB/pipe" 2>"$LAB/err" &
	engine=$!
	: >"$LAB/said"
	left=$((RANDOM % 6))
	exec 5<"$LAB/pipe"
	while read -r line <&5; do
		echo "$line" >>"$LAB/said"
		case $line in *'"state":"done"'*) left=$((left - 1)) ;; esac
		[ $left -ge 0 ] || break
	done
	ls "$LAB/world" | grep -v '\.new$' | sort >"$LAB/effects"
	cp --reflink=always "$LAB/store/disk.img" "$LAB/store/cut.img" || skip "XFS makes no reflink"
	kill -KILL $engine
	wait $engine 2>/dev/null
	cat "$LAB/err"
	exec 5<&-
	rm "$LAB/pipe"
	wait_for 60 no_agent || fail "an agent outlives its engine"
	umount "$LAB/disk" || fail "the disk is busy"
	mv "$LAB/store/cut.img" "$LAB/store/disk.img"
	mount -o loop "$LAB/store/disk.img" "$LAB/disk" || fail "the disk cannot be mounted after cut $cut"

	expect 0 "$DROVER" status plan.yaml --state "$LAB/disk/state" >/dev/null
	done_of "$LAB/said" >>"$LAB/acked"
	sort -u "$LAB/acked" -o "$LAB/acked"
	expect 0 "$DROVER" log plan.yaml --state "$LAB/disk/state" --json >/dev/null
	jq -r 'select(.trailers.Step) | .trailers.Step | sub("convert."; "")' "$LAB/out" | sort -u >"$LAB/held"
	lost=$(comm -23 "$LAB/acked" "$LAB/held")
	[ -z "$lost" ] || fail "cut $cut lost what was said to be done: $lost"
	cat "$LAB/disk/state/journal/"* >"$LAB/wal" 2>/dev/null
	while read -r step; do
		grep -qx "$step" "$LAB/held" || grep -aq "convert\.$step\"" "$LAB/wal" ||
			fail "cut $cut: $step was done without an intent"
	done <"$LAB/effects"
	git -C "$LAB/disk/state" fsck --full --strict >"$LAB/fsck" 2>&1 || { cat "$LAB/fsck"; fail "fsck after cut $cut"; }
	echo "cut $cut: $(wc -l <"$LAB/acked") said, $(wc -l <"$LAB/held") held, $(wc -l <"$LAB/effects") in effect"
done
expect 0 "$DROVER" run plan.yaml --state "$LAB/disk/state"
for n in $(seq $steps); do
	[ "$(cat "$LAB/world/c$n")" = ran ] || fail "c$n ran $(wc -l <"$LAB/world/c$n") times"
done
tree=$(git -C "$LAB/disk/state" rev-parse "cut/erp/main^{tree}") || fail "no tree"
git -C "$LAB/disk/state" fsck --full --strict >"$LAB/fsck" 2>&1 || { cat "$LAB/fsck"; fail "fsck at the end"; }

plan calm >plan.yaml
expect 0 "$DROVER" run plan.yaml --state "$LAB/undisturbed"
[ "$tree" = "$(git -C "$LAB/undisturbed" rev-parse "cut/erp/main^{tree}")" ] || fail "the tree is not that of a run without cuts"
[ "$(wc -l <"$LAB/acked")" -gt $cuts ] || fail "the cuts came before anything was done"
