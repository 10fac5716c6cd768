/* SPDX-License-Identifier: Apache-2.0
 * load - from files to a plan: the order in which everything is done. */
#include "engine/plan/private.h"

#include "engine/base/proc.h"
#include "engine/base/text.h"

#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FILES 256	/* includes and recipes of one plan */

/* ---- telling ------------------------------------------------------------------- */

struct err *load_error(struct loader *l, const struct yaml_node *n,
		       const char *fmt, ...)
{
	struct place at = n ? yaml_place(n) : (struct place){ .file = l->plan->file };
	va_list ap;

	va_start(ap, fmt);
	struct err *e = err_list_vadd(l->errors, &at, fmt, ap);
	va_end(ap);
	return e;
}

struct err *load_warning(struct loader *l, const struct yaml_node *n,
			 const char *fmt, ...)
{
	struct place at = n ? yaml_place(n) : (struct place){ .file = l->plan->file };
	va_list ap;

	va_start(ap, fmt);
	struct err *e = err_list_vadd(l->warnings, &at, fmt, ap);
	va_end(ap);
	return e;
}

void hint_near(struct err *e, const char *near)
{
	if (near)
		err_hint(e, "did you mean '%s'?", near);
}

int index_of(const struct names *n, const char *name)
{
	return (int)(intptr_t)names_get(n, name) - 1;
}

/* ---- files ---------------------------------------------------------------------- */

/* 1 when it is new; a file counts once however often it is included. */
static bool file_is_new(struct loader *l, const char *path)
{
	for (size_t i = 0; i < l->file_count; i++)
		if (strcmp(l->files[i], path) == 0)
			return false;
	l->files = mem_grow(l->files, l->file_count, &l->file_cap, sizeof(*l->files));
	l->files[l->file_count++] = path;
	return true;
}

static struct yaml_node *read_file(struct loader *l, const char *path,
				   const struct yaml_node *asked)
{
	AUTO_ERR e = { 0 };
	struct yaml_node *root = yaml_load(l->arena, path, (uint32_t)l->file_count,
					   l->errors, &e);

	if (err_is(&e)) {
		if (asked)
			load_error(l, asked, "%s", e.what);
		else
			err_list_add(l->errors, NULL, "%s", e.what);
	}
	if (root && root->kind != YAML_MAP) {
		err_hint(load_error(l, root, "a plan is a map of keys, not %s",
				    yaml_kind_name(root)), "it begins with plan: NAME");
		return NULL;
	}
	return root;
}

/* A path in a plan file starts at the folder of that file. */
static const char *path_beside(struct loader *l, const struct yaml_node *n,
			       const char *path)
{
	AUTO_FREE char *copy = mem_strdup(n->file->name);
	const char *dir = dirname(copy);

	if (*path == '/' || strcmp(dir, ".") == 0)
		return arena_strdup(l->arena, path);
	return arena_printf(l->arena, "%s/%s", dir, path);
}

static void refuse_twice(struct loader *l, const struct yaml_node *root,
			 const struct yaml_node *included, const char *section)
{
	const struct yaml_node *a = yaml_get(included, section);
	const struct yaml_node *b = yaml_get(root, section);

	if (!a || !b || a->kind != YAML_MAP || b->kind != YAML_MAP)
		return;
	for (uint32_t i = 0; i < a->count; i++) {
		const struct yaml_pair *other = yaml_is_scalar(a->pairs[i].key) ?
			yaml_pair(b, a->pairs[i].key->text) : NULL;
		if (other)
			err_hint(load_error(l, a->pairs[i].key,
					    "'%s' is defined twice in %s",
					    other->key->text, section),
				 "also in %s, line %u", other->key->file->name,
				 other->key->line);
	}
}

static void keep_accept(struct loader *l, struct yaml_node *root)
{
	const struct yaml_node *list = yaml_get(root, "accept");

	for (uint32_t i = 0; list && list->kind == YAML_LIST && i < list->count; i++) {
		l->accept = mem_grow(l->accept, l->accept_count, &l->accept_cap,
				     sizeof(*l->accept));
		l->accept[l->accept_count++] = list->items[i];
	}
}

/* `root` over all that it includes. All roots go to `roots` for validation. */
static struct yaml_node *with_includes(struct loader *l, struct yaml_node *root,
				       struct yaml_node **roots, size_t *count)
{
	struct yaml_node *list = yaml_get(root, "include"), *base = NULL;

