#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# hosts - 20 SSH hosts on loopback addresses, 20 steps each that stat a file, beside
# ansible-core (pipelining on, forks 20). Wanted: at most a fifteenth of its time and CPU.
[ -n "${BENCH_NS:-}" ] || exec env BENCH_NS=1 unshare --net --mount --pid --fork --kill-child --propagation private --mount-proc "$0" "$@"
. "$(dirname "$0")/lib.sh"
mount -t tmpfs -o mode=755 run /run && mkdir -p /run/sshd
mount -t tmpfs -o mode=700 root /root	# no shell start-up file of this machine's has a say
ip link set lo up
hosts=20 steps=20
ssh-keygen -q -t ed25519 -N '' -f "$BENCH/key"
ssh-keygen -q -t ed25519 -N '' -f "$BENCH/hostkey"
mkdir -p "$BENCH/ssh"
cat "$BENCH/key.pub" >"$BENCH/ssh/keys"
chmod 700 "$BENCH" "$BENCH/ssh"
{ echo "HostKey $BENCH/hostkey"
  printf 'PidFile none\nUsePAM no\nStrictModes no\nAuthorizedKeysFile %s\nMaxStartups 200\nMaxSessions 50\n' "$BENCH/ssh/keys"; } >"$BENCH/sshd_config"
/usr/sbin/sshd -f "$BENCH/sshd_config" -E "$BENCH/sshd.log"
for h in $(seq $hosts); do echo "127.1.0.$h $(cut -d' ' -f1,2 "$BENCH/hostkey.pub")"; done >"$BENCH/known_hosts"

{ echo "plan: twenty"; echo "hosts:"
  for h in $(seq $hosts); do echo "  h$h: { ssh: root@127.1.0.$h, identity: $BENCH/key, known_hosts: $BENCH/known_hosts }"; done
  echo "machines:"
  for h in $(seq $hosts); do
	echo "  m$h:"; echo "    source: { host: h$h, disks: [/dev/sda] }"; echo "    target: { host: h$h, dir: /srv/$h }"
	echo "    assess:"; for s in $(seq $steps); do echo "      - file: { id: look$s, path: /etc/hostname }"; done
  done; } >"$BENCH/plan.yaml"
{ echo "[all]"; for h in $(seq $hosts); do echo "127.1.0.$h"; done; } >"$BENCH/inventory"
printf '[defaults]\nforks = 20\ngathering = explicit\nhost_key_checking = True\nstdout_callback = minimal\n[ssh_connection]\npipelining = True\nssh_args = -o ControlMaster=auto -o ControlPersist=60s -o UserKnownHostsFile=%s\ncontrol_path_dir = %s/cp\n' \
	"$BENCH/known_hosts" "$BENCH" >"$BENCH/ansible.cfg"
{ printf -- '- hosts: all\n  remote_user: root\n  gather_facts: false\n  tasks:\n'
  for s in $(seq $steps); do printf '    - stat: { path: /etc/hostname }\n'; done; } >"$BENCH/play.yaml"

# No state, no connection of an earlier run's.
fresh() {
	local s
	for s in "$BENCH"/cp/*; do
		[ ! -S "$s" ] || ssh -o ControlPath="$s" -O exit any 2>/dev/null
	done
	rm -rf "$BENCH/.drover" "$BENCH/cp" "$BENCH/touched"
	mkdir "$BENCH/touched"
}
BEFORE=fresh
measure "drover run (20 hosts x 20 file steps)" "$DROVER" run "$BENCH/plan.yaml"
ours=$M_WALL ours_cpu=$M_CPU
export ANSIBLE_CONFIG=$BENCH/ansible.cfg ANSIBLE_HOME=$BENCH/ansible ANSIBLE_LOCALHOST_WARNING=False
measure "ansible-playbook (the same work)" ansible-playbook -i "$BENCH/inventory" --private-key "$BENCH/key" "$BENCH/play.yaml"
fresh
echo "ratio: time $(ratio "$ours" "$M_WALL"), cpu $(ratio "$ours_cpu" "$M_CPU") (wanted: at most 0.067); engine's memory $(rss_mib "$DROVER" run "$BENCH/plan.yaml") MiB (wanted: under 64)"

# What one more step costs on one host: the difference between 20 and 420 of them.
one_host() {	# file|command COUNT
	echo "plan: one"; echo "hosts: { h: { ssh: root@127.1.0.1, identity: $BENCH/key, known_hosts: $BENCH/known_hosts } }"
	echo "machines:"; echo "  m:"; echo "    source: { host: h, disks: [/dev/sda] }"; echo "    target: { host: h, dir: /srv/1 }"
	echo "    assess:"
	for s in $(seq "$2"); do
		if [ "$1" = file ]; then
			echo "      - file: { id: s$s, path: /etc/hostname }"
		else
			t=$BENCH/touched/$s
			echo "      - command: { id: s$s, probe: [test, -e, $t], argv: [touch, $t], undo: [rm, -f, $t] }"
		fi
	done
}
for kind in file:2 command:5; do
	name=${kind%:*}
	one_host "$name" 20 >"$BENCH/few.yaml"
	one_host "$name" 420 >"$BENCH/many.yaml"
	measure "drover run (1 host, 20 $name steps)" "$DROVER" run "$BENCH/few.yaml"
	few=$M_WALL
	measure "drover run (1 host, 420 $name steps)" "$DROVER" run "$BENCH/many.yaml"
	awk -v a="$few" -v b="$M_WALL" -v n="$name" -v w="${kind#*:}" \
		'BEGIN { printf "one more %s step: %.2f ms (wanted: under %s)\n", n, (b - a) * 1000 / 400, w }'
done
measured
