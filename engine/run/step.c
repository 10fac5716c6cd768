/* SPDX-License-Identifier: Apache-2.0
 * step - one step forward.
 *
 *     probe -> nothing to do: outcome
 *           -> intent, durable -> apply -> probe -> outcome, durable
 *           -> lost: wait, and probe again
 *
 * Nothing is applied that was not probed since the last time anything was applied
 * to the machine. For a short step that probe rides in the apply's own call: it is
 * applied if what it said when the phase began still stands. A cutover step that fails
 * before the point of no return sends the machine back, so that the source serves again.
 */
#include "engine/run/op.h"
#include "engine/run/preview.h"
#include "engine/run/record.h"
#include "engine/run/report.h"
#include "engine/run/step.h"

#include <stdlib.h>
#include <string.h>

static void ask(struct job *j);
static void judge(struct job *j);
static void on_probe(struct op *o, const json_t *result, void *arg);

static const char *goes_on(const struct job *j)
{
	return j->r->kind == RUN_CUTOVER ? "drover cutover PLAN goes on with it" :
		"drover run PLAN goes on with it";
}

/* ---- apply and what follows ---------------------------------------------------------------- */

void step_again(void *arg)
{
	ask(arg);
}

/* A lost call says nothing of what happened: after a pause the probe does. */
bool step_try_again(struct job *j, const json_t *result)
{
	if (!result_cut(result) || j->attempt >= ATTEMPTS ||
	    run_stopping(j->r))
		return false;
	report_again(j->r, j->m, j->node, j->attempt, job_took(j), result);
	run_later(j->r, (uint64_t)BACKOFF_MS << (j->attempt - 1), step_again, j);
	j->attempt++;
	return true;
}

/* What is noticed only in the doing (a sector that cannot be read) stands beside what
 * the probe after it says. */
static void absorb_both(struct job *j, const json_t *result)
{
	AUTO_JSON *both = json_copy((json_t *)result);
	json_t *findings = json_array();

	json_array_extend(findings, json_object_get(result, "findings"));
	json_array_extend(findings, json_object_get(j->applied, "findings"));
	json_object_set_new(both, "findings", findings);
	if (findings_absorb(j->r, j->m, j->key, both))
		findings_report(j->r, j->m, j->key);
}

/* What the probe says after an apply. */
static void after(struct job *j, const json_t *result)
{
	bool done = result_ok(result) && !strcmp(jstr(result, "state", ""), "done");

	known_set(j->r, j->m, j->node, result, NULL);
	if (!result_ok(j->applied)) {
		bool lost = !strcmp(result_kind(j->applied), "lost");

		if (lost && done) {
			job_facts(j, result);
			findings_absorb(j->r, j->m, j->key, result);
			if (!held_too_long(j))
				held_succeed(j, result, "done", true);
		} else if (!step_try_again(j, j->applied)) {
			absorb_both(j, result);
			if (!mend_begin(j))
				job_fail(j, j->applied);
		}
		return;
	}
	if (!result_ok(result)) {
		if (!step_try_again(j, result))
			job_fail(j, result);
		return;
	}
	job_facts(j, result);
	absorb_both(j, result);
	/* What no probe can tell, such as a check that just asks, is done by having run. */
	if (done || !strcmp(jstr(result, "state", ""), "unknown")) {
		if (!held_too_long(j))
			held_succeed(j, result, "done", true);
		return;
	}
	AUTO_FREE char *text = mem_printf("cannot finish '%s': it ran without an error, "
		"but asked again it says '%s'", j->key, jstr(result, "state", "nothing"));
	job_fail_text(j, "failed", text, goes_on(j));
}

static void on_after(struct op *o, const json_t *result, void *arg)
{
	struct job *j = arg;

	job_evidence(j, o->evidence);
	after(j, result);
}

static void on_applied(struct op *o, const json_t *result, void *arg)
{
	struct job *j = arg;

	if (!strcmp(result_kind(result), "moved")) {
		j->trust = TRUST_MOVED;
		op_start(j->r, j->m, j->node, "probe", on_probe, j)->quiet = true;
		return;
	}
	json_decref(j->applied);
	j->applied = json_incref((json_t *)result);
	job_evidence(j, o->evidence);
	if (result_ok(result))	/* the probe that follows may want what was just told */
		job_facts(j, result);
	j->m->world_gen++;
	if (result_ok(result) && result_ok(json_object_get(result, "after")))
		after(j, json_object_get(result, "after"));
	else
		op_start(j->r, j->m, j->node, "probe", on_after, j)->quiet = true;
}

