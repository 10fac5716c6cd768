/* SPDX-License-Identifier: Apache-2.0
 * test_boot - real machines, tiny ones: a boot sector that prints to the serial port
 * is defined, booted behind a fence, started, and taken away again. In a network
 * namespace of the test's own. Needs root and QEMU.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "modules/lib/task.h"
#include "tests/unit/bootrig.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* ---- reconfigure.machine ------------------------------------------------------------ */

static void machine_writes_its_files_and_undo_takes_them_away(void **state)
{
	struct bootrig *w = *state;
	AUTO_FREE char *xml = mem_printf("%s/%s/%s.xml", w->dir, w->name, w->name);

	bt_state(w, "reconfigure.machine", "absent");
	bt_define(w);
	assert_int_equal(access(xml, F_OK), 0);
	bt_must(w, "reconfigure.machine", "undo");
	assert_int_not_equal(access(xml, F_OK), 0);
	bt_state(w, "reconfigure.machine", "absent");
	assert_int_equal(bt_ledger_left(w), 0);
}

static void machine_puts_back_a_file_that_was_there(void **state)
{
	struct bootrig *w = *state;
	AUTO_FREE char *xml = mem_printf("%s/%s/%s.xml", w->dir, w->name, w->name);
	AUTO_FREE char *after = NULL;

	assert_int_equal(io_write_file(AT_FDCWD, xml, "old\n", 4, 0640), 0);
	bt_must(w, "reconfigure.machine", "apply");
	bt_must(w, "reconfigure.machine", "apply");	/* a retry keeps the first copy */
	bt_must(w, "reconfigure.machine", "undo");
	after = io_read_file(AT_FDCWD, xml, 4096, NULL);
	assert_string_equal(after, "old\n");
}

/* ---- validate.boot ------------------------------------------------------------------- */

static void boot_sees_the_prompt_and_leaves_nothing(void **state)
{
	struct bootrig *w = *state;
	AUTO_JSON *r = NULL;

	if (!bt_can_run())
		skip();
	bt_define(w);
	bt_state(w, "validate.boot", "absent");
	bt_must(w, "validate.boot", "apply");
	assert_non_null(strstr(bt_evidence(w, "console"), "hello\ntiny login:"));
	bt_nothing_is_left(w);
	bt_state(w, "validate.boot", "done");
	/* another pass makes it a thing to test again */
	r = json_pack("{s:{s:s}}", "root", "digest", "other");
	json_object_set(jget(w->input, "facts"), "disks", r);
	bt_state(w, "validate.boot", "absent");
	bt_must(w, "reconfigure.machine", "undo");
	assert_int_equal(bt_ledger_left(w), 0);
}

static void boot_ends_early_when_the_console_says_it_is_hopeless(void **state)
{
	struct bootrig *w = *state;

	if (!bt_can_run())
		skip();
	bt_make_base(w, "\r\nKernel panic - not syncing: VFS: no root\r\n");
	bt_define(w);
	bt_fails(w, "validate.boot", "apply",
	      "the machine does not come up: 'Kernel panic - not syncing'");
	assert_non_null(strstr(bt_evidence(w, "console"), "no root"));
	bt_nothing_is_left(w);
	bt_state(w, "validate.boot", "absent");
}

static void boot_gives_up_in_time_and_leaves_nothing(void **state)
{
	struct bootrig *w = *state;
	AUTO_JSON *r = NULL;
	const char *hint;

	if (!bt_can_run())
		skip();
	bt_args(w, "{\"pattern\":\"never said\",\"timeout\":1000}");
	bt_define(w);
	r = bt_call(w, "validate.boot", "apply");
	assert_false(jbool(r, "ok", true));
	assert_non_null(strstr(jstr(r, "error.text", ""),
			       "'never said' was not seen on the console within"));
	/* how far it came in that time is the machine's affair */
	hint = jstr(r, "error.hint", "its last console line: ");
	assert_memory_equal(hint, "its last console line: ", 23);
	assert_non_null(strstr(bt_evidence(w, "console"), hint + 23));
	bt_nothing_is_left(w);
}

static void boot_refuses_a_pattern_that_is_none(void **state)
{
	struct bootrig *w = *state;

	bt_args(w, "{\"pattern\":\"a(\"}");
	bt_define(w);
	bt_fails(w, "validate.boot", "apply", "cannot use the pattern 'a(': Unmatched ( or \\(");
	bt_nothing_is_left(w);
}

