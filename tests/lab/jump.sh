#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Hosts that are reached through others, as ~/.ssh/config says: ProxyJump, a chain of two, a
# ProxyCommand. A disk moves through them; what goes wrong on the way is told in the words of
# the jump host's ssh; what the configuration asks in vain is told by `drover hosts`.
. "$(dirname "$0")/../lib/lab.sh"
lab_enter "$0" "$@"
. "$(dirname "$0")/../lib/disks.sh"
. "$(dirname "$0")/../lib/bad.sh"
cp "$DROVER" "$LAB/drover"	# the tree may lie below /root
DROVER=$LAB/drover
mount --bind "$HOME" /root	# OpenSSH and libssh look there
lab_host far 10.66.0.12
lab_host jump 10.66.0.13
lab_host gate 10.66.0.14
# From here there is no way to the far host but through another.
ip route add blackhole 10.66.0.12/32
cat >/root/.ssh/config <<-END
Host far chain command
	HostName 10.66.0.12
Host jump
	HostName 10.66.0.13
Host gate
	HostName 10.66.0.14
Host far
	ProxyJump jump
	CertificateFile ~/.ssh/far-cert.pub
Host chain
	ProxyJump gate,jump
Host command
	ProxyCommand ssh -W [%h]:%p gate
Host *
	User root
	IdentityFile $LAB/key
END
chmod 600 /root/.ssh/config
make_disk "$LAB/disk.raw"
mkdir -p "$LAB/hosts/far/srv/out" "$LAB/plan"
cd "$LAB/plan" || exit 1

plan() {	# plan ALIAS
	cat >plan.yaml <<-END
	plan: jump
	hosts: { far: { ssh: $1 }, here: { local: true } }
	machines:
	  erp:
	    source: { host: here, images: { root: "$LAB/disk.raw" } }
	    target: { host: far, dir: /srv/out, format: raw }
	    convert: [ disks: {} ]
	END
}

for way in far chain command; do
	plan $way
	expect 0 "$DROVER" run plan.yaml
	cmp "$LAB/disk.raw" "$LAB/hosts/far/srv/out/erp/root.base.raw" || fail "the copy through '$way' differs"
	expect 0 "$DROVER" rollback plan.yaml -y
	must "no ssh of a proxy is left after '$way'" wait_for 10 eval '! pgrep -af "[s]sh .*-W"'
done

plan far
expect 0 "$DROVER" hosts plan.yaml
said '^host far: ~/.ssh/config:9: CertificateFile has no effect: user certificates are not offered$'
expect 0 "$DROVER" hosts plan.yaml --json
said '"notes": ?\["~/.ssh/config:9: CertificateFile has no effect'
expect 0 "$DROVER" run plan.yaml -v
said 'CertificateFile has no effect'
expect 0 "$DROVER" rollback plan.yaml -y

# The jump host's key is not known: its ssh says so, and nothing is pinned by itself.
sed -i '/^10.66.0.13 /d' /root/.ssh/known_hosts
bad 111 "a jump host whose key nobody knows" "$DROVER" hosts plan.yaml <<'END'
host  state  system  arch  agent  as  has  lacks
far  DOWN  -  -  -  -  -  -
here  ready  LINUX  x86_64  0.1.0  root  qemu-img, qemu-nbd  -
drover: host far: cannot connect to 'far' through its proxy: Host key verification failed.
  does `ssh far true` work? the proxy is: ssh -o BatchMode=yes -W '[10.66.0.12]:22' 'jump'
END
# Nobody listens there.
sed -i 's/^HostName 10.66.0.13$/&\nPort 23/' /root/.ssh/config
bad 111 "a jump host where nobody listens" "$DROVER" hosts plan.yaml <<'END'
host  state  system  arch  agent  as  has  lacks
far  DOWN  -  -  -  -  -  -
here  ready  LINUX  x86_64  0.1.0  root  qemu-img, qemu-nbd  -
drover: host far: cannot connect to 'far' through its proxy: ssh: connect to host 10.66.0.13 port 23: Connection refused
  does `ssh far true` work? the proxy is: ssh -o BatchMode=yes -W '[10.66.0.12]:22' 'jump'
END
# A proxy that ends at once, and one that is not there.
sed -i 's/ProxyJump jump/ProxyCommand echo no way through >\&2/' /root/.ssh/config
bad 111 "a proxy that ends" "$DROVER" hosts plan.yaml <<'END'
host  state  system  arch  agent  as  has  lacks
far  DOWN  -  -  -  -  -  -
here  ready  LINUX  x86_64  0.1.0  root  qemu-img, qemu-nbd  -
drover: host far: cannot connect to 'far' through its proxy: no way through
  does `ssh far true` work? the proxy is: echo no way through >&2
END
sed -i 's/ProxyCommand echo.*/ProxyCommand no-such-proxy/' /root/.ssh/config
bad 111 "a proxy that is not there" "$DROVER" hosts plan.yaml <<'END'
host  state  system  arch  agent  as  has  lacks
far  DOWN  -  -  -  -  -  -
here  ready  LINUX  x86_64  0.1.0  root  qemu-img, qemu-nbd  -
drover: host far: cannot connect to 'far' through its proxy: sh: 1: exec: no-such-proxy: not found
  does `ssh far true` work? the proxy is: no-such-proxy
END
must "no agent is left" wait_for 10 no_agent
bad_end
