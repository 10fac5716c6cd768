#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Three machines, each after the one before, and an engine that is killed again and again while
# it works on them (SEED says when): `run` until it is done ends in the trees of a run that
# nothing disturbed, in the order of the plan and with every step done once. Then the last one
# goes back by its label, later all: trees and disks are as they were.
. "$(dirname "$0")/../lib/lab.sh"
lab_enter "$0" "$@"
. "$(dirname "$0")/../lib/disks.sh"
cd "$LAB" || exit 1
names=(db app web)

# What a step does but once: a second time would tell.
cat >once <<-'END'
	#!/bin/sh
	if [ -e "$1" ]; then echo again >>"$1"; else echo ran >"$1.new" && mv "$1.new" "$1"; fi
END
chmod +x once
{ echo "plan: herd"
  plan_hosts
  echo "machines:"
  for i in 0 1 2; do
	truncate -s 9M ${names[i]}.raw
	dd if=/dev/urandom of=${names[i]}.raw bs=1M count=3 conv=notrunc status=none
	cat <<-END
	  ${names[i]}:
	    labels: { tier: ${names[i]}, app: shop }
	    after: [ $([ $i = 0 ] || echo "${names[i - 1]}") ]
	    source: { host: here, images: { root: "$LAB/${names[i]}.raw" } }
	    target: { host: here, dir: "$LAB/images", format: $([ $i = 1 ] && echo qcow2 || echo raw) }
	    convert:
	      - disks: {}
	      - command: { id: mark, argv: ["$LAB/once", "$LAB/done.${names[i]}"], probe: [test, -e, "$LAB/done.${names[i]}"],
	                   undo: [rm, -f, "$LAB/done.${names[i]}"] }
	    validate: [ disks: {} ]
	END
  done; } >plan.yaml
# trees STATE DIR: what is known of each machine. How many attempts a copy took is true as well,
# so is how long it took, of which who died right at its end knows nothing.
trees() {
	rm -rf "$2"
	for m in "${names[@]}"; do
		mkdir -p "$2/$m"
		git -C "$1" archive "herd/$m/main" | tar -x -C "$2/$m" || fail "no tree of $m"
	done
}
equal() { diff -r -x warm.json -x undo -I '"generation":' "$1" "$2"; }
world() { for f in done.* images/*/root.base.*; do [ ! -e "$f" ] || echo "$f"; done; }
copied() {
	for m in "${names[@]}"; do
		f=$(ls images/$m/root.base.*)
		as_raw "$f" "${f##*.}" | cmp - $m.raw || fail "the copy of $m differs"
	done
}

# Undisturbed, to compare with.
began=${EPOCHREALTIME/./}
expect 0 "$DROVER" run plan.yaml --state calm
took=$(((${EPOCHREALTIME/./} - began) / 1000))
trees calm calm.now
expect 0 "$DROVER" rollback plan.yaml --state calm -y
[ -z "$(world)" ] || fail "rollback left $(world)"

RANDOM=${SEED:-11} kills=0
for n in 1 2 3 4 5 6 7 8; do
	"$DROVER" run plan.yaml >said 2>&1 &
	engine=$!
	ms=$((100 + RANDOM % (took / 2)))
	read -rt "$((ms / 1000)).$(printf %03d $((ms % 1000)))" <> <(:) || :
	kill -KILL $engine 2>/dev/null && kills=$((kills + 1))
	wait $engine 2>/dev/null
	ended=$?
	cat said
	[ $ended != 0 ] || break
done
echo "killed $kills times"
expect 0 "$DROVER" run plan.yaml
copied
for m in "${names[@]}"; do [ "$(cat done.$m)" = ran ] || fail "a step of $m ran twice"; done
[ done.db -ot done.app ] && [ done.app -ot done.web ] || fail "they did not wait for each other"
trees .drover now
equal calm.now now || fail "the trees differ"

# The last one goes back, and comes again.
expect 0 "$DROVER" rollback plan.yaml -m tier=web -y
[ "$(world | tr '\n' ' ')" = "done.app done.db images/app/root.base.qcow2 images/db/root.base.raw " ] ||
	fail "rollback by label took or left: $(world)"
trees .drover now
for m in db app; do equal calm.now/$m now/$m || fail "what is known of $m has changed"; done
expect 0 "$DROVER" run plan.yaml
copied
trees .drover now
equal calm.now now || fail "it did not come back"
expect 0 "$DROVER" rollback plan.yaml -m app=shop -y
for m in "${names[@]}"; do said "'$m' is as it was before convert: tree [0-9a-f]*, asked again and equal"; done
[ -z "$(world)" ] || fail "rollback left $(world)"
