/* SPDX-License-Identifier: Apache-2.0
 * verb_status - drover status PLAN: machine by phase, who serves, what to type
 * next. Reads what was recorded; no host is touched.
 */
#include "engine/base/mem.h"
#include "engine/base/phase.h"
#include "engine/cli/cli.h"
#include "engine/cli/figures.h"

#include <stdlib.h>
#include <string.h>

#define SYNC "sync"		/* in the place of a step: the newest pass of `drover sync` */

/* What the record says of one machine. Strings are borrowed from it. */
struct row {
	const char *name, *serves, *phase;
	int done, total;		/* steps, of all phases */
	const char *step, *status;	/* the one that needs to be named, or NULL */
	const char *error, *hint, *at;	/* of that step; of a pass `at` is when, not where */
	const char *next;		/* the verb to type, or NULL */
	size_t typed;			/* so much of `hint` says what to type instead; or 0 */
	const json_t *figures;		/* of its cutover, or NULL */
	bool finalized;
};

static bool is_done(const char *status)
{
	return !strcmp(status, "done") || !strcmp(status, "unchanged") ||
		!strcmp(status, "skipped");
}

/* "intent": it was begun, and has not ended. */
static bool is_under_way(const char *status)
{
	return !strcmp(status, "intent") || !strcmp(status, "running") ||
		!strcmp(status, "probing") || !strcmp(status, "undoing");
}

/* What people read: begun by a run that is gone means interrupted. */
static const char *status_word(const char *status, bool held)
{
	if (!status || !is_under_way(status))
		return status;
	return !held ? "interrupted" : !strcmp(status, "intent") ? "running" : status;
}

