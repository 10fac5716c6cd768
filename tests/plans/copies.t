--- file plan.yaml
plan: small
hosts: { here: { local: true } }
machines:
  one:
    source: { host: here, images: { root: "${plan_dir}/root.raw" } }
    target: { host: here, dir: "${plan_dir}/out", format: raw }
    convert: [ disks: {} ]
    validate: [ disks: {} ]
    cutover: [ quiesce: { mode: shutdown }, pass: {}, proof: {} ]

=== the log says of copies what they brought, and the digests recorded
--- file plan.yaml
plan: small
hosts: { here: { local: true } }
machines:
  one:
    source: { host: here, images: { root: "${plan_dir}/root.raw", data: "${plan_dir}/data.raw" } }
    target: { host: here, dir: "${plan_dir}/out", format: raw }
    backup: [ image: { to: "here:${plan_dir}/backup", disks: [root] } ]
    convert: [ disks: { passes: 2, seed: none } ]
--- sh
for d in root data; do yes $d | head -c 1M >$d.raw && truncate -s 8M $d.raw; done
drover run plan.yaml >said || cat said
digest() { drover show plan.yaml HEAD facts/disks.json | awk -v d="\"$1\":" '$1 == d { in_it = 1 } in_it && /"digest"/ { print substr($2, 2, 12); exit }'; }
drover log plan.yaml | sed "s/^.*  //; s/$(digest root)/ROOT/; s/$(digest data)/DATA/" | grep copied
--- stdout
convert disks: copied 2.0 MiB of 16.0 MiB in 2 passes, root ROOT, data DATA
backup image: copied 1.0 MiB of 8.0 MiB, digest ROOT

=== a sync that goes on says when the next pass comes, and tells each pass once
--- sh
export COLUMNS=500
yes | head -c 1M >root.raw
drover run plan.yaml >said || cat said
drover sync plan.yaml -v | grep -c ' pass 2: '
: >kept
drover sync plan.yaml --keep >kept 2>&1 & keep=$!
for ((i = 0; i < 600; i++)); do grep -q 'next pass' kept && break; read -rt 0.2 <> <(:) || :; done
kill -INT $keep; wait $keep
sed -n '2,/next pass/p' kept | sed 's/^.*  one *//; s/ in [0-9].*s$/ in TIME/; s/\(pass 3\): .*/\1/'
--- stdout
1
convert.disks         done
pass 3
next pass in TIME

=== without assess the time to read a copy back is assumed by what is copied
--- sh
yes | head -c 2M >root.raw
drover preview plan.yaml --json | grep '"t":"cost"' | grep -o '"\(phase\|ms\|samples\)":[^,}]*'
--- stdout
"phase":"convert"
"ms":20
"samples":0
"phase":"validate"
"ms":20
"samples":0

=== of a source that nothing wrote to between passes the last one brings nothing, and nothing is to be read back
--- sh
yes | head -c 2M >root.raw
drover run plan.yaml >said || cat said
drover sync plan.yaml >said || cat said
drover cutover plan.yaml --preview --json | grep '"t":"cost"' | grep -o '"\(step\|read\|send\|samples\)":[^,}]*'
--- stdout
"step":"pass"
"read":2097152
"send":0
"samples":0
