/* SPDX-License-Identifier: Apache-2.0
 * resume - what the state says of a machine: its facts, what was done, who serves.
 * Every run begins here; a first run finds nothing.
 */
#include "engine/run/record.h"
#include "engine/run/report.h"
#include "engine/run/step.h"

#include <stdlib.h>
#include <string.h>

const json_t *meta_of(const struct run *r, const struct mach *m)
{
	const json_t *meta = r->state ? state_meta(r->state) : NULL;

	return json_object_get(json_object_get(meta, "machines"), m->name);
}

const json_t *meta_step(const struct run *r, const struct mach *m, uint32_t node)
{
	AUTO_FREE char *key = step_key(r->graph->nodes[node].step);

	return json_object_get(json_object_get(meta_of(r, m), "steps"), key);
}

const char *meta_status(const struct run *r, const struct mach *m, uint32_t node)
{
	return jstr(meta_step(r, m, node), "status", "none");
}

bool meta_finished(const struct run *r, const struct mach *m, uint32_t node)
{
	const char *status = meta_status(r, m, node);

	return !strcmp(status, "done") || !strcmp(status, "unchanged") ||
	       !strcmp(status, "skipped");
}

bool meta_touched(const struct run *r, const struct mach *m, uint32_t node)
{
	return jbool(meta_step(r, m, node), "touched", false);
}

const char *meta_serves(const struct run *r, const struct mach *m)
{
	return jstr(meta_of(r, m), "serves", "source");
}

static void load_facts(struct run *r, struct mach *m)
{
	const json_t *tree = r->state ? state_tree(r->state, m->name) : NULL;
	json_t *row;
	const char *name;

	json_object_foreach(json_object_get(meta_of(r, m), "facts"), name, row) {
		AUTO_FREE char *path = mem_printf("facts/%s.json", name);
		const char *text = json_string_value(json_object_get(tree, path));
		json_t *fact, *stable = text ? json_parse(text, strlen(text), NULL) : NULL;

		if (!stable)
			continue;
		fact = json_copy(row);
		jset(fact, "stable", stable);
		jset(m->facts, name, fact);
	}
}

void resume_load(struct run *r, struct mach *m)
{
	const char *serves = meta_serves(r, m);
	json_t *findings = json_object_get(meta_of(r, m), "findings");

	m->facts = json_object();
	m->findings = json_is_array(findings) ? json_deep_copy(findings) : json_array();
	m->serving = !strcmp(serves, "target") || !strcmp(serves, "unknown");
	m->entered = -1;
	load_facts(r, m);
	/* A waiver may have been added, or have run out, since. */
	for (size_t i = 0; i < json_array_size(m->findings); i++) {
		json_t *f = json_array_get(m->findings, i);

		jset_bool(f, "waived", finding_waived(r, m, jstr(f, "code", ""), NULL));
	}
}

/* ---- who may take part ------------------------------------------------------------------ */

static int leave_out(struct run *r, struct mach *m, const char *why)
{
	m->in = false;
	m->left_out = true;
	m->absent = mem_printf("'%s' is left out: %s", m->name, why);
	(void)r;
	return 0;
}

/* Every step of the phases before `phase` must be finished. */
static int admit_after(struct run *r, struct mach *m, int phase, const char *verb,
		       struct err *e)
{
	for (uint32_t i = r->graph->first[m->index]; i < r->graph->first[m->index + 1];
	     i++) {
		const struct plan_step *s = r->graph->nodes[i].step;

		if ((int)s->phase >= phase || meta_finished(r, m, i))
			continue;
		err_set(e, ERR_STEP, "cannot %s '%s': %s.%s is not done", verb, m->name,
			phase_names[s->phase], s->id);
		return err_hint(e, "drover %s %s --machine %s", s->phase == PHASE_CUTOVER ?
				"cutover" : "run", r->plan->typed, m->name);
	}
	return 0;
}

/* What a step found that is not done: it will be asked anew. */
static void forget_unfinished(struct run *r, struct mach *m)
{
	for (uint32_t i = r->graph->first[m->index]; i < r->graph->first[m->index + 1]; i++) {
		AUTO_FREE char *key = step_key(r->graph->nodes[i].step);

		if (!meta_finished(r, m, i))
			findings_forget(m, key);
	}
}

static int admit_go(struct run *r, struct mach *m, struct err *e)
{
	AUTO_FREE char *one = mem_printf("%s --machine %s", r->plan->typed, m->name);
	const char *serves = meta_serves(r, m);
	AUTO_FREE char *way = run_after_cutover(one, serves, false);

	if (!strcmp(serves, "target"))
		return leave_out(r, m, "it was cut over; the target serves");
	if (strcmp(serves, "source")) {
		err_set(e, ERR_STEP, "cannot run '%s': its cutover was begun and %s "
			"serves", m->name, strcmp(serves, "nobody") ? "who knows what" :
			"nobody");
		return err_hint(e, "%s", way);
	}
	return admit_after(r, m, r->lo, phase_names[r->lo], e);
}

