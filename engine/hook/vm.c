/* SPDX-License-Identifier: Apache-2.0
 * hook/vm - one Lua state with a budget.
 */
#include "engine/hook/vm.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/base/text.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>

#define TICK 10000			/* instructions between two looks at the clock */
#define INSTRUCTIONS 4000000000u

struct vm *vm_of(lua_State *L)
{
	return *(struct vm **)lua_getextraspace(L);
}

/* "x.lua:12: " of the innermost Lua function; needs no memory. */
static void note_where(struct vm *v)
{
	lua_Debug ar;

	v->where[0] = '\0';
	for (int level = 0; v->L && lua_getstack(v->L, level, &ar); level++) {
		if (!lua_getinfo(v->L, "Sl", &ar) || ar.currentline <= 0)
			continue;
		snprintf(v->where, sizeof(v->where), "%s:%d: ", ar.short_src, ar.currentline);
		return;
	}
}

static void *allocate(void *arg, void *p, size_t old, size_t n)
{
	struct vm *v = arg;

	if (!p)
		old = 0;
	if (n == 0) {
		free(p);
		v->used -= old;
		return NULL;
	}
	if (n > old && n - old > v->limit - v->used) {
		note_where(v);
		return NULL;
	}
	p = realloc(p, n);
	if (p)
		v->used += n - old;
	else
		note_where(v);
	return p;
}

int vm_raise(lua_State *L, enum vm_end end, const char *text)
{
	struct vm *v = vm_of(L);

	if (!v->end) {
		v->end = end;
		v->text = text ? mem_strdup(text) : NULL;
	}
	luaL_where(L, 0);
	lua_error(L);
	abort();
}

static void on_count(lua_State *L, lua_Debug *ar)
{
	struct vm *v = vm_of(L);

	(void)ar;
	if (clock_real.mono_ms(clock_real.arg) >= v->deadline)
		vm_raise(L, END_TIME, NULL);
	if (v->instructions < TICK)
		vm_raise(L, END_INSTRUCTIONS, NULL);
	v->instructions -= TICK;
}

/* ---- the libraries ------------------------------------------------------- */

/* pcall, but what ends the check passes. */
static int safe_pcall(lua_State *L)
{
	struct vm *v = vm_of(L);
	int rc;

	luaL_checkany(L, 1);
	lua_pushboolean(L, 1);
	lua_insert(L, 1);
	rc = lua_pcall(L, lua_gettop(L) - 2, LUA_MULTRET, 0);
	if (rc == LUA_ERRMEM && !v->end)
		v->end = END_MEMORY;
	if (v->end)
		return lua_error(L);
	if (rc == LUA_OK)
		return lua_gettop(L);
	lua_pushboolean(L, 0);
	lua_insert(L, -2);
	return 2;
}

static void drop(lua_State *L, const char *const *names)
{
	for (; *names; names++) {
		lua_pushnil(L);
		lua_setfield(L, -2, *names);
	}
}

static int open_libraries(lua_State *L)
{
	static const luaL_Reg libs[] = {
		{ LUA_GNAME, luaopen_base }, { LUA_STRLIBNAME, luaopen_string },
		{ LUA_TABLIBNAME, luaopen_table }, { LUA_MATHLIBNAME, luaopen_math },
		{ LUA_UTF8LIBNAME, luaopen_utf8 },
	};
	static const char *const base[] = { "load", "loadfile", "dofile", "require",
		"collectgarbage", "xpcall", "warn", "print", NULL };
	static const char *const string[] = { "dump", NULL };

	for (size_t i = 0; i < ARRAY_LEN(libs); i++) {
		luaL_requiref(L, libs[i].name, libs[i].func, 1);
		lua_pop(L, 1);
	}
	lua_pushglobaltable(L);
	drop(L, base);
	lua_pushcfunction(L, safe_pcall);
	lua_setfield(L, -2, "pcall");
	lua_getfield(L, -1, "string");
	drop(L, string);
	lua_pushliteral(L, "");
	lua_getmetatable(L, -1);
	lua_pushliteral(L, "string");
	lua_setfield(L, -2, "__metatable");	/* setmetatable and getmetatable stop here */
	lua_settop(L, 0);
	return 0;
}

int vm_open(struct vm *v, size_t limit, uint64_t timeout_ms)
{
	v->limit = limit;
	v->timeout_ms = timeout_ms;
	v->deadline = clock_real.mono_ms(clock_real.arg) + timeout_ms;
	v->instructions = INSTRUCTIONS;
	v->L = lua_newstate(allocate, v);
	if (!v->L)
		return -1;
	*(struct vm **)lua_getextraspace(v->L) = v;
	lua_pushcfunction(v->L, open_libraries);
	if (lua_pcall(v->L, 0, 0, 0) != LUA_OK)
		return -1;
	lua_sethook(v->L, on_count, LUA_MASKCOUNT, TICK);
	return 0;
}

void vm_close(struct vm *v)
{
	if (v->L)
		lua_close(v->L);
	v->L = NULL;
	free(v->text);
	v->text = NULL;
}

/* ---- calling ------------------------------------------------------------- */

static char *budget_message(struct vm *v, const char *where)
{
	char amount[24];

	switch (v->end) {
	case END_TIME:
		text_duration(v->timeout_ms, amount);
		return mem_printf("%sdid not end within %s", where, amount);
	case END_MEMORY:
		text_size(v->limit, amount);
		return mem_printf("%sneeds more than %s of memory", v->where, amount);
	case END_INSTRUCTIONS:
		return mem_printf("%sused up its %llu million instructions", where,
				  INSTRUCTIONS / 1000000ull);
	case END_GONE:
		return mem_strdup("the engine is gone");
	default:
		return mem_strdup(v->text ? v->text : "failed");
	}
}

