/* SPDX-License-Identifier: Apache-2.0
 * validate.release - end the copy that validate.boot kept for checks, and take its
 * fence and overlays away. Nothing to undo: the copy was temporary.
 */
#include "modules/lib/testcopy.h"
#include "modules/module.h"

#define MARK "released"		/* kept once it has run */

static const struct param params[] = { { .name = NULL } };
static const char *const wants[] = { "definition", NULL };
static const char *const tools[] = { "ip", NULL };

/* That no copy is there says nothing before boot has kept one: having run is noted. */
static int probe(struct ctx *c, enum probe_state *state)
{
	AUTO_TESTCOPY t = {0};
	size_t n = 0;

	*state = STATE_ABSENT;
	if (ctx_fact(c, "definition")) {
		if (testcopy_of(c, &t) < 0)
			return -1;
		if (ctx_kept(c, MARK, &n) && !testcopy_there(&t)) {
			*state = STATE_DONE;
			return 0;
		}
	}
	ctx_change(c, '-', "the copy of %s that boot keeps behind the fence",
		   ctx_machine_name(c));
	return 0;
}

static int apply(struct ctx *c)
{
	AUTO_TESTCOPY t = {0};

	if (testcopy_of(c, &t) < 0 || testcopy_end(c, &t) < 0)
		return -1;
	return ctx_keep(c, MARK, "yes", 3);
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
