/* SPDX-License-Identifier: Apache-2.0
 * test_boot - real machines, tiny ones: a boot sector that prints to the serial port
 * is defined, booted behind a fence, started, and taken away again. In a network
 * namespace of the test's own. Needs root and QEMU.
 */
#include "engine/base/io.h"
#include "engine/base/proc.h"
#include "modules/lib/fence.h"
#include "modules/lib/task.h"
#include "tests/unit/modtest.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* cli; cld; ds=0; si=msg; while ((al = *si++)) outb(0x3f8, al); hlt */
static const unsigned char code[] = {
	0xfa, 0xfc, 0x31, 0xc0, 0x8e, 0xd8, 0xbe, 0x17, 0x7c, 0xac, 0x84, 0xc0,
	0x74, 0x06, 0xba, 0xf8, 0x03, 0xee, 0xeb, 0xf5, 0xf4, 0xeb, 0xfd,
};
#define DISK_BYTES (1 << 20)

static bool can_run;

struct world {
	char dir[64];		/* target.dir */
	char name[32];		/* of the machine, this test's own */
	json_t *input;
	json_t *events;		/* of all calls */
};

/* The base image of disk root: prints `text`, then halts. */
static void make_base(struct world *w, const char *text)
{
	AUTO_FREE char *dir = mem_printf("%s/%s", w->dir, w->name);
	AUTO_FREE char *path = mem_printf("%s/root.base.raw", dir);
	AUTO_FREE unsigned char *disk = mem_alloc(DISK_BYTES);

	memcpy(disk, code, sizeof(code));
	snprintf((char *)disk + sizeof(code), 440 - sizeof(code), "%s", text);
	disk[510] = 0x55;
	disk[511] = 0xaa;
	assert_int_equal(io_mkdirs(dir, 0700), 0);
	assert_int_equal(io_write_file(AT_FDCWD, path, disk, DISK_BYTES, 0600), 0);
}

static json_t *spec_of(const struct world *w)
{
	json_t *spec = json_pack(
		"{s:s, s:{s:s,s:s,s:{s:{s:s}}}, s:{s:s,s:s,s:s,s:s,s:i,s:i,"
		"s:{s:{s:s,s:s,s:s}}}, s:{s:{},s:{}}}",
		"name", w->name, "source", "host", "a", "kind", "image", "disks", "root",
		"image", "/nowhere.raw", "target", "host", "b", "dir", w->dir, "format", "raw",
		"start", "qemu", "cpus", 1, "memory", 64 << 20, "nics", "eth0", "network",
		"brtest", "mac", "52:54:00:00:00:07", "address", "10.77.0.5/24", "maps",
		"networks", "storage");

	assert_non_null(spec);
	return spec;
}

