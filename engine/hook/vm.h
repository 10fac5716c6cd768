/* SPDX-License-Identifier: Apache-2.0
 * hook/vm - one Lua state with a budget: memory, instructions, time. What ends a
 * check (the budget, drover.fail) passes through every pcall.
 */
#ifndef DROVER_HOOK_VM_H
#define DROVER_HOOK_VM_H

#include "engine/base/json.h"

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum vm_end {
	END_NONE,		/* it goes on */
	END_TIME, END_MEMORY, END_INSTRUCTIONS,		/* the budget is used up */
	END_FAIL,		/* drover.fail(text) */
	END_ASKS,		/* it asks for what a probe may not do, `text` says what */
	END_GONE,		/* the engine is gone */
};

struct vm {
	lua_State *L;
	size_t used, limit;		/* bytes */
	uint64_t deadline;		/* mono ms */
	uint64_t timeout_ms;		/* for the message */
	uint64_t instructions;		/* left */
	enum vm_end end;		/* why it must end; passes through pcall */
	char where[128];		/* "x.lua:12: " of a memory error */
	char *text;			/* of END_FAIL and END_ASKS; owned */
	void *arg;			/* for the api */
};

/* A state with the safe part of the libraries; NULL when not even that fits. */
int vm_open(struct vm *v, size_t limit, uint64_t timeout_ms);
void vm_close(struct vm *v);
/* Load text (never bytecode) under the name that errors show. -1: *error is the
 * message, owned by the caller. */
int vm_load(struct vm *v, const char *name, const char *text, size_t n, char **error);
/* Call what is on the stack with `args` arguments, keep `results`. 0; or -1 with
 * *error as people should read it (v->end says whether it was the budget). */
int vm_call(struct vm *v, int args, int results, char **error);
/* End the check: sets v->end and raises. Does not return. */
int vm_raise(lua_State *L, enum vm_end end, const char *text)
	__attribute__((noreturn));
struct vm *vm_of(lua_State *L);

/* JSON to Lua: objects and arrays become tables that cannot be changed. */
void vm_push_json(lua_State *L, const json_t *j);
/* The value at index i to JSON, new; raises on functions, cycles and the like. */
json_t *vm_to_json(lua_State *L, int i);

#endif
