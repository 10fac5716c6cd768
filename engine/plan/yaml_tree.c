/* SPDX-License-Identifier: Apache-2.0
 * yaml_tree - from libyaml's events to a tree of nodes.
 *
 * libyaml knows no duplicates, types no scalars and nests without a limit (in
 * quadratic time); all three are seen to here, event by event. A node's cost counts
 * what it would hold if its aliases were copied; they never are.
 */
#include "engine/plan/yaml_priv.h"

#include <string.h>

static struct yaml_node *node_new(struct parser *p, enum yaml_kind kind,
				  yaml_mark_t m)
{
	struct yaml_node *n = arena_alloc(p->arena, sizeof(*n));

	n->file = p->file;
	n->line = (uint32_t)m.line + 1;
	n->column = (uint32_t)m.column + 1;
	n->kind = kind;
	p->literal++;
	return n;
}

static struct anchor *anchor_open(struct parser *p, const yaml_char_t *name)
{
	if (!name)
		return NULL;
	struct anchor *a = arena_alloc(p->arena, sizeof(*a));
	*names_slot(&p->anchors, arena_strdup(p->arena, (const char *)name)) = a;
	return a;
}

static void add_child(struct parser *p, struct yaml_node *n, unsigned height)
{
	if (!p->depth) {
		p->root = n;
		return;
	}
	p->stack = mem_grow(p->stack, p->stack_count, &p->stack_cap,
			    sizeof(*p->stack));
	p->stack[p->stack_count++] = n;
	struct level *l = &p->levels[p->depth - 1];
	if (height + 1 > l->height)
		l->height = height + 1;
}

static bool wants_key(const struct parser *p)
{
	const struct level *l = p->depth ? &p->levels[p->depth - 1] : NULL;

	return l && l->node->kind == YAML_MAP && (p->stack_count - l->base) % 2 == 0;
}

static void refuse_tag(struct parser *p, const yaml_char_t *tag, yaml_mark_t m)
{
	if (tag)
		err_hint(yaml_fault(p, m, "the tag '%s' is not known", (const char *)tag),
			 "plans have no tags; put quotes around the value if it is text");
}

static void refuse_key(struct parser *p, const struct yaml_node *n, yaml_mark_t m)
{
	if (!yaml_is_scalar(n))
		yaml_fault(p, m, "a key must be a plain word, not %s", yaml_kind_name(n));
	else if (n->plain && strcmp(n->text, "<<") == 0)
		err_hint(yaml_fault(p, m, "merge keys ('<<') are not part of YAML 1.2"),
			 "put what machines share into `defaults:`");
	else if (n->plain && (n->kind == YAML_NULL || n->kind == YAML_BOOL ||
			      n->kind == YAML_FLOAT))
		err_hint(yaml_fault(p, m, "the key %s reads differently to different programs",
				    *n->text ? n->text : "(nothing)"),
			 "put quotes around it: \"%s\"", n->text);
}

static void on_scalar(struct parser *p, const yaml_event_t *ev)
{
	const char *text = (const char *)ev->data.scalar.value;
	size_t len = ev->data.scalar.length;
	yaml_scalar_style_t style = ev->data.scalar.style;
	bool key = wants_key(p);
	struct yaml_node *n = node_new(p, YAML_STR, ev->start_mark);
	struct anchor *a = anchor_open(p, ev->data.scalar.anchor);

	n->text = arena_strndup(p->arena, text, len);
	n->plain = style == YAML_PLAIN_SCALAR_STYLE;
	n->block = ev->start_mark.line != ev->end_mark.line;
	n->refs = !key && strstr(n->text, "${");
	if (n->plain)
		n->kind = yaml_kind_of(n->text);
	if (strlen(n->text) != len) {
		yaml_fault(p, ev->start_mark, "the text holds a NUL character");
		p->stop = true;
	}
	refuse_tag(p, ev->data.scalar.tag, ev->start_mark);
	if (key)
		refuse_key(p, n, ev->start_mark);
	if (a)
		*a = (struct anchor){ n, 1, 0 };
	add_child(p, n, 0);
}

