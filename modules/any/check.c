/* SPDX-License-Identifier: Apache-2.0
 * any.check - a step written in Lua: a file beside the plan, or one of the ready-made
 * ones. What it changes, if anything, and how that is undone is the check's own affair;
 * one that only asks changes nothing.
 *
 * The engine runs it (engine/hook); an agent never does.
 */
#include "modules/module.h"

static const struct param params[] = {
	{ .name = "file", .type = P_STR, .summary = "the Lua file, from the plan's folder" },
	{ .name = "use", .type = P_STR,
	  .summary = "a ready-made check: port, service, http, same-file, ports-same" },
	{ .name = "with", .type = P_MAP, .words = PARAM_SECRET, .summary = "what the check sees as drover.with" },
	{ .name = "timeout", .type = P_DURATION, .dflt = "30s", .min = 100, .max = 86400000,
	  .summary = "it is killed after this time" },
	{ .name = "memory", .type = P_SIZE, .dflt = "64MiB", .min = 1 << 20,
	  .max = (int64_t)1 << 30, .summary = "it may use so much" },
	{ .name = "retry", .type = P_DURATION, .dflt = "0s", .min = 0, .max = 86400000,
	  .summary = "ask again for so long until it is ok" },
	{ .name = NULL },
};

static int refuse(struct ctx *c)
{
	ctx_hint(c, "this is a fault of the engine that asked");
	return ctx_fail(c, "cannot run a check here: checks run in the engine");
}

static int probe(struct ctx *c, enum probe_state *state)
{
	*state = STATE_UNKNOWN;
	return refuse(c);
}

const struct module module_any_check = {
	.name = "any.check",
	.summary = "a check written in Lua: what only the owner of a service knows",
	.place = IN_ENGINE,
	.flags = MOD_REVERSIBLE,
	.params = params,
	.probe = probe,
	.apply = refuse,
	.undo = refuse,
};
