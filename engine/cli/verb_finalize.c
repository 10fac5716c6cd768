/* SPDX-License-Identifier: Apache-2.0
 * verb_finalize - drover finalize PLAN: end the possibility of rollback.
 */
#include "engine/cli/cli.h"

int verb_finalize(struct cli *c)
{
	struct run_options o = { .kind = RUN_FINALIZE, .only = -1, .until = -1, .phase = -1 };
	int status = cli_load_plan(c, c->args[0]);

	if (status || cli_nothing_recorded(c, &status))
		return status;
	if ((status = cli_admits(c, &o)))
		return status;
	status = cli_confirm_word(c, c->plan->name, "Finalize plan '%s': afterwards no rollback is "
				  "possible. Type the plan's name.", c->plan->name);
	return status ? status : cli_run(c, &o, NULL);
}
