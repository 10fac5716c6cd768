# SPDX-License-Identifier: Apache-2.0
# bad.sh - what a person reads when something is wrong, compared whole; sourced after lab.sh.
#
# bad STATUS 'WHAT' CMD... <<END: run CMD; its status, and all it says on both outputs, must be
# as given. Replaced before comparing: the scratch folder (LAB), fingerprints (SHA256:KEY),
# ids (ID), process ids (pid N), durations (TIME), dates and the time of day (NOW), how much
# was moved (SIZE), the kernel (LINUX), the column `took` (TOOK); blanks at line ends, estimates
# and the progress lines of a slow machine are dropped. A test goes on after a difference; `bad_end`
# fails then.
# BAD_ALSO may hold one more sed command.
# UPDATE=1 writes what was said into the script: read the diff.

bad_failed=0
case $0 in /*) bad_script=$0 ;; *) bad_script=$PWD/$0 ;; esac

_bad_plain() {
	sed -E -e "s#$LAB#LAB#g" -e 's#SHA256:[A-Za-z0-9+/]+#SHA256:KEY#g' \
		-e 's#\b(run|tree|plan) [0-9a-f]{7,12}\b#\1 ID#g' -e 's#\b[0-9a-f]{32,64}\b#ID#g' \
		-e 's#objects/[0-9a-f]{2}/#objects/XX/#' -e 's#\bpid [0-9]+#pid N#g' \
		-e 's#\b[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9:]+Z?#NOW#g' -e 's#^[0-9]{2}(:[0-9]{2}){2} #NOW #' \
		-e 's#\b([0-9]+h)?([0-9]+m)?[0-9]+(\.[0-9]+)?m?s\b#TIME#g' \
		-e '/^NOW +[a-z0-9]+ +[a-z]+\.[a-z]+ .* [0-9]+%/d' -e 's#(done|undone|FAILED) in TIME#\1#' \
		-e 's#,? *est\. TIME( \(P90 TIME\))?##; /^Times are estimates/d' \
		-e 's#\b(source|nobody|target) +(TIME|-)$#\1  TOOK#' -e 's#[0-9.]+ [KM]iB moved#SIZE moved#' \
		-e '/^host  state/s# {2,}#  #g' -e '/^[a-z]+ +DOWN  |Linux /s# {2,}#  #g' -e 's#Linux [^ ]+#LINUX#' \
		-e "${BAD_ALSO:-}" -e 's# +$##' "$1"
}

bad() {
	local want=$1 what=$2 got=0
	shift 2
	cat >"$LAB/bad.want"
	timeout 300 "$@" >"$LAB/bad.raw" 2>&1 </dev/null || got=$?
	_bad_plain "$LAB/bad.raw" >"$LAB/bad.got"
	[ -z "${UPDATE:-}" ] || cp "$LAB/bad.got" "$LAB/bad.new.${BASH_LINENO[0]}"
	if [ "$got" = "$want" ] && diff -u --label expected --label said "$LAB/bad.want" "$LAB/bad.got"; then
		echo "ok $what"
	else
		[ "$got" = "$want" ] || { cat "$LAB/bad.got"; echo "status $got instead of $want"; }
		echo "FAILED $what"
		bad_failed=$((bad_failed + 1))
	fi
}

# must 'WHAT' CMD...: CMD is true, or the test has failed.
must() {
	local what=$1
	shift
	"$@" || { echo "FAILED $what"; bad_failed=$((bad_failed + 1)); }
}

# no_agent: none runs, on any host of the lab; else they are named.
no_agent() { ! pgrep -af '[d]rover-agent|[-]-serve'; }

# What follows line N, up to END, is what bad.new.N holds.
_bad_update() {
	awk -v new="$LAB/bad.new." '
	skip && /^END$/ { skip = 0 }
	!skip { print }
	{ file = new NR }
	!skip && (getline line <file) > 0 {
		do print line; while ((getline line <file) > 0)
		skip = 1
	}' "$bad_script" >"$LAB/bad.script" && cat "$LAB/bad.script" >"$bad_script"
}

bad_end() {
	[ -z "${UPDATE:-}" ] || _bad_update
	[ $bad_failed = 0 ] || fail "$bad_failed messages or outcomes differ"
}
