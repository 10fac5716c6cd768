/* SPDX-License-Identifier: Apache-2.0
 * hookrig.h - a Lua check in a folder of its own, and hosts that answer from a table.
 */
#ifndef TESTS_UNIT_HOOKRIG_H
#define TESTS_UNIT_HOOKRIG_H

#include "engine/base/mem.h"
#include "engine/hook/hook.h"

struct hookrig {
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

/* The check's text; it is asked to apply unless call.op says otherwise. */
struct hookrig *hookrig_new(const char *lua);
void hookrig_free(struct hookrig *r);
/* Until its result came, once and never from inside hook_start(). */
void hookrig_run(struct hookrig *r);
/* Run this check as `op`: the test fails unless `want` is the error's text, or else the state. */
void hookrig_expect(const char *lua, const char *op, const char *want);
/* Another argument of the call; takes `v`. */
void hookrig_args(struct hookrig *r, const char *key, json_t *v);

#endif
