/* SPDX-License-Identifier: Apache-2.0
 * test_hook - Lua checks: what they see and say.
 */
#include "tests/unit/hookrig.h"

#include "engine/hook/child.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

/* ---- saying ------------------------------------------------------------------ */

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
	hookrig_expect("local x = 1", "apply", "done");
}

static void fail_ends_the_check_with_its_message(void **state)
{
	(void)state;
	hookrig_expect("drover.fail('login does not answer')\ndrover.ok()", "apply",
		       "login does not answer");
}

static void fail_passes_through_pcall(void **state)
{
	(void)state;
	hookrig_expect("pcall(drover.fail, 'no')\ndrover.ok()", "apply", "no");
}

static void an_error_names_file_and_line(void **state)
{
	(void)state;
	hookrig_expect("local x\n\nprint(x.y)", "apply",
		       "x.lua:3: attempt to index a nil value (local 'x')");
	hookrig_expect("\nerror('broken')", "apply", "x.lua:2: broken");
	hookrig_expect("drover.nonsense()", "apply", "x.lua:1: drover.nonsense is not known");
	hookrig_expect("error({})", "apply", "an error that is no text but a table");
}

static void a_syntax_error_names_file_and_line(void **state)
{
	(void)state;
	hookrig_expect("local x = 1\nif x then\n", "probe",
		       "x.lua:3: 'end' expected (to close 'if' at line 2) near <eof>");
}

static void compiled_lua_is_refused(void **state)
{
	(void)state;
	hookrig_expect("\x1bLua\x54", "apply", "x.lua: compiled Lua is not accepted, only text");
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
	hookrig_expect("local n = 0\nfor _, p in ipairs(drover.facts.guest.listening) do n = n + p end\n"
		       "for k, v in pairs(drover.facts) do assert(k == 'guest') end\n"
		       "assert(n == 102 and #drover.facts.guest.listening == 2)", "apply", "done");
	hookrig_expect("drover.facts.guest.listening[3] = 1", "apply",
		       "x.lua:1: this table cannot be changed: it is what drover knows");
	hookrig_expect("getmetatable(drover.facts).__index = nil", "apply",
		       "x.lua:1: attempt to index a boolean value");
}

/* ---- calls ------------------------------------------------------------------- */

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

/* ---- files ------------------------------------------------------------------- */

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
		cmocka_unit_test(reading_calls_reach_the_host_that_is_named),
		cmocka_unit_test(a_program_is_run_by_its_argv),
		cmocka_unit_test(a_check_is_asked_again_while_retry_lasts),
		cmocka_unit_test(a_pool_runs_all_its_checks),
		cmocka_unit_test(a_missing_file_and_an_unknown_name_are_told),
		cmocka_unit_test(compile_says_where_a_file_is_wrong),
	};

	if (argc == 2 && strcmp(argv[1], HOOK_CHILD_ARG) == 0)
		return hook_child_main();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
