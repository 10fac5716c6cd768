# SPDX-License-Identifier: Apache-2.0
# lab.sh - hosts as namespaces: sourced by tests/lab/*.sh and tests/e2e/*.sh.
#
# lab_enter "$0" "$@"   re-executes the script inside net, mount, PID and UTS namespaces of
#                       its own: whatever it starts, mounts or links is gone when it ends,
#                       even by kill -9. Sets LAB (a scratch folder on disk, removed by the
#                       outer shell) and a bridge "lab0" with 10.66.0.1/24.
# lab_host NAME IP      a host with its own network, mounts and processes, sshd on IP:22,
#                       /srv and /root of its own. Its key is pinned in $LAB/known_hosts.
# lab_on NAME CMD...    run CMD in that host.
# lab_ssh_key           the identity file that all hosts accept: $LAB/key
# lab_each NAME VALUE...   runs the script for each value of its variable NAME, all at once, in labs of their own; before
#                       lab_enter. What they said is shown, of those that failed last (of a long log the end is what is
#                       read), and lies in $lab_said/ until the script ends. Ends with the status of one that failed.
# lab_aside FILE CMD... runs CMD in the background, as $!, with its output in FILE, which `fail` shows.
# lab_words FILE...     `fail` shows what these hold by then: words that no line's own output has.
# lab_needs TOOL...     skips the script where one of them is not installed; before lab_enter.
# lab_libvirtd [LINE...]   in what LAB_INSIDE names, which runs in each host as it starts: a libvirtd of its own, whose QEMUs
#                       need nothing that a namespace does not have; the lines go in its qemu.conf. lab_on NAME virsh talks to it.
# lab_user_ops NAME SUDOERS   in what LAB_INSIDE names: the host has a user ops, who logs in with the lab's key, and whose password is
#                       the line of stdin; SUDOERS is all of its /etc/sudoers.
# lab_libvirt_pair      hosts a (10.66.0.11) and b (10.66.0.12), each with a libvirtd of its own, whose guests reach each other and us
#                       (10.77.0.1) over a bridge br0.
# lab_guest KEY CMD...  run CMD in the guest at 10.77.0.10, whatever host runs it.
# gate NAME FILE KIB    root@$GATE (in a plan with `stream: relay`) leads to NAME's sshd through a gate (tests/lib/gate) that shuts
#                       once FILE holds KIB: what is then under way stays so, at any speed.
#                       gate_shut: true once it is; gate_open: everything passes again.

# cut_after NAME MIB FROM OUT   the link to NAME goes down once MIB more than FROM (link_bytes NAME) were carried to it,
#                       and stays so in the midst of a transfer; OUT is shown when it does not come to that.

export COLUMNS=1000	# lines are not broken: where would depend on the length of LAB

lab_enter() {
	if [ -z "${LAB:-}" ]; then
		[ "$(id -u)" = 0 ] || { echo "the lab needs root for its namespaces"; exit 77; }
		LAB=$(mktemp -d /var/tmp/drover-lab.XXXXXX) || exit 1
		export LAB
		trap 'rm -rf "$LAB"' EXIT
		trap 'kill -TERM "$lab_pid" 2>/dev/null; wait "$lab_pid"; exit 130' INT TERM
		unshare --net --mount --pid --uts --fork --kill-child --propagation private \
			--mount-proc "$@" &
		lab_pid=$!
		wait "$lab_pid"
		exit $?
	fi
	mount -t tmpfs -o mode=755 lab /run
	mkdir -p /run/sshd /run/netns /run/lock
	hostname engine
	ip link set lo up
	ip link add lab0 type bridge
	ip addr add 10.66.0.1/24 dev lab0
	ip link set lab0 up
	export HOME=$LAB/home
	mkdir -p "$HOME/.ssh" && chmod 700 "$HOME" "$HOME/.ssh"
	: >"$HOME/.ssh/known_hosts"
	ln -s "$HOME/.ssh/known_hosts" "$LAB/known_hosts"
	ssh-keygen -q -t ed25519 -N '' -f "$LAB/key"
	unset SSH_AUTH_SOCK
	TMPDIR=$LAB
	export TMPDIR
}

