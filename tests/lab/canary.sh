#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# No secret reaches state, log, report, argv or environment. Four secrets, fetched in each
# way that needs no terminal, are used where a plan may use them: sudo's password, a check's
# `with`, a command's stdin. Checks and commands tell them in every way they can, one fails
# with its input on stderr. Meanwhile all processes of all hosts are watched; afterwards
# everything that was written or said is searched, in clear, hex and base64.
. "$(dirname "$0")/../lib/lab.sh"
lab_enter "$0" "$@"
. "$(dirname "$0")/../lib/disks.sh"

sudo_word='Canary-Env "7041" x' file_word='Canary-File-9313-x' cmd_word='Canary-Cmd-5527-xyz'

# On host a a user ops may become root with a password.
prepare() {
	lab_user_ops "$1" "ops ALL=(ALL:ALL) ALL" <"$LAB/sudo.word"
	mount -t tmpfs -o mode=1777 shm /dev/shm
}
export -f prepare
export LAB_INSIDE=prepare
echo "$sudo_word" >"$LAB/sudo.word"
lab_host a 10.66.0.11
lab_host b 10.66.0.12
rm "$LAB/sudo.word"
make_disk "$LAB/hosts/a/srv/disk.raw"
mkdir -p "$LAB/hosts/b/srv/out" "$LAB/words" "$LAB/plan"
(umask 077; echo "$file_word" >"$LAB/words/file"; echo "$cmd_word" >"$LAB/words/cmd")
cd "$LAB/plan" || exit 1

cat >tells.lua <<'END'
local w = drover.with.token
drover.log("log " .. w)
drover.warn("warn " .. w)
drover.finding{ severity = "info", code = "c", text = "text " .. w, remedy = "remedy " .. w }
drover.fact("told", { stable = w })
local bare = drover.run{ "echo", w }
assert(not bare, "a secret was let into an argv")
local a = assert(drover.run{ "cat", input = w })
assert(a.out == w, "stdin is not what was given")
drover.ok("ok " .. w)
END
cat >fails.lua <<'END'
drover.fail("the login " .. drover.with.token .. " was refused")
END
# plan STEP: with it in place of a failing one.
plan() {
	cat >plan.yaml <<-END
	plan: canary
	secrets:
	  kvm: { env: CANARY }
	  f: { file: "$LAB/words/file" }
	  c: { command: [cat, "$LAB/words/cmd"] }
	hosts:
	  a: { ssh: ops@10.66.0.11, identity: "$LAB/key", known_hosts: "$LAB/known_hosts", become: { sudo: { password: "secret:kvm" } } }
	  b: { ssh: root@10.66.0.12, identity: "$LAB/key", known_hosts: "$LAB/known_hosts" }
	  here: { local: true }
	machines:
	  erp:
	    source: { host: a, images: { root: /srv/disk.raw },
	              power: { command: { off: [rm, -f, /srv/on], on: [touch, /srv/on],
	                                  status: [sh, -c, "if [ -e /srv/on ]; then echo on; else echo off; fi"] } } }
	    target: { host: b, dir: /srv/out, format: raw }
	    assess: [ host: {} ]
	    convert: [ disks: {} ]
	    validate:
	      - check: { id: tells, file: tells.lua, with: { token: "secret:f" } }
	      - command: { id: echoes, at: target, stdin: "secret:c",
	                   argv: [sh, -c, "w=\$(cat); echo \$w; echo \$w >&2; printf %s \$w | base64; printf %s \$w | od -An -tx1 | tr -d ' \\n'; sleep 0.3"] }
	      - command: { id: look, at: here, argv: ["$LAB/look"] }
	      - $1
	    cutover:
	      - "off": {}
	      - command: { id: again, at: here, argv: ["$LAB/look"] }
	      - command: { id: last, at: source, stdin: "secret:kvm", argv: [sh, -c, "cat; sleep 0.3"] }
	END
}

# What everybody on a host can read of all that runs there; the hosts' processes are all
# seen from the lab. Run as a step it finds drover, its children and the agents at work.
cat >"$LAB/look" <<'END'
#!/bin/bash
found=0
for p in /proc/[0-9]*; do
	for f in cmdline environ; do
		tr '\0' ' ' <"$p/$f" 2>/dev/null | grep -qF "Canary"- || continue
		echo "$f of $(tr '\0' ' ' <"$p/cmdline")"
		found=1
	done
