/* SPDX-License-Identifier: Apache-2.0
 * yaml_priv - a file while it is parsed: yaml.c reads it, yaml_tree.c makes its nodes.
 */
#ifndef DROVER_YAML_PRIV_H
#define DROVER_YAML_PRIV_H

#include "engine/plan/errlist.h"
#include "engine/plan/names.h"
#include "engine/plan/yaml.h"

#include <yaml.h>

/* What an alias may name. */
struct anchor {
	struct yaml_node *node;	/* NULL while it is still open */
	uint64_t cost;		/* nodes, aliases counted in full */
	unsigned height;	/* levels below it */
};

/* A list or map that is still open. */
struct level {
	struct yaml_node *node;	/* it */
	size_t base;		/* its first child on the stack */
	uint64_t cost;		/* the running cost when it was opened */
	unsigned height;	/* of what it holds so far */
	struct anchor *anchor;	/* its own, or NULL */
};

struct alias_use {
	struct place at;
	uint64_t total;		/* nodes that aliases stand for, with this one */
};

struct parser {
	struct arena *arena;		/* holds the tree */
	struct yaml_file *file;
	struct err_list *errors;	/* what is wrong with it goes there */
	struct level levels[YAML_MAX_DEPTH + 1];
	unsigned depth;			/* levels that are open */
	struct yaml_node **stack;	/* children of the open levels */
	size_t stack_count, stack_cap;
	struct yaml_node *root;		/* NULL: nothing yet */
	uint64_t literal, aliased;	/* nodes that are written, and that aliases stand for */
	struct names anchors;		/* name -> struct anchor */
	struct alias_use *uses;		/* all of them, in order */
	size_t use_count, use_cap;
	unsigned documents;		/* that have begun */
	bool stop;			/* it makes no sense to go on */
};

/* ---- yaml.c ---- */
struct place yaml_mark_place(const struct parser *p, yaml_mark_t m);
/* Tell an error there. The answer is for err_hint() alone. */
struct err *yaml_fault(struct parser *p, yaml_mark_t m, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* ---- yaml_tree.c ---- */
/* The next event of the file; p->stop is set when it makes no sense to go on. */
void yaml_event(struct parser *p, const yaml_event_t *ev);

#endif
