/* SPDX-License-Identifier: Apache-2.0
 * test_command - any.command: a program with a probe and an undo. What it changes is a file
 * that holds "on" or "off".
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "tests/unit/modtest.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct world {
	char dir[64];
	char *power;		/* the file */
	json_t *input;
};

static int setup(void **state)
{
	struct world *w = mem_alloc(sizeof(*w));

	strcpy(w->dir, "/tmp/drover-test.XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	w->power = mem_printf("%s/power", w->dir);
	assert_int_equal(io_write_file(AT_FDCWD, w->power, "on\n", 3, 0600), 0);
	w->input = json_pack("{s:{s:s}, s:{s:b}}", "machine", "name", "m", "run", "preview", 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	io_remove_tree(w->dir);
	json_decref(w->input);
	free(w->power);
	free(w);
	return 0;
}

static void power_is(const struct world *w, const char *want)
{
	AUTO_FREE char *now = io_read_file(AT_FDCWD, w->power, 64, NULL);

	assert_string_equal(now ? now : "", want);
}

static void set_args(struct world *w, json_t *args)
{
	assert_non_null(args);
	jset(w->input, "args", args);
}

static void command_asks_its_probe_and_can_be_undone(void **state)
{
	struct world *w = *state;

	set_args(w, json_pack("{s:o,s:o,s:o}", "argv", modtest_sh("echo off > %s", w->power), "probe",
			      modtest_sh("grep -q off %s", w->power), "undo",
			      modtest_sh("echo on > %s", w->power)));
	modtest_state(w->input, "any.command", "absent");
	modtest_must(w->input, "any.command", "apply");
	power_is(w, "off\n");
	modtest_state(w->input, "any.command", "done");
	modtest_must(w->input, "any.command", "undo");
	modtest_state(w->input, "any.command", "absent");
}

static void command_without_a_probe_is_done_once_it_ran(void **state)
{
	struct world *w = *state;

	set_args(w, json_pack("{s:[s]}", "argv", "true"));
	modtest_state(w->input, "any.command", "absent");
	modtest_must(w->input, "any.command", "apply");
	modtest_state(w->input, "any.command", "done");
}

/* One call for both, where the engine wants that. */
static void command_is_probed_in_the_call_that_ran_it(void **state)
{
	struct world *w = *state;
	AUTO_JSON *r = NULL, *alone = NULL, *twice = NULL;

	set_args(w, json_pack("{s:o,s:o}", "argv", modtest_sh("echo off > %s", w->power), "probe",
			      modtest_sh("grep -q off %s", w->power)));
	alone = modtest_call("any.command", "apply", w->input, NULL);
	assert_null(json_object_get(alone, "after"));
	jset_str(w->input, "then", "probe");
	r = modtest_call("any.command", "apply", w->input, NULL);
	assert_true(jbool(r, "after.ok", false));
	assert_string_equal(jstr(r, "after.state", ""), "done");
	assert_true(jbool(r, "after.stable.done", false));
	set_args(w, json_pack("{s:[s]}", "argv", "true"));	/* known by what was kept just now */
	twice = modtest_call("any.command", "apply", w->input, NULL);
	assert_string_equal(jstr(twice, "after.state", ""), "done");
}

static void what_cannot_be_probed_at_once_is_left_to_the_engine(void **state)
{
	struct world *w = *state;
	AUTO_JSON *r = NULL;

	set_args(w, json_pack("{s:[s],s:o}", "argv", "true", "probe", modtest_sh("exit 2")));
	jset_str(w->input, "then", "probe");
	r = modtest_call("any.command", "apply", w->input, NULL);
	assert_true(jbool(r, "ok", false));
	assert_null(json_object_get(r, "after"));
}

static void command_that_fails_says_how(void **state)
{
	struct world *w = *state;

	set_args(w, json_pack("{s:o}", "argv", modtest_sh("echo broken >&2; exit 3")));
	modtest_fails(w->input, "any.command", "apply", "'sh -c 'echo broken >&2; exit 3'' exited with "
		      "status 3: broken");
	modtest_state(w->input, "any.command", "absent");
	set_args(w, json_pack("{s:[s], s:o}", "argv", "true", "probe", modtest_sh("exit 2")));
	modtest_fails(w->input, "any.command", "probe", "'sh -c 'exit 2'' exited with status 2");
	set_args(w, json_pack("{s:[s]}", "argv", "no-such-program"));
	modtest_fails(w->input, "any.command", "apply",
		      "cannot run 'no-such-program': No such file or directory");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(command_asks_its_probe_and_can_be_undone),
		T(command_without_a_probe_is_done_once_it_ran),
		T(command_is_probed_in_the_call_that_ran_it),
		T(what_cannot_be_probed_at_once_is_left_to_the_engine),
		T(command_that_fails_says_how),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
