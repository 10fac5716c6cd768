/* SPDX-License-Identifier: Apache-2.0
 * Lua checks: what they see and say, and that none of them outlives its budget.
 */
#include "tests/unit/hookrig.h"

#include "engine/base/io.h"
#include "engine/hook/child.h"
#include "engine/hook/sandbox.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* Run as `op`; the error's text, or the state. */
static void expect(const char *lua, const char *op, const char *want)
{
	struct hookrig *r = hookrig_new(lua);

	r->call.op = op;
	hookrig_run(r);
	assert_string_equal(jbool(r->result, "ok", false) ? jstr(r->result, "state", "") :
			    jstr(r->result, "error.text", ""), want);
	hookrig_free(r);
}

static void expect_budget(const char *lua, int timeout_ms, int memory, const char *want)
{
	struct hookrig *r = hookrig_new(lua);

	hookrig_args(r, "timeout", json_integer(timeout_ms));
	hookrig_args(r, "memory", json_integer(memory));
	hookrig_run(r);
	assert_string_equal(jstr(r->result, "error.text", ""), want);
	hookrig_free(r);
}

/* ---- saying -------------------------------------------------------------- */

static void a_check_that_says_ok_passes(void **state)
{
	struct hookrig *r = hookrig_new("drover.log('hello ' .. drover.machine.name)\n"
				"drover.ok('all is well')\n");

	(void)state;
	hookrig_run(r);
	assert_true(jbool(r->result, "ok", false));
	assert_string_equal(jstr(r->result, "state", ""), "done");
	assert_string_equal(jstr(r->result, "volatile.message", ""), "all is well");
	assert_string_equal(r->log.s, "hello erp\nall is well\n");
	assert_string_equal(r->kept, "all is well");
	hookrig_free(r);
}

static void a_check_that_says_nothing_passes(void **state)
{
	(void)state;
	expect("local x = 1", "apply", "done");
}

static void fail_ends_the_check_with_its_message(void **state)
{
	(void)state;
	expect("drover.fail('login does not answer')\ndrover.ok()", "apply",
	       "login does not answer");
}

static void fail_passes_through_pcall(void **state)
{
	(void)state;
	expect("pcall(drover.fail, 'no')\ndrover.ok()", "apply", "no");
}

static void an_error_names_file_and_line(void **state)
{
	(void)state;
	expect("local x\n\nprint(x.y)", "apply",
	       "x.lua:3: attempt to index a nil value (local 'x')");
	expect("\nerror('broken')", "apply", "x.lua:2: broken");
	expect("drover.nonsense()", "apply", "x.lua:1: drover.nonsense is not known");
	expect("error({})", "apply", "an error that is no text but a table");
}

static void a_syntax_error_names_file_and_line(void **state)
{
	(void)state;
	expect("local x = 1\nif x then\n", "probe",
	       "x.lua:3: 'end' expected (to close 'if' at line 2) near <eof>");
}

static void compiled_lua_is_refused(void **state)
{
	(void)state;
	expect("\x1bLua\x54", "apply", "x.lua: compiled Lua is not accepted, only text");
}

static void warnings_and_findings_come_with_the_result(void **state)
{
	struct hookrig *r = hookrig_new("drover.warn('slow')\n"
		"drover.finding{severity='blocker', code='app.version', text='too old', remedy='upgrade'}\n"
		"drover.fact('app', {version='1'}, {load=3})\n");
	AUTO_FREE char *got = NULL, *facts = NULL;

	(void)state;
	hookrig_run(r);
	got = json_canonical(jget(r->result, "findings"));
	facts = json_canonical(jget(r->result, "facts"));
	assert_string_equal(got,
		"[{\"code\":\"check.x\",\"remedy\":null,\"severity\":\"warning\",\"text\":\"slow\"},"
		"{\"code\":\"app.version\",\"remedy\":\"upgrade\",\"severity\":\"blocker\",\"text\":\"too old\"}]");
	assert_string_equal(facts, "{\"app\":{\"stable\":{\"version\":\"1\"},\"volatile\":{\"load\":3}}}");
	hookrig_free(r);
}

