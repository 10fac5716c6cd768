/* SPDX-License-Identifier: Apache-2.0
 * test_vm - the definition of a target machine, as XML and as argv.
 */
#include "engine/base/io.h"
#include "engine/base/proc.h"
#include "modules/lib/qemu.h"
#include "modules/lib/serve.h"
#include "modules/lib/vm.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char spec_text[] =
	"{\"name\":\"erp\",\"source\":{\"host\":\"a\",\"kind\":\"block\",\"disks\":{"
	"\"data\":{\"path\":\"/dev/sdb\"},\"root\":{\"path\":\"/dev/sda\"},"
	"\"scratch\":{\"path\":\"/dev/sdc\",\"copy\":false}}},"
	"\"target\":{\"host\":\"b\",\"dir\":\"/var/img\",\"format\":\"qcow2\",\"cpus\":4,"
	"\"nics\":{\"ens192\":{\"network\":\"VM Network\",\"mac\":\"keep\","
	"\"address\":\"10.1.0.5/24\",\"gateway\":\"10.1.0.1\"}}},"
	"\"maps\":{\"networks\":{\"VM Network\":\"br10\"}}}";

static const char fact_text[] =
	"{\"arch\":\"x86_64\",\"cpus\":2,\"memory\":1073741824,\"disks\":["
	"{\"name\":\"data\",\"path\":\"/dev/sdb\",\"boot\":false},"
	"{\"name\":\"root\",\"path\":\"/dev/sda\",\"boot\":true,\"table\":\"dos\"},"
	"{\"name\":\"scratch\",\"path\":\"/dev/sdc\"}],\"nics\":["
	"{\"name\":\"ens192\",\"mac\":\"00:50:56:aa:bb:cc\"},"
	"{\"name\":\"ens224\",\"mac\":\"00:50:56:aa:bb:cd\"}]}";

static json_t *parse(const char *text)
{
	AUTO_ERR e = {0};
	json_t *j = json_parse(text, strlen(text), &e);

	assert_non_null(j);
	return j;
}

struct world { json_t *spec, *fact, *guest, *left_out; struct err e; };

static int setup(void **state)
{
	struct world *w = mem_alloc(sizeof(*w));

	w->spec = parse(spec_text);
	w->fact = parse(fact_text);
	w->guest = parse("{\"os\":{\"id\":\"debian\",\"version\":\"12\"},"
			 "\"kernels\":[{\"version\":\"6.1\",\"virtio\":true}]}");
	w->left_out = json_array();
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	json_decref(w->spec);
	json_decref(w->fact);
	json_decref(w->guest);
	json_decref(w->left_out);
	err_clear(&w->e);
	free(w);
	return 0;
}

static json_t *define(struct world *w)
{
	struct vm_from from = { .machine = w->spec, .fact = w->fact, .guest = w->guest,
				.lineage = "l1" };

	return vm_define(&from, w->left_out, &w->e);
}

static void vm_boots_from_the_boot_disk_and_leaves_out_what_is_not_copied(void **state)
{
	AUTO_JSON *def = define(*state);
	const json_t *disks = jget(def, "disks");

	assert_int_equal(json_array_size(disks), 2);
	assert_string_equal(jstr(json_array_get(disks, 0), "name", ""), "root");
	assert_string_equal(jstr(json_array_get(disks, 0), "path", ""), "/var/img/erp/root.qcow2");
	assert_string_equal(jstr(json_array_get(disks, 1), "name", ""), "data");
}

static void vm_takes_the_plan_before_the_source_and_maps_networks(void **state)
{
	struct world *w = *state;
	AUTO_JSON *def = define(w);
	const json_t *nic = json_array_get(jget(def, "nics"), 0);

	assert_int_equal(jint(def, "cpus", 0), 4);
	assert_int_equal(jint(def, "memory", 0), 1073741824);
	assert_string_equal(jstr(nic, "mac", ""), "00:50:56:aa:bb:cc");
	assert_string_equal(jstr(nic, "network", ""), "br10");
	assert_string_equal(jstr(nic, "address", ""), "10.1.0.5/24");
	assert_true(strlen(jstr(nic, "tap", "")) < 16);
	/* a NIC without a network is left out, and said */
	assert_int_equal(json_array_size(jget(def, "nics")), 1);
	assert_string_equal(json_string_value(json_array_get(w->left_out, 0)), "ens224");
}

static void vm_is_the_same_whenever_it_is_asked_for(void **state)
{
	AUTO_JSON *a = define(*state), *b = define(*state);

	assert_true(json_equal(a, b));
}

