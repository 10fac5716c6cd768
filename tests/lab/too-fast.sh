#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A source that is written to faster than the link carries: convert ends with a blocker that
# says so, instead of copying for ever. The plan may accept it.
. "$(dirname "$0")/../lib/lab.sh"
lab_enter "$0" "$@"
. "$(dirname "$0")/../lib/disks.sh"
lab_host b 10.66.0.12
cd "$LAB" || exit 1
truncate -s 24M disk.raw
churn() { until [ -e quiet ]; do dd if=/dev/urandom of=disk.raw bs=1M count=16 conv=notrunc status=none; done; }
# A pass takes a second at least: all of the 16 MiB are others by then.
{ echo "plan: fast"
  echo "limits: { bandwidth: 16MiB/s }"
  plan_hosts
  echo "machines:"
  disk_machine m here "$LAB/disk.raw" b /srv/out raw | sed 's#disks: {} \]#disks: { until: { changed: 64KiB } } ]#; 4q'
  echo "    downtime: 200ms"; } >plan.yaml
churn &
writer=$!
expect 1 "$DROVER" run plan.yaml -v
said 'BLOCKER +m +convert.downtime: the last pass would take .*, the plan.s downtime is 200ms: .*MiB/s become dirty'
said "'m' stops here: blocker convert.downtime"
touch quiet
wait $writer
expect 0 "$DROVER" sync plan.yaml
cmp disk.raw hosts/b/srv/out/m/root.base.raw || fail "the copies differ"
echo 'accept: [ { finding: convert.downtime, machine: m, until: 2099-01-01, reason: "it is only a test" } ]' >>plan.yaml
expect 0 "$DROVER" run plan.yaml -v
said "convert.disks +as wanted"
