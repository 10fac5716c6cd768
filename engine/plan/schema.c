/* SPDX-License-Identifier: Apache-2.0
 * schema - walking a tree by the table: which keys may stand where, in which forms.
 */
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
		ok &= schema_name_is_plain(l, pair->key);
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
