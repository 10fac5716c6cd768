#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A target whose storage changed what was written to it: the proof names the place and its
# history, and it is sent again from the source while that serves; so does sync; the digest
# of the whole disk is in git. An older copy that is put back is no longer proven by its own map.
. "$(dirname "$0")/../lib/lab.sh"
lab_enter "$0" "$@"
. "$(dirname "$0")/../lib/disks.sh"
. "$(dirname "$0")/../lib/bad.sh"
lab_host b 10.66.0.12
cd "$LAB" || exit 1
make_disk disk.raw
cat >plan.yaml <<END
plan: damage
hosts:
  b: { ssh: root@10.66.0.12, identity: "$LAB/key", known_hosts: "$LAB/known_hosts" }
  here: { local: true }
machines:
  data:
    source: { host: here, images: { root: "$LAB/disk.raw" } }
    target: { host: b, dir: /srv/images, format: raw }
    convert: [ disks: {} ]
    reconfigure: []
    validate: [ disks: {} ]
END
BAD_ALSO='s#[0-9a-f]{12}\b#DIGEST#g'
base=hosts/b/srv/images/data/root.base.raw
# spoil BYTE: others stand there, beneath drover.
spoil() { printf 'other bytes' | dd of=$base bs=1 seek=$1 conv=notrunc status=none; }

expect 0 "$DROVER" run plan.yaml --until convert
spoil 5243880
spoil 45000000
bad 0 'what is damaged is sent again' "$DROVER" run plan.yaml <<'END'
damage  run  plan.yaml  run ID  1 machine, 2 hosts
NOW  warning  data     disk.mended: 2.0 MiB of disk 'root' was not what had been written there: it was sent again and is right now
                            mend: have the target's storage looked at before you rely on it
NOW  data     validate.disks        done

machine  convert  validate  serves   took
data     as is    done      source  TOOK

run: done, TIME
Next: drover status plan.yaml
END
cmp disk.raw $base || fail "the target is not the source"
expect 0 "$DROVER" show plan.yaml HEAD evidence/validate.disks/root.damage.text
said '^byte 5242880, length 1048576 .*written by pass 1 at 20'
said '^byte 44040192, length 1048576 '

# The digest of a disk as docs/stream.md has it, worked out by other programs.
binary() { perl -pe 's/\s//g; $_ = pack "H*", $_'; }
sum() { sha256sum | cut -c1-64; }
root_of() {
	local node
	node=$({ printf '\1'; split -b 1M --filter='sha256sum | cut -c1-64' "$1" | binary; } | sum)
	{ printf '\2'; perl -e 'print pack "Q<L<", -s $ARGV[0], 1 << 20' "$1"; echo "$node" | binary; } | sum
}
dd if=/dev/urandom of=disk.raw bs=1M count=2 seek=50 conv=notrunc status=none
cp -a hosts/b/srv/images/data aside
expect 0 "$DROVER" sync plan.yaml
cmp disk.raw $base || fail "the further pass did not bring it"
want=$(root_of disk.raw)
git --git-dir=.drover show refs/heads/damage/data/main:facts/sync.json | grep -qF "\"digest\": \"$want\"" ||
	fail "the digest of the whole disk is not in git: $want"

# Somebody puts all of the copy back, as of the evening before: its map fits its image.
rm -r hosts/b/srv/images/data
cp -a aside hosts/b/srv/images/data
older="target.older: disk 'root' holds pass 2, pass 3 was recorded: an older copy was put back"
expect 1 "$DROVER" run plan.yaml
said "BLOCKER .*$older"
said 'drover sync plan.yaml brings over again what came since'
expect 0 "$DROVER" sync plan.yaml
said "warning .*$older, and what came since is sent again"
cmp disk.raw $base || fail "what came since was not brought over again"
expect 0 "$DROVER" run plan.yaml
said 'validate.disks *done'
bad_end