/* Between the exec and its arguments a process had none, and was taken for ended. */
static void a_program_that_was_started_is_found_at_once(void **state)
{
	struct bootrig *w = *state;
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
	struct bootrig *w = *state;
	AUTO_FREE char *copy = bt_marker(w, "@");

	if (!bt_can_run())
		skip();
	bt_args(w, "{\"keep\":true}");
	bt_define(w);
	bt_must(w, "validate.boot", "apply");
	assert_int_not_equal(task_find(copy), 0);
	bt_state(w, "validate.boot", "done");
	bt_state(w, "validate.release", "absent");
	bt_must(w, "validate.release", "apply");
	bt_nothing_is_left(w);
	bt_state(w, "validate.release", "done");
}

static void cleanup_takes_away_what_a_killed_boot_left(void **state)
{
	struct bootrig *w = *state;
	json_t *event;
	size_t i;

	if (!bt_can_run())
		skip();
	bt_args(w, "{\"keep\":true}");
	bt_define(w);
	bt_must(w, "validate.boot", "apply");
	for (i = json_array_size(w->events); i-- > 0;) {
		event = json_array_get(w->events, i);
		if (strcmp(jstr(event, "e", ""), "ledger") != 0 ||
		    strcmp(jstr(event, "op", ""), "add") != 0 || jbool(event, "lasting", false))
			continue;
		jset(w->input, "args", json_pack("{s:s,s:s}", "kind", jstr(event, "kind", ""),
						 "name", jstr(event, "name", "")));
		bt_must(w, "call.cleanup", "apply");
	}
	bt_nothing_is_left(w);
}

/* ---- cutover.start --------------------------------------------------------------------- */

static void start_runs_the_machine_and_undo_takes_it_away(void **state)
{
	struct bootrig *w = *state;
	AUTO_FREE char *machine = bt_marker(w, "");
	AUTO_JSON *r = NULL;

	if (!bt_can_run())
		skip();
	bt_define(w);
	bt_make_overlay(w);
	bt_args(w, "{\"grace\":0}");	/* there is no system that could end in order */
	bt_ip("link", "add", "brtest", "type", "bridge");
	bt_state(w, "cutover.start", "absent");
	bt_must(w, "cutover.start", "apply");
	assert_int_not_equal(task_find(machine), 0);
	assert_non_null(strstr(bt_evidence(w, "console"), "tiny login:"));
	r = bt_call(w, "cutover.start", "probe");
	assert_string_equal(jstr(r, "state", ""), "done");
	assert_int_equal(jint(r, "volatile.target_writes", -1), 0);
	bt_must(w, "cutover.start", "undo");
	bt_must(w, "cutover.start", "undo");	/* may itself be retried */
	bt_nothing_is_left(w);
	bt_must(w, "reconfigure.machine", "undo");
	assert_int_equal(bt_ledger_left(w), 0);
	bt_ip("link", "del", "brtest", NULL, NULL);
}

static void start_says_which_network_the_host_lacks(void **state)
{
	struct bootrig *w = *state;

	if (!bt_can_run())
		skip();
	bt_define(w);
	bt_make_overlay(w);
	bt_fails(w, "cutover.start", "apply",
	      "cannot join network 'brtest': this host has no such bridge");
	bt_must(w, "cutover.start", "undo");
	bt_nothing_is_left(w);
}

static void start_wants_the_overlay_first(void **state)
{
	struct bootrig *w = *state;
	AUTO_FREE char *text = mem_printf("cannot start '%s': disk '%s/%s/root.qcow2': No such "
					  "file or directory", w->name, w->dir, w->name);

	bt_define(w);
	bt_fails(w, "cutover.start", "apply", text);
}

static void libvirt_is_not_given_a_format_that_it_does_not_know(void **state)
{
	struct bootrig *w = *state;
	AUTO_JSON *r = NULL;
	const json_t *finding;
	bool told = false;
	size_t i;

	jset_str(jget(w->input, "machine.target"), "format", "vhdx");
	jset_str(jget(w->input, "machine.target"), "start", "libvirt");
	r = bt_call(w, "reconfigure.machine", "probe");
	json_array_foreach(jget(r, "findings"), i, finding)
		told = told || strcmp(jstr(finding, "text", ""), "it cannot be started by libvirt: "
				      "libvirt does not know images of format 'vhdx'") == 0;
	assert_true(told);
	bt_define(w);
	bt_fails(w, "cutover.start", "probe", "cannot start by libvirt: libvirt does not know images "
	      "of format 'vhdx'");
}

#define T(f) cmocka_unit_test_setup_teardown(f, bt_setup, bt_teardown)

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
		T(libvirt_is_not_given_a_format_that_it_does_not_know),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
