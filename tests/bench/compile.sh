#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# compile - read, check and build the graph of 10,000 machines and 120,000 steps, beside what
# ninja -n needs for the same graph. Wanted: at most half of its time, under 400 MiB.
. "$(dirname "$0")/lib.sh"
machines=${MACHINES:-10000}

awk -v n="$machines" 'BEGIN {
	print "plan: big\nhosts:"
	for (h = 0; h < 40; h++) printf "  s%d: { ssh: root@s%d.example.net }\n", h, h
	for (h = 0; h < 8; h++) printf "  k%d: { ssh: root@k%d.example.net }\n", h, h
	print "defaults:\n  recipe: steps.yaml\nmachines:"
	for (m = 0; m < n; m++)
		printf "  m%d: { labels: { wave: %d }, source: { host: s%d, disks: { root: { id: wwn-%d } } }, target: { host: k%d, dir: /srv/%d } }\n",
			m, m % 9, m % 40, m, m % 8, m
}' >"$BENCH/plan.yaml"
awk 'BEGIN {
	split("assess backup convert reconfigure validate cutover", p)
	print "recipe: steps"
	for (i = 1; i <= 6; i++) {
		print p[i] ":"
		for (s = 1; s <= 2; s++) printf "  - file: { id: look%d, path: /etc/hostname }\n", s
	}
}' >"$BENCH/steps.yaml"
awk -v n="$machines" 'BEGIN {
	print "rule step\n  command = step $out"
	for (m = 0; m < n; m++)
		for (s = 1; s <= 12; s++)
			printf "build m%d/s%d: step%s\n", m, s, (s > 1 ? " m" m "/s" (s - 1) : "")
}' >"$BENCH/build.ninja"

measure "drover check ($machines machines, 12 steps each)" "$DROVER" check "$BENCH/plan.yaml"
ours=$M_WALL
measure "ninja -n (the same graph)" ninja -C "$BENCH" -n
echo "ratio $(ratio "$ours" "$M_WALL") (wanted: at most 0.5); memory $(rss_mib "$DROVER" check "$BENCH/plan.yaml") MiB (wanted: under 400)"
measured
