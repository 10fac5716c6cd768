#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# make demo, as a new user types it: to the end, nothing lost, the old server serving again,
# and nothing left on the machine.
cd "$(dirname "$0")/../.." || exit 1
[ "$(id -u)" = 0 ] || { echo "the demo needs root for its namespace"; exit 77; }
out=$(mktemp /tmp/drover-test.XXXXXX)
trap 'rm -f "$out"' EXIT
# one at a time: its place is named in README
dir=/var/tmp/drover-demo status=0
mkdir -p $dir
flock $dir examples/demo/demo >"$out" 2>&1 || status=$?
{ [ $status = 111 ] && grep -q "another demo or tour runs on this machine and has $dir" "$out" && [ -d $dir ]; } ||
	{ cat "$out"; echo "FAIL: a second demo ended with $status"; exit 1; }
status=0
COLUMNS=1000 examples/demo/demo >"$out" 2>&1 || status=$?
[ $status = 0 ] || { cat "$out"; echo "FAIL: the demo ended with $status"; exit 1; }
for line in "the new server answers: 2 lines, nothing lost" "the old server serves again: 2 lines" \
	"asked again and equal" "[KM]iB was written there and would be lost"; do
	grep -qE "$line" "$out" || { cat "$out"; echo "FAIL: nothing says '$line'"; exit 1; }
done
[ ! -e /var/tmp/drover-demo ] || { echo "FAIL: the demo left /var/tmp/drover-demo"; exit 1; }
! pgrep -f /var/tmp/drover-demo || { echo "FAIL: the demo left a process"; exit 1; }