static void vm_fits_chip_set_and_devices_to_old_systems(void **state)
{
	struct world *w = *state;
	AUTO_JSON *modern = define(w), *old = NULL;

	assert_string_equal(jstr(modern, "machine", ""), "q35");
	json_decref(w->guest);
	w->guest = parse("{\"os\":{\"id\":\"rhel\",\"version\":\"4.8\"},"
			 "\"kernels\":[{\"version\":\"2.6.9\",\"virtio\":false}]}");
	old = define(w);
	assert_string_equal(jstr(old, "machine", ""), "pc");
	assert_string_equal(jstr(json_array_get(jget(old, "disks"), 0), "bus", ""), "sata");
	assert_string_equal(jstr(json_array_get(jget(old, "nics"), 0), "model", ""), "e1000");
}

static void vm_reads_the_firmware_from_the_partition_table(void **state)
{
	static const struct { const char *type, *firmware; } rows[] = {
		{ "C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "uefi" },
		{ "21686148-6449-6E6F-744E-656564454649", "bios" },
		{ "0FC63DAF-8483-4772-8E79-3D69D8477DE4", "bios" },
	};
	struct world *w = *state;
	json_t *disk = json_array_get(jget(w->fact, "disks"), 1);

	jset_str(disk, "table", "gpt");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_JSON *def = NULL;
		json_t *part = json_object(), *list = json_array();

		jset_str(part, "type", rows[i].type);
		jadd(list, part);
		jset(disk, "partitions", list);
		def = define(w);
		assert_string_equal(jstr(def, "firmware", ""), rows[i].firmware);
	}
}

static void vm_refuses_what_makes_no_machine(void **state)
{
	struct world *w = *state;
	json_t *nic = jget(w->spec, "target.nics.ens192");

	jset_str(nic, "mac", "01:00:5e:00:00:01");
	assert_null(define(w));
	assert_string_equal(w->e.what, "cannot give NIC 'ens192' the MAC "
			    "'01:00:5e:00:00:01': it is no unicast address");
	err_clear(&w->e);
	jset_str(nic, "mac", "keep");
	jset(jget(w->spec, "source"), "disks", json_object());
	assert_null(define(w));
	assert_string_equal(w->e.what, "cannot define 'erp': it has no disk that is copied");
}

static bool has_word(const json_t *argv, const char *word)
{
	json_t *w;
	size_t i;

	json_array_foreach(argv, i, w)
		if (strcmp(json_string_value(w), word) == 0)
			return true;
	return false;
}

static void vm_argv_says_the_same_machine_as_the_xml(void **state)
{
	AUTO_JSON *def = define(*state);
	struct vm_run run = { .accel = "tcg" };
	AUTO_JSON *argv = vm_argv(def, &run);
	AUTO_FREE char *xml = vm_xml(def);

	assert_true(has_word(argv, "virtio-net-pci,netdev=net0,mac=00:50:56:aa:bb:cc,romfile="));
	assert_non_null(strstr(xml, "<mac address='00:50:56:aa:bb:cc'/>"));
	assert_non_null(strstr(xml, "<source bridge='br10'/>"));
	assert_true(has_word(argv, "1024"));
	assert_non_null(strstr(xml, "<memory unit='MiB'>1024</memory>"));
	assert_true(has_word(argv, "{\"discard\":\"unmap\",\"driver\":\"qcow2\",\"file\":{"
			     "\"driver\":\"file\",\"filename\":\"/var/img/erp/root.qcow2\"},"
			     "\"node-name\":\"disk0\"}"));
	assert_non_null(strstr(xml, "<source file='/var/img/erp/root.qcow2'/>"));
	
}

static void vm_of_a_block_device_says_so_in_both_texts(void **state)
{
	struct world *w = *state;
	struct vm_run run = { .accel = NULL };
	AUTO_JSON *def = define(w), *argv = NULL;
	json_t *disk = json_array_get(jget(def, "disks"), 1);
	AUTO_FREE char *xml = NULL, *text = NULL;

	jset_str(disk, "path", "/dev/data/erp-data");
	jset_str(disk, "format", "raw");
	jset_bool(disk, "block", true);
	xml = vm_xml(def);
	assert_non_null(strstr(xml, "<disk type='block' device='disk'>"));
	assert_non_null(strstr(xml, "<source dev='/dev/data/erp-data'/>"));
	argv = vm_argv(def, &run);
	text = json_canonical(argv);
	assert_non_null(strstr(text, "{\\\"driver\\\":\\\"host_device\\\",\\\"filename\\\":"
				     "\\\"/dev/data/erp-data\\\"}"));
}

