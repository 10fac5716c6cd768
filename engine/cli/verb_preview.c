/* SPDX-License-Identifier: Apache-2.0
 * verb_preview - drover preview PLAN: what would happen; nothing is changed.
 */
#include "engine/cli/report.h"

#include <stdlib.h>

/* Would a run do anything? */
static bool has_changes(const json_t *end)
{
	return jint(end, "counts.create", 0) + jint(end, "counts.change", 0) +
	       jint(end, "counts.remove", 0) + jint(end, "counts.unknown", 0) > 0;
}

int verb_preview(struct cli *c)
{
	struct run_options o = { .kind = RUN_PREVIEW, .only = -1, .until = -1, .phase = -1 };
	AUTO_JSON *preview = NULL;
	bool detailed = c->opt[OPT_DETAILED] != NULL;
	int status = cli_load_plan(c, c->args[0]);

	if (status)
		return detailed ? 1 : status;
	if (c->opt[OPT_EXPAND]) {
		char *text = plan_expand(c->plan);

		fputs(text, c->out);
		free(text);
		return 0;
	}
	if (c->opt[OPT_OUTPUT] && (status = report_can_save(c, c->opt[OPT_OUTPUT])))
		return detailed ? 1 : status;
	status = cli_run(c, &o, &preview);
	if (status == 0 && c->opt[OPT_OUTPUT] && preview)
		status = report_save(c, c->opt[OPT_OUTPUT], preview);
	if (detailed)
		return status ? 1 : has_changes(c->end) ? 2 : 0;
	return status;
}
