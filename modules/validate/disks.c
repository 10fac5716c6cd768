/* SPDX-License-Identifier: Apache-2.0
 * disks - the digest proof: the base images are read back past the page cache and
 * compared, chunk by chunk, with what the source had. It changes nothing; there is
 * nothing to undo.
 */
#include "modules/lib/proof.h"

static const struct param params[] = { { .name = NULL } };
static const char *const wants[] = { "machine", "disks", "proof", "sync", NULL };
static const char *const tools[] = { "qemu-nbd", NULL };
static const struct proof_how how = { .digests = "disks", .out = "proof", .evidence = true,
				      .mend = true };

static int probe(struct ctx *c, enum probe_state *state)
{
	return proof_probe(c, &how, state);
}

static int apply(struct ctx *c)
{
	return proof_run(c, &how);
}

const struct module module_validate_disks = {
	.name = "validate.disks",
	.summary = "read the copied disks back and compare every digest",
	.place = ON_TARGET,
	.flags = MOD_LONG,
	.params = params,
	.wants = wants,
	.tools = tools,
	.probe = probe,
	.apply = apply,
};