static int setup(void **state)
{
	struct world *w = mem_alloc(sizeof(*w));

	snprintf(w->dir, sizeof(w->dir), "/tmp/drover-test.XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	snprintf(w->name, sizeof(w->name), "t%d", (int)getpid());
	w->input = json_pack("{s:{}, s:o, s:{s:{s:s}}, s:{s:s, s:b}}", "args", "machine",
			     spec_of(w), "facts", "target.host", "kvm_note", "-", "run",
			     "lineage", "l1", "preview", 0);
	assert_non_null(w->input);
	jset_bool(jget(w->input, "facts"), "x", false);
	json_object_set_new(json_object_get(json_object_get(w->input, "facts"),
					    "target.host"), "kvm", json_false());
	w->events = json_array();
	make_base(w, "\r\nhello\r\ntiny login: ");
	*state = w;
	return 0;
}

static char *marker(const struct world *w, const char *prefix)
{
	return mem_printf("/run/drover/%s%s/qemu.pid", prefix, w->name);
}

/* A test that fails leaves its machine running: it must not be taken for the next one's. */
static int teardown(void **state)
{
	struct world *w = *state;
	AUTO_FREE char *copy = marker(w, "@"), *machine = marker(w, "");

	task_end(copy, 5000);
	task_end(machine, 5000);
	io_remove_tree(w->dir);
	json_decref(w->input);
	json_decref(w->events);
	free(w);
	return 0;
}

static json_t *call(struct world *w, const char *module, const char *op)
{
	json_t *events = NULL;
	json_t *result = modtest_call(module, op, w->input, &events);

	modtest_keep(w->input, events);
	json_array_extend(w->events, events);
	json_decref(events);
	return result;
}

static void args(struct world *w, const char *text)
{
	AUTO_ERR e = {0};

	jset(w->input, "args", json_parse(text, strlen(text), &e));
}

static void must(struct world *w, const char *module, const char *op)
{
	AUTO_JSON *r = call(w, module, op);

	if (!jbool(r, "ok", false))
		fail_msg("%s %s: %s", module, op, jstr(r, "error.text", "?"));
}

static void fails(struct world *w, const char *module, const char *op, const char *text)
{
	AUTO_JSON *r = call(w, module, op);

	assert_false(jbool(r, "ok", true));
	assert_string_equal(jstr(r, "error.text", ""), text);
}

static void state_is(struct world *w, const char *module, const char *want)
{
	AUTO_JSON *r = call(w, module, "probe");

	if (!jbool(r, "ok", false))
		fail_msg("%s probe: %s", module, jstr(r, "error.text", "?"));
	assert_string_equal(jstr(r, "state", ""), want);
}

/* Things in the ledger that were not struck. */
static int ledger_left(const struct world *w)
{
	AUTO_JSON *left = json_object();
	json_t *event;
	size_t i;

	json_array_foreach(w->events, i, event) {
		AUTO_FREE char *key = mem_printf("%s:%s", jstr(event, "kind", ""),
						 jstr(event, "name", ""));

		if (strcmp(jstr(event, "e", ""), "ledger") != 0)
			continue;
		if (strcmp(jstr(event, "op", ""), "add") == 0)
			jset_bool(left, key, true);
		else
			json_object_del(left, key);
	}
	return (int)json_object_size(left);
}

static const char *evidence(const struct world *w, const char *name)
{
	const char *text = "";
	json_t *event;
	size_t i;

	json_array_foreach(w->events, i, event)
		if (strcmp(jstr(event, "e", ""), "evidence") == 0 &&
		    strcmp(jstr(event, "name", ""), name) == 0)
			text = jstr(event, "text", "");
	return text;
}

/* reconfigure.machine, and its fact for the steps after it. */
static void define(struct world *w)
{
	AUTO_JSON *r = NULL;

	must(w, "reconfigure.machine", "apply");
	r = call(w, "reconfigure.machine", "probe");
	assert_string_equal(jstr(r, "state", ""), "done");
	json_object_set(jget(w->input, "facts"), "definition",
			jget(r, "facts.definition.stable"));
}

static void nothing_is_left(struct world *w)
{
	AUTO_FREE char *copy = marker(w, "@"), *machine = marker(w, "");
	AUTO_FREE char *boot = mem_printf("%s/%s/.boot", w->dir, w->name);
	char fence[80];

	fence_name(w->name, fence);
	assert_int_equal(task_find(copy), 0);
	assert_int_equal(task_find(machine), 0);
	assert_false(fence_there(fence));
	assert_int_not_equal(access(boot, F_OK), 0);
}

/* ---- reconfigure.machine ------------------------------------------------------------ */

static void machine_writes_its_files_and_undo_takes_them_away(void **state)
{
	struct world *w = *state;
	AUTO_FREE char *xml = mem_printf("%s/%s/%s.xml", w->dir, w->name, w->name);

	state_is(w, "reconfigure.machine", "absent");
	define(w);
	assert_int_equal(access(xml, F_OK), 0);
	must(w, "reconfigure.machine", "undo");
	assert_int_not_equal(access(xml, F_OK), 0);
	state_is(w, "reconfigure.machine", "absent");
	assert_int_equal(ledger_left(w), 0);
}

static void machine_puts_back_a_file_that_was_there(void **state)
{
	struct world *w = *state;
	AUTO_FREE char *xml = mem_printf("%s/%s/%s.xml", w->dir, w->name, w->name);
	AUTO_FREE char *after = NULL;

	assert_int_equal(io_write_file(AT_FDCWD, xml, "old\n", 4, 0640), 0);
	must(w, "reconfigure.machine", "apply");
	must(w, "reconfigure.machine", "apply");	/* a retry keeps the first copy */
	must(w, "reconfigure.machine", "undo");
	after = io_read_file(AT_FDCWD, xml, 4096, NULL);
	assert_string_equal(after, "old\n");
}

/* ---- validate.boot ------------------------------------------------------------------- */

static void boot_sees_the_prompt_and_leaves_nothing(void **state)
{
	struct world *w = *state;
	AUTO_JSON *r = NULL;

	if (!can_run)
		skip();
	define(w);
	state_is(w, "validate.boot", "absent");
	must(w, "validate.boot", "apply");
	assert_non_null(strstr(evidence(w, "console"), "hello\ntiny login:"));
	nothing_is_left(w);
	state_is(w, "validate.boot", "done");
	/* another pass makes it a thing to test again */
	r = json_pack("{s:{s:s}}", "root", "digest", "other");
	json_object_set(jget(w->input, "facts"), "disks", r);
	state_is(w, "validate.boot", "absent");
	must(w, "reconfigure.machine", "undo");
	assert_int_equal(ledger_left(w), 0);
}

static void boot_ends_early_when_the_console_says_it_is_hopeless(void **state)
{
	struct world *w = *state;

	if (!can_run)
		skip();
	make_base(w, "\r\nKernel panic - not syncing: VFS: no root\r\n");
	define(w);
	fails(w, "validate.boot", "apply",
	      "the machine does not come up: 'Kernel panic - not syncing'");
	assert_non_null(strstr(evidence(w, "console"), "no root"));
	nothing_is_left(w);
	state_is(w, "validate.boot", "absent");
}

static void boot_gives_up_in_time_and_leaves_nothing(void **state)
{
	struct world *w = *state;
	AUTO_JSON *r = NULL;
	const char *hint;

	if (!can_run)
		skip();
	args(w, "{\"pattern\":\"never said\",\"timeout\":1000}");
	define(w);
	r = call(w, "validate.boot", "apply");
	assert_false(jbool(r, "ok", true));
	assert_non_null(strstr(jstr(r, "error.text", ""),
			       "'never said' was not seen on the console within"));
	/* how far it came in that time is the machine's affair */
	hint = jstr(r, "error.hint", "its last console line: ");
	assert_memory_equal(hint, "its last console line: ", 23);
	assert_non_null(strstr(evidence(w, "console"), hint + 23));
	nothing_is_left(w);
}

static void boot_refuses_a_pattern_that_is_none(void **state)
{
	struct world *w = *state;

	args(w, "{\"pattern\":\"a(\"}");
	define(w);
	fails(w, "validate.boot", "apply", "cannot use the pattern 'a(': Unmatched ( or \\(");
	nothing_is_left(w);
}

/* Between the exec and its arguments a process had none, and was taken for ended. */
static void a_program_that_was_started_is_found_at_once(void **state)
{
	struct world *w = *state;
	AUTO_FREE char *mark = mem_printf("%s/mark", w->dir), *log = mem_printf("%s/log", w->dir);
	const char *argv[] = { "tail", "-f", "/dev/null", mark, NULL };
	AUTO_ERR e = { 0 };

	assert_int_equal(io_write_file(AT_FDCWD, mark, "", 0, 0600), 0);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(task_start(argv, log, -1, &e), 0);
		assert_int_not_equal(task_find(mark), 0);
		assert_true(task_end(mark, 5000));
	}
	argv[0] = "no-such-program";
	assert_int_equal(task_start(argv, log, -1, &e), -1);
	assert_string_equal(e.what, "cannot start 'no-such-program': No such file or directory");
}