	roots[(*count)++] = root;
	keep_accept(l, root);
	for (uint32_t i = 0; list && list->kind == YAML_LIST && i < list->count; i++) {
		struct yaml_node *item = list->items[i], *more;
		if (!yaml_is_scalar(item))
			continue;
		const char *path = path_beside(l, item, item->text);
		if (!file_is_new(l, path))
			continue;
		if (*count == MAX_FILES) {
			load_error(l, item, "more than %d files", MAX_FILES);
			break;
		}
		more = read_file(l, path, item);
		if (!more)
			continue;
		more = with_includes(l, more, roots, count);
		static const char *const once[] = { "hosts", "machines", "secrets" };
		for (size_t s = 0; s < ARRAY_LEN(once); s++) {
			refuse_twice(l, base, more, once[s]);
			refuse_twice(l, root, more, once[s]);
		}
		base = yaml_merge(l->arena, base, more);
	}
	return yaml_merge(l->arena, base, root);
}

/* ---- recipes -------------------------------------------------------------------- */

static struct yaml_node *recipe_embedded(struct loader *l, const struct yaml_node *at,
					 const char *name)
{
	const char *names[64];
	size_t count = 0;

	for (const struct drover_datum *d = drover_data; d->name; d++) {
		size_t n = strlen(d->name);
		if (strncmp(d->name, "plans/", 6) != 0 || n < 12)
			continue;
		char *short_name = arena_strndup(l->arena, d->name + 6, n - 11);
		if (strcmp(short_name, name) == 0) {
			file_is_new(l, d->name);
			return yaml_parse(l->arena, d->name,
					  arena_strdup(l->arena, d->text), strlen(d->text),
					  (uint32_t)l->file_count, l->errors);
		}
		if (count < ARRAY_LEN(names))
			names[count++] = short_name;
	}
	struct err *e = load_error(l, at, "no recipe is called '%s'", name);
	const char *near = text_near(name, names, count);
	if (near) {
		hint_near(e, near);
		return NULL;
	}
	AUTO_STR all = { 0 };
	for (size_t i = 0; i < count; i++)
		str_addf(&all, "%s, ", names[i]);
	err_hint(e, "there are %sand files ending in .yaml", all.len ? all.s : "");
	return NULL;
}

static struct yaml_node *recipe_read(struct loader *l, const struct yaml_node *at,
				     const char *name)
{
	static const struct key top = { .p = { .name = "recipe", .type = P_STR },
					.form = FORM_MAP, .of = schema_recipe };
	size_t n = strlen(name);
	struct yaml_node *root;

	if (n > 5 && strcmp(name + n - 5, ".yaml") == 0) {
		const char *path = path_beside(l, at, name);
		file_is_new(l, path);
		root = read_file(l, path, at);
	} else {
		root = recipe_embedded(l, at, name);
	}
	if (!root)
		return NULL;
	if (yaml_get(root, "machines") || yaml_get(root, "hosts")) {
		err_hint(load_error(l, at, "'%s' is a plan, not a recipe", name),
			 "a recipe has no hosts and no machines; use `include` for plans");
		return NULL;
	}
	root->file->vars = arena_alloc(l->arena, sizeof(struct names));
	l->own_vars = mem_grow(l->own_vars, l->own_var_count, &l->own_var_cap,
			       sizeof(*l->own_vars));
	l->own_vars[l->own_var_count++] = root->file->vars;
	vars_collect(l, root->file->vars, yaml_get(root, "vars"));
	bool ok = schema_value(l, &top, root, SCOPE_PLAN, NULL);
	ok &= schema_required(l, &top, root);
	return ok ? root : NULL;
}

struct chain *recipe_chain(struct loader *l, const struct yaml_node *node)
{
	bool open = false;

	if (node && !yaml_is_scalar(node))
		return NULL;			/* told by the schema */
	const char *name = node ? vars_text(l, node, SCOPE_PLAN, &open) : "";

	if (!name)
		return NULL;
	void **slot = names_slot(&l->recipes, name);
	if (*slot)
		return *slot == l ? NULL : *slot;	/* l: was told to be wrong */
	struct chain *c = NULL;
	if (node) {
		struct yaml_node *root = recipe_read(l, node, name);
		if (!root) {
			*names_slot(&l->recipes, name) = l;
			return NULL;
		}
		c = chain_over(l, NULL, root, true);
	}
	c = chain_over(l, c, l->defaults, false);
	*names_slot(&l->recipes, name) = c;
	return c;
}

/* ---- the parts of a plan ---------------------------------------------------------- */

static void read_limits(struct loader *l)
{
	const struct yaml_node *n = yaml_get(l->root, "limits");
	const struct key *k = schema_key(schema_plan, "limits");
	json_t *typed = NULL;

	if (!n || !schema_required(l, k, n) || !schema_value(l, k, n, SCOPE_PLAN, &typed))
		return;
	struct plan_limits *limits = &l->plan->limits;
	for (int i = 0; i < PHASE_COUNT; i++)
		limits->phase[i] = (uint32_t)jint(typed, phase_names[i], 0);
	limits->host = (uint32_t)jint(typed, "host", 0);
	limits->bandwidth = rates_read(l, jget(typed, "bandwidth"));
	limits->read = rates_read(l, jget(typed, "read"));
	json_decref(typed);
}

