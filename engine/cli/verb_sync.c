/* SPDX-License-Identifier: Apache-2.0
 * verb_sync - drover sync PLAN: further passes while the source serves.
 */
#include "engine/cli/cli.h"

int verb_sync(struct cli *c)
{
	struct run_options o = { .kind = RUN_SYNC, .only = -1, .until = -1, .phase = -1,
				 .keep = c->opt[OPT_GO_ON] != NULL };
	int status = cli_load_plan(c, c->args[0]);

	return status ? status : cli_run(c, &o, NULL);
}
