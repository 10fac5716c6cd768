/* SPDX-License-Identifier: Apache-2.0
 * test_finalize - call.finalize: the overlay of a machine that stands, or runs, is merged into its
 * base, whatever format that has.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/base/proc.h"
#include "modules/lib/task.h"
#include "tests/unit/bootrig.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Bytes at the disk's end, written into the overlay from outside while nothing runs. */
static void write_overlay(struct bootrig *w, const char *pattern)
{
	AUTO_FREE char *path = mem_printf("%s/%s/root.qcow2", w->dir, w->name);
	AUTO_FREE char *cmd = mem_printf("write -P %s 512k 64k", pattern);
	const char *const argv[] = { "qemu-io", "-f", "qcow2", "-c", cmd, path, NULL };
	struct proc p = { .argv = argv };
	AUTO_ERR e = {0};

	if (proc_run(&p, &e) < 0)
		fail_msg("%s", e.what);
	proc_free(&p);
}

static void base_has(struct bootrig *w, int want)
{
	AUTO_FREE char *path = mem_printf("%s/%s/root.base.raw", w->dir, w->name);
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	unsigned char byte = 0;

	assert_int_equal(io_pread_full(fd, &byte, 1, 512 << 10), 0);
	assert_int_equal(byte, want);
}

static void overlay_is_gone_and_files_name_the_base(struct bootrig *w)
{
	AUTO_FREE char *overlay = mem_printf("%s/%s/root.qcow2", w->dir, w->name);
	AUTO_FREE char *path = mem_printf("%s/%s/%s.xml", w->dir, w->name, w->name);
	AUTO_FREE char *xml = io_read_file(AT_FDCWD, path, 1 << 20, NULL);

	assert_int_not_equal(access(overlay, F_OK), 0);
	assert_non_null(strstr(xml, "root.base.raw'/>"));
	assert_non_null(strstr(xml, "<driver name='qemu' type='raw'"));
}

static void finalize_merges_the_overlay_of_a_machine_that_stands(void **state)
{
	struct bootrig *w = *state;

	if (!bt_can_run())
		skip();
	bt_define(w);
	bt_make_overlay(w);
	write_overlay(w, "0x5a");
	base_has(w, 0);
	bt_must(w, "call.finalize", "apply");
	base_has(w, 0x5a);
	overlay_is_gone_and_files_name_the_base(w);
	bt_must(w, "call.finalize", "apply");	/* once more is fine */
}

/* Bytes at the same place, as the machine writes them that goes on from its base. */
static void write_base(struct bootrig *w, unsigned char byte)
{
	AUTO_FREE char *path = mem_printf("%s/%s/root.base.raw", w->dir, w->name);
	AUTO_FD fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_int_equal(io_pwrite_full(fd, &byte, 1, 512 << 10), 0);
}

static void finalize_that_is_cut_off_does_not_merge_twice(void **state)
{
	struct bootrig *w = *state;
	AUTO_FREE char *obstacle = mem_printf("%s/%s/%s.xml.new", w->dir, w->name, w->name);
	AUTO_FREE char *text = mem_printf("cannot write '%s/%s/%s.xml': Is a directory", w->dir,
					  w->name, w->name);

	if (!bt_can_run())
		skip();
	bt_define(w);
	bt_make_overlay(w);
	write_overlay(w, "0x5a");
	assert_int_equal(mkdir(obstacle, 0700), 0);
	bt_fails(w, "call.finalize", "apply", text);
	write_base(w, 0x77);
	assert_int_equal(rmdir(obstacle), 0);
	bt_must(w, "call.finalize", "apply");
	base_has(w, 0x77);
	overlay_is_gone_and_files_name_the_base(w);
}

static void finalize_merges_while_the_machine_runs(void **state)
{
	struct bootrig *w = *state;
	AUTO_FREE char *machine = bt_marker(w, "");
	pid_t pid;

	if (!bt_can_run())
		skip();
	bt_define(w);
	bt_make_overlay(w);
	write_overlay(w, "0x6b");
	bt_args(w, "{\"grace\":0}");
	bt_ip("link", "add", "brtest", "type", "bridge");
	bt_must(w, "cutover.start", "apply");
	pid = task_find(machine);
	bt_must(w, "call.finalize", "apply");
	base_has(w, 0x6b);
	overlay_is_gone_and_files_name_the_base(w);
	assert_int_equal(task_find(machine), pid);	/* it ran on */
	bt_must(w, "call.finalize", "apply");
	bt_must(w, "cutover.start", "undo");
	bt_ip("link", "del", "brtest", NULL, NULL);
	bt_nothing_is_left(w);
}

