/* SPDX-License-Identifier: Apache-2.0
 * hook/api_say - what a check has to say: how it ended, findings, facts, and the lines of a
 * preview. All but the log goes with its result.
 */
#include "engine/hook/api_priv.h"
#include "engine/base/mem.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

int api_ok(lua_State *L)
{
	struct check *ck = api_check(L);
	const char *text = luaL_optstring(L, 1, "ok");

	api_must_run(L);
	free(ck->message);
	ck->message = mem_strdup(text);
	return 0;
}

int api_fail(lua_State *L)
{
	const char *text = luaL_optstring(L, 1, "failed");

	api_must_run(L);
	return vm_raise(L, END_FAIL, text);
}

static void add_finding(lua_State *L, const char *severity, const char *code,
			const char *text, const char *remedy)
{
	json_t *f = json_object();

	jset_str(f, "severity", severity);
	jset_str(f, "code", code);
	jset(f, "text", jtext(text, strlen(text)));
	jset_str(f, "remedy", remedy);
	jadd(api_check(L)->findings, f);
}

int api_warn(lua_State *L)
{
	const char *text = luaL_checkstring(L, 1);
	const char *step = jstr(api_check(L)->job, "step", "check");
	const char *id = strrchr(step, '.');

	api_must_run(L);
	lua_pushfstring(L, "check.%s", id ? id + 1 : step);
	add_finding(L, "warning", lua_tostring(L, -1), text, NULL);
	return 0;
}

/* drover.finding{severity=, code=, text=, remedy=} */
int api_finding(lua_State *L)
{
	static const char *const keys[] = { "severity", "code", "text", "remedy", NULL };
	static const char *const words[] = { "blocker", "warning", "info", "unknown", NULL };
	const char *severity, *code, *text;

	luaL_checktype(L, 1, LUA_TTABLE);
	api_must_run(L);
	api_options(L, 1, keys);
	severity = api_option(L, 1, "severity", "warning");
	code = api_option(L, 1, "code", "check");
	text = api_option(L, 1, "text", NULL);
	if (!text)
		return luaL_error(L, "drover.finding wants a text");
	for (const char *const *w = words; strcmp(*w, severity) != 0; w++)
		if (!w[1])
			return luaL_error(L, "severity '%s' is none of blocker, warning, info, "
					  "unknown", severity);
	add_finding(L, severity, code, text, api_option(L, 1, "remedy", NULL));
	return 0;
}

int api_log(lua_State *L)
{
	json_t *o;
	size_t n;
	const char *text = luaL_tolstring(L, 1, &n);

	api_must_run(L);
	o = json_object();
	jset_str(o, "e", "log");
	jset(o, "text", jtext(text, n > 4096 ? 4096 : n));
	api_send(L, o);
	return 0;
}

/* drover.change("+", "what will be made"): lines of a preview, in probe; of a "?" the
 * third argument says how many changes it may become at most */
int api_change(lua_State *L)
{
	const char *mark = luaL_checkstring(L, 1), *text = luaL_checkstring(L, 2);
	json_t *o;

	api_must_run(L);
	if (strlen(mark) != 1 || !strchr("+~-=?.", *mark))
		return luaL_error(L, "mark '%s' is none of + ~ - = ? .", mark);
	o = json_object();
	jset_str(o, "mark", mark);
	jset(o, "text", jtext(text, strlen(text)));
	if (*mark == '?' && !lua_isnoneornil(L, 3)) {
		lua_Integer max = luaL_checkinteger(L, 3);

		if (max < 0)
			return luaL_error(L, "a bound of %d changes makes no sense", (int)max);
		jset(o, "bound", json_pack("{s:s, s:I}", "what", "changes", "max",
					   (json_int_t)max));
	}
	jadd(api_check(L)->changes, o);
	return 0;
}

/* drover.fact("name", {stable}, {volatile}) */
int api_fact(lua_State *L)
{
	const char *name = luaL_checkstring(L, 1);
	json_t *o = json_object();

	api_must_run(L);
	luaL_checktype(L, 2, LUA_TTABLE);
	jset(o, "stable", vm_to_json(L, 2));
	if (!lua_isnoneornil(L, 3))
		jset(o, "volatile", vm_to_json(L, 3));
	jset(api_check(L)->facts, name, o);
	return 0;
}
