/* SPDX-License-Identifier: Apache-2.0
 * step - one step forward.
 *
 *     probe -> nothing to do: outcome
 *           -> intent, durable -> apply -> probe -> outcome, durable
 *           -> lost: wait, and probe again
 *
 * Nothing is applied that was not probed since the last time anything was applied
 * to the machine. A cutover step that fails before the point of no return sends the
 * machine back, so that the source serves again.
 */
#include "engine/base/text.h"
#include "engine/run/priv.h"

#include <stdlib.h>
#include <string.h>

struct job {
	struct run *r;
	struct mach *m;
	uint32_t node;
	const struct plan_step *s;
	char *key;			/* "convert.disks"; owned */
	int attempt;
	uint64_t began_ms;
	json_t *before;			/* the answer that apply acted on; owned */
	json_t *applied;		/* apply's result; owned */
	json_t *evidence;		/* NAME -> text; owned */
	json_t *fact_names;		/* facts to write with the outcome; owned */
};

static void ask(struct job *j);
static void judge(struct job *j);

static void job_free(struct job *j)
{
	json_decref(j->before);
	json_decref(j->applied);
	json_decref(j->evidence);
	json_decref(j->fact_names);
	free(j->key);
	free(j);
}

static uint64_t took(const struct job *j)
{
	return loop_now(j->r->loop) - j->began_ms;
}

static void take_evidence(struct job *j, const json_t *evidence)
{
	if (json_is_object(evidence))
		json_object_update(j->evidence, (json_t *)evidence);
}

static void take_facts(struct job *j, const json_t *result)
{
	AUTO_JSON *names = facts_absorb(j->m, j->node, result);

	json_array_extend(j->fact_names, names);
}

/* ---- the end of a step ------------------------------------------------------------------ */

/* Whether a later node of this machine belongs to this run. */
static bool is_last(const struct job *j)
{
	const struct graph *g = j->r->graph;
	uint32_t next = j->node + 1;

	return next >= g->first[j->m->index + 1] ||
	       (int)g->nodes[next].step->phase > j->r->hi;
}

static void over_ok(void *arg, struct err *e)
{
	struct job *j = arg;
	struct run *r = j->r;

	if (e) {
		run_error(r, e);
		j->m->failed = true;
		sched_failed(r->sched, j->node);
	} else {
		bool blocked = is_last(j) && phase_blocked(r, j->m, "go on with");

		j->m->failed = j->m->failed || blocked;
		sched_done(r->sched, j->node);
	}
	r->jobs--;
	job_free(j);
}

/* Before the point of no return a cutover goes back at once: somebody must serve. */
static bool must_back_out(const struct job *j)
{
	const struct run *r = j->r;

	if (j->s->phase != PHASE_CUTOVER || j->m->serving)
		return false;
	for (uint32_t i = r->graph->first[j->m->index];
	     i < r->graph->first[j->m->index + 1]; i++)
		if (r->graph->nodes[i].step->phase == PHASE_CUTOVER &&
		    meta_touched(r, j->m, i))
			return true;
	return false;
}

static void over_failed(void *arg, struct err *e)
{
	struct job *j = arg;
	struct run *r = j->r;

	if (e)
		run_error(r, e);
	j->m->failed = true;
	sched_failed(r->sched, j->node);
	if (!e && must_back_out(j)) {
		report_log(r, j->m, j->key, "the cutover of '%s' goes back: the source "
			   "will serve again", j->m->name);
		undo_start(r, j->m, PHASE_CUTOVER, true);
	}
	r->jobs--;
	job_free(j);
}

static enum err_kind kind_of(const json_t *result)
{
	const char *kind = result_kind(result);

	if (!strcmp(kind, "waiting"))
		return ERR_WAITING;
	if (!strcmp(kind, "stale"))
		return ERR_STALE;
	return strcmp(kind, "cancelled") ? ERR_STEP : ERR_STOPPED;
}

