/* SPDX-License-Identifier: Apache-2.0
 * rollback - all machines backward: those that came `after` another go first.
 */
#include "engine/run/back.h"
#include "engine/run/op.h"
#include "engine/run/record.h"
#include "engine/run/report.h"
#include "engine/base/text.h"

#include <stdlib.h>
#include <string.h>

/* The first phase from `from` on that began: one left out (no step, --only) did nothing,
 * so before it is the same as before the next one. */
static int first_begun(const struct run *r, const struct mach *m, int from)
{
	const json_t *phases = json_object_get(meta_of(r, m), "phases");

	while (from < PHASE_COUNT && !json_object_get(phases, phase_names[from]))
		from++;
	return from;
}

static void go(struct run *r, struct mach *m)
{
	int to = first_begun(r, m, r->o->phase);

	if (to == PHASE_COUNT) {
		report_log(r, m, NULL, "'%s' is before %s already", m->name,
			   phase_names[r->o->phase]);
		rollback_machine_over(r, m, true);
	} else if (r->kind == RUN_ROLLBACK_PREVIEW) {
		undo_preview(r, m);
	} else {
		undo_start(r, m, to, false);
	}
}

void rollback_machine_over(struct run *r, struct mach *m, bool ok)
{
	const struct plan_machine *pm = &r->plan->machines[m->index];

	m->failed = !ok;
	for (uint32_t a = 0; a < pm->after_count; a++) {
		struct mach *other = &r->machines[pm->after[a]];

		if (!other->in)
			continue;
		if (!ok) {
			report_log(r, other, NULL, "'%s' is not rolled back: '%s', which "
				   "came after it, could not be", other->name, m->name);
			other->failed = true;
		} else if (--r->waits[other->index] == 0 && !other->failed) {
			go(r, other);
		}
	}
}

void rollback_begin(struct run *r)
{
	const struct plan *p = r->plan;
	bool *first = mem_alloc(p->machine_count + 1);

	r->waits = mem_alloc((p->machine_count + 1) * sizeof(uint32_t));
	for (uint32_t m = 0; m < p->machine_count; m++)
		for (uint32_t a = 0; r->machines[m].in && a < p->machines[m].after_count;
		     a++)
			r->waits[p->machines[m].after[a]]++;
	for (uint32_t m = 0; m < p->machine_count; m++)
		first[m] = r->machines[m].in && r->waits[m] == 0;
	for (uint32_t m = 0; m < p->machine_count; m++)
		if (first[m])
			go(r, &r->machines[m]);
	free(first);
}

/* ---- what would be lost -------------------------------------------------------------------- */

struct losing {
	struct run *r;
	struct mach *m;
	void (*then)(void *arg);
	void *arg;
};

static void tell_lost(struct losing *l, int64_t bytes)
{
	const char *since = jstr(meta_of(l->r, l->m), "served_since", NULL);
	json_t *o = json_object();
	char size[24] = "an unknown amount";

	if (bytes >= 0)
		text_size((uint64_t)bytes, size);
	jset_str(o, "machine", l->m->name);
	jset_strf(o, "text", "the target may have served since %s; %s was written there "
		  "and would be lost", since ? since : "an unknown time", size);
	if (bytes >= 0)
		jset_int(o, "bytes", bytes);
	jset_str(o, "since", since);
	report(l->r, "lost", o);
	l->then(l->arg);
	free(l);
}

static void on_answer(struct op *o, const json_t *result, void *arg)
{
	(void)o;
	tell_lost(arg, jint(result, "volatile.target_writes", -1));
}

static void tell_later(void *arg)
{
	tell_lost(arg, -1);
}

void lost_ask(struct run *r, struct mach *m, void (*then)(void *arg), void *arg)
{
	struct losing *l = mem_alloc(sizeof(*l));

	*l = (struct losing){ r, m, then, arg };
	for (uint32_t i = r->graph->first[m->index]; i < r->graph->first[m->index + 1];
	     i++)
		if (r->graph->nodes[i].step->module->flags & MOD_NO_RETURN) {
			op_start(r, m, i, "probe", on_answer, l)->quiet = true;
			return;
		}
	run_later(r, 0, tell_later, l);
}

/* ---- the preview ----------------------------------------------------------------------------- */

static void tell_change(struct run *r, struct mach *m, uint32_t node)
{
	const struct plan_step *s = r->graph->nodes[node].step;
	json_t *o = report_step_new(r, m, node);

	if (s->module->undo) {
		jset_str(o, "mark", "-");
		jset_strf(o, "text", "undo: %s", s->module->summary);
		count_add(r, "remove", 1);
	} else {
		jset_str(o, "mark", ".");
		jset_strf(o, "text", "stays, it has no undo: %s", s->module->summary);
		count_add(r, "left_out", 1);
	}
	report(r, "change", o);
}

static void preview_machine(void *arg)
{
	struct mach *m = arg;
	struct run *r = m->r;

	for (uint32_t i = r->graph->first[m->index + 1]; i-- > r->graph->first[m->index];)
		if ((int)r->graph->nodes[i].step->phase >= r->o->phase &&
		    meta_touched(r, m, i))
			tell_change(r, m, i);
	report_serves(r, m, meta_serves(r, m));
	rollback_machine_over(r, m, true);
	r->jobs--;
}

void undo_preview(struct run *r, struct mach *m)
{
	r->jobs++;
	if (m->serving)
		lost_ask(r, m, preview_machine, m);
	else
		run_later(r, 0, preview_machine, m);
}
