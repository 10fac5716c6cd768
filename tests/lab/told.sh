#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A lab that fails shows why, wherever a line's own output goes: what the command said, the text that lacks something, what
# was left, a wait's last try, what ran aside. Of labs that run at once those that failed come last.
. "$(dirname "$0")/../lib/lab.sh"
[ -z "${TOLD:-}" ] || { echo "lab $TOLD"; exit "$TOLD"; }
LAB=$(mktemp -d /var/tmp/drover-lab.XXXXXX) || exit 1
trap 'rm -rf "$LAB"' EXIT

shown() {	# shown WORDS CMD...: CMD fails, and says WORDS where only its errors are heard
	local words=$1
	shift
	! ("$@") >/dev/null 2>"$LAB/heard" || fail "'$*' ends well"
	grep -qF -- "$words" "$LAB/heard" || fail "'$*' does not say '$words': $(cat "$LAB/heard")"
}
shown "42 reasons" expect 0 sh -c 'echo $((6 * 7)) reasons; exit 3'
shown "FAIL: status 3 instead of 0: sh -c exit 3" expect 0 sh -c 'exit 3'
echo "the reason" >"$LAB/out"
shown "the reason" said "what it does not say"
shown "FAIL: nothing says 'what it does not say'" said "what it does not say"
mkdir "$LAB/there" && touch "$LAB/there/a file"
shown "there/a file" nothing_in "$LAB/there"
shown "the reason" wait_for 0 sh -c 'echo the reason; exit 1'
lab_aside "$LAB/first" sh -c 'echo the first; echo its reason >&2; exit 3'
! wait $! || fail "what fails aside ends well"
lab_aside "$LAB/other" sh -c 'echo another reason'
wait $! || fail "what ends well aside fails"
for line in "fail it differs" "expect 0 false" "said nothing"; do
	shown "its reason" $line
	shown "another reason" $line
done

(lab_each TOLD 3 0) >"$LAB/each"
status=$?
[ $status = 3 ] || fail "of labs of which one ends with 3 the status is $status"
[ "$(tr '\n' ' ' <"$LAB/each")" = "lab 0 lab 3 " ] || fail "labs that ended with 3 and 0 say: $(cat "$LAB/each")"