static void fail(struct job *j, const json_t *result)
{
	static const char *const words[] = { [ERR_STEP] = "failed",
		[ERR_STOPPED] = "stopped", [ERR_STALE] = "stale", [ERR_WAITING] = "waiting" };
	enum err_kind kind = kind_of(result);
	AUTO_FREE char *where = mem_printf("%s %s", j->m->name, j->key);
	AUTO_FREE char *subject = mem_printf("%s %s: %s: %s", phase_names[j->s->phase],
		j->s->id, words[kind], jstr(result, "error.text", "no reason given"));
	AUTO_ERR e = { 0 };
	struct rec c;

	err_set(&e, kind, "%s", jstr(result, "error.text", "no reason given"));
	if (jstr(result, "error.hint", NULL))
		err_hint(&e, "%s", jstr(result, "error.hint", ""));
	err_at(&e, &j->s->place);
	err_step(&e, where, j->attempt > 1 ? j->attempt : 0, j->attempt > 1 ? ATTEMPTS : 0);
	report_step(j->r, j->m, j->node, kind == ERR_WAITING ? "waiting" : "failed",
		    j->attempt, took(j), result);
	run_error(j->r, &e);

	rec_init(&c, j->r, j->m);
	rec_step(&c, j->node, words[kind], j->attempt, result, took(j),
		 meta_touched(j->r, j->m, j->node));
	if (j->r->known[j->node].answer && result_ok(j->r->known[j->node].answer))
		rec_result(&c, j->node, j->r->known[j->node].answer);
	rec_facts(&c, j->fact_names);
	rec_findings(&c);
	rec_evidence(&c, j->node, j->evidence);
	rec_send(&c, "outcome", j->key, subject, over_failed, j);
}

static void fail_text(struct job *j, const char *kind, const char *text, const char *hint)
{
	AUTO_JSON *result = result_error(kind, text, hint);

	fail(j, result);
}

/* "convert disks: root.qcow2 40 GiB (and 2 more)" */
static char *subject_of(const struct job *j, const char *status)
{
	json_t *change;
	const char *first = NULL;
	size_t i, more = 0;

	json_array_foreach(json_object_get(j->before, "changes"), i, change) {
		if (strchr("=.?", *jstr(change, "mark", "=")))
			continue;
		if (first)
			more++;
		else
			first = jstr(change, "text", "done");
	}
	if (!strcmp(status, "unchanged") || !first)
		return mem_printf("%s %s: %s", phase_names[j->s->phase], j->s->id,
				  j->s->module->flags & MOD_READ_ONLY ? "asked" : status);
	if (more == 0)
		return mem_printf("%s %s: %s", phase_names[j->s->phase], j->s->id, first);
	return mem_printf("%s %s: %s (and %zu more)", phase_names[j->s->phase],
			  j->s->id, first, more);
}

static void succeed(struct job *j, const json_t *answer, const char *status, bool touched)
{
	AUTO_FREE char *subject = subject_of(j, status);
	char duration[24];
	struct rec c;

	rec_init(&c, j->r, j->m);
	rec_result(&c, j->node, answer);
	rec_step(&c, j->node, status, j->attempt, answer, took(j), touched);
	rec_facts(&c, j->fact_names);
	rec_findings(&c);
	rec_evidence(&c, j->node, j->evidence);
	if (touched && (j->s->module->flags & MOD_NO_RETURN)) {
		rec_meta(&c, "serves", json_string("target"));
		report_serves(j->r, j->m, "target");
	}
	text_duration(took(j), duration);
	jset_str(c.trailers, "Took", duration);
	report_step(j->r, j->m, j->node, status, j->attempt, took(j), NULL);
	count_add(j->r, status, 1);
	rec_send(&c, "outcome", j->key, subject, over_ok, j);
}

static void skip(struct job *j)
{
	AUTO_JSON *answer = json_pack("{s:b, s:s}", "ok", 1, "state", "skipped");

	succeed(j, answer, "skipped", false);
}

/* ---- apply and what follows ---------------------------------------------------------------- */

static void again(void *arg)
{
	ask(arg);
}