lab_each() {
	local name=$1 value n status=0 labs=() failed=()
	shift
	lab_said=$(mktemp -d /var/tmp/drover-labs.XXXXXX) || exit 1
	trap 'kill $(jobs -p) 2>/dev/null; wait; rm -rf "$lab_said"' EXIT
	trap 'exit 130' INT TERM
	for value; do
		env "$name=$value" "$0" >"$lab_said/${#labs[@]}" 2>&1 &
		labs+=($!)
	done
	for n in "${!labs[@]}"; do
		if wait "${labs[n]}"; then
			cat "$lab_said/$n"
		else
			status=$?
			failed+=("$lab_said/$n")
		fi
	done
	[ $status = 0 ] || cat "${failed[@]}"
	return $status
}

lab_words_in=()
lab_words() {
	local file
	for file; do [[ " ${lab_words_in[*]} " = *" $file "* ]] || lab_words_in+=("$file"); done
}

lab_aside() {
	local file=$1
	shift
	lab_words "$file"
	"$@" >"$file" 2>&1 &
}

lab_needs() {
	local tool
	for tool in "$@"; do
		command -v "$tool" >/dev/null || { echo "$tool is not installed"; exit 77; }
	done
}

# A tree that lies where a host has something of its own stays within its reach; what
# sanitizers report is written to it.
_lab_keep_tree() {
	local top=${lab_lib%/tests/lib} reports=${O:-build}/reports
	case $top in /root/* | /tmp/*) ;; *) return 0 ;; esac
	if [ ! -d "$1/tree" ]; then
		mkdir "$1/tree" && mount --bind "$top" "$1/tree" && mount -o remount,bind,ro "$1/tree" || return
		[ ! -d "$top/$reports" ] || mount --bind "$top/$reports" "$1/tree/$reports"
		return
	fi
	mkdir -p "$top" && mount --rbind "$1/tree" "$top"
}

# _lab_inside NAME: becomes the host's init; runs in its new namespaces.
_lab_inside() {
	local dir=$LAB/hosts/$1
	_lab_keep_tree "$dir"
	hostname "$1"
	mount -t tmpfs -o mode=755 run /run
	mkdir -p /run/sshd /run/lock
	mount --bind "$dir/srv" /srv
	mount --bind "$dir/root" /root
	mount --bind "$dir/ssh" /etc/ssh
	mount -t tmpfs tmp /tmp
	_lab_keep_tree "$dir"
	for d in /var/lib/libvirt /etc/libvirt /var/cache/libvirt /var/log; do
		[ -d "$d" ] || continue
		mkdir -p "$dir/bind$d"
		cp -a "$d/." "$dir/bind$d/" 2>/dev/null
		mount --bind "$dir/bind$d" "$d"
	done
	[ -z "${LAB_INSIDE:-}" ] || "$LAB_INSIDE" "$1"
	exec /usr/sbin/sshd -D -e -f /etc/ssh/sshd_config 2>"$dir/sshd.log"
}

# A libvirt that may open a /dev/kvm which does not work asks QEMU anew what it can do, for
# seconds, whenever it has to know.
_lab_no_kvm() {
	[ -e /dev/kvm ] || return 0
	mkdir /run/no-kvm
	mount -t tmpfs none /run/no-kvm
	: >/run/no-kvm/kvm
	mount -o remount,ro /run/no-kvm
	mount --bind /run/no-kvm/kvm /dev/kvm
}

lab_libvirtd() {
	printf '%s\n' 'security_driver = "none"' 'namespaces = []' 'cgroup_controllers = []' 'stdio_handler = "file"' "$@" \
		>/etc/libvirt/qemu.conf
	printf '%s\n' 'auth_unix_rw = "none"' "host_uuid = \"$(cat /proc/sys/kernel/random/uuid)\"" >/etc/libvirt/libvirtd.conf
	rm -rf /etc/libvirt/qemu/networks /etc/libvirt/storage
	_lab_no_kvm
	libvirtd --daemon --pid-file /run/libvirtd.pid
}

lab_user_ops() {
	local dir=$LAB/hosts/$1 f
	cp -a /etc/passwd /etc/group /etc/shadow "$dir/"
	echo "ops:x:4711:4711::/home/ops:/bin/bash" >>"$dir/passwd"
	echo "ops:x:4711:" >>"$dir/group"
	echo "ops:$(openssl passwd -6 -stdin):19000:0:99999:7:::" >>"$dir/shadow"
	echo "127.0.0.1 localhost $1" >"$dir/hosts"
	echo "$2" >"$dir/sudoers"
	chmod 440 "$dir/sudoers"
	for f in passwd group shadow hosts sudoers; do mount --bind "$dir/$f" "/etc/$f"; done
	mount -t tmpfs -o mode=755 home /home
	mkdir -p /home/ops/.ssh
	cp "$dir/root/.ssh/authorized_keys" /home/ops/.ssh/
	chown -R 4711:4711 /home/ops
}

_lab_libvirt_bridged() {
	local ip
	ip=$(ip -o -4 addr show dev eth0 | awk '{ print $4 }')
	ip link add br0 type bridge
	ip addr flush dev eth0
	ip link set eth0 master br0
	ip addr add "$ip" dev br0
	ip link set br0 up
	lab_libvirtd
}

lab_libvirt_pair() {
	local host
	export -f _lab_libvirt_bridged
	LAB_INSIDE=_lab_libvirt_bridged lab_host a 10.66.0.11
	LAB_INSIDE=_lab_libvirt_bridged lab_host b 10.66.0.12
	for host in a b; do
		wait_for 300 lab_on $host virsh -q uri || fail "no libvirtd at $host"
	done
	ip addr add 10.77.0.1/24 dev lab0
}

lab_guest() {
	local key=$1
	shift
	ssh -i "$key" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o ConnectTimeout=60 \
		root@10.77.0.10 "$@"
}

lab_host() {
	local name=$1 ip=$2 dir=$LAB/hosts/$1
	mkdir -p "$dir/srv" "$dir/root/.ssh" "$dir/ssh"
	cat "$LAB/key.pub" >"$dir/root/.ssh/authorized_keys"
	chmod 700 "$dir/root" "$dir/root/.ssh"
	ssh-keygen -q -t ed25519 -N '' -f "$dir/ssh/ssh_host_ed25519_key"
	cat >"$dir/ssh/sshd_config" <<-END
	Port 22
	ListenAddress $ip
	HostKey /etc/ssh/ssh_host_ed25519_key
	PidFile /run/sshd.pid
	PermitRootLogin prohibit-password
	PasswordAuthentication no
	UsePAM no
	MaxSessions 20
	MaxStartups 100
	PerSourceMaxStartups none
	END
	sed -i '/PerSourceMaxStartups/d' "$dir/ssh/sshd_config"
	printf '%s %s\n' "$ip" "$(cut -d' ' -f1,2 "$dir/ssh/ssh_host_ed25519_key.pub")" >>"$LAB/known_hosts"
	ip netns add "$name"
	ip link add "v-$name" type veth peer name eth0 netns "$name"
	ip link set "v-$name" master lab0 up
	ip -n "$name" link set lo up
	ip -n "$name" addr add "$ip/24" dev eth0
	ip -n "$name" link set eth0 up
	export lab_lib
	export -f _lab_inside _lab_keep_tree _lab_no_kvm lab_libvirtd lab_user_ops
	nsenter --net="/run/netns/$name" unshare --mount --pid --uts --fork --kill-child --propagation private \
		--mount-proc bash -c '_lab_inside "$1"' lab "$name" &
	echo $! >"$dir/pid"
	wait_for 120 lab_up "$ip" || { echo "host $name does not come up"; cat "$dir/sshd.log"; exit 1; }
}

lab_up() { (exec 3<>"/dev/tcp/$1/22"); }

# The process that is the host's init, as this namespace sees it.
lab_init_pid() { pgrep -P "$(cat "$LAB/hosts/$1/pid")" | head -n 1; }

lab_on() {
	local pid
	pid=$(lab_init_pid "$1")
	shift
	nsenter -t "$pid" --net --mount --pid --uts -- "$@"
}

# What goes wrong is told on stderr: a line's own output may go to /dev/null, or into a file that goes with LAB.
fail() {
	local file
	for file in "${lab_words_in[@]}"; do [ ! -e "$file" ] || { echo "---- $file:"; cat "$file"; }; done >&2
	echo "FAIL: $*" >&2
	exit 1
}

# expect STATUS CMD...: runs it with its output in $LAB/out and shown; fails on another status.
expect() {
	local want=$1 got=0
	shift
	echo "\$ ${*##*/build/}"
	"$@" >"$LAB/out" 2>&1 || got=$?
	[ "$got" = "$want" ] || { cat "$LAB/out" >&2; fail "status $got instead of $want: ${*##*/build/}"; }
	cat "$LAB/out"
}
# said PATTERN: a line of $LAB/out has it, or what a narrow screen has wrapped.
said() {
	grep -qE -- "$1" "$LAB/out" || tr -s ' \n' ' ' <"$LAB/out" | grep -qE -- "$1" ||
		{ cat "$LAB/out" >&2; fail "nothing says '$1'"; }
}
# nothing_in DIR...: no file is left there; else they are named.
nothing_in() { [ -z "$(find "$@" -type f -o -type l -o -type s)" ] || { find "$@" >&2; return 1; }; }

