/* SPDX-License-Identifier: Apache-2.0
 * test_rules - each rule on the texts it was made for: what changes, and that all
 * else stays byte for byte.
 */
#include "modules/reconfigure/rules/rules.h"
#include "engine/base/mem.h"
#include "tests/unit/guestkit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

struct t {
	struct kit *k;
	struct gtree *tree;
	struct changeset set;
	json_t *machine, *spec;
};

static const char machine_text[] =
	"{\"name\":\"m\",\"arch\":\"x86_64\",\"cpus\":1,\"memory\":1073741824,"
	"\"firmware\":\"bios\",\"disks\":[{\"name\":\"root\",\"size\":1073741824,"
	"\"table\":\"dos\",\"partitions\":["
	"{\"number\":1,\"fs\":\"ext4\",\"uuid\":\"aaaa-1\",\"partuuid\":\"p-1\",\"mount\":\"/\"},"
	"{\"number\":5,\"fs\":\"swap\",\"uuid\":\"bbbb-5\",\"partuuid\":\"p-5\",\"mount\":null}]},"
	"{\"name\":\"data\",\"size\":1073741824,\"partitions\":["
	"{\"number\":0,\"fs\":\"ext4\",\"uuid\":\"cccc-0\",\"partuuid\":null,\"mount\":\"/srv\"}]}],"
	"\"nics\":[{\"name\":\"ens192\",\"mac\":\"00:50:56:AA:bb:cc\"}]}";

static const char spec_text[] =
	"{\"name\":\"m\",\"source\":{\"host\":\"a\",\"kind\":\"block\","
	"\"disks\":{\"root\":{\"path\":\"/dev/sda\"},\"data\":{\"path\":\"/dev/sdb\"}},\"nics\":{}},"
	"\"target\":{\"host\":\"b\",\"dir\":\"/var/tmp/x\",\"format\":\"qcow2\",\"disks\":{},"
	"\"nics\":{\"ens192\":{\"network\":\"br0\",\"mac\":\"keep\"}}},\"maps\":{}}";

static int up(void **state)
{
	struct t *t = mem_alloc(sizeof(*t));

	t->k = kit_new();
	t->machine = json_parse(machine_text, strlen(machine_text), NULL);
	t->spec = json_parse(spec_text, strlen(spec_text), NULL);
	assert_non_null(t->machine);
	assert_non_null(t->spec);
	kit_file(t->k, "etc/hostname", "m\n");
	*state = t;
	return 0;
}

static int down(void **state)
{
	struct t *t = *state;

	changeset_free(&t->set);
	gtree_close_ptr(&t->tree);
	kit_free(t->k);
	json_decref(t->machine);
	json_decref(t->spec);
	mem_free_ptr(&t);
	return 0;
}

static void run(struct t *t)
{
	AUTO_ERR e = { 0 };

	changeset_free(&t->set);
	gtree_close_ptr(&t->tree);
	t->tree = gtree_live(t->k->tree, NULL);
	t->set.tree = t->tree;
	if (rules_run(NULL, t->spec, t->machine, &t->set, &e) < 0)
		print_error("%s\n", e.what);
	assert_int_equal(e.kind, ERR_NONE);
}

static const struct edit *edit_of(struct t *t, const char *path)
{
	for (size_t i = 0; i < t->set.count; i++)
		if (strcmp(t->set.edits[i].path, path) == 0)
			return &t->set.edits[i];
	return NULL;
}

static void expect(struct t *t, const char *path, const char *text)
{
	const struct edit *e = edit_of(t, path);

	if (!e)
		print_error("no edit of %s\n", path);
	assert_non_null(e);
	assert_string_equal(e->text, text);
}

static void want(struct t *t, const char *key, const char *value)
{
	jset_str(jget(t->spec, "target.nics.ens192"), key, value);
}

