/* SPDX-License-Identifier: Apache-2.0
 * report - what leaves a run: events, as engine/README.md lists them.
 */
#include "engine/run/op.h"
#include "engine/run/report.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const char *const kind_names[] = {
	[RUN_PREVIEW] = "preview", [RUN_GO] = "run", [RUN_CUTOVER] = "cutover",
	[RUN_CUTOVER_PREVIEW] = "cutover-preview", [RUN_ROLLBACK] = "rollback",
	[RUN_ROLLBACK_PREVIEW] = "rollback-preview", [RUN_CLEANUP] = "cleanup",
	[RUN_SYNC] = "sync",
	[RUN_FINALIZE] = "finalize",
};

void report(struct run *r, const char *type, json_t *o)
{
	char iso[21];

	if (!r->mute) {
		clock_iso(run_wall(r), iso);
		jset_int(o, "v", 1);
		jset_str(o, "t", type);
		jset_str(o, "at", iso);
		r->seams->report(r->seams->arg, o);
	}
	json_decref(o);
}

json_t *report_step_new(struct run *r, struct mach *m, uint32_t node)
{
	json_t *o = json_object();

	jset_str(o, "machine", m->name);
	if (node != UINT32_MAX) {
		const struct plan_step *s = r->graph->nodes[node].step;

		jset_str(o, "phase", phase_names[s->phase]);
		jset_str(o, "step", s->id);
	}
	return o;
}

/* Where in the plan the step stands: its own place is under "place", since "at"
 * is the time. */
void report_step(struct run *r, struct mach *m, uint32_t node, const char *state,
		 int attempt, uint64_t took_ms, const json_t *result)
{
	json_t *o = report_step_new(r, m, node);
	const struct plan_step *s = r->graph->nodes[node].step;

	jset_str(o, "state", state);
	jset_int(o, "attempt", attempt);
	jset_int(o, "attempts", ATTEMPTS);
	jset_int(o, "took_ms", (int64_t)took_ms);
	if (s->place.file)
		jset_strf(o, "place", "%s:%u:%u", s->place.file, s->place.line,
			  s->place.column);
	if (result && jget(result, "error.text")) {
		jset_str(o, "error", jstr(result, "error.text", NULL));
		jset_str(o, "hint", jstr(result, "error.hint", NULL));
	}
	report(r, "step", o);
}

void report_again(struct run *r, struct mach *m, uint32_t node, int attempt, uint64_t took_ms,
		  const json_t *result)
{
	AUTO_FREE char *key = step_key(r->graph->nodes[node].step);

	report_step(r, m, node, "waiting", attempt, took_ms, result);
	if (!strcmp(result_kind(result), "broken"))	/* of a lost host it was told */
		report_log(r, m, key, "%s; it is tried again", jstr(result, "error.text", ""));
}

bool run_has_cutover(const struct run *r)
{
	for (uint32_t i = 0; i < r->graph->node_count; i++)
		if (r->graph->nodes[i].step->phase == PHASE_CUTOVER &&
		    r->machines[r->graph->nodes[i].machine].in)
			return true;
	return false;
}

void report_start(struct run *r)
{
	json_t *o = json_object(), *machines = json_array(), *hosts = json_array();
	AUTO_FREE char *typed = next_typed(r);

	jset_str(o, "kind", kind_names[r->o->kind]);
	jset_str(o, "plan", r->plan->name);
	jset_str(o, "file", r->plan->file);
	jset_str(o, "typed", typed);
	jset_str(o, "run", r->state && r->writes ? state_run_id(r->state) : NULL);
	for (uint32_t m = 0; m < r->plan->machine_count; m++)
		if (r->machines[m].in)
			jadd(machines, json_string(r->machines[m].name));
	for (uint32_t h = 0; h < r->plan->host_count; h++)
		if (r->plan->hosts[h].used)
			jadd(hosts, json_string(r->plan->hosts[h].name));
	jset(o, "machines", machines);
	jset(o, "hosts", hosts);
	jset_bool(o, "cutover", run_has_cutover(r));
	report(r, "start", o);
}

void report_log(struct run *r, struct mach *m, const char *step, const char *fmt, ...)
{
	json_t *o = json_object();
	AUTO_FREE char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	text = mem_vprintf(fmt, ap);
	va_end(ap);
	jset_str(o, "machine", m ? m->name : NULL);
	jset_str(o, "step", step);
	jset(o, "text", jtext(text, strlen(text)));
	report(r, "log", o);
}

void report_rest(struct run *r, struct mach *m, uint32_t node, uint64_t ms)
{
	json_t *o = report_step_new(r, m, node);

	jset_int(o, "ms", (int64_t)ms);
	report(r, "rest", o);
}

void report_serves(struct run *r, struct mach *m, const char *who)
{
	json_t *o = json_object();

	jset_str(o, "machine", m->name);
	jset_str(o, "who", who);
	report(r, "serves", o);
}

void report_end(struct run *r, int status)
{
	json_t *o = json_object();

	jset_int(o, "status", status);
	json_object_set(o, "counts", r->counts);
	jset_int(o, "bytes", (int64_t)r->bytes);
	jset_int(o, "ms", run_is_preview(r) ? (int64_t)r->whole.ms :
		 (int64_t)(loop_now(r->loop) - r->began_ms));
	if (run_is_preview(r)) {
		jset_int(o, "ms90", (int64_t)r->whole.ms90);
		jset_int(o, "measured", r->measured);
		jset_int(o, "assumed", r->assumed);
	}
	jset_str(o, "next", r->next);
	report(r, "end", o);
}

void count_add(struct run *r, const char *what, int64_t n)
{
	if (!r->mute)
		jset_int(r->counts, what, jint(r->counts, what, 0) + n);
}

/* From the mildest to the worst. */
static int rank(enum err_kind kind)
{
	static const enum err_kind order[] = { ERR_NONE, ERR_WAITING, ERR_STEP,
		ERR_STALE, ERR_PLAN, ERR_USAGE, ERR_HELD, ERR_STOPPED, ERR_SYSTEM };

	for (size_t i = 0; i < ARRAY_LEN(order); i++)
		if (order[i] == kind)
			return (int)i;
	return 0;
}

void run_status(struct run *r, enum err_kind kind)
{
	if (rank(kind) > rank(r->status))
		r->status = kind;
}

void run_error(struct run *r, struct err *e)
{
	run_status(r, e->kind);
	if (!err_is(r->err))
		err_move(r->err, e);
	else
		err_clear(e);
}

void run_next(struct run *r, const char *fmt, ...)
{
	va_list ap;

	if (r->next)
		return;
	va_start(ap, fmt);
	r->next = mem_vprintf(fmt, ap);
	va_end(ap);
}
