/* SPDX-License-Identifier: Apache-2.0
 * sync - further passes while the source serves: each machine's disks once more, by the
 * steps that copied them, and what was written read back. Each pass is an intent, an
 * outcome and a commit; with `keep` the next one follows after a pause, until a person or
 * a cutover that waits for the state ends it: after the pass under way.
 *
 * What it tells belongs to the cutover, as if it came before its first step: going back
 * to an earlier phase finds the tree as that phase left it.
 */
#include "engine/base/text.h"
#include "engine/run/op.h"
#include "engine/run/record.h"
#include "engine/run/report.h"
#include "engine/run/step.h"

#include <stdlib.h>
#include <string.h>

#define KEY "cutover.sync"
#define PAUSE_MIN_MS 2000u		/* between two passes */
#define PAUSE_MAX_MS 60000u
#define LOOK_MS 200u			/* how often it is asked whether to go on */

struct herd;

struct sync {
	struct herd *herd;
	struct mach *m;
	uint32_t node;			/* the step whose disks are under way */
	int attempt;
	uint64_t began_ms;		/* this pass */
	json_t *names;			/* facts to record; owned */
	json_t *found, *found_before;	/* what this pass found, and the one before; owned */
	char *summary;			/* of this pass; owned or NULL */
	bool waiting;			/* for its turn */
	uint64_t rests_until;		/* between two passes; 0: it does not rest */
	struct sync *next;		/* in herd->all */
};

/* All machines of the run: limits.convert counts their passes. */
struct herd {
	struct run *r;
	uint32_t running;
	uint32_t left;			/* who holds it: machines not over, and who looks */
	struct sync *all;
	struct loop_timer *look;	/* with `keep` */
	bool wanted;			/* another drover waits for the state */
};

uint32_t sync_next(const struct run *r, const struct mach *m, uint32_t node)
{
	for (; node < r->graph->first[m->index + 1]; node++)
		if (!strcmp(r->graph->nodes[node].step->module->name, "convert.disks") &&
		    meta_finished(r, m, node) && strcmp(meta_status(r, m, node), "skipped"))
			return node;
	return UINT32_MAX;
}

/* Of each pass. */
static uint32_t first_step(const struct sync *s)
{
	return sync_next(s->herd->r, s->m, s->herd->r->graph->first[s->m->index]);
}

/* ---- turns ------------------------------------------------------------------------- */

static void pass_begin(struct sync *s);

static bool ending(const struct herd *h)
{
	return h->wanted || run_stopping(h->r);
}

/* One that held it no longer does. */
static void let_go(struct herd *h)
{
	if (--h->left > 0)
		return;
	loop_timer_del(h->look);
	while (h->all) {
		struct sync *s = h->all;

		h->all = s->next;
		json_decref(s->names);
		json_decref(s->found);
		json_decref(s->found_before);
		free(s->summary);
		free(s);
	}
	free(h);
}

static void over(struct sync *s)
{
	s->herd->r->jobs--;
	let_go(s->herd);
}

/* The caller holds the herd. */
static void whose_turn(struct herd *h)
{
	uint32_t limit = h->r->plan->limits.phase[PHASE_CONVERT];

	for (struct sync *s = h->all; s; s = s->next) {
		if (!s->waiting || (!ending(h) && limit && h->running >= limit))
			continue;
		s->waiting = false;
		if (ending(h)) {
			over(s);
		} else {
			h->running++;
			pass_begin(s);
		}
	}
}

static void see_whether_wanted(struct herd *h)
{
	if (h->wanted || !state_wanted(h->r->state))
		return;
	h->wanted = true;
	report_log(h->r, NULL, NULL, "a cutover waits for the state: this ends %s",
		   h->running ? "when the pass under way is over" : "now");
}

static void look(void *arg)
{
	struct herd *h = arg;

	h->left++;
	see_whether_wanted(h);
	for (struct sync *s = h->all; s; s = s->next)
		if (s->rests_until && (ending(h) || loop_now(h->r->loop) >= s->rests_until)) {
			if (ending(h))
				report_rest(h->r, s->m, first_step(s), 0);
			s->rests_until = 0;
			s->waiting = true;
		}
	h->look = loop_timer_add(h->r->loop, LOOK_MS, look, h);
	whose_turn(h);
	let_go(h);
}

