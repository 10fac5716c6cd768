/* SPDX-License-Identifier: Apache-2.0
 * vars - ${name}. Variables are put in while the plan is read; what only a
 * machine or a run knows stays as it is and is put in later. "$${" is a plain "${".
 */
#include "engine/plan/private.h"

#include <stdlib.h>
#include <string.h>

struct var {
	const char *name;
	const struct yaml_node *node;	/* NULL: built in */
	const char *text;		/* resolved, or NULL */
	struct var *asked_by;		/* while it is being resolved */
	bool busy, bad;
};

/* Names that stay for later, by scope. A root ends in a dot when more must follow. */
static const struct { const char *root; unsigned scope; } later[] = {
	{ "machine", SCOPE_MACHINE }, { "labels.", SCOPE_MACHINE },
	{ "source.", SCOPE_RUN }, { "target.", SCOPE_RUN }, { "facts.", SCOPE_RUN },
};

static bool is_later(const char *name, unsigned scope)
{
	for (size_t i = 0; i < ARRAY_LEN(later); i++) {
		size_t n = strlen(later[i].root);
		bool dotted = later[i].root[n - 1] == '.';
		if ((later[i].scope & scope) && strncmp(name, later[i].root, n) == 0 &&
		    (dotted ? name[n] != '\0' : name[n] == '\0'))
			return true;
	}
	return false;
}

bool vars_has_refs(const char *text)
{
	return strstr(text, "${") != NULL;
}

/* The next "${" or "$${" from `s`; *escaped tells which. */
static const char *next_ref(const char *s, bool *escaped)
{
	const char *at = strstr(s, "${");

	*escaped = at && at > s && at[-1] == '$';
	return at && *escaped ? at - 1 : at;
}

