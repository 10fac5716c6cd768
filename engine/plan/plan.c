/* SPDX-License-Identifier: Apache-2.0
 * plan - what is asked of a finished plan. */
#include "engine/plan/private.h"
#include "engine/plan/types.h"
#include "engine/plan/vault.h"

#include "engine/base/text.h"

#include <stdlib.h>
#include <string.h>

void plan_free(struct plan *p)
{
	if (!p)
		return;
	struct plan_private *priv = p->priv;
	struct loader *l = &priv->loader;

	for (uint32_t m = 0; m < p->machine_count; m++)
		json_decref(priv->machines[m].spec);
	for (size_t i = 0; i < priv->step_count; i++)
		json_decref(priv->steps[i]->args);
	for (uint32_t i = 0; i < p->host_count; i++)
		json_decref(p->hosts[i].spec);
	json_decref(p->secrets);
	vault_free(p->vault);
	free(priv->steps);
	free(l->files);
	free(l->accept);
	names_free(&l->vars);
	names_free(&l->hosts);
	names_free(&l->machines);
	names_free(&l->recipes);
	for (size_t i = 0; i < l->own_var_count; i++)
		names_free(l->own_vars[i]);
	free(l->own_vars);
	arena_free(p->arena);
}

const json_t *plan_machine_spec(const struct plan *p, uint32_t machine)
{
	struct machine_src *m = &p->priv->machines[machine];

	if (!m->spec)
		m->spec = spec_build(&p->priv->loader, machine);
	return m->spec;
}

int plan_find_machine(const struct plan *p, const char *name)
{
	return index_of(&p->priv->loader.machines, name);
}

int plan_find_host(const struct plan *p, const char *name)
{
	return index_of(&p->priv->loader.hosts, name);
}

bool plan_machine_matches(const struct plan *p, uint32_t machine, const char *selector)
{
	const char *equals = strchr(selector, '=');
	bool open = false;

	if (!equals)
		return text_glob(selector, p->machines[machine].name);
	AUTO_FREE char *label = mem_strndup(selector, (size_t)(equals - selector));
	const struct yaml_node *v =
		yaml_get(yaml_get(p->priv->machines[machine].node, "labels"), label);
	const char *text = v && yaml_is_scalar(v) ?
		vars_text(&p->priv->loader, v, SCOPE_MACHINE, &open) : NULL;
	return text && text_glob(equals + 1, text);
}

/* ---- arguments --------------------------------------------------------------------- */

/* Put what is known into every text of `v`. A new reference; NULL with e. */
static json_t *put_in(const json_t *v, const json_t *known, struct err *e)
{
	json_t *out, *item, *done;
	const char *name;
	size_t i;

	if (json_is_string(v) && vars_has_refs(json_string_value(v))) {
		AUTO_FREE char *text = vars_final(json_string_value(v), known, e);
		return text ? json_string(text) : NULL;
	}
	if (!json_is_object(v) && !json_is_array(v))
		return json_deep_copy(v);
	out = json_is_object(v) ? json_object() : json_array();
	json_object_foreach((json_t *)(uintptr_t)v, name, item) {
		if (!(done = put_in(item, known, e)))
			goto fail;
		jset(out, name, done);
	}
	json_array_foreach((json_t *)(uintptr_t)v, i, item) {
		if (!(done = put_in(item, known, e)))
			goto fail;
		jadd(out, done);
	}
	return out;
fail:
	json_decref(out);
	return NULL;
}

/* A text that had to wait for a fact gets its type now. */
static json_t *retype(const struct param *row, json_t *v, struct err *e)
{
	AUTO_FREE char *why = NULL;
	const char *hint;

	if (!row || !json_is_string(v) || !types_is_scalar(row->type))
		return v;
	json_t *typed = types_value(row, json_string_value(v), &why, &hint);
	if (!typed) {
		err_set(e, ERR_PLAN, "'%s' %s: '%s'", row->name, why, json_string_value(v));
		if (hint)
			err_hint(e, "%s", hint);
	}
	json_decref(v);
	return typed;
}

static const struct param *row_of(const struct module *m, const char *name)
{
	for (const struct param *r = m->params; r && r->name; r++)
		if (strcmp(r->name, name) == 0)
			return r;
	return NULL;
}

json_t *plan_step_args(const struct plan *p, uint32_t machine,
		       const struct plan_step *s, const json_t *facts, struct err *e)
{
	const json_t *spec = plan_machine_spec(p, machine);
	AUTO_JSON *none = json_object();
	AUTO_JSON *known = json_pack("{s:s, s:O, s:O, s:O, s:O}",
				     "machine", p->machines[machine].name,
				     "labels", jget(spec, "labels"),
				     "source", jget(spec, "source"),
				     "target", jget(spec, "target"),
				     "facts", facts ? facts : none);
	AUTO_JSON *out = json_object();
	const char *name;
	json_t *v, *done;

	json_object_foreach(s->args, name, v) {
		done = put_in(v, known, e);
		if (done && done != v && json_is_string(v))
			done = retype(row_of(s->module, name), done, e);
		if (!done) {
			err_at(e, &s->place);
			return NULL;
		}
		jset(out, name, done);
	}
	return json_incref(out);
}

/* ---- when ------------------------------------------------------------------------------ */

static int compare(const json_t *fact, const char *value)
{
	char *end;
	double number = strtod(value, &end);

	if (json_is_number(fact) && *value && !*end) {
		double have = json_number_value(fact);
		return have < number ? -1 : have > number;
	}
	AUTO_FREE char *text = json_is_string(fact) ?
		mem_strdup(json_string_value(fact)) : json_dumps(fact, JSON_ENCODE_ANY);
	return strcmp(text ? text : "", value);
}

bool plan_step_when(const struct plan_step *s, const json_t *facts)
{
	AUTO_FREE char *path = NULL;
	AUTO_FREE char *value = NULL;
	char op[3];

	if (!s->when)
		return true;
	if (!step_split_when(s->when, &path, op, &value))
		return false;
	const json_t *fact = vars_known(facts, path + strlen("facts."));
	if (!fact)
		return false;
	int c = compare(fact, value);
	switch (op[0]) {
	case '=':
		return c == 0;
	case '!':
		return c != 0;
	case '<':
		return op[1] ? c <= 0 : c < 0;
	default:
		return op[1] ? c >= 0 : c > 0;
	}
}
