/* SPDX-License-Identifier: Apache-2.0
 * readback - once the target has started: read the whole base back, beneath the overlay
 * that it writes to, before anything is merged into it. It changes nothing; there is
 * nothing to undo. What it finds damaged stays as it is, and so does the source: nobody
 * is there any more to send it again, but the way back is.
 *
 * It steps aside for whoever serves: idle in the queue of the disks, last in that of the
 * CPUs.
 */
#include "modules/lib/proof.h"

static const struct param params[] = {
	{ .name = "rate", .type = P_RATE,
	  .summary = "read no faster than this; default: as fast as what serves leaves room" },
	{ .name = NULL },
};
static const char *const wants[] = { "machine", "disks", "pass", "proof", "sync", "final",
				     "readback", NULL };
static const struct proof_how how = { .digests = "pass", .last = true, .out = "readback",
				      .evidence = true, .serving = true };
static const char *const tools[] = { "qemu-nbd", NULL };

static int probe(struct ctx *c, enum probe_state *state)
{
	return proof_probe(c, &how, state);
}

static int apply(struct ctx *c)
{
	return proof_run(c, &how);
}

const struct module module_cutover_readback = {
	.name = "cutover.readback",
	.summary = "read the whole base back while the target serves from above it",
	.place = ON_TARGET,
	.flags = MOD_LONG,
	.params = params,
	.wants = wants,
	.tools = tools,
	.probe = probe,
	.apply = apply,
};
