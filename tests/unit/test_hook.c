/* SPDX-License-Identifier: Apache-2.0
 * Lua checks: what they see and say, and that none of them outlives its budget.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/hook/child.h"
#include "engine/hook/hook.h"
#include "engine/hook/http.h"
#include "engine/hook/sandbox.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* A check in a folder of its own, and hosts that answer from a table. */
struct rig {
	char dir[64];
	struct loop *loop;
	struct hook_env env;
	struct call call;
	json_t *result;			/* what came */
	int results;
	json_t *asked;			/* "read source {...}" of every call */
	json_t *answers;		/* module -> volatile; absent: a failure */
	struct str log;
	char *kept;
};

static void on_event(struct call *c, const json_t *ev, void *arg)
{
	struct rig *r = arg;

	(void)c;
	if (strcmp(jstr(ev, "e", ""), "log") == 0)
		str_addf(&r->log, "%s\n", jstr(ev, "text", ""));
	if (strcmp(jstr(ev, "e", ""), "keep") == 0) {
		free(r->kept);
		r->kept = mem_strdup(jstr(ev, "text", ""));
	}
}

static void on_result(struct call *c, const json_t *result, void *arg)
{
	struct rig *r = arg;

	(void)c;
	r->results++;
	json_decref(r->result);
	r->result = json_deep_copy(result);
	loop_stop(r->loop);
}

static void start_call(void *arg, const char *at, struct call *c)
{
	struct rig *r = arg;
	AUTO_FREE char *args = json_canonical(jget(c->input, "args"));
	AUTO_JSON *result = json_object();
	json_t *answer = json_object_get(r->answers, c->module);

	jadd(r->asked, json_sprintf("%s %s %s", c->module, at, args));
	assert_string_equal(c->op, strcmp(c->module, "call.exec") ? "probe" : "apply");
	jset_bool(result, "ok", answer != NULL);
	if (answer)
		json_object_set(result, "volatile", answer);
	else
		jset(result, "error", json_pack("{s:s}", "text", "no such file"));
	c->on_result(c, result, c->arg);
}

static struct rig *rig_new(const char *lua)
{
	struct rig *r = mem_alloc(sizeof(*r));
	AUTO_FREE char *path = NULL;

	strcpy(r->dir, "/tmp/drover-test.XXXXXX");
	assert_non_null(mkdtemp(r->dir));
	r->loop = loop_new(&clock_real);
	r->env = (struct hook_env){ .loop = r->loop, .start_call = start_call, .arg = r };
	r->asked = json_array();
	r->answers = json_object();
	path = mem_printf("%s/x.lua", r->dir);
	assert_int_equal(io_write_file(-100, path, lua, strlen(lua), 0644), 0);
	r->call = (struct call){ .module = "any.check", .op = "apply",
		.on_event = on_event, .on_result = on_result, .arg = r };
	r->call.input = json_pack("{s:{s:s, s:{}, s:i, s:i}, s:{s:{s:[i,i]}}, s:{s:s}, s:s, s:{s:s, s:s}}",
		"args", "file", "x.lua", "with", "timeout", 20000, "memory", 16 << 20,
		"facts", "guest", "listening", 22, 80,
		"machine", "name", "erp", "role", "source",
		"run", "plan_dir", r->dir, "step", "validate.x");
	return r;
}

static void rig_free(struct rig *r)
{
	io_remove_tree(r->dir);
	loop_free(r->loop);
	json_decref(r->call.input);
	json_decref(r->result);
	json_decref(r->asked);
	json_decref(r->answers);
	str_free(&r->log);
	free(r->kept);
	free(r);
}

static void rig_run(struct rig *r)
{
	hook_start(&r->env, &r->call);
	assert_null(r->result);		/* never from inside */
	loop_run(r->loop);
	assert_int_equal(r->results, 1);
}

static void args_set(struct rig *r, const char *key, json_t *v)
{
	jset(jget(r->call.input, "args"), key, v);
}

/* Run as `op`; the error's text, or the state. */
static void expect(const char *lua, const char *op, const char *want)
{
	struct rig *r = rig_new(lua);

	r->call.op = op;
	rig_run(r);
	assert_string_equal(jbool(r->result, "ok", false) ? jstr(r->result, "state", "") :
			    jstr(r->result, "error.text", ""), want);
	rig_free(r);
}

