#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# One host of three falls silent in the middle (its packets are dropped): the others' machines
# finish; the silent one is named, with what to type; once it is back, `run` goes on.
. "$(dirname "$0")/../lib/lab.sh"
lab_enter "$0" "$@"
. "$(dirname "$0")/../lib/disks.sh"
for n in 1 2 3; do lab_host "h$n" "10.66.0.2$n"; done
cd "$LAB" || exit 1
{ echo "plan: hole"; echo "hosts:"
  for n in 1 2 3; do echo "  h$n: { ssh: root@10.66.0.2$n, identity: \"$LAB/key\", known_hosts: \"$LAB/known_hosts\" }"; done
  echo "machines:"
  for n in 1 2 3; do
	echo "  m$n: { source: { host: h$n, disks: [/dev/vda] }, target: { host: h$n, dir: /srv/x }, assess: [ file: { path: /etc/hostname } ] }"
  done; } >plan.yaml
ip link set v-h2 down
expect 1 "$DROVER" run plan.yaml
said 'm1.*(done|ok)|(done|ok).*m1'
said 'h2'
ip link set v-h2 up
expect 0 "$DROVER" run plan.yaml