static void fstab_names_devices_by_uuid_and_keeps_the_rest(void **state)
{
	struct t *t = *state;

	kit_file(t->k, "etc/fstab",
		 "# /dev/sda1 was here\n/dev/sda1\t/  ext4 errors=remount-ro 0 1  # root\n"
		 "/dev/sda5 none swap sw 0 0\n/dev/sdb /srv ext4 defaults 0 2\n"
		 "/dev/sdc1 /lost ext4 defaults 0 2\nUUID=x /u ext4 defaults 0 2\n"
		 "/dev/mapper/vg-x /v xfs defaults 0 0\n/dev/md0 /m ext4 defaults 0 0\n"
		 "/dev/sr0 /cd iso9660 noauto 0 0\n/dev/fd0 /fd auto noauto 0 0\n\nno newline");
	run(t);
	expect(t, "/etc/fstab",
	       "# /dev/sda1 was here\nUUID=aaaa-1\t/  ext4 errors=remount-ro 0 1  # root\n"
	       "UUID=bbbb-5 none swap sw 0 0\nUUID=cccc-0 /srv ext4 defaults 0 2\n"
	       "/dev/sdc1 /lost ext4 defaults 0 2\nUUID=x /u ext4 defaults 0 2\n"
	       "/dev/mapper/vg-x /v xfs defaults 0 0\n/dev/md0 /m ext4 defaults 0 0\n"
	       "/dev/sr0 /cd iso9660 noauto 0 0\n/dev/fd0 /fd auto noauto 0 0\n\nno newline");
}

static void fstab_by_uuid_is_left_alone(void **state)
{
	struct t *t = *state;

	kit_file(t->k, "etc/fstab", "UUID=aaaa-1 / ext4 defaults 0 1\n");
	run(t);
	assert_null(edit_of(t, "/etc/fstab"));
}

/* The kernel's names win over the order in the plan. */
static void fstab_asks_the_running_kernel_which_disk_is_sda(void **state)
{
	struct t *t = *state;
	json_t *names = json_object();

	jset_str(names, "root", "sdb");
	jset_str(names, "data", "sda");
	jset(t->machine, "kernel_names", names);
	kit_file(t->k, "etc/fstab", "/dev/sdb1 / ext4 defaults 0 1\n/dev/sda /srv ext4 x 0 0\n");
	run(t);
	expect(t, "/etc/fstab", "UUID=aaaa-1 / ext4 defaults 0 1\nUUID=cccc-0 /srv ext4 x 0 0\n");
}

static void crypttab_names_partitions_by_uuid(void **state)
{
	struct t *t = *state;

	kit_file(t->k, "etc/crypttab", "# x\nc1 /dev/sda5 none luks\nc2 UUID=y none luks\n");
	run(t);
	expect(t, "/etc/crypttab", "# x\nc1 UUID=bbbb-5 none luks\nc2 UUID=y none luks\n");
}

static void grub_gets_root_and_resume_by_uuid_everywhere(void **state)
{
	struct t *t = *state;

	kit_file(t->k, "boot/grub/grub.cfg",
		 "set root='hd0,msdos1'\n\tlinux /boot/vmlinuz root=/dev/sda1 ro resume=/dev/sda5 "
		 "quiet\n# linux root=/dev/sda1\n\tlinux /v root=/dev/mapper/x subroot=/dev/sda1\n");
	kit_file(t->k, "etc/default/grub",
		 "GRUB_DISABLE_LINUX_UUID=true\nGRUB_CMDLINE_LINUX=\"root=/dev/sda1 "
		 "console=ttyS0\"\n");
	kit_file(t->k, "etc/initramfs-tools/conf.d/resume", "RESUME=/dev/sda5\n");
	kit_file(t->k, "boot/loader/entries/a.conf", "linux /v\noptions root=/dev/sda1 ro\n");
	kit_file(t->k, "boot/grub/device.map", "(hd0)\t/dev/sda\n");
	run(t);
	expect(t, "/boot/grub/grub.cfg",
	       "set root='hd0,msdos1'\n\tlinux /boot/vmlinuz root=UUID=aaaa-1 ro "
	       "resume=UUID=bbbb-5 quiet\n# linux root=/dev/sda1\n\tlinux /v "
	       "root=/dev/mapper/x subroot=/dev/sda1\n");
	expect(t, "/etc/default/grub",
	       "#GRUB_DISABLE_LINUX_UUID=true\nGRUB_CMDLINE_LINUX=\"root=UUID=aaaa-1 "
	       "console=ttyS0\"\n");
	expect(t, "/etc/initramfs-tools/conf.d/resume", "RESUME=UUID=bbbb-5\n");
	expect(t, "/boot/loader/entries/a.conf", "linux /v\noptions root=UUID=aaaa-1 ro\n");
	assert_non_null(edit_of(t, "/boot/grub/device.map"));
	assert_null(edit_of(t, "/boot/grub/device.map")->text);
}

