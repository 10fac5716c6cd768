/* SPDX-License-Identifier: Apache-2.0
 * hook/api - the table `drover` that a check sees: what is known, and calls to hosts.
 * Every call is one question to the engine and one answer.
 */
#include "engine/hook/api_priv.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/hook/http.h"
#include "engine/wire/frame.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

struct check *api_check(lua_State *L)
{
	return vm_of(L)->arg;
}

/* ---- talking to the engine ----------------------------------------------- */

void api_send(lua_State *L, json_t *o)
{
	AUTO_JSON *owned = o;

	if (frame_write_fd(api_check(L)->fd, FRAME_EVENT, 1, owned, NULL) < 0)
		vm_raise(L, END_GONE, NULL);
}

void api_must_run(lua_State *L)
{
	if (api_check(L)->loading)
		vm_raise(L, END_ASKS, NULL);
}

/* One call on a host: {ok, result} or {ok: false, error}. New. */
static json_t *ask(lua_State *L, const char *call, const char *at, json_t *args)
{
	struct check *ck = api_check(L);
	json_t *o = json_object();
	struct frame f = {0};
	json_t *answer;

	jset_str(o, "e", "call");
	jset_int(o, "id", ++ck->last_id);
	jset_str(o, "call", call);
	jset_str(o, "at", at);
	jset(o, "args", args);
	api_send(L, o);
	if (frame_read_fd(ck->fd, &f, NULL) <= 0 || f.type != FRAME_ACK ||
	    jint(f.body, "id", 0) != ck->last_id) {
		frame_clear(&f);
		vm_raise(L, END_GONE, NULL);
	}
	answer = json_incref(f.body);
	frame_clear(&f);
	return answer;
}

/* ---- arguments ----------------------------------------------------------- */

void api_options(lua_State *L, int i, const char *const *keys)
{
	if (lua_isnoneornil(L, i))
		return;
	luaL_checktype(L, i, LUA_TTABLE);
	lua_pushnil(L);
	while (lua_next(L, i)) {
		bool known = lua_type(L, -2) != LUA_TSTRING;

		for (const char *const *k = keys; *k && !known; k++)
			known = strcmp(*k, lua_tostring(L, -2)) == 0;
		if (!known)
			luaL_error(L, "unknown option '%s'", lua_tostring(L, -2));
		lua_pop(L, 1);
	}
}

const char *api_option(lua_State *L, int i, const char *key, const char *dflt)
{
	const char *s;

	if (lua_isnoneornil(L, i))
		return dflt;
	lua_getfield(L, i, key);
	if (lua_isnil(L, -1)) {
		lua_pop(L, 1);
		return dflt;
	}
	if (lua_type(L, -1) != LUA_TSTRING)
		luaL_error(L, "option '%s' must be text", key);
	s = lua_tostring(L, -1);	/* the table keeps it alive */
	lua_pop(L, 1);
	return s;
}

/* No call outlives its check. */
static lua_Number time_left(lua_State *L)
{
	uint64_t now = clock_real.mono_ms(clock_real.arg), end = api_check(L)->deadline;

	return end > now ? (lua_Number)(end - now) : 1;
}

/* Seconds, as people write them in Lua, to milliseconds; at most what is left. */
static lua_Integer option_seconds(lua_State *L, int i, const char *key, lua_Number dflt)
{
	lua_Number n = dflt;

	if (!lua_isnoneornil(L, i)) {
		lua_getfield(L, i, key);
		if (!lua_isnil(L, -1))
			n = luaL_checknumber(L, -1);
		lua_pop(L, 1);
	}
	if (!(n > 0) || n > 86400)
		luaL_error(L, "option '%s' must be seconds, more than 0", key);
	n *= 1000;
	return (lua_Integer)(n < time_left(L) ? n : time_left(L));
}

static const char *where(lua_State *L, int i)
{
	return api_option(L, i, "at", jstr(api_check(L)->job, "role", "source"));
}

/* Push what the call answered: its result, or nil and why. */
static int push_answer(lua_State *L, json_t *owned)
{
	AUTO_JSON *answer = owned;

	if (jbool(answer, "ok", false)) {
		vm_push_json(L, jget(answer, "result"));
		return 1;
	}
	lua_pushnil(L);
	lua_pushstring(L, jstr(answer, "error", "no reason given"));
	return 2;
}

/* ---- reading calls ------------------------------------------------------- */

static const char *const at_only[] = { "at", NULL };

/* drover.read(path, {at=}) -> text, or nil and why */
static int api_read(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	json_t *args, *answer;
	const char *text;

	api_must_run(L);
	api_options(L, 2, at_only);
	args = json_object();
	jset_str(args, "path", path);
	answer = ask(L, "read", where(L, 2), args);
	text = jstr(answer, "result.text", NULL);
	if (!jbool(answer, "ok", false))
		return push_answer(L, answer);
	if (text) {
		lua_pushstring(L, text);
		json_decref(answer);
		return 1;
	}
	json_decref(answer);
	lua_pushnil(L);
	lua_pushfstring(L, "'%s' is not text", path);
	return 2;
}

static int path_call(lua_State *L, const char *call)
{
	const char *path = luaL_checkstring(L, 1);
	json_t *args;

	api_must_run(L);
	api_options(L, 2, at_only);
	args = json_object();
	jset_str(args, "path", path);
	return push_answer(L, ask(L, call, where(L, 2), args));
}

/* drover.stat(path, {at=}) -> {exists, kind, size, mode, ...} */
static int api_stat(lua_State *L)
{
	return path_call(L, "stat");
}