static void facts_are_read_and_cannot_be_changed(void **state)
{
	(void)state;
	expect("local n = 0\nfor _, p in ipairs(drover.facts.guest.listening) do n = n + p end\n"
	       "for k, v in pairs(drover.facts) do assert(k == 'guest') end\n"
	       "assert(n == 102 and #drover.facts.guest.listening == 2)", "apply", "done");
	expect("drover.facts.guest.listening[3] = 1", "apply",
	       "x.lua:1: this table cannot be changed: it is what drover knows");
	expect("getmetatable(drover.facts).__index = nil", "apply",
	       "x.lua:1: attempt to index a boolean value");
}

/* ---- what is not there --------------------------------------------------- */

static void nothing_dangerous_is_within_reach(void **state)
{
	(void)state;
	expect("for _, n in ipairs{'load','loadfile','dofile','require','collectgarbage','xpcall',"
	       "'io','os','debug','package','coroutine','warn'} do assert(_G[n] == nil, n) end\n"
	       "assert(string.dump == nil)\n"
	       "assert(getmetatable('') == 'string')\n"
	       "assert(not pcall(setmetatable, '', {}))\n", "apply", "done");
}

/* ---- the budget ---------------------------------------------------------- */

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

/* ---- calls --------------------------------------------------------------- */

static void reading_calls_reach_the_host_that_is_named(void **state)
{
	struct hookrig *r = hookrig_new(
		"assert(drover.read('/etc/hosts') == 'one')\n"
		"assert(drover.read('/etc/hosts', {at='target'}) == 'one')\n"
		"assert(drover.connect('127.0.0.1', 80, {timeout=2}).open)\n"
		"local s, why = drover.stat('/x')\n"
		"assert(s == nil and why == 'no such file')\n");

	(void)state;
	jset(r->answers, "call.read", json_pack("{s:s}", "text", "one"));
	jset(r->answers, "call.connect", json_pack("{s:b}", "open", 1));
	hookrig_run(r);
	AUTO_FREE char *got = json_dumps(r->asked, 0);
	assert_string_equal(got, "[\"call.read source {\\\"path\\\":\\\"/etc/hosts\\\"}\", "
		"\"call.read target {\\\"path\\\":\\\"/etc/hosts\\\"}\", "
		"\"call.connect source {\\\"host\\\":\\\"127.0.0.1\\\",\\\"port\\\":80,\\\"timeout\\\":2000}\", "
		"\"call.stat source {\\\"path\\\":\\\"/x\\\"}\"]");
	assert_true(jbool(r->result, "ok", false));
	hookrig_free(r);
}

static void a_program_is_run_by_its_argv(void **state)
{
	struct hookrig *r = hookrig_new("local a = drover.run{'id', '-u', at='target', timeout=7}\nassert(a.status == 0)\n"
				"drover.ok(a.out)");

	(void)state;
	jset(r->answers, "call.exec", json_pack("{s:i, s:s}", "status", 0, "out", "0"));
	hookrig_run(r);
	assert_string_equal(json_string_value(json_array_get(r->asked, 0)),
			    "call.exec target {\"argv\":[\"id\",\"-u\"],\"timeout\":7000}");
	assert_string_equal(jstr(r->result, "volatile.message", ""), "0");
	hookrig_free(r);
}

static void a_probe_says_what_a_plain_check_will_do_and_asks_nothing(void **state)
{
	struct hookrig *r = hookrig_new("drover.read('/etc/hosts')\n");

	(void)state;
	r->call.op = "probe";
	hookrig_run(r);
	assert_string_equal(jstr(r->result, "state", ""), "unknown");
	assert_string_equal(jstr(json_array_get(jget(r->result, "changes"), 0), "text", ""),
			    "check x.lua at source");
	assert_int_equal(json_array_size(r->asked), 0);
	hookrig_free(r);
}

static void a_probe_in_assess_reads_but_does_not_run(void **state)
{
	struct hookrig *r = hookrig_new("drover.read('/etc/hosts')\ndrover.run{'reboot'}\n");

	(void)state;
	r->call.op = "probe";
	jset_str(jget(r->call.input, "run"), "step", "assess.x");
	jset(r->answers, "call.read", json_pack("{s:s}", "text", "one"));
	hookrig_run(r);
	assert_string_equal(jstr(json_array_get(jget(r->result, "changes"), 0), "text", ""),
			    "check x.lua at source, runs reboot at source");
	assert_int_equal(json_array_size(r->asked), 1);
	hookrig_free(r);
}