static void nics_keep_their_names_by_mac(void **state)
{
	struct t *t = *state;

	kit_file(t->k, "usr/lib/systemd/systemd", "");
	run(t);
	expect(t, "/etc/systemd/network/10-drover-ens192.link",
	       "[Match]\nMACAddress=00:50:56:aa:bb:cc\n\n[Link]\nName=ens192\n");
}

static void nics_without_systemd_are_named_by_a_udev_rule(void **state)
{
	struct t *t = *state;

	run(t);
	expect(t, "/etc/udev/rules.d/70-persistent-net.rules",
	       "SUBSYSTEM==\"net\", ACTION==\"add\", DRIVERS==\"?*\", "
	       "ATTR{address}==\"00:50:56:aa:bb:cc\", ATTR{type}==\"1\", KERNEL==\"*\", "
	       "NAME=\"ens192\"\n");
}

static void a_new_mac_replaces_the_old_one_where_files_name_it(void **state)
{
	struct t *t = *state;

	kit_file(t->k, "usr/lib/systemd/systemd", "");
	kit_file(t->k, "etc/sysconfig/network-scripts/ifcfg-ens192",
		 "DEVICE=ens192\nHWADDR=00:50:56:AA:BB:CC\n");
	want(t, "mac", "52:54:00:00:00:01");
	run(t);
	expect(t, "/etc/sysconfig/network-scripts/ifcfg-ens192",
	       "DEVICE=ens192\nHWADDR=52:54:00:00:00:01\n");
	expect(t, "/etc/systemd/network/10-drover-ens192.link",
	       "[Match]\nMACAddress=52:54:00:00:00:01\n\n[Link]\nName=ens192\n");
}

/* ---- addresses -------------------------------------------------------------------- */

static const struct { const char *path, *before, *after; } address_cases[] = {
	{ "etc/network/interfaces",
	  "auto lo\niface lo inet loopback\n\nauto ens192\n# ours\niface ens192 inet static\n"
	  "\taddress 10.0.0.5\n\tnetmask 255.255.255.0\n\tgateway 10.0.0.1\n"
	  "iface ens192 inet6 auto\n",
	  "auto lo\niface lo inet loopback\n\nauto ens192\n# ours\niface ens192 inet static\n"
	  "\taddress 10.1.0.5/16\n\tgateway 10.1.0.1\n    dns-nameservers 9.9.9.9 1.1.1.1\n"
	  "iface ens192 inet6 auto\n" },
	{ "etc/network/interfaces",
	  "iface ens192 inet dhcp\n",
	  "iface ens192 inet static\n    address 10.1.0.5/16\n    gateway 10.1.0.1\n"
	  "    dns-nameservers 9.9.9.9 1.1.1.1\n" },
	{ "etc/systemd/network/a.network",
	  "[Match]\nName=ens192\n\n[Network]\nDHCP=yes\n# end\n\n[Link]\nMTUBytes=9000\n",
	  "[Match]\nName=ens192\n\n[Network]\nDHCP=no\n# end\nAddress=10.1.0.5/16\n"
	  "Gateway=10.1.0.1\nDNS=9.9.9.9 1.1.1.1\n\n[Link]\nMTUBytes=9000\n" },
	{ "etc/NetworkManager/system-connections/a.nmconnection",
	  "[connection]\nid=a\ntype=ethernet\ninterface-name=ens192\n\n[ipv4]\nmethod=manual\n"
	  "address1=10.0.0.5/24,10.0.0.1\ndns=8.8.8.8;\n",
	  "[connection]\nid=a\ntype=ethernet\ninterface-name=ens192\n\n[ipv4]\nmethod=manual\n"
	  "address1=10.1.0.5/16,10.1.0.1\ndns=9.9.9.9;1.1.1.1\n" },
	{ "etc/sysconfig/network-scripts/ifcfg-ens192",
	  "DEVICE=\"ens192\"\nBOOTPROTO=none\nIPADDR=\"10.0.0.5\"\nNETMASK=255.255.255.0\n"
	  "GATEWAY=10.0.0.1\nONBOOT=yes\n",
	  "DEVICE=\"ens192\"\nBOOTPROTO=static\nIPADDR=\"10.1.0.5\"\n"
	  "GATEWAY=10.1.0.1\nONBOOT=yes\nPREFIX=16\nDNS1=9.9.9.9\nDNS2=1.1.1.1\n" },
	{ "etc/netplan/50.yaml",
	  "network:\n  version: 2\n  ethernets:\n    ens192:\n      dhcp4: true\n      mtu: 9000\n"
	  "    ens224:\n      dhcp4: true\n",
	  "network:\n  version: 2\n  ethernets:\n    ens192:\n      dhcp4: false\n"
	  "      addresses: [10.1.0.5/16]\n      routes:\n        - to: 0.0.0.0/0\n"
	  "          via: 10.1.0.1\n      nameservers:\n        addresses: [9.9.9.9, 1.1.1.1]\n"
	  "      mtu: 9000\n    ens224:\n      dhcp4: true\n" },
	{ "etc/netplan/50.yaml",
	  "network:\n  ethernets:\n    ens192:\n      addresses:\n      - 10.0.0.5/24\n"
	  "      gateway4: 10.0.0.1\n      nameservers:\n        addresses: [8.8.8.8]\n",
	  "network:\n  ethernets:\n    ens192:\n      dhcp4: false\n"
	  "      addresses: [10.1.0.5/16]\n      routes:\n        - to: 0.0.0.0/0\n"
	  "          via: 10.1.0.1\n      nameservers:\n        addresses: [9.9.9.9, 1.1.1.1]\n" },
};

