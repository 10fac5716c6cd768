=== the example of a physical server is right
--- make
cp -r "$root/examples" .
--- run check examples/p2v.yaml
--- stdout
p2v-example: 1 machine, 3 hosts, 18 steps
Next: drover preview examples/p2v.yaml

=== the example of a physical server cuts its power: a frozen one cannot shut down
--- make
cp -r "$root/examples" .
--- sh
drover check --expand examples/p2v.yaml | grep '"off": \['
--- stdout
          "off": [ipmitool, "-H", db1-ipmi.example.net, "-U", drover, "-f", /etc/drover/ipmi, power, "off"]

=== the example of two hosts with libvirt is right
--- make
cp -r "$root/examples" .
--- run check examples/v2v-libvirt.yaml
--- stdout
v2v-example: 2 machines, 3 hosts, 33 steps
Next: drover preview examples/v2v-libvirt.yaml

=== the example of disks alone is right
--- make
cp -r "$root/examples" .
--- run check examples/disks.yaml
--- stdout
disks-example: 1 machine, 1 host, 6 steps
Next: drover preview examples/disks.yaml

=== the example of disks alone runs
--- make
cp -r "$root/examples" .
sed -i "s|/var/tmp/drover-disks|$PWD|" examples/disks.yaml
truncate -s 4M data.raw
printf 'a disk without a system' | dd of=data.raw conv=notrunc status=none
"$DROVER" run examples/disks.yaml
cmp data.raw new/data/data.base.raw
"$DROVER" backups verify examples/disks.yaml
"$DROVER" rollback examples/disks.yaml -y
test ! -e new/data && test -e data.raw
--- run check examples/disks.yaml
--- stdout
disks-example: 1 machine, 1 host, 6 steps
Next: drover preview examples/disks.yaml

=== the plan of the demo is right
--- make
cp -r "$root/examples" .
--- run check examples/demo/ledger.yaml
--- stdout
demo: 1 machine, 1 host, 17 steps
Next: drover preview examples/demo/ledger.yaml

=== every example has a test here
--- make
cd "$root"
for plan in $(grep -l '^plan:' examples/*.yaml examples/*/*.yaml); do
	grep -q "^--- run check $plan\$" tests/plans/examples.t || { echo "no test of $plan"; exit 1; }
done
cp -r "$root/examples" "$OLDPWD"
--- run check examples/disks.yaml
--- stdout
disks-example: 1 machine, 1 host, 6 steps
Next: drover preview examples/disks.yaml
