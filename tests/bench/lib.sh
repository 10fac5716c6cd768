# SPDX-License-Identifier: Apache-2.0
# lib.sh - timing for the benchmarks.

# measure NAME CMD...: runs it RUNS times (5), after BEFORE each time; prints the median wall
# and CPU seconds (its own and its children's), and leaves them in M_WALL and M_CPU.
RUNS=${RUNS:-5}
measure() {
	local name=$1 i
	shift
	: >"$BENCH/times"
	for i in $(seq "$RUNS"); do
		[ -z "${BEFORE:-}" ] || $BEFORE
		perl -e '
			use Time::HiRes qw(time);
			use POSIX ();
			my $t = time; my $pid = fork; if (!$pid) { open STDOUT, ">", $ENV{BENCH}."/log"; open STDERR, ">&STDOUT"; exec @ARGV; exit 127 }
			waitpid $pid, 0; my $st = $?; my @t = times;
			printf "%.3f %.3f %d\n", time - $t, $t[2] + $t[3], $st >> 8;' "$@" >>"$BENCH/times"
		[ "$(tail -n 1 "$BENCH/times" | cut -d' ' -f3)" -le "${STATUS_MAX:-0}" ] || { tail -n 20 "$BENCH/log"; echo "$name failed"; exit 1; }
	done
	M_WALL=$(cut -d' ' -f1 "$BENCH/times" | median)
	M_CPU=$(cut -d' ' -f2 "$BENCH/times" | median)
	printf '%-44s %8.3f s wall %8.3f s cpu\n' "$name" "$M_WALL" "$M_CPU"
}
median() { sort -n | sed -n "$(((RUNS + 1) / 2))p"; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.3f", a / b }'; }
rss_mib() {	# largest resident set of CMD..., in MiB
	perl -e '
		my $pid = fork; if (!$pid) { open STDOUT, ">/dev/null"; open STDERR, ">&STDOUT"; exec @ARGV; exit 127 }
		my $max = 0;
		while (1) {
			if (open my $f, "<", "/proc/$pid/status") { local $/; my $s = <$f> // ""; $max = $1 if $s =~ /VmHWM:\s+(\d+)/ && $1 > $max; }
			last if waitpid($pid, 1) != 0; select undef, undef, undef, 0.005;
		}
		printf "%.0f\n", $max / 1024;' "$@"
}
# What a bench says last: run takes one that does not for one that stopped on the way.
measured() { echo "$(basename "$0" .sh): measured"; }
BENCH=$(mktemp -d /var/tmp/drover-bench.XXXXXX)
export BENCH
trap 'rm -rf "$BENCH"' EXIT
