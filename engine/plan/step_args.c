/* SPDX-License-Identifier: Apache-2.0
 * step_args - a step's parameters: typed by its module's table, defaults put in, and what
 * they mean beyond their type.
 */
#include "engine/plan/private.h"
#include "engine/plan/types.h"

#include "engine/base/io.h"
#include "engine/base/text.h"

#include <fcntl.h>
#include <string.h>

/* Keys that every step may have, beside its module's parameters. */
static const struct param controls[] = {
	{ .name = "id", .type = P_STR, .summary = "its name; default the verb" },
	{ .name = "before", .type = P_STR, .summary = "stands before the step of this id" },
	{ .name = "after", .type = P_STR, .summary = "stands after the step of this id" },
	{ .name = "needs", .type = P_LIST, .summary = "ids of steps that must be done" },
	{ .name = "when", .type = P_STR, .summary = "facts.NAME.FIELD == VALUE" },
	{ .name = "at", .type = P_STR, .summary = "source, target, fence or a host" },
	{ .name = "skip", .type = P_BOOL, .summary = "true: leave it out" },
	{ .name = NULL }
};

static const struct param *row_named(const struct param *rows, const char *name)
{
	for (; rows && rows->name; rows++)
		if (strcmp(rows->name, name) == 0)
			return rows;
	return NULL;
}

const struct param *step_control(const char *name)
{
	return row_named(controls, name);
}

static void unknown_param(struct loader *l, const struct module *m,
			  const struct yaml_node *key)
{
	const char *names[64];
	size_t count = 0;
	AUTO_STR all = { 0 };

	for (const struct param *r = m->params; r && r->name && count < 48; r++)
		names[count++] = r->name;
	for (const struct param *r = controls; r->name; r++)
		names[count++] = r->name;
	struct err *e = load_error(l, key, "%s has no parameter '%s'", m->name, key->text);
	const char *near = text_near(key->text, names, count);
	if (near) {
		hint_near(e, near);
		return;
	}
	for (size_t i = 0; i < count; i++)
		str_addf(&all, "%s%s", i ? ", " : "", names[i]);
	err_hint(e, "it takes %s", all.s);
}

/* ---- checks: what their parameters mean -------------------------------------------- */

static bool check_hook_file(struct loader *l, const struct yaml_node *at,
			    const char *file)
{
	AUTO_FREE char *path = *file == '/' ? mem_strdup(file) :
		mem_printf("%s/%s", l->plan->dir, file);
	AUTO_FREE char *ready = mem_printf("lua/%s", file);
	AUTO_ERR e = { 0 };

	for (const struct drover_datum *d = drover_data; d->name; d++)
		if (strcmp(d->name, file) == 0 || strcmp(d->name, ready) == 0)
			return true;
	AUTO_FREE char *text = io_read_file(AT_FDCWD, path, 1 << 20, NULL);
	if (!text) {
		err_hint(load_error(l, at, "cannot read '%s': %m", file),
			 "the path starts at the plan's folder");
		return false;
	}
	if (l->options && l->options->check_hook &&
	    l->options->check_hook(path, &e) < 0) {
		size_t n = strlen(path);	/* as the plan names it, not in full */
		bool named = strncmp(e.what, path, n) == 0;
		struct err *told = load_error(l, at, "the check is not Lua: %s%s",
					      named ? file : "", e.what + (named ? n : 0));
		if (e.hint)
			err_hint(told, "%s", e.hint);
		return false;
	}
	return true;
}

/* A ready-made check: lua/NAME.lua. */
static bool check_ready_made(struct loader *l, const struct yaml_node *at,
			     const char *name)
{
	struct names known = { 0 };
	bool found = false;

	for (const struct drover_datum *d = drover_data; d->name; d++) {
		size_t n = strlen(d->name);
		if (strncmp(d->name, "lua/", 4) != 0 || n < 9)
			continue;
		char *ready = arena_strndup(l->arena, d->name + 4, n - 8);
		*names_slot(&known, ready) = l;
		found |= strcmp(ready, name) == 0 || strcmp(d->name, name) == 0 ||
			 strcmp(d->name + 4, name) == 0;
	}
	if (!found) {
		struct err *e = load_error(l, at, "no ready-made check is called '%s'", name);
		const char *near = names_near(&known, name);
		if (near)
			hint_near(e, near);
		else
			err_hint(e, "`drover modules any.check` lists them; one of yours is a "
				    "file: { file: checks/NAME.lua }");
	}
	names_free(&known);
	return found;
}

/* A check is a file or a ready-made one. */
static bool check_has_body(struct loader *l, const struct step_src *s,
			   const struct module *m)
{
	bool file = yaml_get(s->args, "file"), use = yaml_get(s->args, "use");

	if (m->place != IN_ENGINE || !row_named(m->params, "use") || file != use)
		return true;
	err_hint(load_error(l, s->node, file ? "a check has `file` or `use`, not both" :
			    "the check says nothing to run"),
		 "file: NAME.lua is yours, use: NAME a ready-made one");
	return false;
}

/* ---- all of them ------------------------------------------------------------------ */

/* What a parameter means beyond its type. */
static bool check_param(struct loader *l, const struct module *m, const struct param *row,
			const struct yaml_node *n, const json_t *v)
{
	const char *text = json_string_value(v);

	if (!text || vars_has_refs(text))
		return true;
	if (row->type == P_PLACE) {
		AUTO_FREE char *host = mem_strndup(text, strcspn(text, ":"));
		return host_use(l, n, host) >= 0;
	}
	if (m->place == IN_ENGINE && strcmp(row->name, "file") == 0)
		return check_hook_file(l, n, text);
	if (m->place == IN_ENGINE && strcmp(row->name, "use") == 0)
		return check_ready_made(l, n, text);
	return true;
}

static json_t *default_value(const struct param *row)
{
	const char *hint;
	AUTO_FREE char *why = NULL;

	if (!row->dflt)
		return NULL;
	if (types_is_scalar(row->type))
		return types_value(row, row->dflt, &why, &hint);
	return json_loads(row->dflt, JSON_DECODE_ANY, NULL);
}

bool step_type_args(struct loader *l, const struct step_src *s, const struct module *m,
		    json_t *args)
{
	const struct yaml_node *map = s->args;
	bool ok = true;

	for (uint32_t i = 0; map && i < map->count; i++) {
		const struct yaml_node *key = map->pairs[i].key;
		const struct param *row;
		json_t *v = NULL;
		if (!yaml_is_scalar(key) || step_control(key->text))
			continue;
		row = row_named(m->params, key->text);
		if (!row) {
			unknown_param(l, m, key);
			ok = false;
			continue;
		}
		ok &= schema_param(l, row, map->pairs[i].value,
				   SCOPE_MACHINE | SCOPE_RUN, &v);
		if (!v)
			continue;
		ok &= check_param(l, m, row, map->pairs[i].value, v);
		jset(args, row->name, v);
	}
	for (const struct param *row = m->params; row && row->name; row++) {
		if (yaml_get(map, row->name))
			continue;
		json_t *v = default_value(row);
		if (v) {
			jset(args, row->name, v);
		} else if (row->required) {
			err_hint(load_error(l, s->node, "%s needs '%s'", m->name, row->name),
				 "%s: %s", row->name, row->summary ? row->summary : "");
			ok = false;
		}
	}
	return check_has_body(l, s, m) && ok;
}