/* As long as the pass took, within bounds. */
static void rest(struct sync *s)
{
	struct run *r = s->herd->r;
	uint64_t ms = loop_now(r->loop) - s->began_ms;

	ms = ms < PAUSE_MIN_MS ? PAUSE_MIN_MS : ms > PAUSE_MAX_MS ? PAUSE_MAX_MS : ms;
	s->rests_until = loop_now(r->loop) + ms;
	report_rest(r, s->m, first_step(s), ms);
}

/* The pass is over; the next machine may begin, and this one again later. */
static void pass_over(struct sync *s, bool ok)
{
	struct herd *h = s->herd;

	h->running--;
	h->left++;		/* the herd stays while we look at it */
	if (ok && !s->m->failed && h->r->o->keep && !ending(h))
		rest(s);
	else
		over(s);
	whose_turn(h);
	let_go(h);
}

/* ---- the records --------------------------------------------------------------------- */

/* `why`: the result of one that failed, or NULL. */
static void note(struct sync *s, struct rec *c, const char *status, const json_t *why)
{
	json_t *row = json_object();
	char iso[21];

	clock_iso(run_wall(s->herd->r), iso);
	jset_str(row, "status", status);
	jset_str(row, "at", iso);
	jset_str(row, "run", state_run_id(s->herd->r->state));
	jset_str(row, "error", jstr(why, "error.text", NULL));
	jset_str(row, "hint", jstr(why, "error.hint", NULL));
	rec_meta(c, "sync", row);
}

static void outcome_durable(void *arg, struct err *e)
{
	struct sync *s = arg;

	if (e)
		run_error(s->herd->r, e);
	pass_over(s, !e);
}

/* "sync: pass 4, 12.0 MiB changed, root 5f0c2a118d00" */
static char *subject_of(const struct sync *s)
{
	const json_t *passes = jget(json_object_get(s->m->facts, "warm"), "volatile.passes");
	const json_t *proven = jget(json_object_get(s->m->facts, "sync"), "stable"), *one;
	const json_t *last = json_array_get(passes, json_array_size(passes) - 1);
	AUTO_STR text = { 0 };
	char changed[24];
	const char *disk;

	text_size((uint64_t)jint(last, "changed", 0), changed);
	str_addf(&text, "sync: pass %lld, %s changed", (long long)jint(last, "pass", 0), changed);
	json_object_foreach((json_t *)proven, disk, one)
		str_addf(&text, ", %s %.12s", disk, jstr(one, "digest", ""));
	return str_take(&text);
}

static void succeed(struct sync *s)
{
	struct run *r = s->herd->r;
	AUTO_FREE char *subject = subject_of(s);
	char duration[24];
	struct rec c;

	if (s->summary)
		report_log(r, s->m, NULL, "%s", s->summary);
	rec_init(&c, r, s->m);
	rec_facts(&c, s->names);
	rec_found(&c, s->found, KEY);
	note(s, &c, "done", NULL);
	text_duration(loop_now(r->loop) - s->began_ms, duration);
	jset_str(c.trailers, "Took", duration);
	count_add(r, "done", 1);
	rec_send(&c, "outcome", NULL, subject, outcome_durable, s);
}

static void fail(struct sync *s, const json_t *result)
{
	struct run *r = s->herd->r;
	/* of two ends that are told to end one may see first that the other is gone */
	bool told_to = !strcmp(result_kind(result), "cancelled") ||
		(run_stopping(r) && result_cut(result));
	bool broke = !told_to && !strcmp(result_kind(result), "broken");
	AUTO_JSON *why = told_to ? frame_failure("cancelled", "the pass was ended: what it brought "
		"stays, the next one goes on with it", NULL) : json_incref((json_t *)result);
	const char *text = jstr(why, "error.text", "no reason given");
	AUTO_FREE char *subject = mem_printf("sync: %s: %s", broke || told_to ? "stopped" :
					     "failed", text);
	AUTO_FREE char *where = mem_printf("%s sync", s->m->name);
	AUTO_ERR e = { 0 };
	struct rec c;

	err_set(&e, broke || told_to ? ERR_STOPPED : ERR_STEP, "%s", text);
	if (jstr(why, "error.hint", NULL))
		err_hint(&e, "%s", jstr(why, "error.hint", ""));
	err_step(&e, where, s->attempt > 1 ? s->attempt : 0, s->attempt > 1 ? ATTEMPTS : 0);
	report_step(r, s->m, s->node, told_to ? "stopped" : "failed", s->attempt,
		    loop_now(r->loop) - s->began_ms, why);
	if (!told_to || !r->o->keep)	/* which ends no other way */
		run_error(r, &e);
	rec_init(&c, r, s->m);
	if (broke || told_to)
		note(s, &c, "stopped", NULL);
	else
		note(s, &c, "failed", why);
	rec_send(&c, "outcome", NULL, subject, outcome_durable, s);
	s->m->failed = true;
}

