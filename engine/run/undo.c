/* SPDX-License-Identifier: Apache-2.0
 * undo - one machine backward: what was done is undone in reverse order, each with
 * an intent and an outcome of its own. A step that cannot be undone stops the
 * machine there: what was done before it may depend on it.
 */
#include "engine/run/back.h"
#include "engine/run/op.h"
#include "engine/run/record.h"
#include "engine/run/report.h"

#include <stdlib.h>
#include <string.h>

struct undo {
	struct run *r;
	struct mach *m;
	int phase;			/* back to before this one */
	bool backout;			/* a cutover that failed */
	uint32_t *nodes;		/* what to undo, in this order; owned */
	uint32_t count, at;
	bool stays;			/* a step had no undo */
	int attempt;
	uint64_t began_ms;		/* the step's */
};

static void next(struct undo *u);
static void undo_now(struct undo *u);

static void over(struct undo *u, bool ok)
{
	struct run *r = u->r;

	if (!u->backout)
		rollback_machine_over(r, u->m, ok);
	r->jobs--;
	free(u->nodes);
	free(u);
}

static uint32_t node_of(const struct undo *u)
{
	return u->nodes[u->at];
}

static const struct plan_step *step_now(const struct undo *u)
{
	return u->r->graph->nodes[node_of(u)].step;
}

static uint64_t took(const struct undo *u)
{
	return loop_now(u->r->loop) - u->began_ms;
}

/* ---- giving up ------------------------------------------------------------------------ */

static void failed_durable(void *arg, struct err *e)
{
	struct undo *u = arg;

	if (e)
		run_error(u->r, e);
	over(u, false);
}

static void fail(struct undo *u, const json_t *result)
{
	struct run *r = u->r;
	const struct plan_step *s = step_now(u);
	AUTO_FREE char *key = step_key(s);
	AUTO_FREE char *where = mem_printf("%s %s", u->m->name, key);
	AUTO_FREE char *subject = mem_printf("%s %s: cannot be undone: %s",
		phase_names[s->phase], s->id, jstr(result, "error.text", ""));
	bool stopped = u->backout || !strcmp(result_kind(result), "cancelled");
	AUTO_ERR e = { 0 };
	struct rec c;

	err_set(&e, stopped ? ERR_STOPPED : ERR_STEP, "cannot undo '%s': %s", key,
		jstr(result, "error.text", "no reason given"));
	err_hint(&e, "%s%s'%s' is served by %s; type: drover rollback %s --machine %s "
		 "--to %s%s", jstr(result, "error.hint", ""),
		 jstr(result, "error.hint", NULL) ? "; " : "", u->m->name,
		 meta_serves(r, u->m), r->plan->typed, u->m->name, phase_names[u->phase],
		 u->m->serving ? " --discard-target-writes" : "");
	err_at(&e, &s->place);
	err_step(&e, where, u->attempt > 1 ? u->attempt : 0, u->attempt > 1 ? ATTEMPTS : 0);
	run_next(r, "drover rollback %s --machine %s --to %s", r->plan->typed, u->m->name,
		 phase_names[u->phase]);
	report_step(r, u->m, node_of(u), "failed", u->attempt, took(u), result);
	/* The worst is told first: this one decides what to type. */
	err_clear(r->err);
	run_error(r, &e);

	rec_init(&c, r, u->m);
	rec_step(&c, node_of(u), "undoing", u->attempt, result, took(u), true);
	rec_send(&c, "undo", key, subject, failed_durable, u);
}

/* ---- one step --------------------------------------------------------------------------- */

static void step_durable(void *arg, struct err *e)
{
	struct undo *u = arg;

	if (e) {
		run_error(u->r, e);
		over(u, false);
		return;
	}
	u->at++;
	next(u);
}

/* Whether this is the step that took the source away: the first that holds it. */
static bool holds_source(const struct undo *u)
{
	if (!(step_now(u)->module->flags & MOD_SOURCE_HELD))
		return false;
	for (uint32_t k = u->at + 1; k < u->count; k++)
		if (u->r->graph->nodes[u->nodes[k]].step->module->flags & MOD_SOURCE_HELD)
			return false;
	return true;
}

static void record_undone(struct undo *u, const json_t *answer)
{
	struct run *r = u->r;
	const struct plan_step *s = step_now(u);
	AUTO_FREE char *key = step_key(s);
	AUTO_FREE char *subject = mem_printf("%s %s: undone", phase_names[s->phase], s->id);
	struct rec c;

	rec_init(&c, r, u->m);
	rec_step(&c, node_of(u), "undone", u->attempt, answer, took(u), false);
	rec_result(&c, node_of(u), answer);
	rec_drop_step(&c, node_of(u), true);
	if (s->module->flags & MOD_NO_RETURN) {
		rec_serves(&c, "nobody");
		report_serves(r, u->m, "nobody");
		u->m->serving = false;
	} else if (holds_source(u)) {
		rec_serves(&c, "source");
		report_serves(r, u->m, "source");
	}
	report_step(r, u->m, node_of(u), "undone", u->attempt, took(u), NULL);
	count_add(r, "undone", 1);
	rec_send(&c, "undo", key, subject, step_durable, u);
}

static void try_again(void *arg);

