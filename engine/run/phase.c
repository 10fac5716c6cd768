/* SPDX-License-Identifier: Apache-2.0
 * phase - entering a phase. All its steps are asked before the first one starts,
 * and their answers are committed: that is the point to which rollback returns.
 */
#include "engine/run/op.h"
#include "engine/run/record.h"
#include "engine/run/report.h"
#include "engine/run/step.h"

#include <stdlib.h>
#include <string.h>

void known_set(struct run *r, struct mach *m, uint32_t node, const json_t *answer,
	       const json_t *evidence)
{
	struct known *k = &r->known[node];

	json_decref(k->answer);
	json_decref(k->evidence);
	k->answer = json_incref((json_t *)answer);
	k->evidence = json_incref((json_t *)evidence);
	k->facts_gen = m->facts_gen;
	k->world_gen = m->world_gen;
}

/* ---- asking all steps of a phase ------------------------------------------------------ */

#define ASKED_AT_ONCE 32	/* of one machine; more only make its host fork in a heap */

struct asking {
	struct run *r;
	struct mach *m;
	int phase;
	bool quiet;
	uint32_t next;		/* the first node not asked yet */
	uint32_t end;		/* behind the machine's last */
	int left;		/* asked and not answered; one more while asking goes on */
	void (*then)(void *arg);
	void *arg;
};

static void ask_more(struct asking *a);

static void on_answer(struct op *o, const json_t *result, void *arg)
{
	struct asking *a = arg;

	known_set(a->r, a->m, o->node, result, o->evidence);
	a->left--;
	ask_more(a);
}

static void asked_later(void *arg)
{
	struct asking *a = arg;

	a->left--;
	ask_more(a);
}

static bool skipped(struct run *r, struct mach *m, uint32_t node)
{
	AUTO_JSON *facts = NULL, *answer = NULL;
	const struct plan_step *s = r->graph->nodes[node].step;

	if (!s->when)
		return false;
	facts = facts_merged(m->facts, NULL);
	if (plan_step_when(s, facts))
		return false;
	answer = json_pack("{s:b, s:s}", "ok", 1, "state", "skipped");
	known_set(r, m, node, answer, NULL);
	return true;
}

static void ask_one(struct asking *a, uint32_t node)
{
	struct run *r = a->r;

	if ((int)r->graph->nodes[node].step->phase != a->phase || skipped(r, a->m, node))
		return;
	a->left++;
	op_ask(r, a->m, node, a->quiet, on_answer, a);
}

static void ask_more(struct asking *a)
{
	while (a->next < a->end && a->left < ASKED_AT_ONCE)
		ask_one(a, a->next++);
	if (a->left > 0)
		return;
	a->then(a->arg);
	free(a);
}

void phase_ask(struct run *r, struct mach *m, int phase, bool quiet,
	       void (*then)(void *arg), void *arg)
{
	struct asking *a = mem_alloc(sizeof(*a));

	*a = (struct asking){ r, m, phase, quiet, r->graph->first[m->index],
			      r->graph->first[m->index + 1], 1, then, arg };
	ask_more(a);
	run_later(r, 0, asked_later, a);	/* `then` is never called from in here */
}

/* ---- entering ---------------------------------------------------------------------------- */

struct entering {
	struct run *r;
	struct mach *m;
	int phase;
	bool anew;			/* it had begun, and counts as if it had not */
	void (*then)(void *arg, bool ok);
	void *arg;
};

bool phase_blocked(struct run *r, struct mach *m, const char *verb)
{
	const json_t *f = findings_blocker(m, NULL);
	AUTO_FREE char *remedy = f ? findings_remedy(r, m, f) : NULL;
	AUTO_ERR e = { 0 };

	if (!f)
		return false;
	err_set(&e, ERR_STEP, "cannot %s '%s': blocker %s: %s", verb, m->name,
		jstr(f, "code", ""), jstr(f, "text", ""));
	err_hint(&e, "%s%sor accept it in the plan: accept: [{finding: %s, machine: %s, "
		 "until: DATE, reason: WHY}]", remedy ? remedy : "mend it",
		 remedy ? "; " : ", ", jstr(f, "code", ""), m->name);
	report_log(r, m, NULL, "'%s' stops here: blocker %s", m->name, jstr(f, "code", ""));
	m->blocked = true;
	run_error(r, &e);
	return true;
}

static void over(struct entering *en, bool ok)
{
	en->then(en->arg, ok);
	free(en);
}

/* A machine that ends badly in assess must still be assessed whole: blockers stop
 * it before the next phase. */
static void go_on(struct entering *en)
{
	bool blocked = en->phase > PHASE_ASSESS &&
		phase_blocked(en->r, en->m, phase_names[en->phase]);

	over(en, !blocked);
}