/* What a check with this text leaves when it passed, asked with these arguments. */
static char *passed_mark(const char *args_hash, const char *text)
{
	AUTO_FREE char *both = mem_printf("%s %s", args_hash, text);
	char hash[SHA256_HEX];

	sha256_hex(both, strlen(both), hash);
	return mem_printf("passed-%.16s", hash);
}

static void a_plain_check_that_passed_is_done(void **state)
{
	static const char lua[] = "drover.fail('must not run')\n";
	struct hookrig *r = hookrig_new(lua);
	AUTO_FREE char *mark = passed_mark("", lua);

	(void)state;
	r->call.op = "probe";
	jset(r->call.input, "kept", json_pack("{s:{s:s}}", mark, "text", "fine"));
	hookrig_run(r);
	assert_string_equal(jstr(r->result, "state", ""), "done");
	assert_string_equal(jstr(json_array_get(jget(r->result, "changes"), 0), "text", ""), "fine");
	hookrig_free(r);
}

static void a_check_that_asks_for_something_else_now_has_not_passed(void **state)
{
	struct hookrig *r = hookrig_new("drover.ok()");
	AUTO_FREE char *mark = passed_mark("other arguments", "drover.ok()");
	AUTO_FREE char *text = passed_mark("", "drover.ok('other text')");

	(void)state;
	r->call.op = "probe";
	jset(r->call.input, "kept", json_pack("{s:{s:s}, s:{s:s}}", mark, "text", "fine",
					      text, "text", "fine"));
	hookrig_run(r);
	assert_string_equal(jstr(r->result, "state", ""), "unknown");
	hookrig_free(r);
}

static void a_plain_check_that_was_undone_is_asked_again(void **state)
{
	AUTO_FREE char *mark = passed_mark("", "drover.ok()");
	struct hookrig *r = hookrig_new("drover.fail('must not run')\n");

	(void)state;
	r->call.op = "undo";
	hookrig_run(r);
	assert_true(jbool(r->result, "ok", false));
	assert_string_equal(r->kept, "yes");
	hookrig_free(r);
	r = hookrig_new("drover.ok()");
	r->call.op = "probe";
	jset(r->call.input, "kept", json_pack("{s:{s:s}, s:{s:s}}", mark, "text", "fine",
					      "undone", "text", "yes"));
	hookrig_run(r);
	assert_string_equal(jstr(r->result, "state", ""), "unknown");
	hookrig_free(r);
}

static void a_check_may_have_probe_apply_and_undo(void **state)
{
	static const char lua[] =
		"return {\n"
		"  probe = function() drover.change('+', 'a rule') return 'absent' end,\n"
		"  apply = function() assert(drover.run{'add'}) end,\n"
		"  undo = function() assert(drover.run{'remove'}) end,\n"
		"}\n";
	static const char *const ops[] = { "probe", "apply", "undo" };
	static const char *const want[] = { "absent", "done", "absent" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
		struct hookrig *r = hookrig_new(lua);

		r->call.op = ops[i];
		jset(r->answers, "call.exec", json_pack("{s:i}", "status", 0));
		hookrig_run(r);
		assert_string_equal(jstr(r->result, "state", ""), want[i]);
		assert_int_equal(json_array_size(r->asked), i == 0 ? 0 : 1);
		hookrig_free(r);
	}
	expect("return { probe = function() return 'perhaps' end }", "probe",
	       "x.lua: probe returned 'perhaps'");
	expect("return { probe = function() end }", "apply",
	       "x.lua: it returns a table without a function 'apply'");
}

static void a_check_is_asked_again_while_retry_lasts(void **state)
{
	struct hookrig *r = hookrig_new("if not drover.read('/ready') then drover.fail('not yet') end");

	(void)state;
	hookrig_args(r, "retry", json_integer(30000));
	hook_start(&r->env, &r->call);
	while (json_array_size(r->asked) == 0)
		loop_turn(r->loop, -1);
	jset(r->answers, "call.read", json_pack("{s:s}", "text", "yes"));
	loop_run(r->loop);
	assert_true(jbool(r->result, "ok", false));
	assert_int_equal(json_array_size(r->asked), 2);
	hookrig_free(r);
}

