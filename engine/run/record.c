/* SPDX-License-Identifier: Apache-2.0
 * record - every record that a run appends to the journal. The tree takes stable
 * fields only; status, times and errors go to the meta document.
 */
#include "engine/run/hosts.h"
#include "engine/run/op.h"
#include "engine/run/record.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void rec_init(struct rec *c, struct run *r, struct mach *m)
{
	*c = (struct rec){ r, m, json_object(), json_array(), json_object(),
			   json_object() };
}

void rec_set_json(struct rec *c, const char *path, const json_t *value)
{
	AUTO_FREE char *text = json_pretty(value);

	jset_str(c->set, path, text);
}

void rec_meta(struct rec *c, const char *field, json_t *value)
{
	AUTO_FREE char *path = mem_printf("machines/%s/%s", c->m->name, field);

	jset(c->meta, path, value);
}

void rec_serves(struct rec *c, const char *who)
{
	char iso[21];

	rec_meta(c, "serves", json_string(who));
	clock_iso(run_wall(c->r), iso);
	if (!strcmp(who, "unknown"))
		rec_meta(c, "served_since", json_string(iso));
	else if (!strcmp(who, "source") || !strcmp(who, "nobody"))
		rec_meta(c, "served_since", json_null());
}

void rec_epoch(struct run *r, struct mach *m, const json_t *epoch)
{
	struct rec c;

	if (!r->writes || json_integer_value(epoch) <= (int64_t)state_epoch(r->state))
		return;
	rec_init(&c, r, m);
	jset(c.meta, "epoch", json_integer(json_integer_value(epoch)));
	rec_send(&c, "note", NULL, NULL, NULL, NULL);
}

void rec_step(struct rec *c, uint32_t node, const char *status, int attempt,
	      const json_t *result, uint64_t took_ms, bool touched)
{
	AUTO_FREE char *key = step_key(c->r->graph->nodes[node].step);
	AUTO_FREE char *field = mem_printf("steps/%s", key);
	json_t *row = json_object();
	char iso[21];

	clock_iso(run_wall(c->r), iso);
	jset_str(row, "status", status);
	jset_int(row, "attempt", attempt);
	jset_str(row, "run", state_run_id(c->r->state));
	jset_int(row, "took_ms", (int64_t)took_ms);
	jset_str(row, "at", iso);
	jset_bool(row, "touched", touched);
	if (*c->r->doc_hash)
		jset_str(row, "preview", c->r->doc_hash);
	if (json_object_get(result, "error")) {
		jset_str(row, "error", jstr(result, "error.text", NULL));
		jset_str(row, "hint", jstr(result, "error.hint", NULL));
	}
	if (json_is_object(json_object_get(result, "volatile")))
		json_object_set(row, "volatile", json_object_get(result, "volatile"));
	rec_meta(c, field, row);
}

char *result_text(const struct plan_step *s, const json_t *result)
{
	AUTO_JSON *o = json_object();
	json_t *stable = json_object_get(result, "stable");

	jset_str(o, "module", s->module->name);
	jset_str(o, "state", result_ok(result) ? jstr(result, "state", "unknown") :
		 "unknown");
	jset(o, "stable", json_is_object(stable) && result_ok(result) ?
	     json_incref(stable) : json_object());
	return json_pretty(o);
}

void rec_result(struct rec *c, uint32_t node, const json_t *result)
{
	const struct plan_step *s = c->r->graph->nodes[node].step;
	AUTO_FREE char *key = step_key(s);
	AUTO_FREE char *path = mem_printf("steps/%s/result.json", key);
	AUTO_FREE char *text = result_text(s, result);

	jset_str(c->set, path, text);
}

/* The machine's description is the fact that assess.machine tells. */
void rec_facts(struct rec *c, const json_t *names)
{
	json_t *name;
	size_t i;

	json_array_foreach((json_t *)names, i, name) {
		const char *n = json_string_value(name);
		const json_t *fact = json_object_get(c->m->facts, n);
		AUTO_FREE char *path = mem_printf("facts/%s.json", n);
		AUTO_FREE char *field = mem_printf("facts/%s", n);
		AUTO_JSON *row = json_copy((json_t *)fact);

		rec_set_json(c, path, json_object_get(fact, "stable"));
		if (!strcmp(n, "machine"))
			rec_set_json(c, "description.json",
				     json_object_get(fact, "stable"));
		json_object_del(row, "stable");
		rec_meta(c, field, json_incref(row));
	}
}