static void begin_durable(void *arg, struct err *e)
{
	struct entering *en = arg;

	if (e) {
		run_error(en->r, e);
		over(en, false);
		return;
	}
	go_on(en);
}

bool known_silent(const struct run *r, uint32_t node)
{
	const json_t *answer = r->known[node].answer;

	return answer && !result_ok(answer) &&
	       (!strcmp(result_kind(answer), "down") || result_cut(answer));
}

const json_t *phase_silent(const struct run *r, const struct mach *m, int phase)
{
	for (uint32_t i = r->graph->first[m->index]; i < r->graph->first[m->index + 1]; i++)
		if ((int)r->graph->nodes[i].step->phase == phase && known_silent(r, i))
			return r->known[i].answer;
	return NULL;
}

/* Did anything change since the phase began? */
static bool untouched(const struct run *r, const struct mach *m, int phase)
{
	for (uint32_t i = r->graph->first[m->index]; i < r->graph->first[m->index + 1]; i++)
		if ((int)r->graph->nodes[i].step->phase >= phase && meta_touched(r, m, i))
			return false;
	return true;
}

/* What was asked since the phase began for the first time is no part of its beginning: a
 * rollback to there would not find it again. */
void phase_forget(struct run *r, struct mach *m, int phase, struct rec *c)
{
	const struct graph *g = r->graph;

	for (uint32_t i = g->first[m->index]; i < g->first[m->index + 1]; i++) {
		AUTO_FREE char *key = step_key(g->nodes[i].step);

		if ((int)g->nodes[i].step->phase < phase)
			continue;
		jadd(c->del, json_sprintf("steps/%s/result.json", key));
		jadd(c->del, json_sprintf("evidence/%s/", key));
		if ((int)g->nodes[i].step->phase > phase)
			findings_forget(m, key);	/* its own are told anew */
	}
	for (int ph = phase + 1; ph < PHASE_COUNT; ph++) {
		AUTO_FREE char *field = mem_printf("phases/%s", phase_names[ph]);

		rec_meta(c, field, json_null());
	}
}

static void all_asked(void *arg)
{
	struct entering *en = arg;
	struct run *r = en->r;
	json_t *begun;
	bool unsure = false;
	AUTO_FREE char *subject = mem_printf("%s begins: %s", phase_names[en->phase],
					     "what the hosts say before it");
	AUTO_FREE char *field = mem_printf("phases/%s", phase_names[en->phase]);
	struct rec c;
	char iso[21];

	/* What is changed before all answered could not be proven to be back later. */
	if (en->phase > PHASE_ASSESS && phase_silent(r, en->m, en->phase)) {
		over(en, false);
		return;
	}
	rec_init(&c, r, en->m);
	if (en->anew)
		phase_forget(r, en->m, en->phase, &c);
	for (uint32_t i = r->graph->first[en->m->index];
	     i < r->graph->first[en->m->index + 1]; i++) {
		const struct plan_step *s = r->graph->nodes[i].step;
		AUTO_FREE char *key = step_key(s);

		if ((int)s->phase != en->phase)
			continue;
		unsure = unsure || !result_ok(r->known[i].answer);
		rec_result(&c, i, r->known[i].answer);
		if (findings_absorb(r, en->m, key, r->known[i].answer))
			findings_report(r, en->m, key);
	}
	unsure = unsure || findings_blocker(en->m, NULL);
	rec_findings(&c);
	clock_iso(run_wall(r), iso);
	begun = json_pack("{s:s, s:s}", "begun", iso, "run", state_run_id(r->state));
	if (unsure)
		jset_bool(begun, "unsure", true);
	rec_meta(&c, field, begun);
	rec_meta(&c, "phase", json_string(phase_names[en->phase]));
	if (!meta_of(r, en->m))
		rec_meta(&c, "serves", json_string("source"));
	jset_str(c.trailers, "Begins", phase_names[en->phase]);
	rec_send(&c, "begin", NULL, subject, begin_durable, en);
}

bool phase_stands(const struct run *r, const struct mach *m, int phase)
{
	const json_t *begun = json_object_get(json_object_get(meta_of(r, m), "phases"),
					      phase_names[phase]);

	return begun && !(jbool(begun, "unsure", false) && untouched(r, m, phase));
}

void phase_enter(struct run *r, struct mach *m, int phase,
		 void (*then)(void *arg, bool ok), void *arg)
{
	struct entering *en = mem_alloc(sizeof(*en));
	const json_t *begun = json_object_get(json_object_get(meta_of(r, m), "phases"),
					      phase_names[phase]);

	*en = (struct entering){ r, m, phase, begun != NULL, then, arg };
	/* A phase begins once: asking again half way would move the point to which
	 * rollback returns. */
	if (phase_stands(r, m, phase))
		go_on(en);
	else
		phase_ask(r, m, phase, false, all_asked, en);
}
