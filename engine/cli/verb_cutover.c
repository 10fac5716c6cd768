/* SPDX-License-Identifier: Apache-2.0
 * verb_cutover - drover cutover PLAN|PREVIEW: the last pass and the switch.
 */
#include "engine/base/mem.h"
#include "engine/cli/report.h"

static char *machine_list(const struct cli *c)
{
	struct str b = {0};
	uint32_t more = 0;

	for (uint32_t i = 0; i < c->plan->machine_count; i++) {
		if (!cli_wants(c, i))
			continue;
		if (b.len < 200)
			str_addf(&b, "%s%s", b.len ? ", " : "", c->plan->machines[i].name);
		else
			more++;
	}
	if (more)
		str_addf(&b, " and %u more", more);
	return str_take(&b);
}

static bool any_cutover(const struct cli *c)
{
	for (uint32_t i = 0; i < c->plan->machine_count; i++)
		for (uint32_t k = 0; cli_wants(c, i) && k < c->plan->machines[i].step_count; k++)
			if (c->plan->machines[i].steps[k]->phase == PHASE_CUTOVER)
				return true;
	return false;
}

/* Refused, or confirmed; then the state is ours. */
static int begin(struct cli *c, const struct run_options *o, const char *names,
		 uint64_t wait_ms)
{
	int status = cli_admits(c, o);

	if (!status)
		status = cli_confirm(c, "Cut over %s: the source stops serving, the target "
				     "starts.", names);
	return status ? status : cli_take_state(c, wait_ms);
}

int verb_cutover(struct cli *c)
{
	struct run_options o = { .phase = -1 };
	bool preview = c->opt[OPT_PREVIEW] != NULL;
	AUTO_JSON *doc = NULL, *out = NULL;
	AUTO_FREE char *names = NULL;
	AUTO_ERR e = {0};
	uint64_t wait_ms;
	int status = cli_parse_wait(c, &wait_ms);

	if (status)
		return status;
	if (c->opt[OPT_OUTPUT] && !preview) {
		err_set(&e, ERR_USAGE, "--output saves a preview");
		err_hint(&e, "drover cutover %s --preview -o %s", c->args[0], c->opt[OPT_OUTPUT]);
		return cli_fail(c, &e);
	}
	status = report_open(c, &o, preview ? RUN_CUTOVER_PREVIEW : RUN_CUTOVER, &doc);
	if (status)
		return status;
	if (c->opt[OPT_OUTPUT] && (status = report_can_save(c, c->opt[OPT_OUTPUT])))
		return status;
	names = machine_list(c);
	if (!any_cutover(c)) {
		err_set(&e, ERR_USAGE, "cannot cut over %s: the plan has no cutover steps", names);
		err_hint(&e, "`drover run %s` does all that it says; the recipes p2v and v2v have a "
			 "cutover", c->plan->typed);
		return cli_fail(c, &e);
	}
	o.selector = c->opt[OPT_MACHINE];
	if (!preview && (status = begin(c, &o, names, wait_ms)))
		return status;
	status = cli_run(c, &o, &out);
	if (status == 0 && c->opt[OPT_OUTPUT] && out)
		status = report_save(c, c->opt[OPT_OUTPUT], out);
	return status;
}
