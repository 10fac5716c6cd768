/* SPDX-License-Identifier: Apache-2.0
 * validate.release - end the copy that validate.boot kept for checks, and take its
 * fence and overlays away. Nothing to undo: the copy was temporary.
 */
#include "modules/lib/testcopy.h"
#include "modules/module.h"

static const struct param params[] = { { .name = NULL } };
static const char *const wants[] = { "definition", NULL };
static const char *const tools[] = { "ip", NULL };

static int probe(struct ctx *c, enum probe_state *state)
{
	AUTO_TESTCOPY t = {0};

	*state = STATE_DONE;
	if (!ctx_fact(c, "definition"))
		return 0;
	if (testcopy_of(c, &t) < 0)
		return -1;
	if (!testcopy_there(&t))
		return 0;
	ctx_change(c, '-', "the copy of %s behind the fence", ctx_machine_name(c));
	*state = STATE_ABSENT;
	return 0;
}

static int apply(struct ctx *c)
{
	AUTO_TESTCOPY t = {0};

	return testcopy_of(c, &t) < 0 ? -1 : testcopy_end(c, &t);
}

static int undo(struct ctx *c)
{
	(void)c;
	return 0;
}

const struct module module_validate_release = {
	.name = "validate.release",
	.summary = "end the copy that boot kept for checks",
	.place = ON_TARGET,
	.flags = MOD_REVERSIBLE,
	.params = params,
	.wants = wants,
	.tools = tools,
	.probe = probe,
	.apply = apply,
	.undo = undo,
};
