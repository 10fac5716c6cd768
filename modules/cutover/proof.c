/* SPDX-License-Identifier: Apache-2.0
 * proof - read back what the last pass wrote, and compose it with what was proven
 * before: the digest of the whole disk at the instant of the quiesce. It changes
 * nothing; there is nothing to undo.
 */
#include "modules/lib/proof.h"

static const struct param params[] = { { .name = NULL } };
static const char *const wants[] = { "machine", "disks", "pass", "proof", "sync", "final",
				     NULL };
static const char *const proven[] = { "proof", "sync", "final", NULL };
static const struct proof_how how = { .proven = proven, .digests = "pass", .last = true,
				      .out = "final", .evidence = true, .mend = true };
static const char *const tools[] = { "qemu-nbd", NULL };

static int probe(struct ctx *c, enum probe_state *state)
{
	return proof_probe(c, &how, state);
}

static int apply(struct ctx *c)
{
	return proof_run(c, &how);
}

const struct module module_cutover_proof = {
	.name = "cutover.proof",
	.summary = "read back what the last pass wrote; the digest of the whole disk",
	.place = ON_TARGET,
	.flags = MOD_LONG,
	.params = params,
	.wants = wants,
	.tools = tools,
	.probe = probe,
	.apply = apply,
};
