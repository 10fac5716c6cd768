/* SPDX-License-Identifier: Apache-2.0
 * schema_param - a value against one row of a table: types, bounds, odd scalars.
 */
#include "engine/plan/private.h"
#include "engine/plan/types.h"

#include <string.h>

static bool told(struct loader *l, const struct yaml_node *n, const struct param *p,
		 const char *what, const char *hint)
{
	struct err *e = load_error(l, n, "'%s' %s", p->name, what);

	if (hint)
		err_hint(e, "%s", hint);
	return false;
}

static bool is_canonical_int(const char *s)
{
	s += *s == '-';
	return *s != '0' || !s[1];
}

/* A plain word or number where text is meant: other readers of YAML, and its
 * author, may take it for something else. */
static bool text_is_plain(struct loader *l, const struct param *p,
			  const struct yaml_node *n)
{
	const char *is = NULL;

	if (!n->plain)
		return true;
	if (n->kind == YAML_BOOL)
		is = "a boolean";
	else if (n->kind == YAML_FLOAT ||
		 (n->kind == YAML_INT && !is_canonical_int(n->text)))
		is = "a number";
	else if (n->kind == YAML_STR && yaml_is_odd(n->text))
		is = "a boolean to many programs";
	if (!is)
		return true;
	err_hint(load_error(l, n, "'%s' must be text, and %s is %s", p->name, n->text, is),
		 "put quotes around it: \"%s\"", n->text);
	return false;
}

static bool wrong_kind(struct loader *l, const struct param *p,
		       const struct yaml_node *n)
{
	AUTO_FREE char *what = NULL;

	if (n->kind == YAML_NULL && n->plain)
		return told(l, n, p, "has no value", NULL);
	what = mem_printf("must be %s, not %s", types_name(p->type), yaml_kind_name(n));
	return told(l, n, p, what, NULL);
}

/* "secret:NAME" is a reference: it stands only where one is looked up. */
static bool secret_fits(struct loader *l, const struct param *p, const struct yaml_node *n,
			const char *text, bool open)
{
	const struct yaml_node *secrets = yaml_get(l->root, "secrets");
	struct names known = { 0 };
	struct err *e;
	bool may = p->words && strcmp(p->words, PARAM_SECRET) == 0;

	if (!plan_is_secret(text) || (may && (open || yaml_get(secrets, text + 7))))
		return true;
	if (!may) {
		err_hint(load_error(l, n, "'%s' cannot be a secret", p->name),
			 "a secret may stand in become.sudo.password, in the values of a check's "
			 "`with`, and in the `stdin` of a command and of source.power.command");
		return false;
	}
	for (uint32_t i = 0; secrets && secrets->kind == YAML_MAP && i < secrets->count; i++)
		if (yaml_is_scalar(secrets->pairs[i].key))
			*names_slot(&known, secrets->pairs[i].key->text) = l;
	e = load_error(l, n, "no secret is called '%s'", text + 7);
	if (names_near(&known, text + 7))
		hint_near(e, names_near(&known, text + 7));
	else
		err_hint(e, "define it: secrets: { %s: { env: NAME } }", text + 7);
	names_free(&known);
	return false;
}

static bool scalar_value(struct loader *l, const struct param *p,
			 const struct yaml_node *n, unsigned scope, json_t **out)
{
	bool open = false;

	if (!yaml_is_scalar(n) || (n->kind == YAML_NULL && n->plain))
		return wrong_kind(l, p, n);
	if (types_is_text(p->type) && !text_is_plain(l, p, n))
		return false;
	if ((p->type == P_INT || p->type == P_BOOL) && !n->plain && !n->refs) {
		err_hint(load_error(l, n, "'%s' must be %s, not text", p->name,
				    types_name(p->type)), "leave the quotes away");
		return false;
	}
	const char *text = vars_text(l, n, scope, &open);
	if (!text || !secret_fits(l, p, n, text, open))
		return false;
	if (open && (types_is_text(p->type) || (scope & SCOPE_RUN))) {
		if (out)
			*out = json_string(text);
		return true;
	}
	if (open)
		return told(l, n, p, "cannot wait for what only a machine knows", NULL);
	if (p->type == P_STR && !out)
		return true;
	AUTO_FREE char *why = NULL;
	const char *hint;
	AUTO_JSON *v = types_value(p, text, &why, &hint);
	if (!v) {
		AUTO_FREE char *what = mem_printf("%s: '%s'", why, text);
		return told(l, n, p, what, hint);
	}
	if (out)
		*out = json_incref(v);
	return true;
}

/* A scalar of any type, by YAML's own typing; for maps of the user's. */
static bool any_scalar(struct loader *l, const struct param *p,
		       const struct yaml_node *n, unsigned scope, json_t **out)
{
	struct param as = *p;

	as.type = n->refs || n->kind == YAML_STR ? P_STR :
		n->kind == YAML_INT ? P_INT : n->kind == YAML_BOOL ? P_BOOL : P_STR;
	if (n->kind == YAML_INT && !is_canonical_int(n->text))
		return text_is_plain(l, &as, n);
	if (n->kind == YAML_FLOAT && n->plain && !n->refs) {
		if (out)
			*out = json_real(strtod(n->text, NULL));
		return true;
	}
	if (n->kind == YAML_NULL && n->plain) {
		if (out)
			*out = json_null();
		return true;
	}
	return scalar_value(l, &as, n, scope, out);
}