done
exit $found
END
chmod +x "$LAB/look"
# Between the steps, too: what lives but for a moment.
watch_all() { while [ ! -e "$LAB/stop" ]; do "$LAB/look" >>"$LAB/seen" 2>/dev/null; done; }
touch "$LAB/hosts/a/srv/on"
plan 'command: { id: fails, at: target, stdin: "secret:c", argv: [sh, -c, "cat >&2; exit 3"] }'
sh -c ': Canary-control; read -r wait' <> <(:) &
control=$!
"$LAB/look" 2>/dev/null | grep -q 'cmdline of sh -c : Canary-control' || fail "the look is blind"
kill "$control"; wait "$control" 2>/dev/null
watch_all 2>/dev/null &
watcher=$!

# go STATUS CMD...: the variable is for drover alone, and what is said is kept.
go() {
	expect "$1" env CANARY="$sudo_word" "${@:2}"
	cat "$LAB/out" >>"$LAB/said"
}
all() {
	go 0 "$DROVER" preview plan.yaml -o saved -v
	go 1 "$DROVER" run plan.yaml -v
	plan 'check: { id: fails, file: fails.lua, with: { token: "secret:f" } }'
	go 1 "$DROVER" run plan.yaml --json
	plan 'check: { id: more, use: port, at: target, with: { port: 22, address: 10.66.0.12 } }'
	go 0 "$DROVER" run plan.yaml -v
	go 0 "$DROVER" cutover plan.yaml -y -v
	for v in status log show; do go 0 "$DROVER" $v plan.yaml; go 0 "$DROVER" $v plan.yaml --json; done
	go 0 "$DROVER" hosts plan.yaml --json
	go 0 "$DROVER" rollback plan.yaml --preview
	cp -a .drover "$LAB/journal.kept"
	go 0 "$DROVER" rollback plan.yaml -y -v
}
all
: >"$LAB/stop"
wait "$watcher"

# Until it has read its plan drover has the variable from its caller, like `env` before it;
# the steps "look" and "again" have seen that it is gone later.
sed -i -e '/^[a-z]* of env CANARY=/d' -e "\\#^environ of $DROVER #d" "$LAB/seen"
[ ! -s "$LAB/seen" ] || { sort "$LAB/seen" | uniq -c; fail "a process showed a secret"; }

forms() {
	printf '%s\n' "$1"
	printf '%s' "$1" | od -An -tx1 | tr -d ' \n'; echo
	for before in '' x xy; do printf '%s' "$before$1" | base64 -w0 | cut -c5-16; done
}
for w in "$sudo_word" "$file_word" "$cmd_word"; do forms "$w"; printf '%s' "$w" | jq -Rs . | tr -d '"' | cut -c1-17; done | sort -u >"$LAB/forms"
echo Canary- >>"$LAB/forms"

# Git's objects are compressed: all of them, in full, from both states.
for d in .drover "$LAB/journal.kept"; do
	git -C "$d" cat-file --batch-all-objects --batch >>"$LAB/unpacked"
	cat "$d"/journal/* >>"$LAB/unpacked"
done
grep -q 'secret:c\]' "$LAB/unpacked" || fail "nothing was recorded of what the command said"
grep -q 'secret:f\]' "$LAB/said" || fail "nothing was said of what the check said"
grep -aqF -f "$LAB/forms" "$LAB/unpacked" && { grep -aF -f "$LAB/forms" "$LAB/unpacked" | cut -c1-300; fail "the state holds a secret"; }
grep -aqF -f "$LAB/forms" "$LAB/said" && { grep -aF -f "$LAB/forms" "$LAB/said" | cut -c1-300; fail "a secret was said"; }
grep -raqF -f "$LAB/forms" . && fail "a file beside the plan holds a secret: $(grep -ralF -f "$LAB/forms" .)"
for h in a b; do
	found=$(lab_on $h grep -ralF -f "$LAB/forms" /srv /root /tmp /run /dev/shm /var/log /home 2>/dev/null)
	[ -z "$found" ] || fail "files on $h hold a secret: $found"
done
echo "no canary was seen: $(wc -l <"$LAB/said") lines said, $(wc -c <"$LAB/unpacked") bytes recorded"
