/* SPDX-License-Identifier: Apache-2.0
 * verb_cleanup - drover cleanup PLAN: remove what is temporary.
 */
#include "engine/cli/cli.h"

int verb_cleanup(struct cli *c)
{
	struct run_options o = { .kind = RUN_CLEANUP, .only = -1, .until = -1, .phase = -1 };
	int status = cli_load_plan(c, c->args[0]);

	if (status || cli_nothing_recorded(c, &status))
		return status;
	return cli_run(c, &o, NULL);
}
