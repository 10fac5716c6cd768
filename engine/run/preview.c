/* SPDX-License-Identifier: Apache-2.0
 * preview - the run that only probes. Facts that probes tell are kept in memory, so
 * that later probes see them as a run would.
 */
#include "engine/run/op.h"
#include "engine/run/preview.h"
#include "engine/run/record.h"
#include "engine/run/report.h"

#include <stdlib.h>
#include <string.h>

static const char *count_of(char mark)
{
	switch (mark) {
	case '+': return "create";
	case '~': return "change";
	case '-': return "remove";
	case '=': return "unchanged";
	case '?': return "unknown";
	default:  return "left_out";
	}
}

static void show_line(struct run *r, struct mach *m, uint32_t node, const json_t *line)
{
	json_t *o = report_step_new(r, m, node);
	bool in_engine = r->graph->nodes[node].step->module->place == IN_ENGINE;
	const char *mark = jstr(line, "mark", "?");

	jset_str(o, "mark", mark);
	jset_str(o, "text", jstr(line, "text", ""));
	/* What a check may do says its own text, which is bound whole. */
	if (*mark == '?' && (jget(line, "bound") || !in_engine)) {
		AUTO_FREE char *bound = bound_text(line);

		jset_strf(o, "text", "%s, %s", jstr(line, "text", ""), bound);
		json_object_set(o, "bound", json_object_get(line, "bound"));
	}
	jset_str(o, "path", jstr(line, "path", NULL));
	jset_str(o, "diff", jstr(line, "diff", NULL));
	report(r, "change", o);
	count_add(r, count_of(*mark), 1);
}

static void show_one(struct run *r, struct mach *m, uint32_t node, const char *mark,
		     const char *text)
{
	AUTO_JSON *line = json_object();

	jset_str(line, "mark", mark);
	jset_str(line, "text", text);
	show_line(r, m, node, line);
}

static void show_cost(struct run *r, struct mach *m, uint32_t node, const json_t *result)
{
	static const char *const parts[] = { "read", "send", "write" };
	const json_t *cost = json_object_get(result, "cost");
	struct known *k = &r->known[node];
	json_t *o;

	k->amount = estimate_amount(result);
	k->foretold = jint(cost, "ms", 0) > 0;
	k->estimate = estimate_step(r, node, result);
	k->estimated = true;
	if (r->mute || (!cost && !k->estimate.ms))
		return;
	o = report_step_new(r, m, node);
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		jset_int(o, parts[i], jint(cost, parts[i], 0));
	jset_int(o, "ms", (int64_t)k->estimate.ms);
	jset_int(o, "ms90", (int64_t)k->estimate.ms90);
	jset_int(o, "samples", k->estimate.samples);
	if (run_is_preview(r))	/* a run counts what it has done */
		r->bytes += (uint64_t)jint(cost, "send", 0);
	r->measured += k->estimate.ms && k->estimate.samples;
	r->assumed += k->estimate.ms && !k->estimate.samples;
	report(r, "cost", o);
}

void preview_show(struct run *r, struct mach *m, uint32_t node, const json_t *result)
{
	const struct module *mod = r->graph->nodes[node].step->module;
	const char *state = jstr(result, "state", "unknown");
	json_t *lines = json_object_get(result, "changes"), *line;
	size_t i;

	json_array_foreach(lines, i, line)
		show_line(r, m, node, line);
	if (json_array_size(lines) == 0 && mod->apply) {
		if (!strcmp(state, "done"))
			show_one(r, m, node, "=", "nothing to do");
		else if (!strcmp(state, "unknown"))
			show_one(r, m, node, "?", "known after an earlier step");
		else
			show_one(r, m, node, "~", mod->summary);
	}
	show_cost(r, m, node, result);
}

static void machine_over(struct run *r, struct mach *m, uint32_t node, bool ok)
{
	if (ok) {
		sched_done(r->sched, node);
	} else {
		m->failed = true;
		sched_failed(r->sched, node);
	}
	r->jobs--;
}

static void fail(struct run *r, struct mach *m, uint32_t node, const json_t *result)
{
	const struct plan_step *s = r->graph->nodes[node].step;
	AUTO_FREE char *where = mem_printf("%s %s.%s", m->name, phase_names[s->phase],
					   s->id);
	AUTO_ERR e = { 0 };

	report_step(r, m, node, "failed", 1, 0, result);
	err_set(&e, strcmp(result_kind(result), "cancelled") ? ERR_STEP : ERR_STOPPED,
		"%s", jstr(result, "error.text", "no reason given"));
	if (jstr(result, "error.hint", NULL))
		err_hint(&e, "%s", jstr(result, "error.hint", ""));
	err_at(&e, &s->place);
	err_step(&e, where, 0, 0);
	run_error(r, &e);
	machine_over(r, m, node, false);
}

static void on_answer(struct op *o, const json_t *result, void *arg)
{
	struct run *r = o->r;
	struct mach *m = arg;
	AUTO_FREE char *key = step_key(o->step);
	const char *state = jstr(result, "state", "unknown");

	if (!result_ok(result)) {
		fail(r, m, o->node, result);
		return;
	}
	json_decref(facts_absorb(m, o->node, result));
	findings_absorb(r, m, key, result);
	findings_report(r, m, key);
	preview_show(r, m, o->node, result);
	saved_add(r, m, o->node, result);
	report_step(r, m, o->node, !strcmp(state, "done") ? "unchanged" :
		    !strcmp(state, "unknown") ? "unknown" : "waiting", 1, 0, NULL);
	machine_over(r, m, o->node, true);
}

static void skipped(struct run *r, struct mach *m, uint32_t node)
{
	const struct plan_step *s = r->graph->nodes[node].step;
	AUTO_FREE char *text = mem_printf("skipped: when %s", s->when);
	AUTO_JSON *result = json_pack("{s:b, s:s, s:[{s:s, s:s}]}", "ok", 1, "state",
				      "skipped", "changes", "mark", ".", "text", text);

	preview_show(r, m, node, result);
	saved_add(r, m, node, result);
	report_step(r, m, node, "skipped", 1, 0, NULL);
	machine_over(r, m, node, true);
}

void preview_node(struct run *r, uint32_t node)
{
	const struct plan_step *s = r->graph->nodes[node].step;
	struct mach *m = &r->machines[r->graph->nodes[node].machine];
	AUTO_JSON *facts = NULL;

	r->jobs++;
	if (m->entered < 0)
		report_serves(r, m, meta_serves(r, m));
	m->entered = (int)s->phase;
	if (s->when) {
		facts = facts_merged(m->facts, NULL);
		if (!plan_step_when(s, facts)) {
			skipped(r, m, node);
			return;
		}
	}
	report_step(r, m, node, "probing", 1, 0, NULL);
	op_start(r, m, node, "probe", on_answer, m)->quiet = true;
}