# wait_for SECONDS CMD...: until CMD is true; what it says the last time, when that is too late, is shown.
wait_for() {
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || { "$@" >&2; return; }
		read -rt 0.05 <> <(:) || :
	done
}

lab_lib=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
export DROVER=${DROVER:-${lab_lib%/tests/lib}/build/drover}
GATE=10.66.0.1:2200
gate() {
	local ip
	ip=$(sed -n 's/^ListenAddress //p' "$LAB/hosts/$1/ssh/sshd_config")
	gate_end
	sed -n "s/^$ip /[${GATE%:*}]:${GATE#*:} /p" "$LAB/known_hosts" >>"$LAB/known_hosts"
	"$lab_lib/gate" $GATE "$ip:22" "$2" "$3" "$LAB/gate" &
	gate_pid=$!
	wait_for 120 test -e "$LAB/gate.ready" || fail "the gate does not listen"
}
gate_shut() { [ -e "$LAB/gate.shut" ]; }
gate_open() { : >"$LAB/gate.open"; }
gate_end() {
	[ -z "${gate_pid:-}" ] || { kill "$gate_pid"; wait "$gate_pid"; } 2>/dev/null
	gate_pid=
	rm -f "$LAB"/gate.{ready,shut,open}
}

link_bytes() { ip -s link show "v-$1" | awk 'at { print $1; exit } /TX:/ { at = 1 }'; }
_carried_or_over() { [ "$(link_bytes "$1")" -gt "$2" ] || grep -q '^Next: ' "$3"; }
_waits_to_be_sent() { ss -Htn state established dst "$1" | awk '$2 > 0 { n = 1 } END { exit !n }'; }
cut_after() {
	local ip
	ip=$(sed -n 's/^ListenAddress //p' "$LAB/hosts/$1/ssh/sshd_config")
	wait_for 600 _carried_or_over "$1" $(($3 + ($2 << 20))) "$4" && ! grep -q '^Next: ' "$4" ||
		{ cat "$4"; fail "no $2 MiB come to $1"; }
	ip link set "v-$1" down
	wait_for 60 _waits_to_be_sent "$ip" || { cat "$4"; fail "nothing was under way when the link was cut"; }
	echo "the link to $1 is cut, $((($(link_bytes "$1") - $3) >> 20)) MiB were carried"
}