void rec_findings(struct rec *c)
{
	AUTO_JSON *tree = findings_tree(c->m);

	rec_set_json(c, "findings.json", tree);
	rec_meta(c, "findings", json_deep_copy(c->m->findings));
}

void rec_found(struct rec *c, const json_t *rows, const char *step)
{
	AUTO_STR all = { 0 };
	json_t *row;
	size_t i;

	json_array_foreach((json_t *)rows, i, row)
		if (!strcmp(jstr(row, "step", ""), step) &&
		    strcmp(jstr(row, "severity", ""), "info"))
			str_addf(&all, "%s%s", all.len ? "; " : "", jstr(row, "text", ""));
	if (all.len)
		jset_str(c->trailers, "Found", all.s);
}

void rec_evidence_as(struct rec *c, const char *key, const json_t *evidence)
{
	const char *name;
	json_t *text;

	json_object_foreach((json_t *)evidence, name, text) {
		AUTO_FREE char *kept = kept_path(key, name, false);
		/* the same escaping, another folder */
		AUTO_FREE char *path = mem_printf("evidence/%s/%s", key,
						  strrchr(kept, '/') + 1);
		json_object_set(c->set, path, text);
	}
}

void rec_evidence(struct rec *c, uint32_t node, const json_t *evidence)
{
	AUTO_FREE char *key = step_key(c->r->graph->nodes[node].step);

	rec_evidence_as(c, key, evidence);
}

void rec_drop_step(struct rec *c, uint32_t node, bool evidence)
{
	AUTO_FREE char *key = step_key(c->r->graph->nodes[node].step);

	jadd(c->del, json_sprintf("steps/%s/undo/", key));
	if (evidence)
		jadd(c->del, json_sprintf("evidence/%s/", key));
}

/* ---- appending --------------------------------------------------------------------------- */

static const char *host_names(const struct rec *c, uint32_t node, struct str *out)
{
	struct place_end where[2];
	int n = place_ends(c->r, c->m, c->r->graph->nodes[node].step, NULL, where, NULL);

	for (int k = 0; k < n; k++) {
		const char *name = where[k].host == UINT32_MAX ? "(engine)" :
			c->r->plan->hosts[where[k].host].name;

		if (k == 0 || where[k].host != where[0].host)
			str_addf(out, "%s%s", k ? ", " : "", name);
	}
	return out->s;
}

static void add_trailers(struct rec *c, const char *step)
{
	jset_str(c->trailers, "Run", state_run_id(c->r->state));
	if (step) {
		const char *dot = strchr(step, '.');
		AUTO_FREE char *phase = mem_strndup(step, (size_t)(dot - step));
		uint32_t node = graph_find(c->r->graph, c->m->index,
					   (enum phase)phase_of(phase), dot + 1);
		AUTO_STR hosts = { 0 };

		jset_str(c->trailers, "Step", step);
		if (node != UINT32_MAX && host_names(c, node, &hosts))
			jset_str(c->trailers, "Host", hosts.s);
	}
	jset_str(c->trailers, "Plan-Hash", c->r->plan->hash);
	if (*c->r->doc_hash)
		jset_str(c->trailers, "Preview", c->r->doc_hash);
}

void rec_send(struct rec *c, const char *kind, const char *step, const char *subject,
	      void (*on_durable)(void *arg, struct err *e), void *arg)
{
	struct record rec = { .kind = kind, .step = step, .subject = subject };

	assert(c->r->writes);
	rec.machine = c->m ? c->m->name : NULL;
	if (c->m)
		add_trailers(c, step);
	rec.set = json_object_size(c->set) ? c->set : NULL;
	rec.del = json_array_size(c->del) ? c->del : NULL;
	rec.meta = json_object_size(c->meta) ? c->meta : NULL;
	rec.trailers = c->trailers;
	state_append(c->r->state, &rec, on_durable, arg);
	json_decref(c->set);
	json_decref(c->del);
	json_decref(c->meta);
	json_decref(c->trailers);
	memset(c, 0, sizeof(*c));
}
