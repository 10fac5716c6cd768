#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A link that changes two bytes in the middle of a copy, so that no checksum of TCP tells: the
# connection that carries the stream ends of it, directly and through the engine. The step
# makes another one and goes on; nothing of the damage is at the target.
. "$(dirname "$0")/../lib/lab.sh"
lab_enter "$0" "$@"
. "$(dirname "$0")/../lib/disks.sh"
${CC:-cc} -std=c11 -O2 -o "$LAB/farlink" "$lab_lib/farlink.c" || { echo "no C compiler here"; exit 77; }
lab_host b 10.66.0.12
cd "$LAB" || exit 1
copy=hosts/b/srv/out/m/root.base.raw
make_disk disk.raw
touch /run/netns/engine && mount --bind /proc/self/ns/net /run/netns/engine || fail "no name for this namespace"

# damaged WAY: the copy goes on it, and some of it is there when the bytes change.
damaged() {
	{ echo "plan: flipped"
	  plan_hosts | sed 's#^  b: { #&data: "10.88.0.12", #'
	  echo "machines:"
	  disk_machine m here "$LAB/disk.raw" b /srv/out raw
	  echo "    stream: $1"; } >plan.yaml
	./farlink engine 10.88.0.1 b 10.88.0.12 0 0 $copy 2000 >far.said &
	far=$!
	wait_for 60 grep -q ready far.said || fail "the far link does not come up"
	ip route add 10.66.0.12/32 dev far0
	expect 0 "$DROVER" run plan.yaml -v
	grep -q damaged far.said || fail "$1: nothing was damaged"
	said "$2"
	said 'convert.disks +running in .*\(attempt 2 of 3\)'
	cmp disk.raw $copy || fail "$1: the copies differ"
	expect 0 "$DROVER" rollback plan.yaml -y
	kill $far; wait $far 2>/dev/null
	rm -rf .drover
}

damaged direct 'the stream to the other end broke: its connection was lost, or something on the way changed it'
damaged relay "host b +DOWN: cannot reach 'b' any more: the connection ended"
