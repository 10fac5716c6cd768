#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Hosts that cannot be used: nobody answers, no key fits, the host's key is unknown or another,
# sudo says no, the shell talks, memory is short or may not hold programs. The whole message,
# and: no host keeps anything of it, the state can be read, and `run` goes on once it is mended.
. "$(dirname "$0")/../lib/lab.sh"
lab_enter "$0" "$@"
. "$(dirname "$0")/../lib/disks.sh"
. "$(dirname "$0")/../lib/bad.sh"

# In every host: a user ops, whose password is "secret" and who may not use sudo.
prepare() {
	lab_user_ops "$1" "root ALL=(ALL:ALL) ALL" <<<secret
	mount -t tmpfs -o mode=1777 shm /dev/shm
}
export -f prepare
export LAB_INSIDE=prepare

lab_host a 10.66.0.11
lab_host b 10.66.0.12
make_disk "$LAB/hosts/a/srv/disk.raw"
mkdir -p "$LAB/hosts/b/srv/out"
cd "$LAB" || exit 1

# plan LINE: host a is as LINE says.
plan() {
	{ echo "plan: bad"; plan_hosts | sed "s|^  a: .*|  a: $1|"; echo "machines:"
	  disk_machine erp a /srv/disk.raw b /srv/out raw; } >plan.yaml
}
as_before() {
	must "nothing is at the target after: $1" nothing_in "$LAB/hosts/b/srv/out"
	must "no agent is left after: $1" wait_for 120 no_agent
}

key="identity: \"$LAB/key\", known_hosts: \"$LAB/known_hosts\""

plan "{ ssh: \"root@10.66.0.11:23\", $key }"
bad 1 "nobody listens on this port" "$DROVER" run plan.yaml <<'END'
bad  run  plan.yaml  run ID  1 machine, 2 hosts
NOW  host a  DOWN: cannot connect to '10.66.0.11' (10.66.0.11 port 23): Connection refused
            is sshd running there, and on this port?
NOW  erp      convert.disks         FAILED: host a is DOWN, see above
                   the step stands at plan.yaml:10:16

machine  convert  serves   took
erp      FAILED   source  TOOK

run: a step FAILED, see above, TIME
Next: drover run plan.yaml
END
bad 0 "its status" "$DROVER" status plan.yaml <<'END'
bad  plan ID  state LAB/.drover

machine  serves  phase  done  step now              last error
erp      source  -       0/2  convert.disks failed  host 'a': cannot connect to '10.66.0.11' (10.66.0.11 port 23): Connection refused

erp convert.disks (NOW): host 'a': cannot connect to '10.66.0.11' (10.66.0.11 port 23): Connection refused
  is sshd running there, and on this port?
Next: drover run plan.yaml
END
bad 111 "nobody listens on this port, hosts" "$DROVER" hosts plan.yaml <<'END'
host  state  system  arch  agent  as  has  lacks
a  DOWN  -  -  -  -  -  -
b  ready  LINUX  x86_64  0.1.0  root  qemu-img, qemu-nbd  -
here  ready  LINUX  x86_64  0.1.0  root  -  -
drover: host a: cannot connect to '10.66.0.11' (10.66.0.11 port 23): Connection refused
  is sshd running there, and on this port?
END
bad 1 "nobody listens on this port, preview" "$DROVER" preview plan.yaml <<'END'
bad  run preview  plan.yaml  2 hosts asked, 0 changed

DOWN     a  cannot connect to '10.66.0.11' (10.66.0.11 port 23): Connection refused
           is sshd running there, and on this port?
erp  a -> b, serves: source
  convert      disks   FAILED: host a is DOWN, see above
                       the step stands at plan.yaml:10:16

1 machine:  + 0  ~ 0  - 0  ? 0
1 step could not be asked
Next: drover preview plan.yaml
END
as_before "a closed port"

ssh-keygen -q -t ed25519 -N '' -f "$LAB/other"
plan "{ ssh: root@10.66.0.11, identity: \"$LAB/other\", known_hosts: \"$LAB/known_hosts\" }"
bad 1 "a key that may not log in" "$DROVER" run plan.yaml <<'END'
bad  run  plan.yaml  run ID  1 machine, 2 hosts
NOW  host a  DOWN: cannot log in to 'a' as root: no key was accepted; tried: LAB/other
            add the public key to ~root/.ssh/authorized_keys there, or name another with identity: in the plan
NOW  erp      convert.disks         FAILED: host a is DOWN, see above
                   the step stands at plan.yaml:10:16

machine  convert  serves   took
erp      FAILED   source  TOOK