static void boot_keeps_the_copy_for_checks_until_release(void **state)
{
	struct world *w = *state;
	AUTO_FREE char *copy = marker(w, "@");

	if (!can_run)
		skip();
	args(w, "{\"keep\":true}");
	define(w);
	must(w, "validate.boot", "apply");
	assert_int_not_equal(task_find(copy), 0);
	state_is(w, "validate.boot", "done");
	state_is(w, "validate.release", "absent");
	must(w, "validate.release", "apply");
	nothing_is_left(w);
	state_is(w, "validate.release", "done");
}

static void cleanup_takes_away_what_a_killed_boot_left(void **state)
{
	struct world *w = *state;
	json_t *event;
	size_t i;

	if (!can_run)
		skip();
	args(w, "{\"keep\":true}");
	define(w);
	must(w, "validate.boot", "apply");
	for (i = json_array_size(w->events); i-- > 0;) {
		event = json_array_get(w->events, i);
		if (strcmp(jstr(event, "e", ""), "ledger") != 0 ||
		    strcmp(jstr(event, "op", ""), "add") != 0 || jbool(event, "lasting", false))
			continue;
		jset(w->input, "args", json_pack("{s:s,s:s}", "kind", jstr(event, "kind", ""),
						 "name", jstr(event, "name", "")));
		must(w, "call.cleanup", "apply");
	}
	nothing_is_left(w);
}

