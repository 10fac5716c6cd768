/* SPDX-License-Identifier: Apache-2.0
 * rebuild - after going back: the probes are asked again, the machine's tree is made
 * of their answers, and its object id is compared with the one that was recorded
 * when the phase began. Equal ids prove that the machine is as it was.
 */
#include "engine/run/back.h"
#include "engine/run/op.h"
#include "engine/run/record.h"
#include "engine/run/report.h"
#include "engine/run/step.h"

#include <stdlib.h>
#include <string.h>

struct rebuild {
	struct run *r;
	struct mach *m;
	int phase;
	bool whole;
	uint32_t at;			/* the earlier step being asked */
	json_t *tree;			/* path -> text, being made; owned */
	struct err why;			/* an earlier step that gave no answer */
	void (*then)(void *arg, bool equal);
	void *arg;
};

static void over(struct rebuild *b, bool equal)
{
	b->then(b->arg, equal);
	json_decref(b->tree);
	err_clear(&b->why);
	free(b);
}

/* ---- what is compared ---------------------------------------------------------------- */

static void add_path(struct str *list, int *n, const char *path)
{
	if (++*n <= 20)
		str_addf(list, "%s%s", *n > 1 ? ", " : "", path);
}

/* Names the paths that differ from those at the phase's beginning. */
static char *differences(struct rebuild *b)
{
	const char *phase = phase_names[b->phase], *path;
	const json_t *now = state_tree(b->r->state, b->m->name);
	AUTO_JSON *then = state_show(b->r->state, b->m->name, phase, NULL, NULL);
	AUTO_STR list = { 0 };
	json_t *text, *name;
	size_t i;
	int n = 0;

	json_object_foreach((json_t *)now, path, text) {
		AUTO_JSON *old = state_show(b->r->state, b->m->name, phase, path, NULL);

		if (!old || !json_equal(old, text))
			add_path(&list, &n, path);
	}
	json_array_foreach(then, i, name)
		if (!json_object_get(now, json_string_value(name)))
			add_path(&list, &n, json_string_value(name));
	if (n > 20)
		str_addf(&list, " and %d more", n - 20);
	return str_take(&list);
}

/* ---- has the plan changed since? */

struct begin {
	const char *phase, *hash;
	bool other;		/* its newest beginning was of another plan */
};

static int look_at_begin(const struct state_commit *c, void *arg)
{
	struct begin *g = arg;

	if (strcmp(jstr(c->trailers, "Begins", ""), g->phase) != 0)
		return 0;
	g->other = strcmp(jstr(c->trailers, "Plan-Hash", g->hash), g->hash) != 0;
	return 1;
}

static bool plan_changed(const struct rebuild *b)
{
	struct begin g = { .phase = phase_names[b->phase], .hash = b->r->plan->hash };

	return state_log(b->r->state, b->m->name, look_at_begin, &g, NULL) == 0 && g.other;
}

static void compare(struct rebuild *b)
{
	struct run *r = b->r;
	char now[41] = "", begin[41] = "";
	AUTO_ERR e = { 0 };
	int found = -1;

	if (state_flush(r->state, &e) == 0 &&
	    state_tree_id(r->state, b->m->name, now, &e) == 0)
		found = state_begin_id(r->state, b->m->name, phase_names[b->phase],
				       begin, &e);
	if (found == 0)
		err_set(&e, ERR_STEP, "cannot prove that '%s' is as before: the state has "
			"no beginning of %s", b->m->name, phase_names[b->phase]);
	if (found <= 0) {
		run_error(r, &e);
		over(b, false);
		return;
	}
	if (!strcmp(now, begin)) {
		report_log(r, b->m, NULL, "'%s' is as it was before %s: tree %.12s, asked "
			   "again and equal", b->m->name, phase_names[b->phase], now);
		over(b, true);
		return;
	}
	AUTO_FREE char *paths = differences(b);
	err_set(&e, ERR_STEP, "'%s' is not as it was before %s: %s", b->m->name,
		phase_names[b->phase], *paths ? paths : "the trees differ");
	err_hint(&e, "%sdrover diff %s %s --machine %s", plan_changed(b) ? "the plan has changed "
		 "since then, that may be all; what differs: " : "", r->plan->typed,
		 phase_names[b->phase], b->m->name);
	report_log(r, b->m, NULL, "%s", e.what);
	run_error(r, &e);
	over(b, false);
}

static void written(void *arg, struct err *e)
{
	struct rebuild *b = arg;

	if (e) {
		run_error(b->r, e);
		over(b, false);
		return;
	}
	compare(b);
}

/* ---- the tree ---------------------------------------------------------------------------- */

static void put_json(struct rebuild *b, const char *path, const json_t *value)
{
	AUTO_FREE char *text = json_pretty(value);

	jset_str(b->tree, path, text);
}

