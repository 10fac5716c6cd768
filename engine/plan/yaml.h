/* SPDX-License-Identifier: Apache-2.0
 * yaml - YAML text to a tree of nodes, each of which knows its place.
 *
 * YAML 1.2 core, strictly: duplicate keys, tags, merge keys, a second document
 * and aliases that would blow up are errors. Aliases share nodes, they are never
 * copied. Everything lives in an arena.
 */
#ifndef DROVER_YAML_H
#define DROVER_YAML_H

#include "engine/base/err.h"
#include "engine/base/mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define YAML_MAX_BYTES (64u << 20)
#define YAML_MAX_DEPTH 64
#define YAML_MAX_ALIAS 10	/* aliased nodes for each literal one */

enum yaml_kind {
	YAML_NULL, YAML_BOOL, YAML_INT, YAML_FLOAT, YAML_STR,
	YAML_LIST, YAML_MAP
};

struct yaml_file {
	const char *name;	/* as people named it */
	char *text;		/* newlines are NUL once it is parsed: a line is a string */
	size_t len;
	uint32_t *lines;	/* offset of each line */
	uint32_t line_count;
	uint32_t order;		/* in which files were read: errors are sorted by it */
	struct names *vars;	/* a recipe's own variables, after the plan's; or NULL */
};

struct names;
struct yaml_node;
struct yaml_pair { struct yaml_node *key, *value; };

struct yaml_node {
	struct yaml_file *file;
	uint32_t line, column;		/* from 1; column in characters */
	uint32_t count;			/* items of a list, pairs of a map */
	uint8_t kind;			/* enum yaml_kind */
	bool plain;			/* a scalar without quotes */
	bool block;			/* a scalar over several lines: | or > */
	bool refs;			/* a scalar that holds "${" */
	union {
		const char *text;		/* any scalar, as written, unquoted */
		struct yaml_node **items;	/* list */
		struct yaml_pair *pairs;	/* map, as written */
	};
	uint32_t *index;		/* a big map's hash table, else NULL */
};

struct err_list;

/* Parse `len` bytes of `text` (an arena's, writable, NUL behind; becomes the
 * file's). NULL when it cannot be read at all; other errors are added to `errors`
 * and the tree is still good for finding more. */
struct yaml_node *yaml_parse(struct arena *a, const char *name, char *text,
			     size_t len, uint32_t order, struct err_list *errors);
/* Read a file and parse it. e: why it cannot be read; NULL with e unset: the
 * text is wrong, see errors. */
struct yaml_node *yaml_load(struct arena *a, const char *path, uint32_t order,
			    struct err_list *errors, struct err *e);

/* The value of `key` in a map; NULL when there is none, or no map. */
struct yaml_node *yaml_get(const struct yaml_node *map, const char *key);
const struct yaml_pair *yaml_pair(const struct yaml_node *map, const char *key);
/* Finish a map whose pairs are set: build its index. Returns it. */
struct yaml_node *yaml_map_seal(struct arena *a, struct yaml_node *map);
/* `over` laid over `base`: maps are merged deeply, anything else is replaced.
 * Either may be NULL. Shares what it can. */
struct yaml_node *yaml_merge(struct arena *a, struct yaml_node *base,
			     struct yaml_node *over);

struct place yaml_place(const struct yaml_node *n);
bool yaml_is_scalar(const struct yaml_node *n);		/* also null */
/* What a plain text is in YAML 1.2 core. */
enum yaml_kind yaml_kind_of(const char *text);
/* A plain word that older YAML took for a boolean: yes, no, on, off. */
bool yaml_is_odd(const char *text);
const char *yaml_kind_name(const struct yaml_node *n);	/* "a map", "a list", ... */

#endif
