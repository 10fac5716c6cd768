/* SPDX-License-Identifier: Apache-2.0
 * facts - what is known of a machine, and what was found. A fact keeps the phase
 * that told it, so that going back can drop it.
 */
#include "engine/run/record.h"
#include "engine/run/report.h"

#include <stdlib.h>
#include <string.h>

static json_t *merged(const json_t *fact)
{
	json_t *all = json_deep_copy(json_object_get(fact, "stable"));

	if (!json_is_object(all)) {
		json_decref(all);
		all = json_object();
	}
	if (json_is_object(json_object_get(fact, "volatile")))
		json_object_update_recursive(all, json_object_get(fact, "volatile"));
	return all;
}

json_t *facts_merged(const json_t *facts, const char *const *names)
{
	json_t *out = json_object(), *fact;
	const char *name;

	if (names) {
		for (; *names; names++)
			if ((fact = json_object_get(facts, *names)))
				jset(out, *names, merged(fact));
		return out;
	}
	json_object_foreach((json_t *)facts, name, fact)
		jset(out, name, merged(fact));
	return out;
}

static bool take_fact(struct mach *m, enum phase phase, const char *key, const char *name,
		      const json_t *told)
{
	json_t *old = json_object_get(m->facts, name);
	json_t *stable = json_object_get(told, "stable");
	json_t *loose = json_object_get(told, "volatile");
	json_t *fact = json_object();
	bool changed = !old || !json_equal(json_object_get(old, "stable"), stable) ||
		       !json_equal(json_object_get(old, "volatile"), loose);

	jset(fact, "stable", stable ? json_incref(stable) : json_object());
	if (json_is_object(loose))
		json_object_set(fact, "volatile", loose);
	jset_str(fact, "phase", phase_names[phase]);
	jset_str(fact, "step", key);
	jset(m->facts, name, fact);
	return changed;
}

json_t *facts_absorb_as(struct mach *m, enum phase phase, const char *key,
			const json_t *result)
{
	json_t *names = json_array(), *told;
	const char *name;
	bool changed = false;

	json_object_foreach(json_object_get(result, "facts"), name, told) {
		changed = take_fact(m, phase, key, name, told) || changed;
		jadd(names, json_string(name));
	}
	if (changed)
		m->facts_gen++;
	return names;
}

json_t *facts_absorb(struct mach *m, uint32_t node, const json_t *result)
{
	const struct plan_step *s = m->r->graph->nodes[node].step;
	AUTO_FREE char *key = step_key(s);

	return facts_absorb_as(m, s->phase, key, result);
}

/* ---- findings -------------------------------------------------------------------- */

/* A waiver holds through its last day, in UTC. */
static bool accept_holds(const struct run *r, const struct plan_accept *a,
			 const struct mach *m, const char *code)
{
	char now[21];

	if (strcmp(a->finding, code) || (a->machine && strcmp(a->machine, m->name)))
		return false;
	clock_iso(run_wall(r), now);
	return !a->until || strncmp(now, a->until, strlen("2026-01-01")) <= 0;
}

bool finding_waived(const struct run *r, const struct mach *m, const char *code,
		    const char **reason)
{
	for (uint32_t i = 0; i < r->plan->accept_count; i++)
		if (accept_holds(r, &r->plan->accept[i], m, code)) {
			if (reason)
				*reason = r->plan->accept[i].reason;
			return true;
		}
	return false;
}

/* Takes the step's findings out of the machine's; new. */
static json_t *take_findings(struct mach *m, const char *step)
{
	json_t *mine = json_array();

	for (size_t i = 0; i < json_array_size(m->findings);) {
		json_t *f = json_array_get(m->findings, i);

		if (strcmp(jstr(f, "step", ""), step)) {
			i++;
			continue;
		}
		json_array_append(mine, f);
		json_array_remove(m->findings, i);
	}
	return mine;
}

void findings_forget(struct mach *m, const char *step)
{
	json_decref(take_findings(m, step));
}

/* What the step found, as a machine keeps it; new. */
static json_t *rows_of(const struct run *r, const struct mach *m, const char *step,
		       const json_t *result)
{
	json_t *rows = json_array(), *f;
	size_t i;

	json_array_foreach(json_object_get(result, "findings"), i, f) {
		json_t *mine = json_object();
		const char *reason = NULL;
		bool waived = finding_waived(r, m, jstr(f, "code", ""), &reason);

		jset_str(mine, "severity", jstr(f, "severity", "unknown"));
		jset_str(mine, "code", jstr(f, "code", "unnamed"));
		jset_str(mine, "text", jstr(f, "text", ""));
		jset_str(mine, "remedy", jstr(f, "remedy", NULL));
		jset_str(mine, "step", step);
		if (jbool(f, "now", false))
			jset_bool(mine, "now", true);
		jset_bool(mine, "waived", waived);
		if (waived)
			jset_str(mine, "reason", reason);
		jadd(rows, mine);
	}
	return rows;
}

