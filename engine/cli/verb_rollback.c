/* SPDX-License-Identifier: Apache-2.0
 * verb_rollback - drover rollback PLAN: back to the start or before a phase.
 */
#include "engine/cli/cli.h"

int verb_rollback(struct cli *c)
{
	int to = cli_phase(c, OPT_TO);
	bool preview = c->opt[OPT_PREVIEW] != NULL;
	struct run_options o = {
		.kind = preview ? RUN_ROLLBACK_PREVIEW : RUN_ROLLBACK,
		.only = -1, .until = -1, .phase = to < 0 ? PHASE_ASSESS : to,
		.discard_target_writes = c->opt[OPT_DISCARD] != NULL,
	};
	int status = cli_load_plan(c, c->args[0]);

	if (status || cli_nothing_recorded(c, &status))
		return status;
	o.selector = c->opt[OPT_MACHINE];
	if (!preview && (status = cli_admits(c, &o)))
		return status;
	/* --discard-target-writes is an answer of its own; -y is none for it. */
	if (!preview && !o.discard_target_writes &&
	    (status = cli_confirm(c, "Roll back plan '%s'%s%s to %s%s: what drover made on the "
				  "hosts since is undone.", c->plan->name,
				  c->opt[OPT_MACHINE] ? ", machines " : "",
				  c->opt[OPT_MACHINE] ? c->opt[OPT_MACHINE] : "",
				  to > 0 ? "before " : "the start", to > 0 ? phase_names[to] : "")))
		return status;
	return cli_run(c, &o, NULL);
}
