/* SPDX-License-Identifier: Apache-2.0
 * verb_modules - drover modules [NAME]: the tables of the modules, for people.
 */
#include "engine/base/mem.h"
#include "engine/base/text.h"
#include "engine/cli/cli.h"

#include <string.h>

static const char *const place_names[] = {
	[ON_SOURCE] = "source", [ON_TARGET] = "target",
	[ON_EACH] = "each", [ON_AT] = "at:", [ON_POWER] = "power", [IN_ENGINE] = "engine",
};
static const char *const type_names[] = {
	[P_STR] = "text", [P_BOOL] = "true|false", [P_INT] = "number", [P_SIZE] = "size",
	[P_RATE] = "rate", [P_DURATION] = "duration", [P_PATH] = "path",
	[P_PLACE] = "HOST:/path", [P_ENUM] = "one of", [P_ARGV] = "argv", [P_LIST] = "list",
	[P_MAP] = "map", [P_ANY] = "any",
};

/* Of two ends a parameter may name the host. */
static char *place_of(const struct module *m)
{
	return m->place != ON_BOTH ? mem_strdup(place_names[m->place]) :
		mem_printf("%s+%s", m->near_end ? m->near_end : "source",
			   m->far_end ? m->far_end : "target");
}

static bool in_plans(const struct module *m)
{
	return strncmp(m->name, "call.", 5) != 0;
}

static void add_words(json_t *o, const char *key, const char *const *words)
{
	json_t *a = json_array();

	for (; words && *words; words++)
		jadd(a, json_string(*words));
	jset(o, key, a);
}

static json_t *module_json(const struct module *m)
{
	json_t *o = json_object(), *params = json_array();
	AUTO_FREE char *place = place_of(m);

	jset_str(o, "name", m->name);
	jset_str(o, "summary", m->summary);
	jset_str(o, "place", place);
	jset_bool(o, "read_only", m->flags & MOD_READ_ONLY);
	jset_bool(o, "reversible", m->flags & MOD_REVERSIBLE);
	jset_bool(o, "no_return", m->flags & MOD_NO_RETURN);
	for (const struct param *p = m->params; p && p->name; p++) {
		json_t *q = json_object();

		jset_str(q, "name", p->name);
		jset_str(q, "type", type_names[p->type]);
		jset_bool(q, "required", p->required);
		jset_str(q, "default", p->dflt);
		jset_str(q, "words", p->words);
		jset_str(q, "summary", p->summary);
		jadd(params, q);
	}
	jset(o, "params", params);
	add_words(o, "wants", m->wants);
	add_words(o, "tools", m->tools);
	return o;
}

static void list_all(struct cli *c)
{
	static const char *const titles[] = { "module", "runs at", "undo", "what it does", NULL };
	struct table *t = c->json ? NULL : table_new(c, titles);

	for (const struct module *const *m = modules; *m; m++) {
		const char *undo = (*m)->flags & MOD_READ_ONLY ? "reads" :
				   (*m)->flags & MOD_NO_RETURN ? "NO" :
				   (*m)->undo ? "yes" : "-";
		AUTO_FREE char *place = place_of(*m);
		const char *cells[] = { (*m)->name, place, undo, (*m)->summary };

		if (!in_plans(*m))
			continue;
		if (c->json)
			cli_json(c, "module", module_json(*m));
		else
			table_row(t, cells);
	}
	if (t)
		table_print(t);
}

static void print_words(FILE *out, const char *label, const char *const *words)
{
	if (!words || !*words)
		return;
	fprintf(out, "%s:", label);
	for (; *words; words++)
		fprintf(out, " %s", *words);
	fputc('\n', out);
}

static void show_one(struct cli *c, const struct module *m)
{
	static const char *const titles[] = { "parameter", "type", "default", "meaning", NULL };
	AUTO_FREE char *place = place_of(m);
	struct table *t;

	fprintf(c->out, "%s - %s\n", m->name, m->summary);
	fprintf(c->out, "runs at: %s\n", place);
	fprintf(c->out, "%s\n", m->flags & MOD_READ_ONLY ? "reads only" :
		m->flags & MOD_NO_RETURN ? "cannot be undone: after it the target serves" :
		m->undo ? "can be undone" : "has nothing to undo");
	print_words(c->out, "facts it is given", m->wants);
	print_words(c->out, "programs it may run", m->tools);
	if (!m->params || !m->params->name)
		return;
	fputc('\n', c->out);
	t = table_new(c, titles);
	for (const struct param *p = m->params; p->name; p++) {
		const char *words = p->type == P_ENUM ? p->words : NULL;
		AUTO_FREE char *type = mem_printf("%s%s%s", type_names[p->type],
						  words ? " " : "", words ? words : "");
		const char *cells[] = { p->name, type, p->required ? "required" : p->dflt,
					p->summary };

		table_row(t, cells);
	}
	table_print(t);
}

static int unknown(struct cli *c, const char *name)
{
	const char *names[256], *near;
	AUTO_ERR e = {0};
	size_t n = 0;

	for (const struct module *const *m = modules; *m && n < ARRAY_LEN(names); m++)
		if (in_plans(*m))
			names[n++] = (*m)->name;
	near = text_near(name, names, n);
	err_set(&e, ERR_USAGE, "unknown module '%s'", name);
	if (near)
		err_hint(&e, "did you mean `drover modules %s`?", near);
	else
		err_hint(&e, "`drover modules` lists them");
	return cli_fail(c, &e);
}

int verb_modules(struct cli *c)
{
	const struct module *m;

	if (!c->arg_count) {
		list_all(c);
		return 0;
	}
	m = module_named(c->args[0]);
	if (!m)
		return unknown(c, c->args[0]);
	if (c->json)
		cli_json(c, "module", module_json(m));
	else
		show_one(c, m);
	return 0;
}