static void expect_budget(const char *lua, int timeout_ms, int memory, const char *want)
{
	struct rig *r = rig_new(lua);

	args_set(r, "timeout", json_integer(timeout_ms));
	args_set(r, "memory", json_integer(memory));
	rig_run(r);
	assert_string_equal(jstr(r->result, "error.text", ""), want);
	rig_free(r);
}

/* ---- saying -------------------------------------------------------------- */

static void a_check_that_says_ok_passes(void **state)
{
	struct rig *r = rig_new("drover.log('hello ' .. drover.machine.name)\n"
				"drover.ok('all is well')\n");

	(void)state;
	rig_run(r);
	assert_true(jbool(r->result, "ok", false));
	assert_string_equal(jstr(r->result, "state", ""), "done");
	assert_string_equal(jstr(r->result, "volatile.message", ""), "all is well");
	assert_string_equal(r->log.s, "hello erp\nall is well\n");
	assert_string_equal(r->kept, "all is well");
	rig_free(r);
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
	struct rig *r = rig_new("drover.warn('slow')\n"
		"drover.finding{severity='blocker', code='app.version', text='too old', remedy='upgrade'}\n"
		"drover.fact('app', {version='1'}, {load=3})\n");
	AUTO_FREE char *got = NULL, *facts = NULL;

	(void)state;
	rig_run(r);
	got = json_canonical(jget(r->result, "findings"));
	facts = json_canonical(jget(r->result, "facts"));
	assert_string_equal(got,
		"[{\"code\":\"check.x\",\"remedy\":null,\"severity\":\"warning\",\"text\":\"slow\"},"
		"{\"code\":\"app.version\",\"remedy\":\"upgrade\",\"severity\":\"blocker\",\"text\":\"too old\"}]");
	assert_string_equal(facts, "{\"app\":{\"stable\":{\"version\":\"1\"},\"volatile\":{\"load\":3}}}");
	rig_free(r);
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
#if defined(__SANITIZE_ADDRESS__)
	skip();
#endif
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
	struct rig *r = rig_new("drover.run{'sleep', '100'}");
	AUTO_JSON *args = NULL;
	const char *asked;

	(void)state;
	args_set(r, "timeout", json_integer(3000));
	rig_run(r);
	asked = json_string_value(json_array_get(r->asked, 0));
	args = json_loads(strchr(asked, '{'), 0, NULL);
	assert_true(jint(args, "timeout", 99999) <= 3000);
	rig_free(r);
}

static void a_check_that_is_stopped_says_cancelled(void **state)
{
	struct rig *r = rig_new("while true do end");

	(void)state;
	hook_start(&r->env, &r->call);
	hook_stop(&r->call);
	loop_run(r->loop);
	assert_int_equal(r->results, 1);
	assert_string_equal(jstr(r->result, "error.kind", ""), "cancelled");
	rig_free(r);
}

/* ---- calls --------------------------------------------------------------- */

static void reading_calls_reach_the_host_that_is_named(void **state)
{
	struct rig *r = rig_new(
		"assert(drover.read('/etc/hosts') == 'one')\n"
		"assert(drover.read('/etc/hosts', {at='target'}) == 'one')\n"
		"assert(drover.connect('127.0.0.1', 80, {timeout=2}).open)\n"
		"local s, why = drover.stat('/x')\n"
		"assert(s == nil and why == 'no such file')\n");

	(void)state;
	jset(r->answers, "call.read", json_pack("{s:s}", "text", "one"));
	jset(r->answers, "call.connect", json_pack("{s:b}", "open", 1));
	rig_run(r);
	AUTO_FREE char *got = json_dumps(r->asked, 0);
	assert_string_equal(got, "[\"call.read source {\\\"path\\\":\\\"/etc/hosts\\\"}\", "
		"\"call.read target {\\\"path\\\":\\\"/etc/hosts\\\"}\", "
		"\"call.connect source {\\\"host\\\":\\\"127.0.0.1\\\",\\\"port\\\":80,\\\"timeout\\\":2000}\", "
		"\"call.stat source {\\\"path\\\":\\\"/x\\\"}\"]");
	assert_true(jbool(r->result, "ok", false));
	rig_free(r);
}

static void a_program_is_run_by_its_argv(void **state)
{
	struct rig *r = rig_new("local a = drover.run{'id', '-u', at='target', timeout=7}\nassert(a.status == 0)\n"
				"drover.ok(a.out)");

	(void)state;
	jset(r->answers, "call.exec", json_pack("{s:i, s:s}", "status", 0, "out", "0"));
	rig_run(r);
	assert_string_equal(json_string_value(json_array_get(r->asked, 0)),
			    "call.exec target {\"argv\":[\"id\",\"-u\"],\"timeout\":7000}");
	assert_string_equal(jstr(r->result, "volatile.message", ""), "0");
	rig_free(r);
}

