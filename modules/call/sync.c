/* SPDX-License-Identifier: Apache-2.0
 * sync - a further pass of a machine's disks while its source serves, and what it wrote
 * read back. Its arguments are those of the convert.disks step.
 *
 * It changes base images that nothing but drover reads; there is nothing to undo.
 */
#include "modules/lib/copy.h"
#include "modules/lib/proof.h"
#include "modules/lib/testcopy.h"
#include "modules/lib/track.h"

#include <string.h>

static const struct param params[] = {
	COPY_CHUNK_PARAM,
	COPY_ZIP_PARAM,
	COPY_FREE_PARAM,
	COPY_BAD_PARAM,
	COPY_DISKS_PARAM,
	{ .name = NULL },
};

static const char *const wants[] = { "machine", "disks", "warm", "proof", "sync",
				     "definition", NULL };
static const char *const tools[] = { "qemu-nbd", NULL };
static const char *const proven[] = { "proof", "sync", NULL };
static const struct proof_how how = { .proven = proven, .digests = "disks", .out = "sync",
				      .mend = true };

static bool at_source(const struct ctx *c)
{
	return strcmp(ctx_role(c), "source") == 0;
}

static int apply(struct ctx *c)
{
	bool digest = strcmp(jstr(ctx_args(c), "changes", "auto"), "digest") == 0;
	struct copy_how h = { .passes = 1, .warm = true, .goes_on = true,
		.snapshots = copy_may_snapshot(c),
		.changes = digest ? CHANGES_DIGEST : CHANGES_TRACE,
		.track_ms = (uint64_t)jint(ctx_args(c), "track", TRACK_KEEP_MS) };

	if (copy_args(c, &h) < 0)
		return -1;
	if (at_source(c))
		return digest && copy_unfollow(c) < 0 ? -1 : copy_send(c, &h);
	if (testcopy_none(c, "sync") < 0 || copy_receive(c, &h) < 0)
		return -1;
	return proof_run(c, &how);
}

static int probe(struct ctx *c, enum probe_state *state)
{
	(void)c;
	*state = STATE_ABSENT;	/* there is always a further pass */
	return 0;
}

const struct module module_call_sync = {
	.name = "call.sync",
	.summary = "bring over what changed since the last pass, and read it back",
	.place = ON_BOTH,
	.flags = MOD_LONG,
	.params = params,
	.wants = wants,
	.tools = tools,
	.probe = probe,
	.apply = apply,
};
