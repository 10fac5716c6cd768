/* SPDX-License-Identifier: Apache-2.0
 * pass - the last pass: the source is quiesced, what changed since the pass before
 * is copied into the base images.
 *
 * Going back needs no undo: the base is a copy that only drover reads, a newer pass
 * of it serves a rolled-back machine as well as the older one, and the next pass
 * compares all of it again. What hangs on the old pass (overlays, boot tests) ends
 * before this step.
 */
#include "modules/lib/copy.h"
#include "modules/lib/freeze.h"
#include "modules/lib/track.h"

#include "engine/base/text.h"

#include <string.h>

static const struct param params[] = {
	COPY_CHUNK_PARAM,
	COPY_ZIP_PARAM,
	COPY_FREE_PARAM,
	COPY_BAD_PARAM,
	{ .name = NULL },
};

static const char *const wants[] = { "machine", "disks", "pass", "freeze", NULL };
static const char *const tools[] = { "qemu-nbd", NULL };

static bool at_source(const struct ctx *c)
{
	return strcmp(ctx_role(c), "source") == 0;
}

/* Done when the recorded last pass is the one that the map holds whole. */
static int probe_disk(struct ctx *c, const char *name, bool *done)
{
	const json_t *was = json_object_get(ctx_fact(c, "pass"), name);
	AUTO_LAYOUT_DISK d = { 0 };
	AUTO_ERR e = { 0 };
	struct copy_there t;
	bool holds;

	if (layout_of_disk(ctx_machine(c), name, &d, &e) < 0 || copy_look(&d, &t, &e) < 0)
		return ctx_fail_err(c, &e);
	holds = was && t.map && t.state.complete &&
		(uint32_t)jint(was, "pass", 0) == t.state.pass;
	*done = *done && holds;
	if (!t.map)
		copy_say_later(c, name, "last pass");
	else
		ctx_change(c, holds ? '=' : '~', "%s last pass: %u, what changed since pass %u "
			   "-> %s", name, t.state.pass + !holds,
			   holds ? t.state.pass - 1 : t.state.pass, d.base);
	if (!holds)
		ctx_cost(c, t.size, 0, 0, 0);
	return 0;
}

static int probe_target(struct ctx *c, enum probe_state *state)
{
	const json_t *disks = jget(ctx_machine(c), "source.disks");
	bool done = true;
	const char *name;
	json_t *spec;

	json_object_foreach((json_t *)disks, name, spec)
		if (layout_copies(spec) && probe_disk(c, name, &done) < 0)
			return -1;
	*state = done ? STATE_DONE : STATE_ABSENT;
	return 0;
}

static int probe(struct ctx *c, enum probe_state *state)
{
	if (!at_source(c))
		return probe_target(c, state);
	/* Once the machine is off its disks may be out of sight: the target says. */
	*state = STATE_DONE;
	copy_probe_changes(c, CHANGES_KNOWN);
	return 0;
}

/* Where a freeze is what holds the source still, it must hold until all is read. */
static int still_frozen(struct ctx *c)
{
	struct freeze *f = NULL;
	bool held;

	if (json_object_size(ctx_fact(c, "freeze")) == 0)
		return 0;	/* it is paused or shut down, not frozen */
	freeze_attach(c, &f);
	held = f && freeze_held(f, NULL);
	freeze_free(f);
	if (held)
		return 0;
	ctx_hint(c, "drover rollback to before cutover, then cutover again; quiesce's `hold` "
		 "says how long a freeze may last");
	return ctx_fail(c, "the freeze of the source ended before the last pass was over: what "
			"was read is not one instant");
}

static int apply(struct ctx *c)
{
	/* It may yet go back: the tracker stays for the next attempt. */
	struct copy_how h = { .fact = "pass", .passes = 1, .held = true,
		.changes = CHANGES_KNOWN, .track_ms = TRACK_LAST_MS };

	if (copy_args(c, &h) < 0)
		return -1;
	if (!at_source(c))
		return copy_receive(c, &h);
	if (still_frozen(c) == 0 && copy_send(c, &h) == 0 && still_frozen(c) == 0)
		return 0;
	return -1;
}

const struct module module_cutover_pass = {
	.name = "cutover.pass",
	.summary = "copy what changed since the last pass, from the quiesced source",
	.place = ON_BOTH,
	.flags = MOD_LONG | MOD_SOURCE_HELD,
	.params = params,
	.wants = wants,
	.tools = tools,
	.probe = probe,
	.apply = apply,
};