static void addresses_are_written_in_each_way_a_guest_has(void **state)
{
	struct t *t = *state;

	want(t, "address", "10.1.0.5/16");
	want(t, "gateway", "10.1.0.1");
	jset(jget(t->spec, "target.nics.ens192"), "dns", json_pack("[s,s]", "9.9.9.9", "1.1.1.1"));
	for (size_t i = 0; i < ARRAY_LEN(address_cases); i++) {
		AUTO_FREE char *path = mem_printf("/%s", address_cases[i].path);

		kit_clear(t->k);
		kit_file(t->k, address_cases[i].path, address_cases[i].before);
		run(t);
		expect(t, path, address_cases[i].after);
		/* What was written is read back as meant, and needs no more change. */
		kit_file(t->k, address_cases[i].path, address_cases[i].after);
		run(t);
		if (edit_of(t, path))
			print_error("case %zu changes again: %s\n", i, edit_of(t, path)->text);
		assert_null(edit_of(t, path));
	}
}

static void addresses_stay_where_the_plan_gives_none(void **state)
{
	struct t *t = *state;

	for (size_t i = 0; i < ARRAY_LEN(address_cases); i++) {
		AUTO_FREE char *path = mem_printf("/%s", address_cases[i].path);

		kit_clear(t->k);
		kit_file(t->k, address_cases[i].path, address_cases[i].before);
		run(t);
		assert_null(edit_of(t, path));
	}
}

static void stale_caches_are_taken_away(void **state)
{
	struct t *t = *state;

	kit_file(t->k, "etc/blkid.tab", "<device/>");
	run(t);
	assert_non_null(edit_of(t, "/etc/blkid.tab"));
	assert_null(edit_of(t, "/etc/blkid.tab")->text);
}

static void edits_follow_links_to_the_file_that_is_meant(void **state)
{
	struct t *t = *state;
	AUTO_JSON *j = NULL;

	kit_file(t->k, "srv/fstab", "/dev/sda1 / ext4 defaults 0 1\n");
	kit_link(t->k, "etc/fstab", "/srv/fstab");
	run(t);
	expect(t, "/srv/fstab", "UUID=aaaa-1 / ext4 defaults 0 1\n");
	j = changeset_json(&t->set, t->machine, NULL);
	assert_string_equal(jstr(json_array_get(jget(j, "edits"), 1), "disk", ""), "data");
	assert_string_equal(jstr(json_array_get(jget(j, "edits"), 1), "mount", ""), "/srv");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, up, down)
		T(fstab_names_devices_by_uuid_and_keeps_the_rest),
		T(fstab_by_uuid_is_left_alone),
		T(fstab_asks_the_running_kernel_which_disk_is_sda),
		T(crypttab_names_partitions_by_uuid),
		T(grub_gets_root_and_resume_by_uuid_everywhere),
		T(nics_keep_their_names_by_mac),
		T(nics_without_systemd_are_named_by_a_udev_rule),
		T(a_new_mac_replaces_the_old_one_where_files_name_it),
		T(addresses_are_written_in_each_way_a_guest_has),
		T(addresses_stay_where_the_plan_gives_none),
		T(stale_caches_are_taken_away),
		T(edits_follow_links_to_the_file_that_is_meant),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