static int admit_cutover(struct run *r, struct mach *m, struct err *e)
{
	if (jbool(meta_of(r, m), "finalized", false))
		return leave_out(r, m, "it is finalized");
	if (findings_blocker(m, NULL) && phase_blocked(r, m, "cut over"))
		return -1;
	return admit_after(r, m, PHASE_CUTOVER, "cut over", e);
}

static int admit_sync(struct run *r, struct mach *m, struct err *e)
{
	if (strcmp(meta_serves(r, m), "source"))
		return leave_out(r, m, "its source does not serve");
	if (sync_next(r, m, r->graph->first[m->index]) == UINT32_MAX) {
		err_set(e, ERR_STEP, "cannot sync '%s': its disks were not copied yet", m->name);
		return err_hint(e, "drover run %s --machine %s --until convert", r->plan->typed,
				m->name);
	}
	return admit_after(r, m, PHASE_RECONFIGURE, "sync", e);
}

static int admit_rollback(struct run *r, struct mach *m, struct err *e)
{
	const json_t *meta = meta_of(r, m);

	if (!meta)
		return leave_out(r, m, "nothing was done to it");
	if (jbool(meta, "finalized", false)) {
		err_set(e, ERR_STEP, "cannot roll back '%s': it is finalized, what undoing "
			"needs is gone", m->name);
		return err_hint(e, "the way back is a migration in the other direction");
	}
	if (!m->serving || r->o->discard_target_writes ||
	    r->kind == RUN_ROLLBACK_PREVIEW)
		return 0;
	err_set(e, ERR_STEP, "cannot roll back '%s': the target serves%s%s, and what was "
		"written there since would be lost", m->name,
		jstr(meta, "served_since", NULL) ? " since " : "",
		jstr(meta, "served_since", ""));
	return err_hint(e, "drover rollback %s --machine %s --preview says how much; "
			"--discard-target-writes gives it up", r->plan->typed, m->name);
}

static int admit_finalize(struct run *r, struct mach *m, struct err *e)
{
	if (jbool(meta_of(r, m), "finalized", false))
		return leave_out(r, m, "it is finalized already");
	if (strcmp(meta_serves(r, m), "target")) {
		err_set(e, ERR_STEP, "cannot finalize '%s': the target does not serve",
			m->name);
		return err_hint(e, "drover cutover %s --machine %s", r->plan->typed, m->name);
	}
	return admit_after(r, m, PHASE_COUNT, "finalize", e);
}

static int admit(struct run *r, struct mach *m, struct err *e)
{
	if (r->kind == RUN_GO || r->kind == RUN_CUTOVER)
		forget_unfinished(r, m);
	switch (r->kind) {
	case RUN_GO:			return admit_go(r, m, e);
	case RUN_CUTOVER:		return admit_cutover(r, m, e);
	case RUN_SYNC:			return admit_sync(r, m, e);
	case RUN_ROLLBACK:
	case RUN_ROLLBACK_PREVIEW:	return admit_rollback(r, m, e);
	case RUN_FINALIZE:		return admit_finalize(r, m, e);
	case RUN_PREVIEW:
	case RUN_CUTOVER_PREVIEW:
	case RUN_CLEANUP:		return 0;
	}
	return 0;
}

static uint32_t chosen_count(const struct run *r)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < r->plan->machine_count; i++)
		n += r->machines[i].in;
	return n;
}

/* Going back is all or nothing: one machine that cannot keeps the rest from it. Going
 * on, the others go on. */
int resume_admit(struct run *r, struct err *e)
{
	bool strict = r->kind == RUN_ROLLBACK || r->kind == RUN_FINALIZE ||
		chosen_count(r) == 1;

	for (uint32_t i = 0; i < r->plan->machine_count; i++) {
		struct mach *m = &r->machines[i];
		AUTO_ERR mine = { 0 };

		if (!m->in)
			continue;
		if (admit(r, m, &mine) == 0)
			continue;
		m->in = false;
		if (strict) {
			if (err_is(&mine))	/* else the run has it */
				err_move(e, &mine);
			return -1;
		}
		if (err_is(&mine)) {
			m->absent = mem_strdup(mine.what);
			run_error(r, &mine);
		}
	}
	return 0;
}

void resume_tell_absent(struct run *r)
{
	for (uint32_t i = 0; i < r->plan->machine_count; i++)
		if (r->machines[i].absent)
			report_log(r, &r->machines[i], NULL, "%s", r->machines[i].absent);
}
