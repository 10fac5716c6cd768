/* SPDX-License-Identifier: Apache-2.0
 * verb_run - drover run PLAN|PREVIEW: up to and including validate.
 */
#include "engine/cli/report.h"

int verb_run(struct cli *c)
{
	struct run_options o = { .phase = -1 };
	AUTO_JSON *doc = NULL;
	AUTO_ERR e = {0};
	int status;

	if (cli_phase(c, OPT_ONLY) == PHASE_CUTOVER || cli_phase(c, OPT_UNTIL) == PHASE_CUTOVER) {
		err_set(&e, ERR_USAGE, "`drover run` ends with validate");
		err_hint(&e, "the switch is `drover cutover %s`", c->args[0]);
		return cli_fail(c, &e);
	}
	status = report_open(c, &o, RUN_GO, &doc);
	return status ? status : cli_run(c, &o, NULL);
}