run: a step FAILED, see above, TIME
Next: drover run plan.yaml
END
plan "{ ssh: root@10.66.0.11, identity: \"$LAB/none\", known_hosts: \"$LAB/known_hosts\" }"
bad 1 "a key that is not there" "$DROVER" run plan.yaml <<'END'
bad  run  plan.yaml  run ID  1 machine, 2 hosts
NOW  host a  DOWN: cannot log in to 'a' as root: no key was accepted; tried: LAB/none (No such file or directory)
            add the public key to ~root/.ssh/authorized_keys there, or name another with identity: in the plan
NOW  erp      convert.disks         FAILED: host a is DOWN, see above
                   the step stands at plan.yaml:10:16

machine  convert  serves   took
erp      FAILED   source  TOOK

run: a step FAILED, see above, TIME
Next: drover run plan.yaml
END

rm "$LAB/known_hosts"; cp "$HOME/.ssh/known_hosts" "$LAB/kept"
: >"$HOME/.ssh/known_hosts"
: >"$LAB/pins"
plan "{ ssh: root@10.66.0.11, identity: \"$LAB/key\", known_hosts: \"$LAB/pins\" }"
sed -i "s|^  b: .*|  b: { ssh: root@10.66.0.12, identity: \"$LAB/key\", known_hosts: \"$LAB/kept\" }|" plan.yaml
bad 1 "a host key that nobody knows" "$DROVER" run plan.yaml <<'END'
bad  run  plan.yaml  run ID  1 machine, 2 hosts
NOW  host a  DOWN: cannot trust 'a': no key is known for 10.66.0.11 port 22; it shows ssh-ed25519 SHA256:KEY
            compare it with what the host's own console says (ssh-keygen -lf /etc/ssh/ssh_host_*.pub), then: drover hosts plan.yaml --pin a
NOW  erp      convert.disks         FAILED: host a is DOWN, see above
                   the step stands at plan.yaml:10:16

machine  convert  serves   took
erp      FAILED   source  TOOK

run: a step FAILED, see above, TIME
Next: drover run plan.yaml
END
must "nothing was pinned by itself" test ! -s "$LAB/pins"
printf '10.66.0.11 %s\n' "$(cut -d' ' -f1,2 "$LAB/other.pub")" >"$LAB/pins"
bad 1 "a host key that has changed" "$DROVER" run plan.yaml <<'END'
bad  run  plan.yaml  run ID  1 machine, 2 hosts
NOW  host a  DOWN: cannot trust 'a': its key has changed: LAB/pins:1 lists another, it shows ssh-ed25519 SHA256:KEY
            somebody may be in between; if the host was really installed anew: ssh-keygen -R '10.66.0.11' -f LAB/pins, then: drover hosts plan.yaml --pin a
NOW  erp      convert.disks         FAILED: host a is DOWN, see above
                   the step stands at plan.yaml:10:16

machine  convert  serves   took
erp      FAILED   source  TOOK

run: a step FAILED, see above, TIME
Next: drover run plan.yaml
END
bad 111 "a host key that has changed, pin" "$DROVER" hosts plan.yaml --pin a <<'END'
drover: host a: cannot trust 'a': its key has changed: LAB/pins:1 lists another, it shows ssh-ed25519 SHA256:KEY
  somebody may be in between; if the host was really installed anew: ssh-keygen -R '10.66.0.11' -f LAB/pins, then: drover hosts plan.yaml --pin a
END
must "a changed key is not pinned over" test "$(wc -l <"$LAB/pins")" = 1
cp "$LAB/kept" "$HOME/.ssh/known_hosts"
ln -s "$HOME/.ssh/known_hosts" "$LAB/known_hosts"
as_before "host keys"

sudo="{ ssh: ops@10.66.0.11, $key, become: { sudo: true } }"
plan "$sudo"
bad 1 "sudo wants a password" "$DROVER" run plan.yaml <<'END'
bad  run  plan.yaml  run ID  1 machine, 2 hosts
NOW  host a  DOWN: cannot become root on 'a': sudo: a password is required
            give the password: become: { sudo: { password: "secret:NAME" } }, or let sudoers ask for none: ops ALL=(root) NOPASSWD: ALL
NOW  erp      convert.disks         FAILED: host a is DOWN, see above
                   the step stands at plan.yaml:10:16

machine  convert  serves   took
erp      FAILED   source  TOOK

run: a step FAILED, see above, TIME
Next: drover run plan.yaml
END
plan "{ ssh: ops@10.66.0.11, $key, become: { sudo: { password: \"secret:ops\" } } }"
sed -i 's|^hosts:|secrets: { ops: { env: OPS } }\n&|' plan.yaml
OPS=never-that bad 1 "a wrong password" "$DROVER" run plan.yaml <<'END'
bad  run  plan.yaml  run ID  1 machine, 2 hosts
NOW  host a  DOWN: cannot become root on 'a': the password is wrong
            is ops in sudoers there, and the password the right one? ssh -t ops@10.66.0.11 sudo true
NOW  erp      convert.disks         FAILED: host a is DOWN, see above
                   the step stands at plan.yaml:11:16

