/* SPDX-License-Identifier: Apache-2.0
 * hook - a Lua check in a child process that can be killed. What it asks of a
 * host becomes calls ("call.read", "call.exec" ...) to that host's agent, made by
 * the engine on its behalf; in a preview only the reading ones exist.
 */
#ifndef DROVER_HOOK_H
#define DROVER_HOOK_H

#include "engine/host/host.h"

/* How a hook reaches hosts: "source", "target", "fence" or a host's name. The
 * owner starts the call and answers through its on_result. */
struct hook_pool;
struct hook_env {
	struct loop *loop;
	void (*start_call)(void *arg, const char *at, struct call *c);
	void *arg;
	struct hook_pool *pool;		/* NULL: no bound on children at once */
};

/* At most HOOK_CHILDREN checks run at once in a pool; others wait their turn, and
 * their time begins with it. Must outlive its checks. */
#define HOOK_CHILDREN 64
struct hook_pool *hook_pool_new(void);
void hook_pool_free(struct hook_pool *p);	/* NULL is harmless */

/* Start the check that `c` describes: c->input.args {file | use, with, timeout,
 * memory, retry}, facts, machine. Events and exactly one result come as from a host,
 * always from the loop. The file is read by the engine, relative to the plan's folder
 * (run.plan_dir). The program that calls this is started again for the child: its
 * main() begins as engine/cli/main.c does (engine/hook/child.h). */
void hook_start(const struct hook_env *env, struct call *c);
/* Its result follows, of kind "cancelled". */
void hook_stop(struct call *c);

/* Syntax check without running, for `drover check`. -1 with e: file:line. */
int hook_compile(const char *file, struct err *e);

#endif