static void read_machines(struct loader *l)
{
	const struct yaml_node *list = yaml_get(l->root, "machines");
	struct plan *p = l->plan;

	if (!list || list->kind != YAML_MAP || !list->count) {
		if (!list || list->kind == YAML_MAP)
			err_hint(load_error(l, list, "the plan has no machines"),
				 "add machines: { NAME: { source: ..., target: ... } }");
		return;
	}
	p->machines = arena_alloc(l->arena, list->count * sizeof(*p->machines));
	p->priv->machines = arena_alloc(l->arena,
					list->count * sizeof(*p->priv->machines));
	for (uint32_t i = 0; i < list->count; i++) {
		const struct yaml_pair *pair = &list->pairs[i];
		if (!yaml_is_scalar(pair->key) || pair->value->kind != YAML_MAP)
			continue;
		uint32_t m = p->machine_count++;
		p->machines[m].name = pair->key->text;
		p->machines[m].at = yaml_place(pair->key);
		p->machines[m].spec_index = m;
		struct machine_src *src = &p->priv->machines[m];
		src->node = yaml_merge(l->arena, l->defaults, pair->value);
		*names_slot(&l->machines, pair->key->text) = (void *)(uintptr_t)(m + 1);
		struct chain *base = recipe_chain(l, yaml_get(src->node, "recipe"));
		if (base)
			src->chain = chain_over(l, base, pair->value, false);
	}
}

static void validate(struct loader *l, struct yaml_node **roots, size_t count)
{
	static const struct key top = { .p = { .name = NULL }, .form = FORM_MAP,
					.of = schema_plan };

	for (size_t i = 0; i < count; i++)
		schema_value(l, &top, roots[i], SCOPE_MACHINE, NULL);
	const struct yaml_node *name = yaml_get(l->root, "plan");
	if (!name)
		err_hint(load_error(l, roots[0], "'plan' is missing"),
			 "begin with the plan's name: plan: NAME");
	else if (yaml_is_scalar(name))
		l->plan->name = name->text;
}

static void compile(struct loader *l, struct yaml_node *main)
{
	struct yaml_node *roots[MAX_FILES];
	size_t count = 0;

	if (yaml_get(main, "recipe") && !yaml_get(main, "machines")) {
		err_hint(load_error(l, main, "this is a recipe, not a plan"),
			 "name it in a machine or in defaults: recipe: FILE");
		return;
	}
	l->root = with_includes(l, main, roots, &count);
	l->plan->name = "";
	const struct yaml_node *name = yaml_get(l->root, "plan");
	if (name && yaml_is_scalar(name))
		l->plan->name = name->text;
	vars_collect(l, &l->vars, yaml_get(l->root, "vars"));
	vars_builtin(l);
	validate(l, roots, count);
	l->defaults = yaml_get(l->root, "defaults");
	if (l->defaults && l->defaults->kind != YAML_MAP)
		l->defaults = NULL;
	read_limits(l);
	secrets_build(l);
	hosts_build(l);
	links_read(l);
	read_machines(l);
	check_machines(l);
	check_circles(l);
	check_accept(l);
	check_unused(l);
}

static const char *folder_of(struct arena *a, const char *file)
{
	AUTO_FREE char *copy = mem_strdup(file);
	AUTO_FREE char *full = realpath(dirname(copy), NULL);

	return arena_strdup(a, full ? full : ".");
}

struct plan *plan_load_with(const char *file, const struct plan_options *o,
			    struct err_list *errors)
{
	struct arena *a = arena_new();
	struct plan *p = arena_alloc(a, sizeof(*p));
	struct plan_private *priv = arena_alloc(a, sizeof(*priv));
	struct loader *l = &priv->loader;
	struct err_list scratch = { 0 };
	size_t before = errors ? errors->count : 0;
	AUTO_FREE char *typed = NULL;

	*p = (struct plan){ .arena = a, .priv = priv, .file = arena_strdup(a, file),
			    .dir = folder_of(a, file) };
	typed = proc_argv_text((const char *const[]){ file, NULL });
	p->typed = arena_strdup(a, typed);
	*l = (struct loader){ .plan = p, .arena = a, .options = o,
			      .errors = errors ? errors : &scratch,
			      .warnings = o ? o->warnings : NULL };
	file_is_new(l, p->file);
	struct yaml_node *main = read_file(l, file, NULL);
	if (main)
		compile(l, main);
	bool ok = main && l->errors->count == before;
	if (ok)
		plan_make_hash(l);
	err_list_sort(l->errors, l->files, l->file_count);
	err_list_sort(l->warnings, l->files, l->file_count);
	l->errors = l->warnings = NULL;
	l->options = NULL;
	err_list_free(&scratch);
	if (ok)
		return p;
	plan_free(p);
	return NULL;
}

struct plan *plan_load(const char *file, struct err_list *errors)
{
	return plan_load_with(file, NULL, errors);
}
