#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The link to the target is away for 10 and for 60 seconds in the midst of two copies, one
# directly, one through the engine. Ten seconds they outlast. After sixty the connections are
# given up and that is said; when the link is back the run goes on by itself, or the same
# command does. The two labs wait at the same time.
. "$(dirname "$0")/../lib/lab.sh"

if [ -z "${LAB:-}${AWAY:-}" ]; then
	lab_each AWAY 10 60
	exit
fi
lab_enter "$0" "$@"
. "$(dirname "$0")/../lib/disks.sh"
lab_host b 10.66.0.12
cd "$LAB" || exit 1
{ echo "plan: away"
  echo "limits: { bandwidth: 8MiB/s }"
  plan_hosts
  echo "machines:"
  for way in direct relay; do
	make_disk $way.raw
	disk_machine $way here "$LAB/$way.raw" b /srv/out raw
	echo "    stream: $way"
  done; } >plan.yaml
begun() { for m in direct relay; do [ "$(du -k hosts/b/srv/out/$m/root.base.raw | cut -f1)" -gt 2000 ] || return 1; done; }
lab_aside said "$DROVER" run plan.yaml -v
run=$!
wait_for 60 begun || fail "the copies do not begin"
ip link set v-b down
read -rt "$AWAY" <> <(:)
ip link set v-b up
status=0
wait $run || status=$?
[ $AWAY = 10 ] || grep -qE "host b +DOWN: cannot reach 'b' any more" said || fail "nobody noticed"
[ $status = 0 ] || expect 0 "$DROVER" run plan.yaml
echo "away for $AWAY s: the run ended with $status"
for m in direct relay; do cmp $m.raw hosts/b/srv/out/$m/root.base.raw || fail "the copies differ: $m"; done
expect 0 "$DROVER" rollback plan.yaml -y