static void intent_durable(void *arg, struct err *e)
{
	struct job *j = arg;

	if (e) {
		AUTO_FREE char *text = mem_printf("cannot record what '%s' is about to do: "
						  "%s", j->key, e->what);
		run_status(j->r, ERR_SYSTEM);
		job_fail_text(j, "failed", text, "nothing was done; mend the state directory");
		return;
	}
	j->m->world_gen++;
	report_step(j->r, j->m, j->node, "running", j->attempt, job_took(j), NULL);
	op_apply_if(j->r, j->m, j->node, j->trust == TRUST_OLD ? j->before : NULL, on_applied, j);
	j->trust = TRUST_NONE;
}

void step_intend(struct job *j)
{
	unsigned flags = j->s->module->flags;
	struct rec c;

	j->was_touched = job_touched(j);
	if (j->trust == TRUST_MOVED)
		j->trust = TRUST_NONE;
	rec_init(&c, j->r, j->m);
	rec_step(&c, j->node, "intent", j->attempt, NULL, job_took(j), true);
	held_intend(j, &c);
	if (flags & MOD_NO_RETURN) {
		rec_serves(&c, "unknown");
		report_serves(j->r, j->m, "unknown");
		j->m->serving = true;
	} else if (flags & MOD_SOURCE_HELD) {
		rec_serves(&c, "nobody");
		report_serves(j->r, j->m, "nobody");
	}
	rec_send(&c, "intent", j->key, NULL, intent_durable, j);
}

/* ---- the probe before -------------------------------------------------------------------------- */

static void stand(struct job *j)
{
	report_step(j->r, j->m, j->node, "unchanged", j->attempt, job_took(j), NULL);
	sched_done(j->r->sched, j->node);
	j->r->jobs--;
	job_free(j);
}

/* What was skipped switches nothing off. */
static bool later_switches_off(const struct job *j, bool finished)
{
	const struct graph *g = j->r->graph;

	for (uint32_t i = j->node + 1; i < g->first[j->m->index + 1]; i++)
		if (step_switches_off(g->nodes[i].step) &&
		    strcmp(meta_status(j->r, j->m, i), "skipped") &&
		    (!finished || meta_finished(j->r, j->m, i)))
			return true;
	return false;
}

/* Going on with a cutover the source may be off for good reason: what was finished
 * there stands as recorded when it cannot be asked. Not so what held it still in a
 * cutover that never switches off: then silence is no reason. */
static bool stands_as_recorded(struct job *j, const json_t *result)
{
	const char *kind = result_kind(result);

	if ((strcmp(kind, "down") && strcmp(kind, "lost")) ||
	    j->s->phase != PHASE_CUTOVER || !meta_finished(j->r, j->m, j->node))
		return false;
	if ((j->s->module->flags & MOD_SOURCE_HELD) && !later_switches_off(j, false))
		return false;
	report_log(j->r, j->m, j->key, "its host does not answer; it stands as recorded");
	stand(j);
	return true;
}

/* Once the source is off nothing at it can be asked: what a cutover finished there
 * stands. The step that switched it off is asked itself, see held_was_on_again(). */
static bool beyond_reach(const struct job *j)
{
	enum module_place place = j->s->module->place;

	return j->s->phase == PHASE_CUTOVER && meta_finished(j->r, j->m, j->node) &&
		(place == ON_SOURCE || place == ON_BOTH || place == ON_EACH) &&
		later_switches_off(j, true);
}

static bool own_blocker(struct job *j)
{
	const json_t *f = findings_blocker(j->m, j->key);

	if (!f)
		return false;
	AUTO_FREE char *text = mem_printf("blocker %s: %s", jstr(f, "code", ""),
					  jstr(f, "text", ""));
	job_fail_text(j, "failed", text, jstr(f, "remedy", NULL));
	return true;
}

static void judge(struct job *j)
{
	struct run *r = j->r;
	const json_t *result = r->known[j->node].answer;
	bool touched = job_touched(j);
	AUTO_ERR e = { 0 };

	if (!result_ok(result)) {
		if (!stands_as_recorded(j, result) && !step_try_again(j, result))
			job_fail(j, result);
		return;
	}
	job_facts(j, result);
	if (findings_absorb(r, j->m, j->key, result))
		findings_report(r, j->m, j->key);
	json_decref(j->before);
	j->before = json_incref((json_t *)result);
	job_evidence(j, r->known[j->node].evidence);
	if (!j->s->module->apply) {
		job_succeed(j, result, "done", false);
		return;
	}
	if (!strcmp(jstr(result, "state", ""), "done")) {
		if (held_ask(j, result))
			return;
		/* Whoever started the target, from now on it serves: that is written down
		 * first, or going back would start the source beside it. */
		if (!touched && (j->s->module->flags & MOD_NO_RETURN)) {
			if (!held_unproven(j))
				step_intend(j);
			return;
		}
		held_succeed(j, result, touched && !meta_finished(r, j->m, j->node) ?
			     "done" : "unchanged", touched);
		return;
	}
	if (held_was_on_again(j) || held_unproven(j) || own_blocker(j))
		return;
	if (saved_holds(r, j->m, j->node, result, &e) < 0) {
		job_fail_text(j, "stale", e.what, e.hint);
		return;
	}
	preview_show(r, j->m, j->node, result);
	if (!held_ask(j, result) && !ahead_begin(j))
		step_intend(j);
}