static void put_result(struct rebuild *b, uint32_t node)
{
	const struct plan_step *s = b->r->graph->nodes[node].step;
	AUTO_FREE char *key = step_key(s);
	AUTO_FREE char *path = mem_printf("steps/%s/result.json", key);
	AUTO_FREE char *text = result_text(s, b->r->known[node].answer);

	jset_str(b->tree, path, text);
}

/* The phase of "steps/convert.disks/..." or "evidence/convert.disks/..."; -1: none. */
static int phase_of_path(const char *path)
{
	const char *slash = strchr(path, '/');
	const char *dot = slash ? strchr(slash, '.') : NULL;

	if (!dot)
		return -1;
	AUTO_FREE char *name = mem_strndup(slash + 1, (size_t)(dot - slash - 1));
	return phase_of(name);
}

/* What `drover sync` left stands under the cutover's name and was there before it. */
static bool of_sync(const char *path)
{
	return strncmp(path, "evidence/cutover.sync/", 22) == 0;
}

/* What earlier phases left: undo material, evidence, and results not asked again. */
static void put_earlier(struct rebuild *b)
{
	const char *path;
	json_t *text;

	json_object_foreach((json_t *)state_tree(b->r->state, b->m->name), path, text) {
		bool step = !strncmp(path, "steps/", 6) || !strncmp(path, "evidence/", 9);
		int ph = step ? phase_of_path(path) - of_sync(path) : -1;

		if (ph >= 0 && ph < b->phase && !json_object_get(b->tree, path))
			json_object_set(b->tree, path, text);
	}
}

static void put_facts(struct rebuild *b)
{
	const char *name;
	json_t *fact;

	json_object_foreach(b->m->facts, name, fact) {
		AUTO_FREE char *path = mem_printf("facts/%s.json", name);

		put_json(b, path, json_object_get(fact, "stable"));
		if (!strcmp(name, "machine"))
			put_json(b, "description.json", json_object_get(fact, "stable"));
	}
}

static void drop_later_findings(struct rebuild *b)
{
	for (size_t i = json_array_size(b->m->findings); i-- > 0;) {
		const char *step = jstr(json_array_get(b->m->findings, i), "step", "");
		AUTO_FREE char *path = mem_printf("steps/%s", step);

		if (phase_of_path(path) > b->phase)
			json_array_remove(b->m->findings, i);
	}
}

/* The record's edits: from the tree as it stands to the one that was built. */
static void edit_tree(struct rebuild *b, struct rec *c)
{
	const json_t *old = state_tree(b->r->state, b->m->name);
	const char *path;
	json_t *text;

	json_object_foreach((json_t *)old, path, text)
		if (!json_object_get(b->tree, path))
			jadd(c->del, json_string(path));
	json_object_foreach(b->tree, path, text)
		if (!old || !json_equal(json_object_get(old, path), text))
			json_object_set(c->set, path, text);
}

/* The phase that the machine is in again; a plan need not have steps in all of them. */
static json_t *last_begun(const struct rebuild *b)
{
	const json_t *begun = json_object_get(meta_of(b->r, b->m), "phases");

	for (int ph = b->phase - 1; ph >= 0; ph--)
		if (json_object_get(begun, phase_names[ph]))
			return json_string(phase_names[ph]);
	return json_null();
}

static void edit_meta(struct rebuild *b, struct rec *c)
{
	const struct graph *g = b->r->graph;
	const json_t *old = json_object_get(meta_of(b->r, b->m), "facts");
	const char *name;
	json_t *row;

	for (uint32_t i = g->first[b->m->index]; i < g->first[b->m->index + 1]; i++) {
		AUTO_FREE char *key = step_key(g->nodes[i].step);
		AUTO_FREE char *field = mem_printf("steps/%s", key);

		if ((int)g->nodes[i].step->phase >= b->phase)
			rec_meta(c, field, json_null());
	}
	for (int ph = b->phase; ph < PHASE_COUNT; ph++) {
		AUTO_FREE char *field = mem_printf("phases/%s", phase_names[ph]);

		rec_meta(c, field, json_null());
	}
	json_object_foreach((json_t *)old, name, row) {
		AUTO_FREE char *field = mem_printf("facts/%s", name);

		if (!json_object_get(b->m->facts, name))
			rec_meta(c, field, json_null());
	}
	json_object_foreach(b->m->facts, name, row) {
		AUTO_FREE char *field = mem_printf("facts/%s", name);
		json_t *loose = json_copy(row);

		json_object_del(loose, "stable");
		rec_meta(c, field, loose);
	}
	rec_meta(c, "findings", json_deep_copy(b->m->findings));
	rec_meta(c, "sync", json_null());
	rec_meta(c, "figures", json_null());
	rec_meta(c, "phase", last_begun(b));
	rec_serves(c, "source");
}

