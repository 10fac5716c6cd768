/* SPDX-License-Identifier: Apache-2.0
 * schema - walking a tree by the table: unknown keys, types, odd scalars. */
#include "engine/plan/private.h"
#include "engine/plan/types.h"

#include "engine/base/text.h"

#include <string.h>

const struct key *schema_key(const struct key *keys, const char *name)
{
	for (; keys->p.name; keys++)
		if (keys->p.name[0] == name[0] && strcmp(keys->p.name, name) == 0)
			return keys;
	return NULL;
}

/* ---- plain values ------------------------------------------------------------- */

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
static bool name_is_plain(struct loader *l, const struct yaml_node *key);

/* A key of a map whose keys are known. */
static bool field_value(struct loader *l, const struct param *p,
			const struct yaml_pair *pair, unsigned scope, json_t **out)
{
	struct param field = { .name = pair->key->text, .type = P_SIZE };
	AUTO_FREE char *all = NULL;

	if (types_has_word(p->words, pair->key->text))
		return schema_param(l, &field, pair->value, scope, out);
	all = mem_strdup(p->words);
	for (char *bar = all; (bar = strchr(bar, '|')); )
		*bar = ' ';
	err_hint(load_error(l, pair->key, "the key '%s' is not known in '%s'",
			    pair->key->text, p->name), "known here: %s", all);
	return false;
}