/* A lost call says nothing of what happened: after a pause the probe does. */
static bool try_again(struct job *j, const json_t *result)
{
	if (strcmp(result_kind(result), "lost") || j->attempt >= ATTEMPTS ||
	    run_stopping(j->r))
		return false;
	report_step(j->r, j->m, j->node, "waiting", j->attempt, took(j), result);
	run_later(j->r, (uint64_t)BACKOFF_MS << (j->attempt - 1), again, j);
	j->attempt++;
	return true;
}

static void on_after(struct op *o, const json_t *result, void *arg)
{
	struct job *j = arg;
	bool done = result_ok(result) && !strcmp(jstr(result, "state", ""), "done");

	known_set(j->r, j->m, j->node, result, NULL);
	take_evidence(j, o->evidence);
	if (!result_ok(j->applied)) {
		bool lost = !strcmp(result_kind(j->applied), "lost");

		if (lost && done) {
			take_facts(j, result);
			findings_absorb(j->r, j->m, j->key, result);
			succeed(j, result, "done", true);
		} else if (!try_again(j, j->applied)) {
			fail(j, j->applied);
		}
		return;
	}
	if (!result_ok(result)) {
		if (!try_again(j, result))
			fail(j, result);
		return;
	}
	take_facts(j, result);
	if (findings_absorb(j->r, j->m, j->key, result))
		findings_report(j->r, j->m, j->key);
	/* What no probe can tell, such as a check that just asks, is done by having run. */
	if (done || !strcmp(jstr(result, "state", ""), "unknown")) {
		succeed(j, result, "done", true);
		return;
	}
	AUTO_FREE char *text = mem_printf("cannot finish '%s': it ran without an error, "
		"but asked again it says '%s'", j->key, jstr(result, "state", "nothing"));
	fail_text(j, "failed", text, "drover run goes on with it");
}

static void on_applied(struct op *o, const json_t *result, void *arg)
{
	struct job *j = arg;

	json_decref(j->applied);
	j->applied = json_incref((json_t *)result);
	take_evidence(j, o->evidence);
	if (result_ok(result))	/* the probe that follows may want what was just told */
		take_facts(j, result);
	j->m->world_gen++;
	op_start(j->r, j->m, j->node, "probe", on_after, j)->quiet = true;
}

static void intent_durable(void *arg, struct err *e)
{
	struct job *j = arg;

	if (e) {
		AUTO_FREE char *text = mem_printf("cannot record what '%s' is about to do: "
						  "%s", j->key, e->what);
		run_status(j->r, ERR_SYSTEM);
		fail_text(j, "failed", text, "nothing was done; mend the state directory");
		return;
	}
	j->m->world_gen++;
	report_step(j->r, j->m, j->node, "running", j->attempt, took(j), NULL);
	op_start(j->r, j->m, j->node, "apply", on_applied, j);
}

static void intend(struct job *j)
{
	unsigned flags = j->s->module->flags;
	struct rec c;

	rec_init(&c, j->r, j->m);
	rec_step(&c, j->node, "intent", j->attempt, NULL, took(j), true);
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
	report_step(j->r, j->m, j->node, "unchanged", j->attempt, took(j), NULL);
	sched_done(j->r->sched, j->node);
	j->r->jobs--;
	job_free(j);
}

/* Going on with a cutover the source may be off for good reason: what was finished
 * there stands as recorded when it cannot be asked. */
static bool stands_as_recorded(struct job *j, const json_t *result)
{
	const char *kind = result_kind(result);

	if ((strcmp(kind, "down") && strcmp(kind, "lost")) ||
	    j->s->phase != PHASE_CUTOVER || !meta_finished(j->r, j->m, j->node))
		return false;
	report_log(j->r, j->m, j->key, "its host does not answer; it stands as recorded");
	stand(j);
	return true;
}

/* The step that proves the source off. */
static bool switches_off(const struct plan_step *s)
{
	return s->phase == PHASE_CUTOVER && s->module->place == ON_POWER && s->module->apply;
}

/* Once the source is off nothing at it can be asked: what a cutover finished there
 * stands. The step that switched it off is asked itself, see was_on_again(). */