static void cannot_prove(struct rebuild *b, const char *key, const json_t *answer)
{
	if (err_is(&b->why))
		return;
	err_set(&b->why, ERR_STEP, "cannot prove that '%s' is as before: %s%s%s", b->m->name,
		key ? key : "", key ? ": " : "", jstr(answer, "error.text", "no answer"));
}

static void target_asked(void *arg)
{
	struct rebuild *b = arg;
	struct run *r = b->r;
	AUTO_FREE char *subject = mem_printf("rolled back to before %s",
					     phase_names[b->phase]);
	const json_t *silent = phase_silent(r, b->m, b->phase);
	struct rec c;

	if (silent)
		cannot_prove(b, NULL, silent);
	if (err_is(&b->why)) {		/* nothing is written: the next rollback asks again */
		run_error(r, &b->why);
		over(b, false);
		return;
	}
	for (uint32_t i = r->graph->first[b->m->index];
	     i < r->graph->first[b->m->index + 1]; i++) {
		const struct plan_step *s = r->graph->nodes[i].step;
		AUTO_FREE char *key = step_key(s);

		if ((int)s->phase != b->phase)
			continue;
		put_result(b, i);
		findings_absorb(r, b->m, key, r->known[i].answer);
	}
	drop_later_findings(b);
	AUTO_JSON *findings = findings_tree(b->m);
	put_json(b, "findings.json", findings);
	put_facts(b);
	put_earlier(b);
	rec_init(&c, r, b->m);
	edit_tree(b, &c);
	edit_meta(b, &c);
	if (strcmp(meta_serves(r, b->m), "source"))
		report_serves(r, b->m, "source");
	b->m->serving = false;
	b->m->entered = -1;
	rec_send(&c, "undo", NULL, subject, written, b);
}

/* ---- asking ------------------------------------------------------------------------------- */

static void ask_earlier(struct rebuild *b);

static void on_answer(struct op *o, const json_t *result, void *arg)
{
	struct rebuild *b = arg;
	AUTO_FREE char *key = step_key(o->step);

	known_set(b->r, b->m, o->node, result, NULL);
	if (result_ok(result)) {
		json_decref(facts_absorb(b->m, o->node, result));
		findings_absorb(b->r, b->m, key, result);
		put_result(b, o->node);
	} else {
		cannot_prove(b, key, result);
	}
	b->at++;
	ask_earlier(b);
}

static bool to_be_asked(const struct rebuild *b, uint32_t node)
{
	const char *status = meta_status(b->r, b->m, node);

	return b->whole && (!strcmp(status, "done") || !strcmp(status, "unchanged"));
}

static void ask_earlier(struct rebuild *b)
{
	const struct graph *g = b->r->graph;

	for (; b->at < g->first[b->m->index + 1]; b->at++) {
		if ((int)g->nodes[b->at].step->phase >= b->phase)
			break;
		if (!to_be_asked(b, b->at))
			continue;
		op_ask(b->r, b->m, b->at, true, on_answer, b);
		return;
	}
	phase_ask(b->r, b->m, b->phase, true, target_asked, b);
}

/* Facts of this phase and later ones were not known then. One that replaced an
 * earlier phase's goes back to what the tree held. */
static void restore_facts(struct rebuild *b)
{
	AUTO_JSON *names = json_array();
	const char *name;
	json_t *fact, *n;
	size_t i;

	json_object_foreach(b->m->facts, name, fact)
		if (phase_of(jstr(fact, "phase", "")) >= b->phase)
			jadd(names, json_string(name));
	json_array_foreach(names, i, n) {
		AUTO_FREE char *path = mem_printf("facts/%s.json", json_string_value(n));
		AUTO_JSON *text = state_show(b->r->state, b->m->name,
					     phase_names[b->phase], path, NULL);
		const char *s = json_string_value(text);
		json_t *stable = s ? json_parse(s, strlen(s), NULL) : NULL;

		json_object_del(b->m->facts, json_string_value(n));
		if (!stable)
			continue;
		fact = json_object();
		jset(fact, "stable", stable);
		/* some phase before this one: going back further looks there again */
		jset_str(fact, "phase", phase_names[b->phase > 0 ? b->phase - 1 : 0]);
		jset(b->m->facts, json_string_value(n), fact);
	}
	b->m->facts_gen++;
}

void rebuild_start(struct run *r, struct mach *m, int phase, bool whole,
		   void (*then)(void *arg, bool equal), void *arg)
{
	struct rebuild *b = mem_alloc(sizeof(*b));

	b->r = r;
	b->m = m;
	b->phase = phase;
	b->whole = whole;
	b->then = then;
	b->arg = arg;
	b->at = r->graph->first[m->index];
	b->tree = json_object();
	state_flush(r->state, NULL);
	restore_facts(b);
	ask_earlier(b);
}