/* ---- cutover.start --------------------------------------------------------------------- */

static void make_overlay_on(struct world *w, const char *base, const char *format)
{
	AUTO_FREE char *path = mem_printf("%s/%s/root.qcow2", w->dir, w->name);
	const char *const argv[] = { "qemu-img", "create", "-q", "-f", "qcow2", "-b", base,
				     "-F", format, path, NULL };
	struct proc p = { .argv = argv };
	AUTO_ERR e = {0};

	if (proc_run(&p, &e) < 0)
		fail_msg("%s", e.what);
	proc_free(&p);
}

static void make_overlay(struct world *w)
{
	AUTO_FREE char *base = mem_printf("%s/%s/root.base.raw", w->dir, w->name);

	make_overlay_on(w, base, "raw");
}

static int ip_tool(const char *a, const char *b, const char *c, const char *d, const char *e)
{
	const char *const argv[] = { "ip", a, b, c, d, e, NULL };
	struct proc p = { .argv = argv };
	int rc = proc_run(&p, NULL);

	proc_free(&p);
	return rc;
}

static void start_runs_the_machine_and_undo_takes_it_away(void **state)
{
	struct world *w = *state;
	AUTO_FREE char *machine = marker(w, "");
	AUTO_JSON *r = NULL;

	if (!can_run)
		skip();
	define(w);
	make_overlay(w);
	args(w, "{\"grace\":0}");	/* there is no system that could end in order */
	ip_tool("link", "add", "brtest", "type", "bridge");
	state_is(w, "cutover.start", "absent");
	must(w, "cutover.start", "apply");
	assert_int_not_equal(task_find(machine), 0);
	assert_non_null(strstr(evidence(w, "console"), "tiny login:"));
	r = call(w, "cutover.start", "probe");
	assert_string_equal(jstr(r, "state", ""), "done");
	assert_int_equal(jint(r, "volatile.target_writes", -1), 0);
	must(w, "cutover.start", "undo");
	must(w, "cutover.start", "undo");	/* may itself be retried */
	nothing_is_left(w);
	must(w, "reconfigure.machine", "undo");
	assert_int_equal(ledger_left(w), 0);
	ip_tool("link", "del", "brtest", NULL, NULL);
}

static void start_says_which_network_the_host_lacks(void **state)
{
	struct world *w = *state;

	if (!can_run)
		skip();
	define(w);
	make_overlay(w);
	fails(w, "cutover.start", "apply",
	      "cannot join network 'brtest': this host has no such bridge");
	must(w, "cutover.start", "undo");
	nothing_is_left(w);
}

static void start_wants_the_overlay_first(void **state)
{
	struct world *w = *state;
	AUTO_FREE char *text = mem_printf("cannot start '%s': disk '%s/%s/root.qcow2': No such "
					  "file or directory", w->name, w->dir, w->name);

	define(w);
	fails(w, "cutover.start", "apply", text);
}

/* ---- call.finalize --------------------------------------------------------------------- */

/* Bytes at the disk's end, written into the overlay from outside while nothing runs. */
static void write_overlay(struct world *w, const char *pattern)
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

static void base_has(struct world *w, int want)
{
	AUTO_FREE char *path = mem_printf("%s/%s/root.base.raw", w->dir, w->name);
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	unsigned char byte = 0;

	assert_int_equal(io_pread_full(fd, &byte, 1, 512 << 10), 0);
	assert_int_equal(byte, want);
}

static void overlay_is_gone_and_files_name_the_base(struct world *w)
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
	struct world *w = *state;

	if (!can_run)
		skip();
	define(w);
	make_overlay(w);
	write_overlay(w, "0x5a");
	base_has(w, 0);
	must(w, "call.finalize", "apply");
	base_has(w, 0x5a);
	overlay_is_gone_and_files_name_the_base(w);
	must(w, "call.finalize", "apply");	/* once more is fine */
}

/* Bytes at the same place, as the machine writes them that goes on from its base. */
static void write_base(struct world *w, unsigned char byte)
{
	AUTO_FREE char *path = mem_printf("%s/%s/root.base.raw", w->dir, w->name);
	AUTO_FD fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_int_equal(io_pwrite_full(fd, &byte, 1, 512 << 10), 0);
}

