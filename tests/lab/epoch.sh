#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Two engines with one state, one of them asleep: an engine is stopped in the midst of a step, a
# second goes on with a copy of its state. The first one's step is ended before the second one
# begins it; woken, the first is refused at the next change and told who works there. So is an
# engine with an older copy; a person who repeats the command takes over. One engine whose
# connection was lost comes back: what its agent there, who knows of nothing, has at work is ended first.
. "$(dirname "$0")/../lib/lab.sh"
lab_enter "$0" "$@"
lab_host b 10.66.0.12
srv=$LAB/hosts/b/srv
mkdir -p "$LAB/plan"
cd "$LAB/plan" || exit 1
truncate -s 1M disk.raw
cat >"$srv/slow" <<'END'
#!/bin/sh
echo begin >>/srv/log
until [ -e /srv/go ]; do sleep 0.1; done
echo end >>/srv/log
END
chmod +x "$srv/slow"
: >"$srv/log"
cat >plan.yaml <<-END
plan: two
hosts:
  b: { ssh: root@10.66.0.12, identity: "$LAB/key", known_hosts: "$LAB/known_hosts" }
  here: { local: true }
machines:
  erp:
    source: { host: here, images: { root: "$LAB/plan/disk.raw" } }
    target: { host: b, dir: /srv/out, format: raw }
    convert:
      - command: { id: first, at: target, argv: [touch, /srv/first], probe: [test, -e, /srv/first] }
      - command: { id: slow, at: target, argv: [/srv/slow], probe: [grep, -qs, end, /srv/log] }
      - command: { id: once, at: target, argv: [sh, -c, "echo once >>/srv/once"] }
END
expect 0 "$DROVER" run plan.yaml --until backup
cp -a .drover old

lab_aside "$LAB/a.out" "$DROVER" run plan.yaml --json
a=$!
begun() { [ "$(grep -c begin "$srv/log")" = "$1" ]; }
wait_for 60 begun 1 || fail "the first engine does not begin"
kill -STOP $a
cp -a .drover copy

lab_aside "$LAB/b.out" "$DROVER" run plan.yaml --state copy
b=$!
wait_for 90 begun 2 || fail "the second engine does not begin the step"
[ "$(pgrep -fc '^/bin/sh /srv/slow')" = 1 ] || fail "two engines run one step at once"
touch "$srv/go"
wait $b || fail "the second engine ended with $?"
[ "$(tr '\n' ' ' <"$srv/log")" = "begin begin end " ] || fail "the step ran to its end twice"

kill -CONT $a
status=0
wait $a || status=$?
[ $status = 4 ] || fail "the first engine ended with $status instead of 4"
grep -q "cannot change anything on 'b': a newer run of this state does: pid $b on engine (user root, run " "$LAB/a.out" ||
	fail "it is not told who works there"
[ "$(cat "$srv/once")" = once ] || fail "a step ran again behind the second engine's back"

expect 4 "$DROVER" run plan.yaml --state old
said '(a newer run|a run with another copy) of this( |$)'
[ "$(cat "$srv/once")" = once ] || fail "an old copy of the state changed something"
expect 0 "$DROVER" run plan.yaml --state old
[ -z "$(lab_on b find / -xdev -name 'drover-epochs*' 2>/dev/null)" ] || fail "an epoch is on a disk"

# the agent does not see the loss: its sshd sleeps
cat >lost.yaml <<-END
plan: lost
hosts:
  b: { ssh: root@10.66.0.12, identity: "$LAB/key", known_hosts: "$LAB/known_hosts" }
  here: { local: true }
machines:
  erp:
    source: { host: here, images: { root: "$LAB/plan/disk.raw" } }
    target: { host: b, dir: /srv/out2, format: raw }
    convert: [ command: { id: slow, at: target, argv: [/srv/slow], probe: [grep, -qs, end, /srv/log] } ]
END
rm "$srv/go"
: >"$srv/log"
lab_aside "$LAB/c.out" "$DROVER" run lost.yaml
c=$!
wait_for 60 begun 1 || fail "the step does not begin"
lab_on b pkill -STOP -P 1 -x sshd || fail "no session to put to sleep"
ss -K dst 10.66.0.12 >/dev/null 2>&1
wait_for 90 begun 2 || fail "the step does not begin again"
[ "$(pgrep -fc '^/bin/sh /srv/slow')" = 1 ] || fail "one step is at work twice"
touch "$srv/go"
wait $c || fail "the engine that came back ended with $?"
