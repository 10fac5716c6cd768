#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A source disk that cannot be read everywhere, as Linux shows one: reading a stretch ends
# in EIO. It stops the copy with the whole message; with bad_sectors: zero all the rest
# arrives, zeros stand for what is lost, and a finding and evidence say where. Once it can be
# read again, the next pass brings what lies there.
. "$(dirname "$0")/../lib/lab.sh"
lab_enter "$0" "$@"
. "$(dirname "$0")/../lib/disks.sh"
. "$(dirname "$0")/../lib/bad.sh"
[ -c /dev/fuse ] || { echo "no /dev/fuse here: a disk with bad sectors cannot be made"; exit 77; }
lab_host b 10.66.0.12
make_disk "$LAB/sound.raw"
cd "$LAB" || exit 1

# 16 KiB at 2 MiB cannot be read, whatever is asked for around them, as long as `bad` is there.
: >bad
cat >medium.sh <<-END
	#!/bin/bash
	case \$1 in
	get_size) stat -c %s "$LAB/sound.raw" ;;
	pread)
		if [ -e "$LAB/bad" ] && [ \$4 -lt 2113536 ] && [ \$((\$4 + \$3)) -gt 2097152 ]; then echo "EIO medium" >&2; exit 1; fi
		dd if="$LAB/sound.raw" bs=64k iflag=skip_bytes,count_bytes skip=\$4 count=\$3 status=none ;;
	can_write) exit 3 ;;
	*) exit 2 ;;
	esac
END
chmod +x medium.sh
: >disk.raw
nbdfuse disk.raw --command nbdkit -s -r sh ./medium.sh 2>medium.log &
wait_for 30 test -s disk.raw || fail "no disk with bad sectors: $(cat medium.log)"

plan() {
	cat >plan.yaml <<-END
	plan: bad
	hosts:
	  b: { ssh: root@10.66.0.12, identity: "$LAB/key", known_hosts: "$LAB/known_hosts" }
	  here: { local: true }
	machines:
	  erp:
	    source: { host: here, images: { root: "$LAB/disk.raw" } }
	    target: { host: b, dir: /srv/out, format: raw }
	    convert: [ disks: { $1 } ]
	    validate: [ disks: {} ]
	END
}

plan ""
bad 1 "a disk that cannot be read everywhere" "$DROVER" run plan.yaml <<'END'
bad  run  plan.yaml  run ID  1 machine, 2 hosts
NOW  erp      convert.disks         FAILED: host 'here': cannot copy disk 'root': cannot read 'LAB/disk.raw' at byte 2097152, length 1048576: Input/output error
                   the disk cannot be read there; `bad_sectors: zero` in this step and in the cutover's pass copies zeros in its place
                   the step stands at plan.yaml:9:16

machine  convert  serves   took
erp      FAILED   source  TOOK

run: a step FAILED, see above, TIME
Next: drover run plan.yaml
END
plan "bad_sectors: zero"
bad 0 "zeros in the place of what is lost" "$DROVER" run plan.yaml <<'END'
bad  run  plan.yaml  run ID  1 machine, 2 hosts
NOW  warning  erp      disk.bad_sectors: 16.0 KiB of disk 'root' cannot be read, from byte 2097152: zeros were copied
                            mend: find out which files lie there before you cut over; every place: drover show plan.yaml HEAD evidence/convert.disks/root.bad-sectors.text -m erp
NOW  erp      convert.disks         done
NOW  erp      validate.disks        done

machine  convert  validate  serves   took
erp      done     done      source  TOOK

run: done, TIME, SIZE moved
Next: drover status plan.yaml
END
head -c 2097152 sound.raw >want.raw
head -c 16384 /dev/zero >>want.raw
tail -c +2113537 sound.raw >>want.raw
cmp want.raw "$LAB/hosts/b/srv/out/erp/root.base.raw" || fail "the copies differ elsewhere"
# lost WHERE WHAT: the list of that record, all of it.
lost() {
	"$DROVER" show plan.yaml HEAD "evidence/$1/root.bad-sectors.text" -m erp >list
	printf '%b' "$2" | cmp - list || { cat list; fail "the list of what is lost, $1"; }
}
lost convert.disks "disk 'root', pass 1, which read all of it\nbyte 2097152, length 16384\n"
expect 0 "$DROVER" log plan.yaml -v
said 'Found: 16.0 KiB of disk .root. cannot be read, from byte 2097152: zeros were copied'

# a further pass that reads it says so on its screen, too
expect 0 "$DROVER" sync plan.yaml
said 'warning  erp      disk.bad_sectors: 16.0 KiB of disk .root. cannot be read, from byte 2097152: zeros were copied'
lost cutover.sync "disk 'root', pass 2, which read all of it\nbyte 2097152, length 16384\n"
expect 0 "$DROVER" log plan.yaml -v -n 1
said 'Found: 16.0 KiB of disk .root. cannot be read, from byte 2097152: zeros were copied'

rm bad
expect 0 "$DROVER" sync plan.yaml
! grep -q bad_sectors "$LAB/out" || fail "what can be read again is told as lost"
lost cutover.sync "disk 'root', pass 3, which read all of it\nnothing was lost\n"
cmp sound.raw "$LAB/hosts/b/srv/out/erp/root.base.raw" || fail "zeros stayed where data can be read again"
bad_end