static bool retry(struct undo *u, const json_t *result)
{
	if (strcmp(result_kind(result), "lost") || u->attempt >= ATTEMPTS ||
	    u->r->stops > 1)
		return false;
	run_later(u->r, (uint64_t)BACKOFF_MS << (u->attempt - 1), try_again, u);
	u->attempt++;
	return true;
}

static void on_probed(struct op *o, const json_t *result, void *arg)
{
	struct undo *u = arg;

	(void)o;
	if (!result_ok(result)) {
		if (!retry(u, result))
			fail(u, result);
		return;
	}
	if (strcmp(jstr(result, "state", ""), "done")) {
		record_undone(u, result);
		return;
	}
	AUTO_JSON *still = frame_failure("failed", "it ran without an error, but asked "
					 "again the step is still done", NULL);
	fail(u, still);
}

static void on_undone(struct op *o, const json_t *result, void *arg)
{
	struct undo *u = arg;

	(void)o;
	u->m->world_gen++;
	if (result_ok(result))
		op_probe_bare(u->r, u->m, node_of(u), on_probed, u);
	else if (!retry(u, result))
		fail(u, result);
}

static void intent_durable(void *arg, struct err *e)
{
	struct undo *u = arg;

	if (e) {
		run_error(u->r, e);
		over(u, false);
		return;
	}
	u->m->world_gen++;
	op_start(u->r, u->m, node_of(u), "undo", on_undone, u);
}

static void undo_now(struct undo *u)
{
	AUTO_FREE char *key = step_key(step_now(u));
	struct rec c;

	report_step(u->r, u->m, node_of(u), "undoing", u->attempt, took(u), NULL);
	rec_init(&c, u->r, u->m);
	rec_step(&c, node_of(u), "undoing", u->attempt, NULL, took(u), true);
	if (step_now(u)->module->flags & MOD_NO_RETURN)
		rec_meta(&c, "serves", json_string("unknown"));
	rec_send(&c, "undo", key, NULL, intent_durable, u);
}

/* What was interrupted is asked before it is undone: the answer decides nothing,
 * since undo is repeatable, but a host that cannot answer must not be changed. What it told and
 * kept is not given, as after the undo: a copy that cannot be gone on with can be taken away. */
static void on_asked(struct op *o, const json_t *result, void *arg)
{
	struct undo *u = arg;

	(void)o;
	if (result_ok(result))
		undo_now(u);
	else if (!retry(u, result))
		fail(u, result);
}

static void try_again(void *arg)
{
	struct undo *u = arg;

	op_probe_bare(u->r, u->m, node_of(u), on_asked, u);
}

/* A step that has no undo: what it did stays, and that is said. If it started the
 * target, nothing before it may be undone either. */
static void leave(struct undo *u)
{
	AUTO_FREE char *key = step_key(step_now(u));
	struct rec c;

	if (step_now(u)->module->flags & MOD_NO_RETURN) {
		AUTO_JSON *result = frame_failure("failed", "it has no undo", NULL);

		fail(u, result);
		return;
	}
	report_log(u->r, u->m, key, "'%s' has no undo: what it did stays, unless an earlier "
		   "step's undo takes it along", key);
	count_add(u->r, "stays", 1);
	u->stays = true;
	rec_init(&c, u->r, u->m);
	rec_step(&c, node_of(u), "stays", 1, NULL, 0, false);
	rec_send(&c, "undo", key, NULL, step_durable, u);
}

/* ---- the machine ---------------------------------------------------------------------------- */

static void rebuilt(void *arg, bool equal)
{
	struct undo *u = arg;

	over(u, equal);
}

static void next(struct undo *u)
{
	if (u->at == u->count) {
		/* A last pass that stays is seen by convert's probes, and by theirs only. */
		bool whole = !u->backout && (u->phase <= PHASE_CONVERT || !u->stays);

		rebuild_start(u->r, u->m, u->phase, whole, rebuilt, u);
		return;
	}
	u->attempt = 1;
	u->began_ms = loop_now(u->r->loop);
	if (u->r->stops > (u->backout ? 1 : 0)) {
		AUTO_JSON *result = frame_failure("cancelled", "stopped before it began",
						 NULL);
		fail(u, result);
	} else if (!step_now(u)->module->undo) {
		leave(u);
	} else if (meta_finished(u->r, u->m, node_of(u))) {
		undo_now(u);
	} else {
		try_again(u);
	}
}

static void start(void *arg)
{
	next(arg);
}

void undo_start(struct run *r, struct mach *m, int phase, bool backout)
{
	const struct graph *g = r->graph;
	struct undo *u = mem_alloc(sizeof(*u));

	u->r = r;
	u->m = m;
	u->phase = phase;
	u->backout = backout;
	u->nodes = mem_alloc((g->first[m->index + 1] - g->first[m->index] + 1) *
			     sizeof(*u->nodes));
	for (uint32_t i = g->first[m->index + 1]; i-- > g->first[m->index];)
		if ((int)g->nodes[i].step->phase >= phase && meta_touched(r, m, i))
			u->nodes[u->count++] = i;
	r->jobs++;
	r->backward = true;
	if (m->serving)
		lost_ask(r, m, start, u);
	else
		run_later(r, 0, start, u);
}