static void a_pool_runs_all_its_checks(void **state)
{
	struct hook_pool *pool = hook_pool_new();
	struct hookrig *rigs[HOOK_CHILDREN + 6];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rigs); i++) {
		rigs[i] = hookrig_new("drover.ok()");
		if (i) {
			loop_free(rigs[i]->loop);
			rigs[i]->loop = rigs[i]->env.loop = rigs[0]->loop;
		}
		rigs[i]->env.pool = pool;
		hook_start(&rigs[i]->env, &rigs[i]->call);
	}
	for (size_t i = 0; i < ARRAY_LEN(rigs); i++) {
		while (!rigs[i]->result)
			loop_turn(rigs[0]->loop, -1);
		assert_true(jbool(rigs[i]->result, "ok", false));
	}
	for (size_t i = ARRAY_LEN(rigs); i-- > 0;) {
		if (i)
			rigs[i]->loop = NULL;
		hookrig_free(rigs[i]);
	}
	hook_pool_free(pool);
}

/* ---- files --------------------------------------------------------------- */

static void a_missing_file_and_an_unknown_name_are_told(void **state)
{
	struct hookrig *r = hookrig_new("");

	(void)state;
	hookrig_args(r, "file", json_string("login.lua"));
	hookrig_run(r);
	assert_string_equal(jstr(r->result, "error.text", ""),
			    "cannot read the check 'login.lua': No such file or directory");
	hookrig_free(r);

	r = hookrig_new("");
	json_object_del(jget(r->call.input, "args"), "file");
	hookrig_args(r, "use", json_string("prot"));
	hookrig_run(r);
	assert_string_equal(jstr(r->result, "error.text", ""),
			    "no ready-made check is called 'prot'");
	assert_string_equal(jstr(r->result, "error.hint", ""), "did you mean 'port'?");
	hookrig_free(r);
}

static void compile_says_where_a_file_is_wrong(void **state)
{
	struct hookrig *r = hookrig_new("x = = 1");
	AUTO_FREE char *path = mem_printf("%s/x.lua", r->dir), *want = NULL;
	AUTO_ERR e = {0};

	(void)state;
	assert_int_equal(hook_compile(path, &e), -1);
	want = mem_printf("%s:1: unexpected symbol near '='", path);
	assert_string_equal(e.what, want);
	hookrig_free(r);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_check_that_says_ok_passes),
		cmocka_unit_test(a_check_that_says_nothing_passes),
		cmocka_unit_test(fail_ends_the_check_with_its_message),
		cmocka_unit_test(fail_passes_through_pcall),
		cmocka_unit_test(an_error_names_file_and_line),
		cmocka_unit_test(a_syntax_error_names_file_and_line),
		cmocka_unit_test(compiled_lua_is_refused),
		cmocka_unit_test(warnings_and_findings_come_with_the_result),
		cmocka_unit_test(facts_are_read_and_cannot_be_changed),
		cmocka_unit_test(nothing_dangerous_is_within_reach),
		cmocka_unit_test(an_endless_loop_ends_at_the_deadline),
		cmocka_unit_test(an_endless_loop_of_pcalls_ends_at_the_deadline),
		cmocka_unit_test(a_pattern_bomb_is_killed),
		cmocka_unit_test(a_finalizer_that_loops_is_killed),
		cmocka_unit_test(memory_bombs_hit_the_limit),
		cmocka_unit_test(a_process_that_is_locked_in_cannot_open_a_file),
		cmocka_unit_test(no_call_outlives_its_check),
		cmocka_unit_test(a_check_that_is_stopped_says_cancelled),
		cmocka_unit_test(reading_calls_reach_the_host_that_is_named),
		cmocka_unit_test(a_program_is_run_by_its_argv),
		cmocka_unit_test(a_probe_says_what_a_plain_check_will_do_and_asks_nothing),
		cmocka_unit_test(a_probe_in_assess_reads_but_does_not_run),
		cmocka_unit_test(a_plain_check_that_passed_is_done),
		cmocka_unit_test(a_check_that_asks_for_something_else_now_has_not_passed),
		cmocka_unit_test(a_plain_check_that_was_undone_is_asked_again),
		cmocka_unit_test(a_check_may_have_probe_apply_and_undo),
		cmocka_unit_test(a_check_is_asked_again_while_retry_lasts),
		cmocka_unit_test(a_pool_runs_all_its_checks),
		cmocka_unit_test(a_missing_file_and_an_unknown_name_are_told),
		cmocka_unit_test(compile_says_where_a_file_is_wrong),
	};

	if (argc == 2 && strcmp(argv[1], HOOK_CHILD_ARG) == 0)
		return hook_child_main();
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
