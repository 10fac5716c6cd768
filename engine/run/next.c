/* SPDX-License-Identifier: Apache-2.0
 * next - the last line of a run: what to type now.
 */
#include "engine/run/record.h"
#include "engine/base/proc.h"

#include <string.h>

static bool ledger_has_temporary(const struct run *r)
{
	const char *host, *key;
	json_t *things, *entry;

	json_object_foreach(json_object_get(state_meta(r->state), "ledger"), host, things)
		json_object_foreach(things, key, entry)
			if (!jbool(entry, "lasting", false))
				return true;
	return false;
}

static bool any_serving(const struct run *r)
{
	for (uint32_t i = 0; i < r->plan->machine_count; i++)
		if (r->machines[i].in && r->machines[i].serving)
			return true;
	return false;
}

static bool any_blocked(const struct run *r)
{
	for (uint32_t i = 0; i < r->plan->machine_count; i++)
		if (r->machines[i].in && r->machines[i].blocked)
			return true;
	return false;
}

/* The same verb goes on with what stopped; a preview is what leads to what it showed. */
static const char *const again[] = {
	[RUN_PREVIEW] = "preview", [RUN_GO] = "run", [RUN_CUTOVER] = "cutover",
	[RUN_CUTOVER_PREVIEW] = "preview", [RUN_ROLLBACK] = "rollback",
	[RUN_ROLLBACK_PREVIEW] = "preview", [RUN_SYNC] = "sync", [RUN_CLEANUP] = "cleanup",
	[RUN_FINALIZE] = "finalize",
};

static bool changes_counted(const struct run *r)
{
	return jint(r->counts, "create", 0) + jint(r->counts, "change", 0) +
	       jint(r->counts, "remove", 0) + jint(r->counts, "unknown", 0) > 0;
}

/* Is all done that comes before a cutover? */
static bool may_cut_over(const struct run *r)
{
	for (uint32_t i = 0; i < r->graph->node_count; i++) {
		const struct graph_node *n = &r->graph->nodes[i];
		const struct mach *m = &r->machines[n->machine];

		if (m->in && n->step->phase < PHASE_CUTOVER && !meta_finished(r, m, i))
			return false;
	}
	return true;
}

/* A format for the plan's file. */
static const char *after_run(const struct run *r)
{
	return r->hi < PHASE_VALIDATE ? "drover run %s" : run_has_cutover(r) ?
		"drover cutover %s --preview" : "drover status %s";
}

char *next_typed_of(const struct run *r, const struct mach *m)
{
	return r->plan->machine_count > 1 ?
		mem_printf("%s --machine %s", r->plan->typed, m->name) : mem_strdup(r->plan->typed);
}

char *next_typed(const struct run *r)
{
	const char *const these[] = { "--machine", r->o->selector, NULL };
	AUTO_FREE char *words = r->o->selector ? proc_argv_text(these) : NULL;

	return words ? mem_printf("%s %s", r->plan->typed, words) : mem_strdup(r->plan->typed);
}

char *run_after_cutover(const char *typed, const char *serves, bool over)
{
	bool target = !strcmp(serves, "target");

	if (!over)	/* while nobody knows who serves, the target may have written */
		return mem_printf("drover cutover %s, or drover rollback %s --to cutover%s", typed,
				  typed, target || !strcmp(serves, "unknown") ?
				  " --discard-target-writes" : "");
	if (!target)	/* a cutover of one's own, without a start */
		return mem_printf("drover rollback %s --to cutover, and the source serves again",
				  typed);
	return mem_printf("drover finalize %s, or drover rollback %s --discard-target-writes",
			  typed, typed);
}

void next_say(struct run *r)
{
	AUTO_FREE char *file = next_typed(r), *after = NULL;
	size_t hinted = r->status == ERR_STEP && !any_blocked(r) ? err_hint_typed(r->err->hint) : 0;

	if (hinted) {
		run_next(r, "%.*s", (int)hinted, r->err->hint);
		return;
	}
	if (r->status == ERR_STALE) {
		run_next(r, r->kind == RUN_CUTOVER ? "drover cutover %s --preview" :
			 "drover preview %s", file);
		return;
	}
	if (r->status != ERR_NONE) {
		run_next(r, any_blocked(r) ? "mend what blocks, then drover %s %s" : "drover %s %s",
			 again[r->kind], file);
		return;
	}
	switch (r->kind) {
	case RUN_PREVIEW:
		if (jint(r->counts, "blocker", 0) > 0)
			run_next(r, "mend what blocks, then drover preview %s", file);
		else
			run_next(r, changes_counted(r) ? "drover run %s" : after_run(r), file);
		break;
	case RUN_CUTOVER_PREVIEW:
		run_next(r, may_cut_over(r) ? "drover cutover %s" : "drover run %s", file);
		break;
	case RUN_GO:
		run_next(r, after_run(r), file);
		break;
	case RUN_CUTOVER:
		after = run_after_cutover(file, any_serving(r) ? "target" : "nobody", true);
		run_next(r, "%s", after);
		break;
	case RUN_ROLLBACK_PREVIEW:
		run_next(r, "drover rollback %s%s", file,
			 any_serving(r) ? " --discard-target-writes" : "");
		break;
	case RUN_ROLLBACK:
		/* what follows the source's writes is temporary, and wanted by a further pass */
		run_next(r, r->o->phase == PHASE_ASSESS && ledger_has_temporary(r) ?
			 "drover cleanup %s" : "drover preview %s", file);
		break;
	case RUN_SYNC:
		run_next(r, may_cut_over(r) ? after_run(r) : "drover run %s", file);
		break;
	case RUN_CLEANUP:
	case RUN_FINALIZE:
		run_next(r, "drover status %s", file);
		break;
	}
}