static void finalize_that_is_cut_off_does_not_merge_twice(void **state)
{
	struct world *w = *state;
	AUTO_FREE char *obstacle = mem_printf("%s/%s/%s.xml.new", w->dir, w->name, w->name);
	AUTO_FREE char *text = mem_printf("cannot write '%s/%s/%s.xml': Is a directory", w->dir,
					  w->name, w->name);

	if (!can_run)
		skip();
	define(w);
	make_overlay(w);
	write_overlay(w, "0x5a");
	assert_int_equal(mkdir(obstacle, 0700), 0);
	fails(w, "call.finalize", "apply", text);
	write_base(w, 0x77);
	assert_int_equal(rmdir(obstacle), 0);
	must(w, "call.finalize", "apply");
	base_has(w, 0x77);
	overlay_is_gone_and_files_name_the_base(w);
}

static void finalize_merges_while_the_machine_runs(void **state)
{
	struct world *w = *state;
	AUTO_FREE char *machine = marker(w, "");
	pid_t pid;

	if (!can_run)
		skip();
	define(w);
	make_overlay(w);
	write_overlay(w, "0x6b");
	args(w, "{\"grace\":0}");
	ip_tool("link", "add", "brtest", "type", "bridge");
	must(w, "cutover.start", "apply");
	pid = task_find(machine);
	must(w, "call.finalize", "apply");
	base_has(w, 0x6b);
	overlay_is_gone_and_files_name_the_base(w);
	assert_int_equal(task_find(machine), pid);	/* it ran on */
	must(w, "call.finalize", "apply");
	must(w, "cutover.start", "undo");
	ip_tool("link", "del", "brtest", NULL, NULL);
	nothing_is_left(w);
}

/* The base of disk root in another format; what is in it stays. */
static char *turn_base_into(struct world *w, const char *format)
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

static void a_base_of_another_hypervisor_boots_and_is_merged(struct world *w, const char *format)
{
	AUTO_FREE char *driver = mem_printf("<driver name='qemu' type='%s'", format);
	AUTO_FREE char *path = turn_base_into(w, format);
	AUTO_FREE char *file = mem_printf("%s/%s/%s.xml", w->dir, w->name, w->name);
	AUTO_FREE char *xml = NULL;

	define(w);
	must(w, "validate.boot", "apply");
	assert_non_null(strstr(evidence(w, "console"), "hello\ntiny login:"));
	make_overlay_on(w, path, format);
	write_overlay(w, "0x5a");
	must(w, "call.finalize", "apply");
	base_reads(path, format);
	xml = io_read_file(AT_FDCWD, file, 1 << 20, NULL);
	assert_non_null(strstr(xml, driver));
	must(w, "reconfigure.machine", "undo");
}

static void bases_of_other_hypervisors_boot_and_are_merged(void **state)
{
	static const char *const formats[] = { "vmdk", "vhdx", "vpc", "vdi" };

	if (!can_run)
		skip();
	for (size_t i = 0; i < ARRAY_LEN(formats); i++)
		a_base_of_another_hypervisor_boots_and_is_merged(*state, formats[i]);
}

static void a_base_that_bears_no_failed_write_is_not_merged_while_it_runs(void **state)
{
	struct world *w = *state;
	AUTO_FREE char *path = NULL;

	if (!can_run)
		skip();
	path = turn_base_into(w, "vmdk");
	define(w);
	make_overlay_on(w, path, "vmdk");
	args(w, "{\"grace\":0}");
	ip_tool("link", "add", "brtest", "type", "bridge");
	must(w, "cutover.start", "apply");
	fails(w, "call.finalize", "apply", "cannot merge 'root' while it runs: an image of format "
	      "'vmdk' does not bear a failed write");
	must(w, "cutover.start", "undo");
	ip_tool("link", "del", "brtest", NULL, NULL);
	nothing_is_left(w);
}

static void libvirt_is_not_given_a_format_that_it_does_not_know(void **state)
{
	struct world *w = *state;
	AUTO_JSON *r = NULL;
	const json_t *finding;
	bool told = false;
	size_t i;

	jset_str(jget(w->input, "machine.target"), "format", "vhdx");
	jset_str(jget(w->input, "machine.target"), "start", "libvirt");
	r = call(w, "reconfigure.machine", "probe");
	json_array_foreach(jget(r, "findings"), i, finding)
		told = told || strcmp(jstr(finding, "text", ""), "it cannot be started by libvirt: "
				      "libvirt does not know images of format 'vhdx'") == 0;
	assert_true(told);
	define(w);
	fails(w, "cutover.start", "probe", "cannot start by libvirt: libvirt does not know images "
	      "of format 'vhdx'");
}

