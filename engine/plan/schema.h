/* SPDX-License-Identifier: Apache-2.0
 * schema - the one table of plan keys, and the walk that validates and types by
 * it. A row is a module parameter's row with a form around it.
 */
#ifndef DROVER_SCHEMA_H
#define DROVER_SCHEMA_H

#include "engine/base/json.h"
#include "engine/plan/yaml.h"
#include "modules/module.h"

struct loader;

enum key_form {
	FORM_VALUE,	/* as .p.type says */
	FORM_MAP,	/* the keys of .of */
	FORM_NAMED,	/* names of the user's, each with a value like *.of */
	FORM_LIST,	/* a list of values like *.of */
	FORM_STEPS,	/* a phase: steps.c */
	FORM_LATER,	/* reserved, refused */
};

#define KEY_VALUE	0x1	/* a plain value of .p.type may stand instead of the map */
#define KEY_LIST	0x2	/* a list may stand instead of the named map */
#define KEY_FREE	0x4	/* names may be any text */

struct key {
	struct param p;
	enum key_form form;
	const struct key *of;		/* FORM_MAP: ends with a row without name */
	unsigned flags;
	/* What is wrong with the text (FORM_NAMED: with a name), beyond its type;
	 * NULL: nothing. */
	const char *(*check)(const char *text);
};

extern const struct key schema_plan[];		/* a plan's keys */
extern const struct key schema_machine[];	/* a machine's, and those of defaults */
extern const struct key schema_recipe[];	/* a recipe's */
const struct key *schema_key(const struct key *keys, const char *name);

/* Where ${...} may name what only a machine or a run knows. */
#define SCOPE_PLAN	0x0	/* variables only */
#define SCOPE_MACHINE	0x1	/* ${machine}, ${labels.x} */
#define SCOPE_RUN	0x2	/* and ${source.x}, ${target.x}, ${facts.x} */

/* Validate `n`; errors go to the loader's list. With `out`, the typed value (a
 * new reference), NULL when there is none. Does not ask for required keys. */
bool schema_value(struct loader *l, const struct key *k,
		  const struct yaml_node *n, unsigned scope, json_t **out);
/* The same for a value that is typed by a module's row. */
bool schema_param(struct loader *l, const struct param *p,
		  const struct yaml_node *n, unsigned scope, json_t **out);
/* A name that the user chose: not one that other readers take for a boolean; told. */
bool schema_name_is_plain(struct loader *l, const struct yaml_node *key);
/* Ask for required keys, deeply. `what`: "host 'db1'". */
bool schema_required(struct loader *l, const struct key *k,
		     const struct yaml_node *n);
/* A value typed by the table, as one would write it. A new reference. */
json_t *schema_written(const struct key *k, const json_t *value);

/* The key reference, for people (markdown) and for editors (JSON Schema). Caller
 * frees. */
char *schema_markdown(void);
json_t *schema_json(void);

#endif