bool findings_absorb(struct run *r, struct mach *m, const char *step,
		     const json_t *result)
{
	AUTO_JSON *old = take_findings(m, step), *now = rows_of(r, m, step, result);

	json_array_extend(m->findings, now);
	return !json_equal(old, now);
}

char *findings_remedy(const struct run *r, const struct mach *m, const json_t *row)
{
	AUTO_FREE char *typed = next_typed_of(r, m);
	const char *remedy = jstr(row, "remedy", NULL);
	char *named = run_name_plan(remedy, typed);

	return named || !remedy ? named : mem_strdup(remedy);
}

static void report_row(struct run *r, const struct mach *m, const json_t *row)
{
	AUTO_FREE char *remedy = findings_remedy(r, m, row);
	json_t *o = json_copy((json_t *)row);

	jset_str(o, "machine", m->name);
	if (remedy)
		jset_str(o, "remedy", remedy);
	report(r, "finding", o);
	count_add(r, jbool(row, "waived", false) ? "waived" : jstr(row, "severity", "unknown"), 1);
}

/* By this run, of whichever step: room at the target is looked at by two. */
static bool told(const struct mach *m, const json_t *row)
{
	static const char *const same[] = { "severity", "code", "text" };
	json_t *f;
	size_t i, k;

	json_array_foreach(m->told, i, f) {
		for (k = 0; k < ARRAY_LEN(same); k++)
			if (strcmp(jstr(f, same[k], ""), jstr(row, same[k], "")))
				break;
		if (k == ARRAY_LEN(same))
			return true;
	}
	return false;
}

void findings_report(struct run *r, struct mach *m, const char *step)
{
	json_t *f;
	size_t i;

	m->told = m->told ? m->told : json_array();
	json_array_foreach(m->findings, i, f) {
		if (strcmp(jstr(f, "step", ""), step) || told(m, f))
			continue;
		report_row(r, m, f);
		json_array_append(m->told, f);
	}
}

static bool has_row(const json_t *rows, const json_t *row)
{
	const json_t *one;
	size_t i;

	json_array_foreach(rows, i, one)
		if (json_equal(one, row))
			return true;
	return false;
}

json_t *findings_tell(struct run *r, struct mach *m, const char *key, const json_t *result,
		      const json_t *known)
{
	json_t *rows = rows_of(r, m, key, result), *row;
	size_t i;

	json_array_foreach(rows, i, row)
		if (!has_row(known, row))
			report_row(r, m, row);
	return rows;
}

const json_t *findings_blocker(const struct mach *m, const char *step)
{
	json_t *f;
	size_t i;

	json_array_foreach(m->findings, i, f)
		if (!strcmp(jstr(f, "severity", ""), "blocker") &&
		    !jbool(f, "waived", false) &&
		    (!step || !strcmp(jstr(f, "step", ""), step)))
			return f;
	return NULL;
}

static int by_code(const void *a, const void *b)
{
	const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
	int c = strcmp(jstr(x, "step", ""), jstr(y, "step", ""));

	if (!c)
		c = strcmp(jstr(x, "code", ""), jstr(y, "code", ""));
	return c ? c : strcmp(jstr(x, "severity", ""), jstr(y, "severity", ""));
}

/* The text may hold numbers of the moment, and an "info" is of the moment altogether
 * (a journal that is in use now), as is what says so itself: the tree has code and severity
 * of the others, in an order of their own; all of it stands in the meta document. */
json_t *findings_tree(const struct mach *m)
{
	size_t n = json_array_size(m->findings), i;
	json_t **list = mem_alloc((n + 1) * sizeof(json_t *)), *f, *out = json_array();

	json_array_foreach(m->findings, i, f)
		list[i] = f;
	qsort(list, n, sizeof(json_t *), by_code);
	for (i = 0; i < n; i++) {
		json_t *mine;

		if (!strcmp(jstr(list[i], "severity", ""), "info") || jbool(list[i], "now", false))
			continue;
		mine = json_object();
		jset_str(mine, "severity", jstr(list[i], "severity", ""));
		jset_str(mine, "code", jstr(list[i], "code", ""));
		jset_str(mine, "step", jstr(list[i], "step", ""));
		jadd(out, mine);
	}
	free(list);
	return out;
}