static bool list_value(struct loader *l, const struct param *p,
		       const struct yaml_node *n, unsigned scope, json_t **out)
{
	struct param item = { .name = p->name, .type = P_STR };
	AUTO_JSON *list = out ? json_array() : NULL;
	bool ok = true;

	if (n->kind != YAML_LIST) {
		struct err *e;
		if (n->kind == YAML_NULL && n->plain)
			return wrong_kind(l, p, n);
		e = load_error(l, n, "'%s' must be %s, not %s", p->name,
			       types_name(p->type), yaml_kind_name(n));
		if (p->type == P_ARGV)
			err_hint(e, "write it as a list: [systemctl, stop, web]; no shell "
				    "reads it");
		else if (yaml_is_scalar(n))
			err_hint(e, "write it as a list: [%s]", n->text);
		return false;
	}
	if (p->type == P_ARGV && !n->count)
		return told(l, n, p, "must name a program", NULL);
	for (uint32_t i = 0; i < n->count; i++) {
		json_t *v = NULL;
		ok &= scalar_value(l, &item, n->items[i], scope, out ? &v : NULL);
		if (v)
			jadd(list, v);
	}
	if (ok && out)
		*out = json_incref(list);
	return ok;
}

static bool any_value(struct loader *l, const struct param *p,
		      const struct yaml_node *n, unsigned scope, json_t **out);

bool schema_name_is_plain(struct loader *l, const struct yaml_node *key)
{
	if (!key->plain || !yaml_is_odd(key->text))
		return true;
	err_hint(load_error(l, key, "the name %s is a boolean to many programs", key->text),
		 "put quotes around it: \"%s\"", key->text);
	return false;
}

static bool has_fields(const struct param *p)
{
	return p->type == P_MAP && p->words && strcmp(p->words, PARAM_SECRET) != 0;
}

static void hint_fields(struct err *e, const struct param *p)
{
	AUTO_FREE char *all = mem_strdup(p->words);

	for (char *bar = all; (bar = strchr(bar, '|')); )
		*bar = ' ';
	err_hint(e, "known here: %s", all);
}

/* A key of a map whose keys are known. */
static bool field_value(struct loader *l, const struct param *p,
			const struct yaml_pair *pair, unsigned scope, json_t **out)
{
	struct param field = { .name = pair->key->text, .type = P_SIZE, .min = p->min,
			       .max = p->max };

	if (types_has_word(p->words, pair->key->text))
		return schema_param(l, &field, pair->value, scope, out);
	hint_fields(load_error(l, pair->key, "the key '%s' is not known in '%s'",
			       pair->key->text, p->name), p);
	return false;
}

static bool map_value(struct loader *l, const struct param *p,
		      const struct yaml_node *n, unsigned scope, json_t **out)
{
	AUTO_JSON *map = out ? json_object() : NULL;
	bool ok = true;

	if (n->kind != YAML_MAP)
		return wrong_kind(l, p, n);
	if (has_fields(p) && !n->count) {
		hint_fields(load_error(l, n, "'%s' says nothing: it is empty", p->name), p);
		return false;
	}
	for (uint32_t i = 0; i < n->count; i++) {
		const struct yaml_pair *pair = &n->pairs[i];
		struct param item = { .name = pair->key->text, .type = p->type,
				      .words = p->words };
		json_t *v = NULL;
		if (!yaml_is_scalar(pair->key)) {
			ok = false;
			continue;	/* told when it was parsed */
		}
		ok &= schema_name_is_plain(l, pair->key);
		if (has_fields(p))
			ok &= field_value(l, p, pair, scope, out ? &v : NULL);
		else if (p->type == P_ANY)
			ok &= any_value(l, &item, pair->value, scope, out ? &v : NULL);
		else if (yaml_is_scalar(pair->value))
			ok &= any_scalar(l, &item, pair->value, scope, out ? &v : NULL);
		else
			ok &= told(l, pair->value, &item, "must be a plain value", NULL);
		if (v)
			jset(map, pair->key->text, v);
	}
	if (ok && out)
		*out = json_incref(map);
	return ok;
}

static bool any_value(struct loader *l, const struct param *p,
		      const struct yaml_node *n, unsigned scope, json_t **out)
{
	if (n->kind == YAML_MAP)
		return map_value(l, p, n, scope, out);
	if (n->kind != YAML_LIST)
		return any_scalar(l, p, n, scope, out);
	AUTO_JSON *list = out ? json_array() : NULL;
	bool ok = true;
	for (uint32_t i = 0; i < n->count; i++) {
		json_t *v = NULL;
		ok &= any_value(l, p, n->items[i], scope, out ? &v : NULL);
		if (v)
			jadd(list, v);
	}
	if (ok && out)
		*out = json_incref(list);
	return ok;
}

bool schema_param(struct loader *l, const struct param *p,
		  const struct yaml_node *n, unsigned scope, json_t **out)
{
	switch (p->type) {
	case P_ARGV:
	case P_LIST:
		return list_value(l, p, n, scope, out);
	case P_MAP:
		return map_value(l, p, n, scope, out);
	case P_ANY:
		return any_value(l, p, n, scope, out);
	default:
		return scalar_value(l, p, n, scope, out);
	}
}