static void on_alias(struct parser *p, const yaml_event_t *ev)
{
	const char *name = (const char *)ev->data.alias.anchor;
	const struct anchor *a = names_get(&p->anchors, name);

	if (!a || !a->node) {
		if (a)
			yaml_fault(p, ev->start_mark, "the alias '*%s' lies inside what it names",
				   name);
		else
			yaml_fault(p, ev->start_mark, "the alias '*%s' names nothing above it",
				   name);
		struct yaml_node *none = node_new(p, YAML_NULL, ev->start_mark);
		none->text = "";
		add_child(p, none, 0);
		return;
	}
	if (p->depth + a->height > YAML_MAX_DEPTH) {
		yaml_fault(p, ev->start_mark, "nested deeper than %d levels", YAML_MAX_DEPTH);
		p->stop = true;
		return;
	}
	p->aliased += a->cost;
	if (p->aliased > UINT64_MAX / 4)
		p->aliased = UINT64_MAX / 4;
	p->uses = mem_grow(p->uses, p->use_count, &p->use_cap, sizeof(*p->uses));
	p->uses[p->use_count++] =
		(struct alias_use){ yaml_mark_place(p, ev->start_mark), p->aliased };
	if (wants_key(p))
		refuse_key(p, a->node, ev->start_mark);
	add_child(p, a->node, a->height);
}

static void on_start(struct parser *p, enum yaml_kind kind, const yaml_event_t *ev,
		     const yaml_char_t *tag, const yaml_char_t *anchor)
{
	if (p->depth == YAML_MAX_DEPTH) {
		yaml_fault(p, ev->start_mark, "nested deeper than %d levels", YAML_MAX_DEPTH);
		p->stop = true;
		return;
	}
	refuse_tag(p, tag, ev->start_mark);
	struct level *l = &p->levels[p->depth];
	*l = (struct level){
		.node = node_new(p, kind, ev->start_mark),
		.base = p->stack_count,
		.cost = p->literal - 1 + p->aliased,
		.anchor = anchor_open(p, anchor),
	};
	if (p->depth && wants_key(p))
		refuse_key(p, l->node, ev->start_mark);
	p->depth++;
}

static void refuse_duplicates(struct parser *p, const struct yaml_node *map)
{
	struct names seen = { 0 };

	for (uint32_t i = 0; i < map->count; i++) {
		struct yaml_node *key = map->pairs[i].key;
		if (!yaml_is_scalar(key))
			continue;
		void **slot = names_slot(&seen, key->text);
		const struct yaml_node *first = *slot;
		if (first) {
			yaml_mark_t m = { 0, key->line - 1, key->column - 1 };
			err_hint(yaml_fault(p, m, "the key '%s' stands here twice", key->text),
				 "it was given before in line %u", first->line);
		} else {
			*slot = key;
		}
	}
	names_free(&seen);
}

static void on_end(struct parser *p)
{
	struct level *l = &p->levels[--p->depth];
	struct yaml_node *n = l->node;
	size_t count = p->stack_count - l->base;
	size_t size = count * sizeof(*p->stack);

	if (!count)
		p->stack = mem_grow(p->stack, p->stack_count, &p->stack_cap,
				    sizeof(*p->stack));
	if (n->kind == YAML_LIST) {
		n->count = (uint32_t)count;
		n->items = arena_alloc(p->arena, size);
		memcpy(n->items, p->stack + l->base, size);
	} else {
		n->count = (uint32_t)count / 2;
		n->pairs = arena_alloc(p->arena, size);
		memcpy(n->pairs, p->stack + l->base, size);
		refuse_duplicates(p, n);
		yaml_map_seal(p->arena, n);
	}
	p->stack_count = l->base;
	if (l->anchor)
		*l->anchor = (struct anchor){
			n, p->literal + p->aliased - l->cost, l->height };
	add_child(p, n, l->height);
}

void yaml_event(struct parser *p, const yaml_event_t *ev)
{
	switch (ev->type) {
	case YAML_DOCUMENT_START_EVENT:
		if (p->documents++) {
			yaml_fault(p, ev->start_mark, "a second document begins here");
			p->stop = true;
		}
		break;
	case YAML_SCALAR_EVENT:
		on_scalar(p, ev);
		break;
	case YAML_ALIAS_EVENT:
		on_alias(p, ev);
		break;
	case YAML_SEQUENCE_START_EVENT:
		on_start(p, YAML_LIST, ev, ev->data.sequence_start.tag,
			 ev->data.sequence_start.anchor);
		break;
	case YAML_MAPPING_START_EVENT:
		on_start(p, YAML_MAP, ev, ev->data.mapping_start.tag,
			 ev->data.mapping_start.anchor);
		break;
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		on_end(p);
		break;
	default:
		break;
	}
}
