/* SPDX-License-Identifier: Apache-2.0
 * verb_check - drover check PLAN: compile it; no host is touched.
 */
#include "engine/base/mem.h"
#include "engine/cli/cli.h"
#include "engine/hook/hook.h"

#include <stdlib.h>

/* What is odd, but no error. */
static void tell_warnings(struct cli *c, const struct err_list *l)
{
	for (size_t i = 0; i < l->count; i++) {
		if (c->json) {
			cli_json_error(c, "warning", &l->v[i]);
			continue;
		}
		err_wrap(&l->v[i], "warning");
		cli_print_error(c, &l->v[i]);
	}
}

static const char *many(uint64_t n)
{
	return n == 1 ? "" : "s";
}

static void tell_counts(struct cli *c)
{
	const struct plan *p = c->plan;
	uint32_t steps = c->graph->node_count;

	if (c->json) {
		json_t *o = json_object();
		jset_str(o, "plan", p->name);
		jset_str(o, "file", p->file);
		jset_str(o, "hash", p->hash);
		jset_int(o, "machines", p->machine_count);
		jset_int(o, "hosts", p->host_count);
		jset_int(o, "steps", steps);
		cli_json(c, "plan", o);
		return;
	}
	fprintf(c->out, "%s: %u machine%s, %u host%s, %u step%s", p->name,
		p->machine_count, many(p->machine_count), p->host_count,
		many(p->host_count), steps, many(steps));
	fprintf(c->out, c->verbose ? "; hash %s\n" : "\n", p->hash);
	fprintf(c->out, "Next: drover preview %s\n", p->typed);
}

int verb_check(struct cli *c)
{
	struct err_list errors = { 0 }, warnings = { 0 };
	struct plan_options o = { .check_hook = hook_compile, .warnings = &warnings };
	int status = 0;

	c->plan = plan_load_with(c->args[0], &o, &errors);
	if (!c->plan) {
		cli_hint_plan(&errors, c->args[0]);
		status = cli_errors(c, &errors);
	}
	if (!status)
		status = cli_build_graph(c);
	if (!status)
		tell_warnings(c, &warnings);
	err_list_free(&errors);
	err_list_free(&warnings);
	if (status)
		return status;
	if (c->opt[OPT_EXPAND]) {
		AUTO_FREE char *text = plan_expand(c->plan);
		fputs(text, c->out);
		return 0;
	}
	tell_counts(c);
	return 0;
}
