#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Again and again something is killed at a random instant of a copy or of a cutover, both under a
# freeze: an sshd, an agent, a step, the freeze's watchdog or its keeper, a qemu-nbd, the engine.
# Whatever it was: the file system thaws, the same command then ends well and with equal disks, a
# rollback goes back to the start, and nothing runs on. A seed says who is killed and when;
# SEED="3 7" repeats those, SEEDS=200 tries so many (60).
# Four labs share the seeds: most of its time a run waits for somebody.
. "$(dirname "$0")/../lib/lab.sh"

if [ -z "${LAB:-}${SEED:-}" ]; then
	status=0 shares=()
	for n in 1 2 3 4; do [ $n -gt "${SEEDS:-60}" ] || shares+=("$(seq -s ' ' $n 4 "${SEEDS:-60}")"); done
	lab_each SEED "${shares[@]}" || status=$?
	# a series that finds nobody proves nothing
	cat "$lab_said"/* | awk '/^seed/ { all++ }
		/^seed/ && !/nobody/ { n++; sub(/^seed [0-9]*: [a-z-]*, /, ""); who[$1]++ }
		END { printf "%d of %d killed somebody:", n, all
			for (k in who) printf " %s %d", k, who[k]
			print ""; exit all && n * 2 < all }' || { echo "the others met nobody"; status=1; }
	exit $status
fi
lab_enter "$0" "$@"
. "$(dirname "$0")/../lib/disks.sh"
cd "$LAB" || exit 1
mkdir data
truncate -s 8M disk.raw
mkfs.ext4 -q -F -O ^has_journal -E lazy_itable_init=0,nodiscard disk.raw
dev=$(losetup -f --show disk.raw) || fail "no loop device"
leave() {
	fsfreeze -u data 2>/dev/null
	umount data
	losetup -d "$dev"	# gone with the last who has it mounted
}
trap leave EXIT
mount "$dev" data || fail "cannot mount it"
dd if=/dev/urandom of=data/book bs=1M count=4 status=none
sync -f data
lab_host a 10.66.0.11	# has it mounted too

# A plan for each way and verb, with a target and a state of its own.
plan() {	# NAME HOST
	echo "plan: $1"
	echo "limits: { bandwidth: 60MiB/s }"
	plan_hosts
	cat <<-END
	machines:
	  data:
	    source: { host: $2, disks: { root: { path: $dev } } }
	    target: { host: here, dir: "$LAB/$1", format: qcow2 }
	    stream: $([ "$1" = far-run ] && echo relay || echo auto)
	    assess:  [ machine: {} ]
	    convert: [ disks: { passes: 2, freeze: last, chunk: 64KiB, changes: digest } ]
	    cutover: [ quiesce: { mode: freeze }, pass: {} ]
	accept: [ { finding: guest.no-root, machine: data, until: 2099-01-01, reason: "only data" } ]
	END
}
for verb in run cutover; do
	plan near-$verb here >near-$verb.yaml
	plan far-$verb a >far-$verb.yaml
done

# ---- what must be true whoever it was ----------------------------------------------------------

# What was said since the seed's run began is shown.
lab_words killed said
fails() { fail "$what: $*"; }
# Who is frozen refuses a second freeze.
thaws() {
	wait_for 60 fsfreeze -f data || fails "the file system stays frozen"
	fsfreeze -u data
}
# A thaw writes to the superblock.
equal() {
	dd if="$dev" iflag=direct bs=1M status=none >source.now
	as_raw "$1/data/root.base.qcow2" qcow2 >target.now
	cmp -i 4096 source.now target.now || fails "the disks differ"
}

nothing_runs() { ! pgrep 'qemu-nbd|drover-freeze' && ! pgrep -f -- ' --serve '; }

# When it strikes, in thousandths of a run's time: from, and within. Those below it live but
# shortly: it counts from their birth.
declare -A from=([engine]=0 [sshd]=200 [agent]=250 [step]=0 [watchdog]=0 [nbd]=0)
declare -A within=([engine]=900 [sshd]=600 [agent]=600 [step]=250 [watchdog]=200 [nbd]=50)
kinds=(engine engine agent step watchdog watchdog nbd sshd)
declare -A took=()	# by plan, an undisturbed run, in ms

start() {	# the verb of the plan
	began=${EPOCHREALTIME/./}
	lab_aside said "$DROVER" "${1:-${plan#*-}}" $plan.yaml --state "$LAB/$plan.state" -y
	engine=$!
}
ends() { wait $engine && took[$plan]=$(((${EPOCHREALTIME/./} - began) / 1000)); }

# To the start, whatever was killed on the way there; the next run begins with that state.
goes_back() {
	"$DROVER" rollback $plan.yaml --state "$LAB/$plan.state" -y >said 2>&1 || fails "it does not go back"
	[ -z "$(ls $plan)" ] || { ls -R $plan; fails "going back left files"; }
}

one() {	# SEED
	local plan kind ms choice at_once stalker status=0
	RANDOM=$1
	plan=$([ $(($1 / 8 % 2)) = 0 ] && echo near || echo far)-$([ $(($1 / 4 % 2)) = 0 ] && echo run || echo cutover)
	kind=${kinds[RANDOM % (${#kinds[@]} - ($1 / 8 % 2 == 0))]} choice=$RANDOM at_once=$((RANDOM % 2))
	ms=$(((from[$kind] + RANDOM % within[$kind]) * took[$plan] / 1000))
	what="seed $1: $plan, $kind killed after $ms of ${took[$plan]} ms"
	dd if=/dev/urandom of=data/page bs=100K count=3 status=none
	rm -f hit killed
	start
	"$lab_lib/stalk" $kind $ms $choice $engine hit &
	stalker=$!
	ends || status=$?
	wait $stalker
	echo "$what:$([ -e hit ] || echo ' nobody,') status $status"
	if [ $status != 0 ]; then
		mv said killed
		[ $at_once = 1 ] || thaws
		start
		ends || fails "it does not go on"
	fi
	equal $plan
	thaws
	[ ${plan#*-} = cutover ] || goes_back
	wait_for 60 nothing_runs || { ps -ef; fails "something runs on"; }
}

for plan in near-cutover far-cutover; do
	start run
	ends || fail "an undisturbed run fails"
	took[${plan%-*}-run]=${took[$plan]}
done
for seed in $SEED; do one "$seed"; done
what="after all seeds"
for plan in near-cutover far-cutover; do goes_back; done