/* Failed before unknown before under way: the step a person must hear of. */
static int urgency(const char *status)
{
	static const struct { const char *status; int rank; } rows[] = {
		{ "failed", 4 }, { "stale", 3 }, { "unknown", 3 }, { "waiting", 2 },
		{ "stopped", 1 },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (!strcmp(rows[i].status, status))
			return rows[i].rank;
	return is_under_way(status);
}

static void take_step(struct row *r, const char *key, const json_t *step)
{
	const char *status = jstr(step, "status", "");

	if (urgency(status) <= (r->status ? urgency(r->status) : 0))
		return;
	r->step = key;
	r->status = status;
	r->error = jstr(step, "error", NULL);
	r->hint = jstr(step, "hint", NULL);
	r->typed = strcmp(status, "failed") == 0 ? err_hint_typed(r->hint) : 0;
	r->at = jstr(step, "at", NULL);
}

/* All steps of the phases before cutover are done. */
static bool ready(const struct plan_machine *m, const json_t *steps)
{
	for (uint32_t i = 0; i < m->step_count; i++) {
		const struct plan_step *s = m->steps[i];
		AUTO_FREE char *key = mem_printf("%s.%s", phase_names[s->phase], s->id);

		if (s->phase != PHASE_CUTOVER &&
		    !is_done(jstr(json_object_get(steps, key), "status", "")))
			return false;
	}
	return true;
}

static bool has_cutover(const struct plan_machine *m)
{
	for (uint32_t i = 0; i < m->step_count; i++)
		if (m->steps[i]->phase == PHASE_CUTOVER)
			return true;
	return false;
}

/* NULL: nothing is left to be typed. */
static const char *next_verb(const struct plan_machine *m, const struct row *r,
			     const json_t *meta)
{
	if (jbool(meta, "finalized", false))
		return NULL;
	if (!strcmp(r->serves, "target") && r->done == r->total)
		return "finalize";
	if (has_cutover(m) && r->done == r->total)
		return "rollback";	/* a cutover of one's own, without a start */
	if (r->step && !strcmp(r->step, SYNC))
		return "sync";
	if (!strcmp(r->phase, phase_names[PHASE_CUTOVER]) || strcmp(r->serves, "source") != 0 ||
	    ready(m, json_object_get(meta, "steps")))
		return has_cutover(m) ? "cutover" : NULL;
	return "run";
}

static struct row row_make(const struct plan_machine *m, const json_t *meta)
{
	const json_t *steps = json_object_get(meta, "steps");
	struct row r = { .name = m->name, .serves = jstr(meta, "serves", "source"),
		.phase = jstr(meta, "phase", "-"), .total = (int)m->step_count };

	for (uint32_t i = 0; i < m->step_count; i++) {
		const struct plan_step *s = m->steps[i];
		AUTO_FREE char *key = mem_printf("%s.%s", phase_names[s->phase], s->id);
		const json_t *step = json_object_get(steps, key);

		r.done += is_done(jstr(step, "status", ""));
	}
	const char *key;
	json_t *step;

	json_object_foreach((json_t *)steps, key, step)
		take_step(&r, key, step);
	step = json_object_get(meta, "sync");
	if (!strcmp(jstr(step, "status", ""), "failed") && !strcmp(r.serves, "source") &&
	    strcmp(r.phase, phase_names[PHASE_CUTOVER]) != 0)
		take_step(&r, SYNC, step);
	r.finalized = jbool(meta, "finalized", false);
	r.next = next_verb(m, &r, meta);
	r.figures = json_object_get(meta, "figures");
	return r;
}

/* ---- printing ------------------------------------------------------------------ */

static void row_json(struct cli *c, const struct row *r, const json_t *meta, bool held)
{
	json_t *o = json_object();

	jset_str(o, "machine", r->name);
	jset_str(o, "serves", r->serves);
	jset_str(o, "phase", strcmp(r->phase, "-") ? r->phase : NULL);
	jset_int(o, "done", r->done);
	jset_int(o, "steps", r->total);
	jset_str(o, "step", r->step);
	jset_str(o, "state", status_word(r->status, held));
	jset_str(o, "error", r->error);
	jset_str(o, "hint", r->hint);
	jset_str(o, "next", r->next);
	jset_bool(o, "recorded", meta != NULL);
	if (jget(r->figures, "down_ms"))
		jset(o, "figures", json_deep_copy(r->figures));
	cli_json(c, "status", o);
}

/* Who serves stands out when it is not the source, as ever. */
static const char *serves_word(const char *serves)
{
	return !strcmp(serves, "target") ? "TARGET" : !strcmp(serves, "unknown") ? "UNKNOWN" :
		serves;
}

static void row_print(struct table *t, const struct row *r, bool held)
{
	AUTO_FREE char *count = mem_printf("%d/%d", r->done, r->total);
	AUTO_FREE char *step = r->step ? mem_printf("%s %s", r->step,
						    status_word(r->status, held)) : NULL;
	const char *cells[] = { r->name, serves_word(r->serves), r->phase, count,
		step ? step : r->finalized ? "finalized" : "-", r->error };

	table_row(t, cells);
}

/* One line for each bad machine: what failed, in full, and what it means. */
static void tell_bad(struct cli *c, const struct row *r)
{
	if (!r->error)
		return;
	cli_say(c, 2, "%s %s%s%s%s: %s", r->name, r->step, r->at ? " (" : "",
		r->at ? r->at : "", r->at ? ")" : "", r->error);
	if (r->hint)
		cli_say(c, 2, "  %s", r->hint);
}

static void tell_figures(struct cli *c, const struct row *r)
{
	AUTO_FREE char *text = figures_text(r->figures);

	if (text)
		cli_say(c, 2, "%s: %s", r->name, text);
}

static bool is_over(const struct row *r)
{
	return !strcmp(r->next, "finalize") || !strcmp(r->next, "rollback");
}

/* A way back is named for those alone that it is for. */
static bool has_way_back(const struct row *r)
{
	return is_over(r) || (!strcmp(r->next, "cutover") && strcmp(r->serves, "source") != 0);
}

/* Its verb, and the way back where a cutover has begun. `alone`: for this machine. */
static void say_next(struct cli *c, const char *word, const struct row *r, bool alone)
{
	AUTO_FREE char *typed = mem_printf(alone && c->plan->machine_count > 1 ? "%s -m %s" : "%s",
					   c->plan->typed, r->name);
	AUTO_FREE char *text = has_way_back(r) ? run_after_cutover(typed, r->serves, is_over(r)) :
		mem_printf("drover %s %s", r->next, typed);

	cli_say(c, 6, "%s%s", word, text);
}

/* Each verb once, and once for each that serves meanwhile; with one machine only, it is named, and
 * so is each that may go back while others do not. */
static void tell_next(struct cli *c, const struct row *v, uint32_t n)
{
	static const struct { const char *verb, *serves; } order[] = {
		{ "run", NULL }, { "sync", NULL }, { "cutover", "source" },
		{ "cutover", "nobody" }, { "cutover", "unknown" }, { "cutover", "target" },
		{ "finalize", NULL }, { "rollback", NULL },
	};
	const char *word = "Next: ";
	bool finalized = true;

	for (uint32_t i = 0; i < n; i++)
		if (v[i].typed) {
			fprintf(c->out, "%s%.*s\n", word, (int)v[i].typed, v[i].hint);
			word = "  or: ";
		}
	for (size_t k = 0; k < ARRAY_LEN(order); k++) {
		const struct row **hit = mem_alloc((n + 1) * sizeof(*hit));
		uint32_t hits = 0;
		bool each;

		for (uint32_t i = 0; i < n; i++)
			if (!v[i].typed && v[i].next && !strcmp(v[i].next, order[k].verb) &&
			    (!order[k].serves || !strcmp(v[i].serves, order[k].serves)))
				hit[hits++] = &v[i];
		each = hits == 1 || (hits && hits < c->plan->machine_count && has_way_back(hit[0]));
		for (uint32_t i = 0; i < (each ? hits : hits > 0); i++) {
			say_next(c, word, hit[i], each);
			word = "  or: ";
		}
		free(hit);
	}
	for (uint32_t i = 0; i < n; i++)
		finalized = finalized && v[i].finalized;
	if (*word == 'N')
		cli_say(c, 2, finalized ? "All is done, and finalized." : "All is done. To take "
			"it back: drover rollback %s", c->plan->typed);
}

static void tell_head(struct cli *c, const char *dir, const char *holder)
{
	fprintf(c->out, "%s%s%s  plan %.7s  state %s\n", cli_color(c, C_BOLD), c->plan->name,
		cli_color(c, C_OFF), c->plan->hash, dir);
	if (holder)
		fprintf(c->out, "held by %s\n", holder);
	if (state_notice(c->state))
		cli_say(c, 6, "note: %s", state_notice(c->state));
	fputc('\n', c->out);
}

static void tell_all(struct cli *c, const struct row *v, uint32_t n, bool held)
{
	static const char *const titles[] = { "machine", "serves", "phase", ">done",
		"step now", "~last error", NULL };
	struct table *t = table_new(c, titles);

	for (uint32_t i = 0; i < n; i++)
		row_print(t, &v[i], held);
	table_print(t);
	fputc('\n', c->out);
	for (uint32_t i = 0; i < n; i++)
		tell_bad(c, &v[i]);
	for (uint32_t i = 0; i < n; i++)
		tell_figures(c, &v[i]);
	tell_next(c, v, n);
}

int verb_status(struct cli *c)
{
	AUTO_FREE char *dir = NULL, *holder = NULL;
	AUTO_FREE struct row *v = NULL;
	const json_t *machines;
	uint32_t n = 0;
	int status = cli_load_plan(c, c->args[0]);

	if (status || cli_nothing_recorded(c, &status) ||
	    (status = cli_open_state(c, STATE_READ)))
		return status;
	dir = cli_state_dir(c);
	holder = state_holder(dir);
	if (!c->json)
		tell_head(c, dir, holder);
	machines = json_object_get(state_meta(c->state), "machines");
	v = mem_alloc((c->plan->machine_count + 1) * sizeof(*v));
	for (uint32_t i = 0; i < c->plan->machine_count; i++) {
		const json_t *meta = json_object_get(machines, c->plan->machines[i].name);

		if (!cli_wants(c, i))
			continue;
		v[n] = row_make(&c->plan->machines[i], meta);
		if (c->json)
			row_json(c, &v[n], meta, holder != NULL);
		n++;
	}
	if (!c->json)
		tell_all(c, v, n, holder != NULL);
	return 0;
}