/* drover.list(path, {at=}) -> {entries={...}, truncated} */
static int api_list(lua_State *L)
{
	return path_call(L, "list");
}

/* drover.connect(host, port, {at=, timeout=}) -> {open, error, ms} */
static int api_connect(lua_State *L)
{
	static const char *const keys[] = { "at", "timeout", NULL };
	const char *host = luaL_checkstring(L, 1);
	lua_Integer port = luaL_checkinteger(L, 2), ms;
	json_t *args;

	api_must_run(L);
	api_options(L, 3, keys);
	ms = option_seconds(L, 3, "timeout", 5);
	args = json_object();
	jset_str(args, "host", host);
	jset_int(args, "port", port);
	jset_int(args, "timeout", ms);
	return push_answer(L, ask(L, "connect", where(L, 3), args));
}

/* From beside the engine: https, and names. */
static int fetch(lua_State *L, const char *url, const char *name, lua_Integer ms)
{
	json_t *args = json_object();

	jset_str(args, "url", url);
	if (name)
		jset_str(args, "host", name);
	jset_int(args, "timeout", ms);
	return push_answer(L, ask(L, "fetch", "here", args));
}

/* drover.http(url, {at=, host=, timeout=}) -> {status, reason, headers, body} */
static int api_http(lua_State *L)
{
	static const char *const keys[] = { "at", "timeout", "host", NULL };
	const char *url = luaL_checkstring(L, 1), *name;
	char *why = NULL;
	json_t *args, *answer;
	lua_Integer ms;

	api_must_run(L);
	api_options(L, 2, keys);
	ms = option_seconds(L, 2, "timeout", 10);
	name = api_option(L, 2, "host", NULL);
	if (strcmp(where(L, 2), "here") == 0)
		return fetch(L, url, name, ms);
	args = http_request(url, name, &why);
	if (!args) {
		lua_pushstring(L, why);
		free(why);
		luaL_where(L, 1);
		lua_insert(L, -2);
		lua_concat(L, 2);
		return lua_error(L);
	}
	jset_int(args, "timeout", ms);
	answer = http_answer(url, ask(L, "connect", where(L, 2), args));
	return push_answer(L, answer);
}

/* ---- the call that changes things, perhaps ------------------------------- */

/* "run systemctl is-active nginx at target" */
static char *run_text(lua_State *L, int i, const char *at)
{
	struct str b = {0};

	str_add(&b, "runs");
	for (lua_Integer k = 1; k <= luaL_len(L, i) && b.len < 300; k++) {
		lua_geti(L, i, k);
		str_addc(&b, ' ');
		str_add_safe(&b, luaL_tolstring(L, -1, NULL));
		lua_pop(L, 2);
	}
	str_addf(&b, " at %s", at);
	return str_take(&b);
}

/* drover.run{"systemctl", "is-active", "x", at=, timeout=, input=} -> {status, out, err} */
static int api_run(lua_State *L)
{
	json_t *args, *argv;
	const char *at, *input;
	lua_Integer ms;

	luaL_checktype(L, 1, LUA_TTABLE);
	api_must_run(L);
	at = where(L, 1);
	ms = option_seconds(L, 1, "timeout", 60);
	if (luaL_len(L, 1) < 1)
		return luaL_error(L, "drover.run wants a program: drover.run{\"program\", \"argument\"}");
	if (api_check(L)->reading_only) {
		char *text = run_text(L, 1, at);
		struct vm *v = vm_of(L);

		v->end = END_ASKS;
		v->text = text;
		return lua_error(L);
	}
	input = api_option(L, 1, "input", NULL);
	argv = json_array();
	for (lua_Integer k = 1; k <= luaL_len(L, 1); k++) {
		lua_geti(L, 1, k);
		jadd(argv, json_string(luaL_tolstring(L, -1, NULL)));
		lua_pop(L, 2);
	}
	args = json_object();
	jset(args, "argv", argv);
	if (input)
		jset(args, "input", jtext(input, strlen(input)));
	jset_int(args, "timeout", ms);
	return push_answer(L, ask(L, "exec", at, args));
}

/* ---- the table -------------------------------------------------------------- */

static const luaL_Reg functions[] = {
	{ "read", api_read }, { "stat", api_stat }, { "list", api_list },
	{ "connect", api_connect }, { "http", api_http }, { "run", api_run },
	{ "ok", api_ok }, { "warn", api_warn }, { "fail", api_fail },
	{ "finding", api_finding }, { "log", api_log }, { "change", api_change },
	{ "fact", api_fact }, { NULL, NULL },
};

static int unknown_field(lua_State *L)
{
	return luaL_error(L, "drover.%s is not known", luaL_tolstring(L, 2, NULL));
}

int api_open(lua_State *L)
{
	const json_t *job = api_check(L)->job;
	static const char *const known[] = { "with", "facts", "machine", "role", "step", NULL };

	luaL_newlib(L, functions);
	for (const char *const *k = known; *k; k++) {
		AUTO_JSON *empty = json_object();

		vm_push_json(L, jget(job, *k) ? jget(job, *k) : empty);
		lua_setfield(L, -2, *k);
	}
	lua_pushboolean(L, api_check(L)->reading_only);
	lua_setfield(L, -2, "preview");
	lua_createtable(L, 0, 1);
	lua_pushcfunction(L, unknown_field);
	lua_setfield(L, -2, "__index");
	lua_setmetatable(L, -2);
	lua_setglobal(L, "drover");
	lua_pushcfunction(L, api_log);
	lua_setglobal(L, "print");
	return 0;
}