static void a_probe_says_what_a_plain_check_will_do_and_asks_nothing(void **state)
{
	struct rig *r = rig_new("drover.read('/etc/hosts')\n");

	(void)state;
	r->call.op = "probe";
	rig_run(r);
	assert_string_equal(jstr(r->result, "state", ""), "unknown");
	assert_string_equal(jstr(json_array_get(jget(r->result, "changes"), 0), "text", ""),
			    "check x.lua at source");
	assert_int_equal(json_array_size(r->asked), 0);
	rig_free(r);
}

static void a_probe_in_assess_reads_but_does_not_run(void **state)
{
	struct rig *r = rig_new("drover.read('/etc/hosts')\ndrover.run{'reboot'}\n");

	(void)state;
	r->call.op = "probe";
	jset_str(jget(r->call.input, "run"), "step", "assess.x");
	jset(r->answers, "call.read", json_pack("{s:s}", "text", "one"));
	rig_run(r);
	assert_string_equal(jstr(json_array_get(jget(r->result, "changes"), 0), "text", ""),
			    "check x.lua at source, runs reboot at source");
	assert_int_equal(json_array_size(r->asked), 1);
	rig_free(r);
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
	struct rig *r = rig_new(lua);
	AUTO_FREE char *mark = passed_mark("", lua);

	(void)state;
	r->call.op = "probe";
	jset(r->call.input, "kept", json_pack("{s:{s:s}}", mark, "text", "fine"));
	rig_run(r);
	assert_string_equal(jstr(r->result, "state", ""), "done");
	assert_string_equal(jstr(json_array_get(jget(r->result, "changes"), 0), "text", ""), "fine");
	rig_free(r);
}

static void a_check_that_asks_for_something_else_now_has_not_passed(void **state)
{
	struct rig *r = rig_new("drover.ok()");
	AUTO_FREE char *mark = passed_mark("other arguments", "drover.ok()");
	AUTO_FREE char *text = passed_mark("", "drover.ok('other text')");

	(void)state;
	r->call.op = "probe";
	jset(r->call.input, "kept", json_pack("{s:{s:s}, s:{s:s}}", mark, "text", "fine",
					      text, "text", "fine"));
	rig_run(r);
	assert_string_equal(jstr(r->result, "state", ""), "unknown");
	rig_free(r);
}

static void a_plain_check_that_was_undone_is_asked_again(void **state)
{
	AUTO_FREE char *mark = passed_mark("", "drover.ok()");
	struct rig *r = rig_new("drover.fail('must not run')\n");

	(void)state;
	r->call.op = "undo";
	rig_run(r);
	assert_true(jbool(r->result, "ok", false));
	assert_string_equal(r->kept, "yes");
	rig_free(r);
	r = rig_new("drover.ok()");
	r->call.op = "probe";
	jset(r->call.input, "kept", json_pack("{s:{s:s}, s:{s:s}}", mark, "text", "fine",
					      "undone", "text", "yes"));
	rig_run(r);
	assert_string_equal(jstr(r->result, "state", ""), "unknown");
	rig_free(r);
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
		struct rig *r = rig_new(lua);

		r->call.op = ops[i];
		jset(r->answers, "call.exec", json_pack("{s:i}", "status", 0));
		rig_run(r);
		assert_string_equal(jstr(r->result, "state", ""), want[i]);
		assert_int_equal(json_array_size(r->asked), i == 0 ? 0 : 1);
		rig_free(r);
	}
	expect("return { probe = function() return 'perhaps' end }", "probe",
	       "x.lua: probe returned 'perhaps'");
	expect("return { probe = function() end }", "apply",
	       "x.lua: it returns a table without a function 'apply'");
}

static void a_check_is_asked_again_while_retry_lasts(void **state)
{
	struct rig *r = rig_new("if not drover.read('/ready') then drover.fail('not yet') end");

	(void)state;
	args_set(r, "retry", json_integer(30000));
	hook_start(&r->env, &r->call);
	while (json_array_size(r->asked) == 0)
		loop_turn(r->loop, -1);
	jset(r->answers, "call.read", json_pack("{s:s}", "text", "yes"));
	loop_run(r->loop);
	assert_true(jbool(r->result, "ok", false));
	assert_int_equal(json_array_size(r->asked), 2);
	rig_free(r);
}

