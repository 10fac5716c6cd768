/* SPDX-License-Identifier: Apache-2.0
 * hookrig - a Lua check in a folder of its own, and hosts that answer from a table.
 */
#include "tests/unit/hookrig.h"

#include "engine/base/io.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void on_event(struct call *c, const json_t *ev, void *arg)
{
	struct hookrig *r = arg;

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
	struct hookrig *r = arg;

	(void)c;
	r->results++;
	json_decref(r->result);
	r->result = json_deep_copy(result);
	loop_stop(r->loop);
}

static void start_call(void *arg, const char *at, struct call *c)
{
	struct hookrig *r = arg;
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

struct hookrig *hookrig_new(const char *lua)
{
	struct hookrig *r = mem_alloc(sizeof(*r));
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

void hookrig_free(struct hookrig *r)
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

void hookrig_run(struct hookrig *r)
{
	hook_start(&r->env, &r->call);
	assert_null(r->result);		/* never from inside */
	loop_run(r->loop);
	assert_int_equal(r->results, 1);
}

void hookrig_args(struct hookrig *r, const char *key, json_t *v)
{
	jset(jget(r->call.input, "args"), key, v);
}

void hookrig_expect(const char *lua, const char *op, const char *want)
{
	struct hookrig *r = hookrig_new(lua);

	r->call.op = op;
	hookrig_run(r);
	assert_string_equal(jbool(r->result, "ok", false) ? jstr(r->result, "state", "") :
			    jstr(r->result, "error.text", ""), want);
	hookrig_free(r);
}
