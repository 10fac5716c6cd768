/* SPDX-License-Identifier: Apache-2.0
 * test_hook_budget - what a Lua check cannot reach, and that none outlives its budget.
 */
#include "tests/unit/hookrig.h"

#include "engine/hook/child.h"
#include "engine/hook/sandbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void nothing_dangerous_is_within_reach(void **state)
{
	(void)state;
	hookrig_expect("for _, n in ipairs{'load','loadfile','dofile','require','collectgarbage','xpcall',"
		       "'io','os','debug','package','coroutine','warn'} do assert(_G[n] == nil, n) end\n"
		       "assert(string.dump == nil)\n"
		       "assert(getmetatable('') == 'string')\n"
		       "assert(not pcall(setmetatable, '', {}))\n", "apply", "done");
}

/* ---- the budget -------------------------------------------------------------- */

static void expect_budget(const char *lua, int timeout_ms, int memory, const char *want)
{
	struct hookrig *r = hookrig_new(lua);

	hookrig_args(r, "timeout", json_integer(timeout_ms));
	hookrig_args(r, "memory", json_integer(memory));
	hookrig_run(r);
	assert_string_equal(jstr(r->result, "error.text", ""), want);
	hookrig_free(r);
}

static void an_endless_loop_ends_at_the_deadline(void **state)
{
	(void)state;
	expect_budget("local n = 0\nwhile true do n = n + 1 end", 300, 16 << 20,
		      "x.lua:2: did not end within 300ms");
}

static void an_endless_loop_of_pcalls_ends_at_the_deadline(void **state)
{
	(void)state;
	expect_budget("while true do pcall(function() while true do end end) end", 300, 16 << 20,
		      "x.lua:1: did not end within 300ms");
}

static void a_pattern_bomb_is_killed(void **state)
{
	(void)state;
	expect_budget("return (('a'):rep(40)):find(('a*'):rep(14) .. 'b')", 300, 16 << 20,
		      "x.lua: did not end within 300ms");
}

static void a_finalizer_that_loops_is_killed(void **state)
{
	(void)state;
	expect_budget("setmetatable({}, {__gc = function() while true do end end})\n"
		      "local t = {} while true do t = {t, ('x'):rep(100)} t = {} end", 300, 16 << 20,
		      "x.lua: did not end within 300ms");
}

static void memory_bombs_hit_the_limit(void **state)
{
	(void)state;
	expect_budget("local s = ('x'):rep(1000)\nlocal t = {}\n"
		      "while true do t[#t + 1] = s .. #t end", 10000, 8 << 20,
		      "x.lua:3: needs more than 8.0 MiB of memory");
	expect_budget("\nlocal s = ('x'):rep(1e9)", 10000, 8 << 20,
		      "x.lua:2: needs more than 8.0 MiB of memory");
	expect_budget("while true do pcall(string.rep, 'x', 1e9) end", 10000, 8 << 20,
		      "x.lua:1: needs more than 8.0 MiB of memory");
	expect_budget("local function f(n) return f(n + 1) + 1 end f(1)", 10000, 2 << 20,
		      "x.lua:1: needs more than 2.0 MiB of memory");
}

/* Checks never reach the system themselves; if Lua were broken, this would hold. */
static void a_process_that_is_locked_in_cannot_open_a_file(void **state)
{
	int status = 0;
	pid_t pid;

	(void)state;
	if (MEM_SANITIZED)
		skip();
	pid = fork();
	if (pid == 0) {
		if (sandbox_enter(16 << 20, 1000) < 0)
			_exit(2);
		_exit(open("/etc/passwd", O_RDONLY) >= 0);
	}
	waitpid(pid, &status, 0);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSYS);
}

static void no_call_outlives_its_check(void **state)
{
	struct hookrig *r = hookrig_new("drover.run{'sleep', '100'}");
	AUTO_JSON *args = NULL;
	const char *asked;

	(void)state;
	hookrig_args(r, "timeout", json_integer(3000));
	hookrig_run(r);
	asked = json_string_value(json_array_get(r->asked, 0));
	args = json_loads(strchr(asked, '{'), 0, NULL);
	assert_true(jint(args, "timeout", 99999) <= 3000);
	hookrig_free(r);
}

static void a_check_that_is_stopped_says_cancelled(void **state)
{
	struct hookrig *r = hookrig_new("while true do end");

	(void)state;
	hook_start(&r->env, &r->call);
	hook_stop(&r->call);
	loop_run(r->loop);
	assert_int_equal(r->results, 1);
	assert_string_equal(jstr(r->result, "error.kind", ""), "cancelled");
	hookrig_free(r);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_dangerous_is_within_reach),
		cmocka_unit_test(an_endless_loop_ends_at_the_deadline),
		cmocka_unit_test(an_endless_loop_of_pcalls_ends_at_the_deadline),
		cmocka_unit_test(a_pattern_bomb_is_killed),
		cmocka_unit_test(a_finalizer_that_loops_is_killed),
		cmocka_unit_test(memory_bombs_hit_the_limit),
		cmocka_unit_test(a_process_that_is_locked_in_cannot_open_a_file),
		cmocka_unit_test(no_call_outlives_its_check),
		cmocka_unit_test(a_check_that_is_stopped_says_cancelled),
	};

	if (argc == 2 && strcmp(argv[1], HOOK_CHILD_ARG) == 0)
		return hook_child_main();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