static void a_pool_runs_all_its_checks(void **state)
{
	struct hook_pool *pool = hook_pool_new();
	struct rig *rigs[HOOK_CHILDREN + 6];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rigs); i++) {
		rigs[i] = rig_new("drover.ok()");
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
		rig_free(rigs[i]);
	}
	hook_pool_free(pool);
}

/* ---- files --------------------------------------------------------------- */

static void a_missing_file_and_an_unknown_name_are_told(void **state)
{
	struct rig *r = rig_new("");

	(void)state;
	args_set(r, "file", json_string("login.lua"));
	rig_run(r);
	assert_string_equal(jstr(r->result, "error.text", ""),
			    "cannot read the check 'login.lua': No such file or directory");
	rig_free(r);

	r = rig_new("");
	json_object_del(jget(r->call.input, "args"), "file");
	args_set(r, "use", json_string("prot"));
	rig_run(r);
	assert_string_equal(jstr(r->result, "error.text", ""),
			    "no ready-made check is called 'prot'");
	assert_string_equal(jstr(r->result, "error.hint", ""), "did you mean 'port'?");
	rig_free(r);
}

static void compile_says_where_a_file_is_wrong(void **state)
{
	struct rig *r = rig_new("x = = 1");
	AUTO_FREE char *path = mem_printf("%s/x.lua", r->dir), *want = NULL;
	AUTO_ERR e = {0};

	(void)state;
	assert_int_equal(hook_compile(path, &e), -1);
	want = mem_printf("%s:1: unexpected symbol near '='", path);
	assert_string_equal(e.what, want);
	rig_free(r);
}

/* ---- ready-made checks --------------------------------------------------- */

static struct rig *ready_made(const char *use, json_t *with)
{
	struct rig *r = rig_new("");

	json_object_del(jget(r->call.input, "args"), "file");
	args_set(r, "use", json_string(use));
	args_set(r, "with", with);
	return r;
}

static void check_ready(struct rig *r, const char *want)
{
	rig_run(r);
	assert_string_equal(jbool(r->result, "ok", false) ? jstr(r->result, "volatile.message", "") :
			    jstr(r->result, "error.text", ""), want);
	rig_free(r);
}

static void the_ready_made_checks_judge_what_hosts_answer(void **state)
{
	struct rig *r;

	(void)state;
	r = ready_made("port", json_pack("{s:i}", "port", 443));
	jset(r->answers, "call.connect", json_pack("{s:b}", "open", 1));
	check_ready(r, "port 443 of 127.0.0.1 is open");
	r = ready_made("port", json_pack("{s:i}", "port", 443));
	jset(r->answers, "call.connect", json_pack("{s:b,s:s}", "open", 0, "error", "Connection refused"));
	check_ready(r, "port 443 of 127.0.0.1 is not open: Connection refused");
	check_ready(ready_made("port", json_object()),
		    "with.port is missing: the TCP port that must be open");
	r = ready_made("service", json_pack("{s:s}", "name", "nginx"));
	jset(r->answers, "call.exec", json_pack("{s:i,s:s}", "status", 3, "out", "inactive\n"));
	check_ready(r, "service nginx is inactive");
	r = ready_made("same-file", json_pack("{s:s}", "path", "/etc/hosts"));
	jset(r->answers, "call.read", json_pack("{s:s}", "text", "one"));
	check_ready(r, "/etc/hosts is the same, 3 bytes");
	r = ready_made("ports-same", json_object());
	jset(r->answers, "call.connect", json_pack("{s:b,s:s}", "open", 0, "error", "refused"));
	check_ready(r, "127.0.0.1: listened before, closed now: 22, 80");
	r = ready_made("http", json_pack("{s:s,s:s}", "url", "http://10.1.0.5/", "pattern", "login"));
	jset(r->answers, "call.connect", json_pack("{s:b,s:s}", "open", 1, "banner",
		"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n<h1>login</h1>"));
	check_ready(r, "http://10.1.0.5/ answers 200");
	r = ready_made("http", json_pack("{s:s}", "url", "http://10.1.0.5/"));
	jset(r->answers, "call.connect", json_pack("{s:b,s:s}", "open", 1, "banner",
		"HTTP/1.1 503 Service Unavailable\r\n\r\n"));
	check_ready(r, "http://10.1.0.5/ answers 503 Service Unavailable, not 200");
}