static bool map_value(struct loader *l, const struct param *p,
		      const struct yaml_node *n, unsigned scope, json_t **out)
{
	AUTO_JSON *map = out ? json_object() : NULL;
	bool ok = true;

	if (n->kind != YAML_MAP)
		return wrong_kind(l, p, n);
	for (uint32_t i = 0; i < n->count; i++) {
		const struct yaml_pair *pair = &n->pairs[i];
		struct param item = { .name = pair->key->text, .type = p->type,
				      .words = p->words };
		json_t *v = NULL;
		if (!yaml_is_scalar(pair->key)) {
			ok = false;
			continue;	/* told when it was parsed */
		}
		ok &= name_is_plain(l, pair->key);
		if (p->type == P_MAP && p->words && strcmp(p->words, PARAM_SECRET))
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

/* ---- forms --------------------------------------------------------------------- */

static void unknown_key(struct loader *l, const struct key *keys,
			const struct yaml_node *key, const char *in)
{
	const char *names[64];
	size_t count = 0;

	if (key->plain && strcmp(key->text, "<<") == 0)
		return;			/* told when it was parsed */
	for (const struct key *k = keys; k->p.name && count < ARRAY_LEN(names); k++)
		names[count++] = k->p.name;
	struct err *e = load_error(l, key, "the key '%s' is not known%s%s%s", key->text,
				   in ? " in '" : "", in ? in : "", in ? "'" : "");
	const char *near = text_near(key->text, names, count);
	if (near) {
		hint_near(e, near);
		return;
	}
	AUTO_STR all = { 0 };
	for (size_t i = 0; i < count; i++)
		str_addf(&all, "%s%s", i ? ", " : "", names[i]);
	err_hint(e, count ? "known here: %s" : "nothing may stand here%s",
		 count ? all.s : "");
}

/* A name that the user chose: not one that other readers take for a boolean. */
static bool name_is_plain(struct loader *l, const struct yaml_node *key)
{
	if (!key->plain || !yaml_is_odd(key->text))
		return true;
	err_hint(load_error(l, key, "the name %s is a boolean to many programs", key->text),
		 "put quotes around it: \"%s\"", key->text);
	return false;
}

static bool fixed_map(struct loader *l, const struct key *k,
		      const struct yaml_node *n, unsigned scope, json_t **out)
{
	AUTO_JSON *map = out ? json_object() : NULL;
	bool ok = true;

	for (uint32_t i = 0; i < n->count; i++) {
		const struct yaml_pair *pair = &n->pairs[i];
		const struct key *row;
		json_t *v = NULL;
		if (!yaml_is_scalar(pair->key)) {
			ok = false;
			continue;
		}
		row = schema_key(k->of, pair->key->text);
		if (!row) {
			unknown_key(l, k->of, pair->key, k->p.name);
			ok = false;
			continue;
		}
		if (row->form == FORM_LATER) {
			err_hint(load_error(l, pair->key, "'%s' is not supported yet",
					    row->p.name), "%s", row->p.summary);
			ok = false;
			continue;
		}
		ok &= schema_value(l, row, pair->value, scope, out ? &v : NULL);
		if (v)
			jset(map, row->p.name, v);
	}
	if (ok && out)
		*out = json_incref(map);
	return ok;
}

static bool named_map(struct loader *l, const struct key *k,
		      const struct yaml_node *n, unsigned scope, json_t **out)
{
	AUTO_JSON *map = out ? json_object() : NULL;
	bool ok = true;

	for (uint32_t i = 0; i < n->count; i++) {
		const struct yaml_pair *pair = &n->pairs[i];
		json_t *v = NULL;
		if (!yaml_is_scalar(pair->key)) {
			ok = false;
			continue;
		}
		ok &= name_is_plain(l, pair->key);
		if ((!(k->flags & KEY_FREE) && !text_name_ok(pair->key->text)) ||
		    (k->check && k->check(pair->key->text))) {
			err_hint(load_error(l, pair->key, "'%s' cannot be a name",
					    pair->key->text),
				 "names are letters, digits, '.', '_' and '-', at most 64; they "
				 "begin with a letter or digit, and do not end in .lock");
			ok = false;
		}
		ok &= schema_value(l, k->of, pair->value, scope, out ? &v : NULL);
		if (v)
			jset(map, pair->key->text, v);
	}
	if (ok && out)
		*out = json_incref(map);
	return ok;
}

static bool form_list(struct loader *l, const struct key *item,
		      const struct yaml_node *n, unsigned scope, json_t **out)
{
	AUTO_JSON *list = out ? json_array() : NULL;
	bool ok = true;

	for (uint32_t i = 0; i < n->count; i++) {
		json_t *v = NULL;
		ok &= schema_value(l, item, n->items[i], scope, out ? &v : NULL);
		if (v)
			jadd(list, v);
	}
	if (ok && out)
		*out = json_incref(list);
	return ok;
}

static bool plain_value(struct loader *l, const struct key *k,
			const struct yaml_node *n, unsigned scope, json_t **out)
{
	bool open = false;

	if (!schema_param(l, &k->p, n, scope, out))
		return false;
	if (!k->check || !yaml_is_scalar(n))
		return true;
	const char *text = vars_text(l, n, scope, &open);
	const char *wrong = text && !open ? k->check(text) : NULL;
	if (!wrong)
		return true;
	if (out) {
		json_decref(*out);
		*out = NULL;
	}
	load_error(l, n, "'%s' %s: '%s'", k->p.name, wrong, text);
	return false;
}

bool schema_value(struct loader *l, const struct key *k,
		  const struct yaml_node *n, unsigned scope, json_t **out)
{
	bool list = k->form == FORM_LIST || k->form == FORM_STEPS;

	if (k->form == FORM_VALUE ||
	    ((k->flags & KEY_VALUE) && yaml_is_scalar(n) &&
	     !(n->kind == YAML_NULL && n->plain)))
		return plain_value(l, k, n, scope, out);
	if ((k->flags & KEY_LIST) && n->kind == YAML_LIST)
		return form_list(l, k->of, n, scope, out);
	if (n->kind != (list ? YAML_LIST : YAML_MAP)) {
		struct err *e = n->kind == YAML_NULL && n->plain ?
			load_error(l, n, "'%s' has no value", k->p.name) :
			load_error(l, n, "'%s' must be %s, not %s", k->p.name,
				   list ? "a list" : "a map", yaml_kind_name(n));
		if (k->p.summary)
			err_hint(e, "%s: %s", k->p.name, k->p.summary);
		return false;
	}
	switch (k->form) {
	case FORM_MAP:
		return fixed_map(l, k, n, scope, out);
	case FORM_NAMED:
		return named_map(l, k, n, scope, out);
	case FORM_LIST:
		return form_list(l, k->of, n, scope, out);
	default:
		return true;		/* steps: read by steps.c */
	}
}

bool schema_required(struct loader *l, const struct key *k,
		     const struct yaml_node *n)
{
	bool ok = true;

	if (k->form == FORM_MAP && n->kind == YAML_MAP)
		for (const struct key *row = k->of; row->p.name; row++) {
			const struct yaml_node *v = yaml_get(n, row->p.name);
			if (v && row->of)
				ok &= schema_required(l, row, v);
			if (v || !row->p.required)
				continue;
			err_hint(load_error(l, n, "'%s' is missing", row->p.name),
				 "%s: %s", row->p.name, row->p.summary);
			ok = false;
		}
	else if (k->form == FORM_NAMED && n->kind == YAML_MAP)
		for (uint32_t i = 0; i < n->count; i++)
			ok &= schema_required(l, k->of, n->pairs[i].value);
	else if (n->kind == YAML_LIST && k->of)
		for (uint32_t i = 0; i < n->count; i++)
			ok &= schema_required(l, k->of, n->items[i]);
	return ok;
}

json_t *schema_written(const struct key *k, const json_t *value)
{
	const char *name;
	json_t *v, *out;
	size_t i;

	if (k->form == FORM_VALUE || !k->of || !(json_is_object(value) || json_is_array(value)))
		return types_written(&k->p, value);
	if (json_is_array(value)) {
		out = json_array();
		json_array_foreach((json_t *)(uintptr_t)value, i, v)
			jadd(out, schema_written(k->of, v));
		return out;
	}
	out = json_object();
	json_object_foreach((json_t *)(uintptr_t)value, name, v) {
		const struct key *row = k->form == FORM_MAP ? schema_key(k->of, name) : k->of;
		jset(out, name, row ? schema_written(row, v) : json_deep_copy(v));
	}
	return out;
}