/* ---- fence ------------------------------------------------------------------------------- */

static void fence_stands_beside_the_guest_in_its_subnet(void **state)
{
	static const struct { const char *address, *gateway, *want; } rows[] = {
		{ "10.1.0.5/24", "10.1.0.1", "10.1.0.1/24" },
		{ "10.1.0.5/24", NULL, "10.1.0.1/24" },
		{ "10.1.0.1/24", NULL, "10.1.0.2/24" },
		{ "10.1.0.5/24", "10.2.0.1", "10.1.0.1/24" },
		{ "10.1.0.5", NULL, "10.1.0.1/24" },
		{ "fd00::5/64", NULL, "fd00::1/64" },
		{ "10.1.0.5/32", NULL, NULL },
		{ "dhcp", NULL, NULL },
		{ NULL, NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char out[80] = "";
		bool got = fence_beside(rows[i].address, rows[i].gateway, out);

		assert_int_equal(got, rows[i].want != NULL);
		if (got)
			assert_string_equal(out, rows[i].want);
	}
}

/* What connect(2) says from inside. */
static int errno_inside(int ns, const char *address, int port)
{
	AUTO_FD home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	AUTO_FD fd = -1;
	int rc;

	inet_pton(AF_INET, address, &a.sin_addr);
	assert_int_equal(setns(ns, CLONE_NEWNET), 0);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(setns(home, CLONE_NEWNET), 0);
	rc = connect(fd, (struct sockaddr *)&a, sizeof(a));
	return rc < 0 ? errno : 0;
}

static void fence_has_no_way_out(void **state)
{
	AUTO_JSON *nics = json_pack("[{s:s,s:s,s:s}]", "name", "eth0", "tap", "drvtest0",
				    "address", "10.77.0.5/24");
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t n = sizeof(a);
	AUTO_FD outside = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	AUTO_FD ns = -1;
	AUTO_ERR e = {0};
	char name[80];

	(void)state;
	if (!can_run)
		skip();
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(outside, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(outside, 4), 0);
	assert_int_equal(getsockname(outside, (struct sockaddr *)&a, &n), 0);
	fence_name("fence-test", name);
	if (fence_make(name, nics, &e) < 0)
		fail_msg("%s", e.what);
	ns = fence_open(name, &e);
	assert_true(ns >= 0);
	assert_int_equal(errno_inside(ns, "127.0.0.1", ntohs(a.sin_port)), ECONNREFUSED);
	assert_int_equal(errno_inside(ns, "192.0.2.1", 80), ENETUNREACH);
	assert_int_equal(fence_remove(name, &e), 0);
	assert_false(fence_there(name));
	assert_int_equal(fence_remove(name, &e), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(machine_writes_its_files_and_undo_takes_them_away),
		T(machine_puts_back_a_file_that_was_there),
		T(boot_sees_the_prompt_and_leaves_nothing),
		T(boot_ends_early_when_the_console_says_it_is_hopeless),
		T(boot_gives_up_in_time_and_leaves_nothing),
		T(boot_refuses_a_pattern_that_is_none),
		T(a_program_that_was_started_is_found_at_once),
		T(boot_keeps_the_copy_for_checks_until_release),
		T(cleanup_takes_away_what_a_killed_boot_left),
		T(start_runs_the_machine_and_undo_takes_it_away),
		T(start_says_which_network_the_host_lacks),
		T(start_wants_the_overlay_first),
		T(finalize_merges_the_overlay_of_a_machine_that_stands),
		T(finalize_that_is_cut_off_does_not_merge_twice),
		T(finalize_merges_while_the_machine_runs),
		T(bases_of_other_hypervisors_boot_and_are_merged),
		T(a_base_that_bears_no_failed_write_is_not_merged_while_it_runs),
		T(libvirt_is_not_given_a_format_that_it_does_not_know),
		cmocka_unit_test(fence_stands_beside_the_guest_in_its_subnet),
		cmocka_unit_test(fence_has_no_way_out),
	};
	AUTO_FREE char *qemu = proc_which("qemu-system-x86_64");

	can_run = qemu && geteuid() == 0 && unshare(CLONE_NEWNET) == 0 &&
		  ip_tool("link", "set", "lo", "up", NULL) == 0;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
