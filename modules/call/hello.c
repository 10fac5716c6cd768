/* SPDX-License-Identifier: Apache-2.0
 * call.hello - which external programs this host has. Changes nothing.
 *
 * volatile: {tools: {NAME: path | null}}
 */
#include "engine/base/mem.h"
#include "engine/base/proc.h"
#include "modules/module.h"

static const struct param params[] = {
	{ .name = "tools", .type = P_LIST, .summary = "programs to look for" },
	{ .name = NULL },
};

static int probe(struct ctx *c, enum probe_state *state)
{
	json_t *found = json_object(), *item;
	size_t i;

	json_array_foreach(json_object_get(ctx_args(c), "tools"), i, item) {
		const char *name = json_string_value(item);
		AUTO_FREE char *path = name ? proc_which(name) : NULL;

		if (name)
			jset_str(found, name, path);
	}
	ctx_volatile(c, "tools", found);
	*state = STATE_DONE;
	return 0;
}

const struct module module_call_hello = {
	.name = "call.hello",
	.summary = "say which programs are there",
	.place = ON_AT,
	.flags = MOD_READ_ONLY,
	.params = params,
	.probe = probe,
};