machine  convert  serves   took
erp      FAILED   source  TOOK

run: a step FAILED, see above, TIME
Next: drover run plan.yaml
END
OPS=secret bad 1 "a user with no sudo right" "$DROVER" run plan.yaml <<'END'
bad  run  plan.yaml  run ID  1 machine, 2 hosts
NOW  host a  DOWN: cannot become root on 'a': ops is not in the sudoers file.
            is ops in sudoers there, and the password the right one? ssh -t ops@10.66.0.11 sudo true
NOW  erp      convert.disks         FAILED: host a is DOWN, see above
                   the step stands at plan.yaml:11:16

machine  convert  serves   took
erp      FAILED   source  TOOK

run: a step FAILED, see above, TIME
Next: drover run plan.yaml
END
bad 1 "a secret that is not set" "$DROVER" run plan.yaml <<'END'
bad  run  plan.yaml  run ID  1 machine, 2 hosts
NOW  host a  DOWN: cannot fetch the secret 'ops': the variable OPS is not set
            export OPS=... before you start drover
NOW  erp      convert.disks         FAILED: host a is DOWN, see above
                   the step stands at plan.yaml:11:16

machine  convert  serves   took
erp      FAILED   source  TOOK

run: a step FAILED, see above, TIME
Next: drover run plan.yaml
END

plan "{ ssh: root@10.66.0.11, $key }"
rc=$LAB/hosts/a/root/.bashrc
echo "echo unmount /data by Friday; head -c 70000 /dev/zero | tr '\\0' x" >"$rc"
bad 1 "a start-up file that talks much" "$DROVER" run plan.yaml <<'END'
bad  run  plan.yaml  run ID  1 machine, 2 hosts
NOW  host a  DOWN: cannot start the agent on 'a': more than 64 KiB came before it, beginning with 'unmount /data by Friday'
            start-up files of the shell must print nothing when no terminal is there
NOW  erp      convert.disks         FAILED: host a is DOWN, see above
                   the step stands at plan.yaml:10:16

machine  convert  serves   took
erp      FAILED   source  TOOK

run: a step FAILED, see above, TIME
Next: drover run plan.yaml
END
echo 'echo the machine is in maintenance >&2; exit 7' >"$rc"
bad 1 "a start-up file that ends the shell" "$DROVER" run plan.yaml <<'END'
bad  run  plan.yaml  run ID  1 machine, 2 hosts
NOW  host a  DOWN: cannot start the agent on 'a': the shell ended with status 7: the machine is in maintenance
            does `ssh root@10.66.0.11 true` work?
NOW  erp      convert.disks         FAILED: host a is DOWN, see above
                   the step stands at plan.yaml:10:16

machine  convert  serves   took
erp      FAILED   source  TOOK

run: a step FAILED, see above, TIME
Next: drover run plan.yaml
END
rm "$rc"
for d in /run /tmp /dev/shm; do lab_on a mount -o remount,noexec $d; done
bad 1 "no tmpfs may hold programs" "$DROVER" run plan.yaml <<'END'
bad  run  plan.yaml  run ID  1 machine, 2 hosts
NOW  host a  DOWN: cannot start the agent on 'a': programs may not run from any tmpfs there: /dev/shm /run /tmp
            allow it for one of them: mount -o remount,exec /dev/shm
NOW  erp      convert.disks         FAILED: host a is DOWN, see above
                   the step stands at plan.yaml:10:16

machine  convert  serves   took
erp      FAILED   source  TOOK

run: a step FAILED, see above, TIME
Next: drover run plan.yaml
END
for d in /run /tmp /dev/shm; do lab_on a mount -o remount,exec,size=1m $d; done
bad 1 "no tmpfs has space" "$DROVER" run plan.yaml <<'END'
bad  run  plan.yaml  run ID  1 machine, 2 hosts
NOW  host a  DOWN: cannot start the agent on 'a': not enough space in /dev/shm
            it needs 8 MiB: remove files there, or make it larger: mount -o remount,size=64m
NOW  erp      convert.disks         FAILED: host a is DOWN, see above
                   the step stands at plan.yaml:10:16

machine  convert  serves   took
erp      FAILED   source  TOOK

run: a step FAILED, see above, TIME
Next: drover run plan.yaml
END
for d in /run /tmp /dev/shm; do lab_on a mount -o remount,size=64m $d; done
as_before "memory"
must "nothing of it is left on the host" test -z "$(lab_on a find /run /tmp /dev/shm -name 'drover-*' ! -name drover-epochs)"

echo "echo Welcome to db1, for staff only" >"$rc"
expect 0 "$DROVER" run plan.yaml
cmp "$LAB/hosts/a/srv/disk.raw" "$LAB/hosts/b/srv/out/erp/root.base.raw" || fail "the copies differ"
expect 0 "$DROVER" rollback plan.yaml -y
as_before "all"
bad_end