static bool beyond_reach(const struct job *j)
{
	const struct graph *g = j->r->graph;
	enum module_place place = j->s->module->place;

	if (j->s->phase != PHASE_CUTOVER || !meta_finished(j->r, j->m, j->node) ||
	    (place != ON_SOURCE && place != ON_BOTH && place != ON_EACH))
		return false;
	for (uint32_t i = j->node + 1; i < g->first[j->m->index + 1]; i++)
		if (switches_off(g->nodes[i].step) && meta_finished(j->r, j->m, i))
			return true;
	return false;
}

/* It was off, and is on: what it wrote since is in no pass. */
static bool was_on_again(struct job *j)
{
	if (!switches_off(j->s) || !meta_finished(j->r, j->m, j->node))
		return false;
	AUTO_FREE char *text = mem_printf("cannot go on with the cutover of '%s': its source "
		"was switched on again after the last pass", j->m->name);
	fail_text(j, "failed", text, "drover cutover begins it anew");
	return true;
}

static bool own_blocker(struct job *j)
{
	const json_t *f = findings_blocker(j->m, j->key);

	if (!f)
		return false;
	AUTO_FREE char *text = mem_printf("blocker %s: %s", jstr(f, "code", ""),
					  jstr(f, "text", ""));
	fail_text(j, "failed", text, jstr(f, "remedy", NULL));
	return true;
}

static void judge(struct job *j)
{
	struct run *r = j->r;
	const json_t *result = r->known[j->node].answer;
	bool touched = meta_touched(r, j->m, j->node);
	AUTO_ERR e = { 0 };

	if (!result_ok(result)) {
		if (!stands_as_recorded(j, result) && !try_again(j, result))
			fail(j, result);
		return;
	}
	take_facts(j, result);
	if (findings_absorb(r, j->m, j->key, result))
		findings_report(r, j->m, j->key);
	json_decref(j->before);
	j->before = json_incref((json_t *)result);
	take_evidence(j, r->known[j->node].evidence);
	if (!j->s->module->apply) {
		succeed(j, result, "done", false);
		return;
	}
	if (!strcmp(jstr(result, "state", ""), "done")) {
		succeed(j, result, touched && !meta_finished(r, j->m, j->node) ?
			"done" : "unchanged", touched);
		return;
	}
	if (was_on_again(j) || own_blocker(j))
		return;
	if (saved_holds(r, j->m, j->node, result, &e) < 0) {
		fail_text(j, "stale", e.what, e.hint);
		return;
	}
	preview_show(r, j->m, j->node, result);
	intend(j);
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

/* The answer given when the phase was entered still stands, unless something was
 * applied or a fact that matters became known since. */
static bool answer_stands(const struct job *j)
{
	const struct known *k = &j->r->known[j->node];

	if (!k->answer || !result_ok(k->answer) || k->world_gen != j->m->world_gen)
		return false;
	if (!strcmp(jstr(k->answer, "state", "unknown"), "unknown") ||
	    !strcmp(jstr(k->answer, "state", ""), "skipped"))
		return false;
	return k->facts_gen == j->m->facts_gen || !names_facts(j);
}

static void ask(struct job *j)
{
	struct run *r = j->r;
	AUTO_JSON *facts = NULL;

	if (run_stopping(r)) {
		fail_text(j, "cancelled", "stopped before it began",
			  "drover run goes on with it");
		return;
	}
	if (j->s->when) {
		facts = facts_merged(j->m->facts, NULL);
		if (!plan_step_when(j->s, facts)) {
			skip(j);
			return;
		}
	}
	if (beyond_reach(j)) {
		stand(j);
		return;
	}
	if (answer_stands(j)) {
		judge(j);
		return;
	}
	report_step(r, j->m, j->node, "probing", j->attempt, took(j), NULL);
	op_start(r, j->m, j->node, "probe", on_probe, j)->quiet = true;
}

static void entered(void *arg, bool ok)
{
	struct job *j = arg;

	if (ok) {
		j->m->entered = (int)j->s->phase;
		ask(j);
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
		fail_text(j, "cancelled", "stopped before it began",
			  "drover run goes on with it");
	else
		phase_enter(r, j->m, (int)j->s->phase, entered, j);
}