static char *message_of(struct vm *v, int rc)
{
	const char *text = lua_type(v->L, -1) == LUA_TSTRING ? lua_tostring(v->L, -1) : NULL;

	if (rc == LUA_ERRMEM && !v->end)
		v->end = END_MEMORY;
	if (v->end)
		return budget_message(v, text ? text : "");
	if (text)
		return mem_strdup(text);
	return mem_printf("an error that is no text but a %s", luaL_typename(v->L, -1));
}

int vm_load(struct vm *v, const char *name, const char *text, size_t n, char **error)
{
	AUTO_FREE char *chunk = mem_printf("@%s", name);
	int rc = luaL_loadbufferx(v->L, text, n, chunk, "t");

	if (rc == LUA_OK)
		return 0;
	*error = n && text[0] == LUA_SIGNATURE[0] ?
		mem_printf("%s: compiled Lua is not accepted, only text", name) :
		message_of(v, rc);
	lua_pop(v->L, 1);
	return -1;
}

int vm_call(struct vm *v, int args, int results, char **error)
{
	int rc = lua_pcall(v->L, args, results, 0);

	if (rc == LUA_OK)
		return 0;
	*error = message_of(v, rc);
	lua_pop(v->L, 1);
	return -1;
}

/* ---- JSON ---------------------------------------------------------------- */

static int refuse_write(lua_State *L)
{
	return luaL_error(L, "this table cannot be changed: it is what drover knows");
}

static int next_pair(lua_State *L)
{
	lua_settop(L, 2);
	return lua_next(L, 1) ? 2 : (lua_pushnil(L), 1);
}

static int proxy_pairs(lua_State *L)
{
	lua_pushcfunction(L, next_pair);
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_pushnil(L);
	return 3;
}

static int proxy_len(lua_State *L)
{
	lua_pushinteger(L, (lua_Integer)lua_rawlen(L, lua_upvalueindex(1)));
	return 1;
}

/* The table on top becomes an empty one that only shows it. */
static void make_proxy(lua_State *L)
{
	lua_newtable(L);			/* data, proxy */
	lua_createtable(L, 0, 5);		/* data, proxy, meta */
	lua_pushvalue(L, -3);
	lua_setfield(L, -2, "__index");
	lua_pushcfunction(L, refuse_write);
	lua_setfield(L, -2, "__newindex");
	lua_pushvalue(L, -3);
	lua_pushcclosure(L, proxy_pairs, 1);
	lua_setfield(L, -2, "__pairs");
	lua_pushvalue(L, -3);
	lua_pushcclosure(L, proxy_len, 1);
	lua_setfield(L, -2, "__len");
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_setmetatable(L, -2);
	lua_remove(L, -2);
}

void vm_push_json(lua_State *L, const json_t *j)
{
	const char *key;
	json_t *v;
	size_t i;

	luaL_checkstack(L, 8, "too deep");
	switch (j ? json_typeof(j) : JSON_NULL) {
	case JSON_OBJECT:
		lua_createtable(L, 0, (int)json_object_size(j));
		json_object_foreach((json_t *)(uintptr_t)j, key, v) {
			vm_push_json(L, v);
			lua_setfield(L, -2, key);
		}
		make_proxy(L);
		break;
	case JSON_ARRAY:
		lua_createtable(L, (int)json_array_size(j), 0);
		json_array_foreach(j, i, v) {
			vm_push_json(L, v);
			lua_rawseti(L, -2, (lua_Integer)i + 1);
		}
		make_proxy(L);
		break;
	case JSON_STRING:
		lua_pushlstring(L, json_string_value(j), json_string_length(j));
		break;
	case JSON_INTEGER:
		lua_pushinteger(L, json_integer_value(j));
		break;
	case JSON_REAL:
		lua_pushnumber(L, json_real_value(j));
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		lua_pushboolean(L, json_is_true(j));
		break;
	default:
		lua_pushnil(L);
	}
}

static json_t *to_json(lua_State *L, int i, int depth);

/* A table with 1..n is a list, one with text keys an object. */
static json_t *table_to_json(lua_State *L, int i, int depth)
{
	lua_Integer n = luaL_len(L, i);
	json_t *out = n > 0 ? json_array() : json_object();

	for (lua_Integer k = 1; k <= n && n <= 100000; k++) {
		lua_geti(L, i, k);
		jadd(out, to_json(L, lua_gettop(L), depth + 1));
		lua_pop(L, 1);
	}
	if (n > 0)
		return out;
	lua_pushnil(L);
	while (lua_next(L, i)) {
		if (lua_type(L, -2) == LUA_TSTRING)
			jset(out, lua_tostring(L, -2), to_json(L, lua_gettop(L), depth + 1));
		lua_pop(L, 1);
	}
	return out;
}

static json_t *to_json(lua_State *L, int i, int depth)
{
	size_t n;
	const char *s;

	luaL_checkstack(L, 8, "too deep");
	if (depth > 16)
		luaL_error(L, "the table is nested too deep");
	switch (lua_type(L, i)) {
	case LUA_TTABLE:
		return table_to_json(L, i, depth);
	case LUA_TSTRING:
		s = lua_tolstring(L, i, &n);
		return jtext(s, n);
	case LUA_TNUMBER:
		return lua_isinteger(L, i) ? json_integer(lua_tointeger(L, i)) :
		       json_real(lua_tonumber(L, i));
	case LUA_TBOOLEAN:
		return json_boolean(lua_toboolean(L, i));
	case LUA_TNIL:
		return json_null();
	default:
		luaL_error(L, "a %s cannot be passed on", luaL_typename(L, i));
		return NULL;
	}
}

json_t *vm_to_json(lua_State *L, int i)
{
	return to_json(L, lua_absindex(L, i), 0);
}
