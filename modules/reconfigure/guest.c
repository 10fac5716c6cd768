/* SPDX-License-Identifier: Apache-2.0
 * reconfigure.guest - work out what has to change in the guest for its new platform,
 * as a change set: each edit a diff in the preview. It reads the source and writes
 * nothing anywhere; validate.boot and cutover.replay apply the change set on overlays.
 * There is nothing to undo.
 */
#include "engine/base/mem.h"
#include "modules/lib/guestfs.h"
#include "modules/reconfigure/rules/rules.h"

static const struct param params[] = {
	{ 0 }
};

/* The change set of the source's files as they are now; owned. NULL, told. */
static json_t *work_out(struct ctx *c, bool show)
{
	const json_t *machine = ctx_fact(c, "machine");
	AUTO_GUESTFS g = { 0 };
	AUTO_CHANGESET set = { 0 };
	AUTO_ERR e = { 0 };

	if (!machine) {
		ctx_fail(c, "cannot work out the changes: fact 'machine' is not known");
		ctx_hint(c, "put assess.machine before this step");
		return NULL;
	}
	if (guestfs_open(ctx_machine(c), machine, &g, &e) < 0) {
		ctx_fail_err(c, &e);
		return NULL;
	}
	set.tree = g.tree;
	if (rules_run(show ? c : NULL, ctx_machine(c), machine, &set, &e) < 0) {
		ctx_fail_err(c, &e);
		return NULL;
	}
	if (show)
		changeset_show(c, &set);
	return changeset_json(&set, machine, show ? c : NULL);
}

static int probe(struct ctx *c, enum probe_state *state)
{
	const json_t *recorded = ctx_fact(c, "changeset");
	AUTO_JSON *now = work_out(c, true);

	if (!now)
		return -1;
	/* Made from the same texts: nothing to do. */
	*state = recorded && json_equal(jget(recorded, "edits"), jget(now, "edits"))
		? STATE_DONE : STATE_ABSENT;
	return 0;
}

static int apply(struct ctx *c)
{
	json_t *set = work_out(c, false);

	if (!set)
		return -1;
	ctx_log(c, "%zu files to change", json_array_size(jget(set, "edits")));
	ctx_set_fact(c, "changeset", set, NULL);
	return 0;
}

/* The fact is all there is, and the engine drops it. */
static int undo(struct ctx *c)
{
	(void)c;
	return 0;
}

static const char *const wants[] = { "machine", "guest", "changeset", NULL };
static const char *const tools[] = { "qemu-nbd", NULL };

const struct module module_reconfigure_guest = {
	.name = "reconfigure.guest",
	.summary = "work out the guest's changes: names by UUID, interfaces, addresses",
	.place = ON_SOURCE,
	.flags = MOD_REVERSIBLE,
	.params = params,
	.wants = wants,
	.tools = tools,
	.probe = probe,
	.apply = apply,
	.undo = undo,
};