static void http_requests_are_written_whole(void **state)
{
	char *why = NULL;
	AUTO_JSON *a = http_request("http://[::1]:8080?q=1#top", "erp.example.net", &why);

	(void)state;
	assert_null(why);
	assert_string_equal(jstr(a, "host", ""), "::1");
	assert_int_equal(jint(a, "port", 0), 8080);
	assert_string_equal(jstr(a, "send", ""), "GET /?q=1 HTTP/1.0\r\nHost: erp.example.net\r\n"
			    "User-Agent: drover\r\nAccept: */*\r\nConnection: close\r\n\r\n");
}

static void answers_that_are_no_http_are_refused(void **state)
{
	static const char *const rows[] = { "HTTP/1.1200", "HTTP/1.1\n200", "HTTP/1.",
		"HTTP/1.1 ", "HTTP/1.1 20", "ICY 200 OK", "HTTP/2 200" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		json_t *connected = json_pack("{s:b, s:{s:b, s:s}}", "ok", 1, "result", "open", 1,
					      "banner", rows[i]);
		AUTO_JSON *a = http_answer("http://10.0.0.1/", connected);

		assert_false(jbool(a, "ok", true));
		assert_string_equal(jstr(a, "error", ""),
				    "cannot ask 'http://10.0.0.1/': the answer is not HTTP");
	}
}

/* A server that answers one request and ends. */
static pid_t serve_once(const char *answer, int *port)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int s = socket(AF_INET, SOCK_STREAM, 0), c;
	socklen_t n = sizeof(in);
	char buf[4096];
	pid_t pid;

	assert_int_equal(bind(s, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(listen(s, 1), 0);
	getsockname(s, (struct sockaddr *)&in, &n);
	*port = ntohs(in.sin_port);
	pid = fork();
	if (pid == 0) {
		c = accept(s, NULL, NULL);
		if (read(c, buf, sizeof(buf)) > 0 && write(c, answer, strlen(answer)) < 0)
			_exit(1);
		_exit(0);
	}
	close(s);
	return pid;
}

static void http_is_asked_from_beside_the_engine(void **state)
{
	static const char lua[] =
		"local a = assert(drover.http(drover.with.url, {at='here'}))\n"
		"drover.ok(a.status .. ' ' .. a.reason .. ' ' .. a.headers['x-test'] .. ' ' .. a.body)\n";
	struct rig *r = rig_new(lua);
	int port, status;
	pid_t pid = serve_once("HTTP/1.1 404 Not Here\r\nX-Test: yes\r\nContent-Length: 3\r\n\r\nabc", &port);

	(void)state;
	args_set(r, "with", json_pack("{s:o}", "url", json_sprintf("http://localhost:%d/", port)));
	rig_run(r);
	assert_string_equal(jstr(r->result, "volatile.message", jstr(r->result, "error.text", "")),
			    "404 Not Here yes abc");
	waitpid(pid, &status, 0);
	rig_free(r);

	r = rig_new("local a, why = drover.http('https://127.0.0.1:1/', {at='here'})\ndrover.fail(why)");
	rig_run(r);
	assert_string_equal(jstr(r->result, "error.text", ""),
			    "cannot ask 'https://127.0.0.1:1/': Couldn't connect to server");
	rig_free(r);
}

static void urls_that_cannot_be_asked_are_refused(void **state)
{
	static const char *const rows[][2] = {
		{ "https://10.1.0.5/", "cannot ask 'https://10.1.0.5/': https is only supported "
		  "from beside the engine; give {at = \"here\"}" },
		{ "http://erp/", "cannot ask 'http://erp/': hosts resolve no names; give the address, "
		  "and the name as {host = \"erp\"}" },
		{ "http://10.1.0.5/a\r\nX: y", "cannot ask 'http://10.1.0.5/a\r\nX: y': it has blanks "
		  "or control characters" },
		{ "ftp", "cannot ask 'ftp': it is no URL" },
		{ "http://10.1.0.5:0/", "cannot ask 'http://10.1.0.5:0/': the port is wrong" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char *why = NULL;

		assert_null(http_request(rows[i][0], NULL, &why));
		assert_string_equal(why, rows[i][1]);
		free(why);
	}
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
		cmocka_unit_test(the_ready_made_checks_judge_what_hosts_answer),
		cmocka_unit_test(http_requests_are_written_whole),
		cmocka_unit_test(answers_that_are_no_http_are_refused),
		cmocka_unit_test(http_is_asked_from_beside_the_engine),
		cmocka_unit_test(urls_that_cannot_be_asked_are_refused),
	};

	if (argc == 2 && strcmp(argv[1], HOOK_CHILD_ARG) == 0)
		return hook_child_main();
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
