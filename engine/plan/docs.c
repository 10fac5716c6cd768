/* SPDX-License-Identifier: Apache-2.0
 * docs - the key reference from the table of keys: for people and for editors. */
#include "engine/plan/schema.h"
#include "engine/plan/types.h"

#include "engine/base/json.h"
#include "engine/base/mem.h"

#include <string.h>

/* ---- markdown -------------------------------------------------------------------- */

static const char *form_name(const struct key *k)
{
	switch (k->form) {
	case FORM_MAP:
		return k->flags & KEY_VALUE ? "a map or a plain value" : "a map";
	case FORM_NAMED:
		return k->flags & KEY_LIST ? "a map by name, or a list" : "a map by name";
	case FORM_LIST:
		return k->flags & KEY_VALUE ? "a list or a plain value" : "a list";
	case FORM_STEPS:
		return "a list of steps";
	case FORM_LATER:
		return "reserved";
	default:
		return types_name(k->p.type);
	}
}

static void add_cell(struct str *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '|')
			str_addc(out, '\\');
		str_addc(out, *text);
	}
}

static void add_row(struct str *out, const char *path, const struct key *k)
{
	str_addf(out, "| `%s` | ", path);
	if (k->p.type == P_ENUM && k->form == FORM_VALUE)
		add_cell(out, k->p.words);
	else
		add_cell(out, form_name(k));
	str_add(out, " | ");
	add_cell(out, k->p.summary ? k->p.summary : "");
	if (k->p.dflt)
		str_addf(out, "; default `%s`", k->p.dflt);
	if (k->p.required)
		str_add(out, "; required");
	str_add(out, " |\n");
}

static void add_keys(struct str *out, const char *prefix, const struct key *keys)
{
	for (const struct key *k = keys; k->p.name; k++) {
		const struct key *of = k->of;
		AUTO_FREE char *path = mem_printf("%s%s", prefix, k->p.name);
		AUTO_FREE char *inner = mem_printf("%s%s", path,
			k->form == FORM_NAMED ? ".NAME." : k->form == FORM_LIST ? "[]." : ".");
		add_row(out, path, k);
		if (of == schema_machine || !of)
			continue;	/* has a table of its own */
		if (k->form == FORM_MAP)
			add_keys(out, inner, of);
		else if (of->form == FORM_MAP && of->of != schema_machine)
			add_keys(out, inner, of->of);
	}
}

static void add_table(struct str *out, const char *title, const struct key *keys)
{
	str_addf(out, "## %s\n\n| key | value | meaning |\n|---|---|---|\n", title);
	add_keys(out, "", keys);
	str_addc(out, '\n');
}

char *schema_markdown(void)
{
	AUTO_STR out = { 0 };

	add_table(&out, "A plan", schema_plan);
	add_table(&out, "A machine, and defaults", schema_machine);
	add_table(&out, "A recipe", schema_recipe);
	return str_take(&out);
}

/* ---- JSON Schema, draft 7 ------------------------------------------------------------ */

static json_t *type_schema(const struct param *p)
{
	json_t *o = json_object(), *words, *properties;

	switch (p->type) {
	case P_BOOL:
		jset_str(o, "type", "boolean");
		break;
	case P_INT:
		jset_str(o, "type", "integer");
		if (p->min || p->max)
			jset_int(o, "minimum", p->min);
		if (p->max)
			jset_int(o, "maximum", p->max);
		break;
	case P_SIZE:
		jset(o, "type", json_pack("[s, s]", "string", "integer"));
		break;
	case P_ENUM:
		words = json_array();
		for (const char *at = p->words; *at; at += strcspn(at, "|"), at += *at == '|')
			jadd(words, json_stringn(at, strcspn(at, "|")));
		jset(o, "enum", words);
		break;
	case P_ARGV:
	case P_LIST:
		jset_str(o, "type", "array");
		break;
	case P_MAP:
		jset_str(o, "type", "object");
		if (!p->words || strcmp(p->words, PARAM_SECRET) == 0)
			break;
		properties = json_object();
		for (const char *at = p->words; *at; at += strcspn(at, "|"), at += *at == '|') {
			AUTO_FREE char *name = mem_strndup(at, strcspn(at, "|"));
			struct param field = { .name = name, .type = P_SIZE };

			jset(properties, name, type_schema(&field));
		}
		jset(o, "properties", properties);
		jset_bool(o, "additionalProperties", false);
		jset_int(o, "minProperties", 1);
		break;
	case P_ANY:
		break;
	default:
		jset(o, "type", json_pack("[s, s]", "string", "integer"));
	}
	return o;
}

static json_t *key_schema(const struct key *k, bool whole);

/* `whole`: not laid over defaults, so that what is required must be here. */
static json_t *map_schema(const struct key *keys, bool whole)
{
	json_t *o = json_object(), *properties = json_object(), *required = json_array();

	for (const struct key *k = keys; k->p.name; k++) {
		if (k->form == FORM_LATER)
			continue;
		jset(properties, k->p.name, k->of == schema_machine ?
		     json_pack("{s:s}", "$ref", "#/definitions/machine") : key_schema(k, whole));
		if (k->p.required && whole)
			jadd(required, json_string(k->p.name));
	}
	jset_str(o, "type", "object");
	jset(o, "properties", properties);
	jset(o, "additionalProperties", json_false());
	if (json_array_size(required))
		jset(o, "required", required);
	else
		json_decref(required);
	return o;
}

static json_t *key_schema(const struct key *k, bool whole)
{
	json_t *o, *item;

	switch (k->form) {
	case FORM_MAP:
		o = k->of == schema_machine ?
			json_pack("{s:s}", "$ref", "#/definitions/machine") :
			map_schema(k->of, whole);
		if (k->flags & KEY_VALUE)
			o = json_pack("{s:[o, o]}", "anyOf", o, type_schema(&k->p));
		break;
	case FORM_NAMED:
		item = key_schema(k->of, whole);
		o = json_pack("{s:s, s:O}", "type", "object", "additionalProperties", item);
		if (k->flags & KEY_LIST)
			o = json_pack("{s:[o, {s:s, s:O}]}", "anyOf", o, "type", "array",
				      "items", item);
		json_decref(item);
		break;
	case FORM_LIST:
		o = json_pack("{s:s, s:o}", "type", "array", "items",
			      key_schema(k->of, whole));
		if (k->flags & KEY_VALUE)
			o = json_pack("{s:[o, o]}", "anyOf", o, type_schema(&k->p));
		break;
	case FORM_STEPS:
		o = json_pack("{s:s}", "type", "array");
		break;
	default:
		o = type_schema(&k->p);
	}
	if (k->p.summary && !jget(o, "$ref"))
		jset_str(o, "description", k->p.summary);
	return o;
}

json_t *schema_json(void)
{
	json_t *o = map_schema(schema_plan, true), *definitions = json_object();

	jset_str(o, "$schema", "http://json-schema.org/draft-07/schema#");
	jset_str(o, "title", "a drover plan");
	jset(definitions, "machine", map_schema(schema_machine, false));
	jset(o, "definitions", definitions);
	return o;
}
