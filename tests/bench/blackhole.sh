#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# blackhole - five lab hosts over veth do 400 steps each; during the run one of them falls
# silent, its link cut. The longest time in which no other host's step ended, beside the same
# run with all of them up. Wanted: under 50 ms of delay to the rest.
. "$(dirname "$0")/../lib/lab.sh"
lab_enter "$0" "$@"
. "$(dirname "$0")/lib.sh"
for h in 1 2 3 4 5; do lab_host "h$h" "10.66.0.1$h"; done
{ echo "plan: hole"; echo "hosts:"
  for h in 1 2 3 4 5; do echo "  h$h: { ssh: root@10.66.0.1$h, identity: $LAB/key, known_hosts: $LAB/known_hosts }"; done
  echo "machines:"
  for h in 1 2 3 4 5; do
	echo "  m$h:"; echo "    source: { host: h$h, disks: [/dev/sda] }"; echo "    target: { host: h$h, dir: /srv/$h }"
	echo "    assess:"; for s in $(seq 400); do echo "      - file: { id: look$s, path: /etc/hostname }"; done
  done; } >"$BENCH/plan.yaml"

# run_once hole|all: prints the longest gap between two ends of steps of m1 to m4, in ms. The
# engine is ended once theirs are all done: what it says of the lost host is not measured here.
run_once() {
	perl -e '
		use Time::HiRes qw(time);
		my ($what, @cmd) = @ARGV; my ($last, $gap, $n, $cut) = (0, 0, 0, 0);
		my $pid = open(my $f, "-|", @cmd) or die;
		while (<$f>) {
			my $now = time;
			if (!$cut && /"machine":"m5"/ && /"state":"done"/) {
				system("ip", "link", "set", "v-h5", "down") if $what eq "hole";
				$cut = 1; $last = time if $last; next;
			}
			next unless /"machine":"m[1-4]"/ && /"t":"step"/ && /"state":"done"/;
			$gap = $now - $last if $cut && $last && $now - $last > $gap;
			$last = $now;
			last if ++$n == 1600;
		}
		kill "KILL", $pid;
		die "only $n steps ended\n" if $n < 1600;
		printf "%.1f\n", $gap * 1000;' "$1" "$DROVER" run --json "$BENCH/plan.yaml"
	ip link set v-h5 up
	rm -rf "$BENCH/.drover"
}
for what in all hole; do
	for i in $(seq "$RUNS"); do run_once $what || exit 1; done >"$BENCH/$what"
	sort -n "$BENCH/$what" | sed -n "$(((RUNS + 1) / 2))p" >"$BENCH/$what.median"
done
echo "longest wait of the others: $(cat "$BENCH/hole.median") ms with a black hole, $(cat "$BENCH/all.median") ms without (wanted: under 50 more)"
measured