/* ---- a pass ---------------------------------------------------------------------------- */

static void go(void *arg);

/* What was told of the pass before is not told again. */
static void tell_findings(struct sync *s, const json_t *result)
{
	AUTO_JSON *rows = findings_tell(s->herd->r, s->m, KEY, result, s->found_before);

	json_array_extend(s->found, rows);
}

static void on_applied(struct op *o, const json_t *result, void *arg)
{
	struct sync *s = arg;
	struct run *r = s->herd->r;
	AUTO_JSON *names = NULL;

	(void)o;
	tell_findings(s, result);
	if (!result_ok(result)) {
		/* What came to harm is dropped from the map: the next pass sends it again. */
		bool again = result_cut(result) || !strcmp(result_kind(result), "damaged");

		if (!again || s->attempt >= ATTEMPTS ||
		    run_stopping(r)) {
			fail(s, result);
			return;
		}
		report_again(r, s->m, s->node, s->attempt, 0, result);
		run_later(r, (uint64_t)BACKOFF_MS << (s->attempt++ - 1), go, s);
		return;
	}
	names = facts_absorb_as(s->m, PHASE_CUTOVER, KEY, result);
	json_array_extend(s->names, names);
	if (jstr(result, "volatile.source.summary", NULL)) {
		free(s->summary);
		s->summary = mem_strdup(jstr(result, "volatile.source.summary", ""));
	}
	report_step(r, s->m, s->node, "done", s->attempt, loop_now(r->loop) - s->began_ms, NULL);
	s->node = sync_next(r, s->m, s->node + 1);
	if (s->node == UINT32_MAX)
		succeed(s);
	else
		go(s);
}

static void go(void *arg)
{
	struct sync *s = arg;
	struct run *r = s->herd->r;

	report_step(r, s->m, s->node, "running", s->attempt, 0, NULL);
	op_apply_as(r, s->m, s->node, module_named("call.sync"), KEY, on_applied, s);
}

static void intent_durable(void *arg, struct err *e)
{
	struct sync *s = arg;

	if (!e) {
		go(s);
		return;
	}
	run_error(s->herd->r, e);
	pass_over(s, false);
}

static void pass_begin(struct sync *s)
{
	struct run *r = s->herd->r;
	struct rec c;

	s->node = first_step(s);
	s->attempt = 1;
	s->began_ms = loop_now(r->loop);
	json_array_clear(s->names);
	json_decref(s->found_before);
	s->found_before = s->found;
	s->found = json_array();
	rec_init(&c, r, s->m);
	note(s, &c, "intent", NULL);
	/* what a refused cutover found is not what the next one begins with */
	if (!phase_stands(r, s->m, PHASE_CUTOVER)) {
		phase_forget(r, s->m, PHASE_CUTOVER, &c);
		rec_meta(&c, "phases/cutover", json_null());
	}
	rec_send(&c, "intent", NULL, NULL, intent_durable, s);
}

void sync_begin(struct run *r)
{
	struct herd *h;
	AUTO_ERR e = { 0 };

	if (r->o->keep && state_offer(r->state, &e) < 0) {
		run_error(r, &e);
		return;
	}
	h = mem_alloc(sizeof(*h));
	*h = (struct herd){ .r = r, .left = 1 };	/* it stays while we fill it */
	if (r->o->keep)
		h->look = loop_timer_add(r->loop, LOOK_MS, look, h);
	for (uint32_t i = r->plan->machine_count; i-- > 0;) {
		struct sync *s;

		if (!r->machines[i].in)
			continue;
		s = mem_alloc(sizeof(*s));
		*s = (struct sync){ .herd = h, .m = &r->machines[i], .names = json_array(),
				    .found = json_array(), .found_before = json_array(),
				    .waiting = true, .next = h->all };
		h->all = s;
		h->left++;
		r->jobs++;
	}
	whose_turn(h);
	let_go(h);
}