static void on_probe(struct op *o, const json_t *result, void *arg)
{
	struct job *j = arg;

	known_set(j->r, j->m, j->node, result, o->evidence);
	judge(j);
}

static bool names_facts(const struct job *j)
{
	AUTO_FREE char *args = json_canonical(j->s->args);

	return j->s->module->wants || j->s->module->place == IN_ENGINE ||
	       (args && strstr(args, "${"));
}

/* An answer was given when the phase was entered, and no fact that matters became known
 * since. */
static bool answered(const struct job *j)
{
	const struct known *k = &j->r->known[j->node];

	if (!k->answer || !result_ok(k->answer))
		return false;
	if (!strcmp(jstr(k->answer, "state", "unknown"), "unknown") ||
	    !strcmp(jstr(k->answer, "state", ""), "skipped"))
		return false;
	return k->facts_gen == j->m->facts_gen || !names_facts(j);
}

/* It still stands, unless something was applied since. */
static bool answer_stands(const struct job *j)
{
	return answered(j) && j->r->known[j->node].world_gen == j->m->world_gen;
}

/* What could not be told when the phase began may not be told a moment later: going back
 * would not find that beginning again. The next run begins anew. */
static bool is_final(const struct job *j)
{
	const struct known *k = &j->r->known[j->node];

	return j->attempt == 1 && k->answer && !result_ok(k->answer) &&
	       (known_silent(j->r, j->node) || (k->facts_gen == j->m->facts_gen &&
						k->world_gen == j->m->world_gen));
}

/* Something was, but whether the answer stands can be asked in the apply's own call. In a
 * cutover each step looks for itself before its intent says who serves. */
static bool may_trust(const struct job *j)
{
	return answered(j) && (j->s->module->flags & MOD_TOGETHER) && j->trust != TRUST_MOVED &&
	       j->s->phase != PHASE_CUTOVER && j->attempt == 1 &&
	       strcmp(jstr(j->r->known[j->node].answer, "state", ""), "done");
}

static void ask(struct job *j)
{
	struct run *r = j->r;
	AUTO_JSON *facts = NULL;

	if (run_stopping(r)) {
		job_fail_text(j, "cancelled", "stopped before it began",
			  goes_on(j));
		return;
	}
	if (j->s->when) {
		facts = facts_merged(j->m->facts, NULL);
		if (!plan_step_when(j->s, facts)) {
			job_skip(j);
			return;
		}
	}
	if (beyond_reach(j)) {
		stand(j);
		return;
	}
	if (is_final(j)) {
		job_fail(j, r->known[j->node].answer);
		return;
	}
	if (!answer_stands(j) && may_trust(j))
		j->trust = TRUST_OLD;
	if (j->trust == TRUST_OLD || answer_stands(j)) {
		judge(j);
		return;
	}
	report_step(r, j->m, j->node, "probing", j->attempt, job_took(j), NULL);
	op_start(r, j->m, j->node, "probe", on_probe, j)->quiet = true;
}

static void entered(void *arg, bool ok)
{
	struct job *j = arg;
	const json_t *silent;

	if (ok) {
		j->m->entered = (int)j->s->phase;
		ask(j);
		return;
	}
	silent = j->s->phase > PHASE_ASSESS ? phase_silent(j->r, j->m, (int)j->s->phase) : NULL;
	if (silent) {
		job_fail(j, silent);
		return;
	}
	j->m->failed = true;
	sched_failed(j->r->sched, j->node);
	j->r->jobs--;
	job_free(j);
}

void step_begin(struct run *r, uint32_t node)
{
	struct job *j = mem_alloc(sizeof(*j));

	j->r = r;
	j->node = node;
	j->m = &r->machines[r->graph->nodes[node].machine];
	j->s = r->graph->nodes[node].step;
	j->key = step_key(j->s);
	j->attempt = 1;
	j->began_ms = loop_now(r->loop);
	j->evidence = json_object();
	j->fact_names = json_array();
	r->jobs++;
	if (j->m->entered == (int)j->s->phase)
		ask(j);
	else if (run_stopping(r))
		job_fail_text(j, "cancelled", "stopped before it began",
			  goes_on(j));
	else
		phase_enter(r, j->m, (int)j->s->phase, entered, j);
}