static void vm_keeps_sectors_of_4096_bytes_or_says_why_not(void **state)
{
	struct world *w = *state;
	struct vm_run run = { .accel = NULL };
	AUTO_JSON *def = NULL, *argv = NULL;
	AUTO_FREE char *xml = NULL;

	jset_int(json_array_get(jget(w->fact, "disks"), 1), "sector", 4096);
	def = define(w);
	xml = vm_xml(def);
	assert_non_null(strstr(xml, "<blockio logical_block_size='4096' "
				    "physical_block_size='4096'/>"));
	assert_null(strstr(strstr(xml, "<blockio") + 1, "<blockio"));	/* of that disk alone */
	argv = vm_argv(def, &run);
	assert_true(has_word(argv, "virtio-blk-pci,drive=disk0,id=vd0,bootindex=1,"
			     "logical_block_size=4096,physical_block_size=4096"));
	json_object_set_new(w->guest, "kernels", json_pack("[{s:s,s:b}]", "version", "2.6.9",
							   "virtio", 0));
	assert_null(define(w));
	assert_string_equal(w->e.what, "cannot define 'erp': disk 'root' has sectors of 4096 bytes, "
			    "which only a virtio disk can have, and none of the guest's kernels drives "
			    "one");
}

static void vm_argv_lets_no_path_become_an_option(void **state)
{
	struct world *w = *state;
	AUTO_JSON *def = NULL, *argv = NULL;
	struct vm_run run = { .accel = "tcg" };

	jset_str(jget(w->spec, "target"), "dir", "/i,readonly=on/\"x");
	def = define(w);
	argv = vm_argv(def, &run);
	assert_true(has_word(argv, "{\"discard\":\"unmap\",\"driver\":\"qcow2\",\"file\":{"
			     "\"driver\":\"file\",\"filename\":\"/i,readonly=on/\\\"x/erp/root.qcow2\"},"
			     "\"node-name\":\"disk0\"}"));
}

static void vm_xml_is_valid_by_libvirts_schema(void **state)
{
	AUTO_FREE char *tool = proc_which("virt-xml-validate"), *xml = NULL;
	AUTO_JSON *def = define(*state);
	char path[] = "/tmp/drover-test.XXXXXX";
	const char *const argv[] = { "virt-xml-validate", path, "domain", NULL };
	struct proc p = { .argv = argv, .timeout_ms = 60000 };
	AUTO_ERR e = {0};
	int fd = mkstemp(path), rc;

	if (!tool) {
		close(fd);
		unlink(path);
		skip();
	}
	xml = vm_xml(def);
	assert_int_equal(io_write_full(fd, xml, strlen(xml)), 0);
	close(fd);
	rc = proc_run(&p, &e);
	unlink(path);
	proc_free(&p);
	if (rc < 0)
		fail_msg("%s", e.what);
}

static void serve_unit_quotes_every_argument(void **state)
{
	struct world *w = *state;
	AUTO_JSON *def = NULL;
	AUTO_FREE char *unit = NULL;

	jset_str(jget(w->spec, "target"), "dir", "/a b/50%/$HOME");
	def = define(w);
	unit = serve_unit(def);
	assert_non_null(strstr(unit, "/a b/50%%/$$HOME/erp/root.qcow2\\\""));
	assert_non_null(strstr(unit, "RuntimeDirectory=drover/erp\n"));
	assert_non_null(strstr(unit, " master \"br10\" up\n"));
	
}

static void qemu_proves_kvm_by_running_code(void **state)
{
	(void)state;
	/* which answer is right depends on the machine; it must come, and be one */
	if (access("/dev/kvm", R_OK | W_OK) < 0)
		assert_false(qemu_kvm_works());
	else
		qemu_kvm_works();
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(vm_boots_from_the_boot_disk_and_leaves_out_what_is_not_copied),
		T(vm_takes_the_plan_before_the_source_and_maps_networks),
		T(vm_is_the_same_whenever_it_is_asked_for),
		T(vm_fits_chip_set_and_devices_to_old_systems),
		T(vm_reads_the_firmware_from_the_partition_table),
		T(vm_refuses_what_makes_no_machine),
		T(vm_argv_says_the_same_machine_as_the_xml),
		T(vm_of_a_block_device_says_so_in_both_texts),
		T(vm_keeps_sectors_of_4096_bytes_or_says_why_not),
		T(vm_argv_lets_no_path_become_an_option),
		T(vm_xml_is_valid_by_libvirts_schema),
		T(serve_unit_quotes_every_argument),
		cmocka_unit_test(qemu_proves_kvm_by_running_code),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
