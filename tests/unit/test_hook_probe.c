/* SPDX-License-Identifier: Apache-2.0
 * test_hook_probe - a Lua check as a step: what its probe says before and after it ran, and
 * its undo.
 */
#include "tests/unit/hookrig.h"

#include "engine/hook/child.h"
#include "engine/base/io.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

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
	hookrig_expect("return { probe = function() return 'perhaps' end }", "probe",
		       "x.lua: probe returned 'perhaps'");
	hookrig_expect("return { probe = function() end }", "apply",
		       "x.lua: it returns a table without a function 'apply'");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_probe_says_what_a_plain_check_will_do_and_asks_nothing),
		cmocka_unit_test(a_probe_in_assess_reads_but_does_not_run),
		cmocka_unit_test(a_plain_check_that_passed_is_done),
		cmocka_unit_test(a_check_that_asks_for_something_else_now_has_not_passed),
		cmocka_unit_test(a_plain_check_that_was_undone_is_asked_again),
		cmocka_unit_test(a_check_may_have_probe_apply_and_undo),
	};

	if (argc == 2 && strcmp(argv[1], HOOK_CHILD_ARG) == 0)
		return hook_child_main();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