/* The caret under the reference, where the text is on one line. */
static struct err *ref_error(struct loader *l, const struct yaml_node *n,
			     size_t offset, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static struct err *ref_error(struct loader *l, const struct yaml_node *n,
			     size_t offset, const char *fmt, ...)
{
	struct place at = yaml_place(n);
	va_list ap;

	if (!n->block) {
		at.column += !n->plain;
		for (size_t i = 0; i < offset; i++)
			at.column += ((uint8_t)n->text[i] & 0xc0) != 0x80;
	}
	va_start(ap, fmt);
	struct err *e = err_list_vadd(l->errors, &at, fmt, ap);
	va_end(ap);
	return e;
}

static const char *resolve(struct loader *l, const struct yaml_node *n, unsigned scope,
			   bool *open, struct var *asker);

/* "a -> b -> a", from the one that is asked for again. */
static void cycle_error(struct loader *l, const struct yaml_node *n, size_t offset,
			const char *name, struct var *again, struct var *asker)
{
	const char *path[64];
	size_t count = 0;
	AUTO_STR text = { 0 };

	for (struct var *v = asker; v && count < ARRAY_LEN(path); v = v->asked_by) {
		path[count++] = v->name;
		if (v == again)
			break;
	}
	while (count)
		str_addf(&text, "%s -> ", path[--count]);
	str_add(&text, name);
	ref_error(l, n, offset, "variables go in a circle: %s", text.s);
}

static const char *var_text(struct loader *l, const struct yaml_node *n, size_t offset,
			    const char *name, struct var *v, struct var *asker)
{
	if (v->text || v->bad)
		return v->text;
	if (v->busy) {
		cycle_error(l, n, offset, name, v, asker);
		return NULL;
	}
	bool open = false;
	v->busy = true;
	v->asked_by = asker;
	v->text = resolve(l, v->node, SCOPE_PLAN, &open, v);
	v->busy = false;
	v->bad = !v->text;
	return v->text;
}

/* One "${name}" at n->text + offset. Adds its text; -1 with an error told. */
static int put_one(struct loader *l, const struct yaml_node *n, size_t offset,
		   const char *name, unsigned scope, bool *open, struct var *asker,
		   struct str *out)
{
	struct var *v = names_get(&l->vars, name);

	if (!v && n->file->vars)
		v = names_get(n->file->vars, name);
	if (v) {
		const char *text = var_text(l, n, offset, name, v, asker);
		if (!text)
			return -1;
		str_add(out, text);
		return 0;
	}
	if (is_later(name, scope)) {
		*open = true;
		str_addf(out, "${%s}", name);
		return 0;
	}
	struct err *e = ref_error(l, n, offset, "no variable is called '%s'", name);
	const char *near = names_near(&l->vars, name);
	if (near)
		hint_near(e, near);
	else if (is_later(name, SCOPE_MACHINE | SCOPE_RUN))
		err_hint(e, "'%s' is not known here, only in steps%s", name,
			 is_later(name, SCOPE_MACHINE) ? " and machines" : "");
	else
		err_hint(e, "define it: vars: { %s: ... }; a plain ${ is written $${", name);
	return -1;
}

static const char *resolve(struct loader *l, const struct yaml_node *n, unsigned scope,
			   bool *open, struct var *asker)
{
	AUTO_STR out = { 0 };
	const char *s = n->text, *at;
	bool escaped;

	while ((at = next_ref(s, &escaped))) {
		const char *end = strchr(at, '}');
		str_addn(&out, s, (size_t)(at - s));
		if (escaped) {
			str_add(&out, "$${");
			*open = true;
			s = at + 3;
			continue;
		}
		if (!end) {
			ref_error(l, n, (size_t)(at - n->text), "'${' without a '}'");
			return NULL;
		}
		AUTO_FREE char *name = mem_strndup(at + 2, (size_t)(end - at - 2));
		if (put_one(l, n, (size_t)(at - n->text), name, scope, open, asker,
			    &out) < 0)
			return NULL;
		s = end + 1;
	}
	str_add(&out, s);
	return arena_strdup(l->arena, out.s);
}

const char *vars_text(struct loader *l, const struct yaml_node *n, unsigned scope,
		      bool *open)
{
	return n->refs ? resolve(l, n, scope, open, NULL) : n->text;
}

static void define(struct loader *l, struct names *table, const char *name, const struct yaml_node *n,
		   const char *text)
{
	void **slot = names_slot(table, name);

	if (*slot)
		return;
	struct var *v = arena_alloc(l->arena, sizeof(*v));
	*v = (struct var){ .name = name, .node = n, .text = text };
	*slot = v;
}

void vars_collect(struct loader *l, struct names *table,
		  const struct yaml_node *section)
{
	if (!section || section->kind != YAML_MAP)
		return;
	for (uint32_t i = 0; i < section->count; i++) {
		const struct yaml_node *k = section->pairs[i].key;
		const struct yaml_node *v = section->pairs[i].value;
		if (yaml_is_scalar(k) && yaml_is_scalar(v))
			define(l, table, k->text, v, NULL);
	}
}

void vars_builtin(struct loader *l)
{
	define(l, &l->vars, "plan", NULL, l->plan->name);
	define(l, &l->vars, "plan_dir", NULL, l->plan->dir);
}

/* ---- later ------------------------------------------------------------------- */

/* A dotted path, where names may hold dots themselves ("facts.source.host.cpus"):
 * at each level the longest name that is there. */
const json_t *vars_known(const json_t *o, const char *path)
{
	size_t n = strlen(path);

	if (!json_is_object(o))
		return NULL;
	for (size_t end = n; end > 0; end--) {
		if (path[end] && path[end] != '.')
			continue;
		AUTO_FREE char *key = mem_strndup(path, end);
		const json_t *v = json_object_get(o, key);
		if (v && path[end])
			v = vars_known(v, path + end + 1);
		if (v)
			return v;
	}
	return NULL;
}

static int put_known(struct str *out, const char *name, const json_t *known,
		     struct err *e)
{
	const json_t *v = vars_known(known, name);

	if (json_is_string(v))
		str_add(out, json_string_value(v));
	else if (json_is_integer(v))
		str_addf(out, "%lld", (long long)json_integer_value(v));
	else if (json_is_boolean(v))
		str_add(out, json_is_true(v) ? "true" : "false");
	else if (json_is_real(v))
		str_addf(out, "%g", json_real_value(v));
	else if (v && !json_is_null(v))
		return err_set(e, ERR_PLAN, "cannot put in '${%s}': it is not a plain value",
			       name);
	else
		return err_set(e, ERR_PLAN, "cannot put in '${%s}': it is not known", name);
	return 0;
}

char *vars_final(const char *text, const json_t *known, struct err *e)
{
	AUTO_STR out = { 0 };
	const char *s = text, *at, *end;
	bool escaped;

	while ((at = next_ref(s, &escaped))) {
		str_addn(&out, s, (size_t)(at - s));
		end = strchr(at, '}');
		if (escaped || !end) {
			str_add(&out, "${");
			s = at + (escaped ? 3 : 2);
			continue;
		}
		AUTO_FREE char *name = mem_strndup(at + 2, (size_t)(end - at - 2));
		if (put_known(&out, name, known, e) < 0)
			return NULL;
		s = end + 1;
	}
	str_add(&out, s);
	return str_take(&out);
}