/* The base of disk root in another format; what is in it stays. */
static char *turn_base_into(struct bootrig *w, const char *format)
{
	AUTO_FREE char *raw = mem_printf("%s/%s/root.base.raw", w->dir, w->name);
	char *path = mem_printf("%s/%s/root.base.%s", w->dir, w->name, format);
	const char *const argv[] = { "qemu-img", "convert", "-q", "-f", "raw", "-O", format, raw,
				     path, NULL };
	struct proc p = { .argv = argv };
	AUTO_ERR e = {0};

	if (proc_run(&p, &e) < 0)
		fail_msg("%s", e.what);
	proc_free(&p);
	jset_str(jget(w->input, "machine.target"), "format", format);
	return path;
}

static void base_reads(const char *path, const char *format)
{
	const char *const argv[] = { "qemu-io", "-r", "-f", format, "-c", "read -P 0x5a 512k 64k",
				     "-c", "read -P 0 576k 64k", path, NULL };
	struct proc p = { .argv = argv };
	AUTO_ERR e = {0};

	if (proc_run(&p, &e) < 0)
		fail_msg("%s", e.what);
	proc_free(&p);
}

static void a_base_of_another_hypervisor_boots_and_is_merged(struct bootrig *w, const char *format)
{
	AUTO_FREE char *driver = mem_printf("<driver name='qemu' type='%s'", format);
	AUTO_FREE char *path = turn_base_into(w, format);
	AUTO_FREE char *file = mem_printf("%s/%s/%s.xml", w->dir, w->name, w->name);
	AUTO_FREE char *xml = NULL;

	bt_define(w);
	bt_must(w, "validate.boot", "apply");
	assert_non_null(strstr(bt_evidence(w, "console"), "hello\ntiny login:"));
	bt_make_overlay_on(w, path, format);
	write_overlay(w, "0x5a");
	bt_must(w, "call.finalize", "apply");
	base_reads(path, format);
	xml = io_read_file(AT_FDCWD, file, 1 << 20, NULL);
	assert_non_null(strstr(xml, driver));
	bt_must(w, "reconfigure.machine", "undo");
}

static void bases_of_other_hypervisors_boot_and_are_merged(void **state)
{
	static const char *const formats[] = { "vmdk", "vhdx", "vpc", "vdi" };

	if (!bt_can_run())
		skip();
	for (size_t i = 0; i < ARRAY_LEN(formats); i++)
		a_base_of_another_hypervisor_boots_and_is_merged(*state, formats[i]);
}

static void a_base_that_bears_no_failed_write_is_not_merged_while_it_runs(void **state)
{
	struct bootrig *w = *state;
	AUTO_FREE char *path = NULL;

	if (!bt_can_run())
		skip();
	path = turn_base_into(w, "vmdk");
	bt_define(w);
	bt_make_overlay_on(w, path, "vmdk");
	bt_args(w, "{\"grace\":0}");
	bt_ip("link", "add", "brtest", "type", "bridge");
	bt_must(w, "cutover.start", "apply");
	bt_fails(w, "call.finalize", "apply", "cannot merge 'root' while it runs: an image of format "
	      "'vmdk' does not bear a failed write");
	bt_must(w, "cutover.start", "undo");
	bt_ip("link", "del", "brtest", NULL, NULL);
	bt_nothing_is_left(w);
}

#define T(f) cmocka_unit_test_setup_teardown(f, bt_setup, bt_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(finalize_merges_the_overlay_of_a_machine_that_stands),
		T(finalize_that_is_cut_off_does_not_merge_twice),
		T(finalize_merges_while_the_machine_runs),
		T(bases_of_other_hypervisors_boot_and_are_merged),
		T(a_base_that_bears_no_failed_write_is_not_merged_while_it_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
