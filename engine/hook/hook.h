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
struct hook_env {
	struct loop *loop;
	void (*start_call)(void *arg, const char *at, struct call *c);
	void *arg;
};

/* Start the check that `c` describes: c->input.args {file, inline, with, timeout,
 * memory, ...}, facts, machine. Events and exactly one result come as from a host.
 * The file is read by the engine, relative to the plan's folder (run.plan_dir). */
void hook_start(const struct hook_env *env, struct call *c);
void hook_stop(struct call *c);

/* Syntax check without running, for `drover check`. -1 with e: file:line. */
int hook_compile(const char *file, struct err *e);

#endif
