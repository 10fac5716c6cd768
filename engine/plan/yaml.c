/* SPDX-License-Identifier: Apache-2.0
 * yaml - from libyaml's events to a tree of nodes.
 *
 * libyaml knows no duplicates, types no scalars and nests without a limit (in
 * quadratic time); all three are seen to here, event by event. A node's cost counts
 * what it would hold if its aliases were copied; they never are.
 */
#include "engine/plan/yaml.h"

#include "engine/base/io.h"
#include "engine/base/json.h"
#include "engine/plan/errlist.h"
#include "engine/plan/names.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct anchor {
	struct yaml_node *node;	/* NULL while it is still open */
	uint64_t cost;		/* nodes, aliases counted in full */
	unsigned height;	/* levels below it */
};

struct level {
	struct yaml_node *node;	/* the open list or map */
	size_t base;		/* its first child on the stack */
	uint64_t cost;		/* the running cost when it was opened */
	unsigned height;	/* of what it holds so far */
	struct anchor *anchor;
};

struct alias_use { struct place at; uint64_t total; };

struct parser {
	struct arena *arena;
	struct yaml_file *file;
	struct err_list *errors;
	struct level levels[YAML_MAX_DEPTH + 1];
	unsigned depth;
	struct yaml_node **stack;	/* children of the open levels */
	size_t stack_count, stack_cap;
	struct yaml_node *root;
	uint64_t literal, aliased;
	struct names anchors;		/* name -> struct anchor */
	struct alias_use *uses;
	size_t use_count, use_cap;
	bool stop;			/* it makes no sense to go on */
};

/* ---- places --------------------------------------------------------------- */

/* Lines become strings of their own; a text that libyaml has yet to read must
 * not be touched, so this comes last. */
static void cut_lines(struct parser *p)
{
	struct yaml_file *f = p->file;
	size_t cap = 0, count = 0;
	AUTO_FREE uint32_t *lines = NULL;

	for (size_t at = 0; at <= f->len;) {
		lines = mem_grow(lines, count, &cap, sizeof(*lines));
		lines[count++] = (uint32_t)at;
		char *end = memchr(f->text + at, '\n', f->len - at);
		size_t next = end ? (size_t)(end - f->text) + 1 : f->len + 1;
		if (end)
			*end = '\0';
		if (next >= 2 && next - 2 >= at && f->text[next - 2] == '\r')
			f->text[next - 2] = '\0';
		at = next;
	}
	f->lines = arena_alloc(p->arena, count * sizeof(*lines));
	memcpy(f->lines, lines, count * sizeof(*lines));
	f->line_count = (uint32_t)count;
}

/* Errors found while parsing get the text of their lines afterwards. */
static void fill_lines(struct parser *p, size_t first)
{
	struct yaml_node at = { .file = p->file };

	for (size_t i = first; p->errors && i < p->errors->count; i++) {
		struct err *e = &p->errors->v[i];
		at.line = e->at.line;
		at.column = e->at.column;
		struct place full = yaml_place(&at);
		AUTO_JSON *utf8 = full.text ? json_string(full.text) : NULL;
		if (!utf8)
			full.text = NULL;	/* not text: better not shown */
		mem_free_ptr(&e->at.file);
		mem_free_ptr(&e->at.text);
		e->at = (struct place){ 0 };
		err_at(e, &full);
	}
}

static struct place mark_place(const struct parser *p, yaml_mark_t m)
{
	return (struct place){ p->file->name, (uint32_t)m.line + 1,
			       (uint32_t)m.column + 1, NULL };
}

static struct err *fault(struct parser *p, yaml_mark_t m, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static struct err *fault(struct parser *p, yaml_mark_t m, const char *fmt, ...)
{
	struct place at = mark_place(p, m);
	va_list ap;

	va_start(ap, fmt);
	struct err *e = err_list_vadd(p->errors, &at, fmt, ap);
	va_end(ap);
	return e;
}

/* ---- nodes ---------------------------------------------------------------- */

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
		err_hint(fault(p, m, "the tag '%s' is not known", (const char *)tag),
			 "plans have no tags; put quotes around the value if it is text");
}

static void refuse_key(struct parser *p, const struct yaml_node *n, yaml_mark_t m)
{
	if (!yaml_is_scalar(n))
		fault(p, m, "a key must be a plain word, not %s", yaml_kind_name(n));
	else if (n->plain && strcmp(n->text, "<<") == 0)
		err_hint(fault(p, m, "merge keys ('<<') are not part of YAML 1.2"),
			 "put what machines share into `defaults:`");
	else if (n->plain && (n->kind == YAML_NULL || n->kind == YAML_BOOL ||
			      n->kind == YAML_FLOAT))
		err_hint(fault(p, m, "the key %s reads differently to different programs",
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
		fault(p, ev->start_mark, "the text holds a NUL character");
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
			fault(p, ev->start_mark, "the alias '*%s' lies inside what it names",
			      name);
		else
			fault(p, ev->start_mark, "the alias '*%s' names nothing above it",
			      name);
		struct yaml_node *none = node_new(p, YAML_NULL, ev->start_mark);
		none->text = "";
		add_child(p, none, 0);
		return;
	}
	if (p->depth + a->height > YAML_MAX_DEPTH) {
		fault(p, ev->start_mark, "nested deeper than %d levels", YAML_MAX_DEPTH);
		p->stop = true;
		return;
	}
	p->aliased += a->cost;
	if (p->aliased > UINT64_MAX / 4)
		p->aliased = UINT64_MAX / 4;
	p->uses = mem_grow(p->uses, p->use_count, &p->use_cap, sizeof(*p->uses));
	p->uses[p->use_count++] =
		(struct alias_use){ mark_place(p, ev->start_mark), p->aliased };
	if (wants_key(p))
		refuse_key(p, a->node, ev->start_mark);
	add_child(p, a->node, a->height);
}

static void on_start(struct parser *p, enum yaml_kind kind, const yaml_event_t *ev,
		     const yaml_char_t *tag, const yaml_char_t *anchor)
{
	if (p->depth == YAML_MAX_DEPTH) {
		fault(p, ev->start_mark, "nested deeper than %d levels", YAML_MAX_DEPTH);
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
			err_hint(fault(p, m, "the key '%s' stands here twice", key->text),
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

/* ---- the events ------------------------------------------------------------ */

/* libyaml's wording is for those who know its grammar; say it for others. */
static void syntax_error(struct parser *p, const yaml_parser_t *y)
{
	yaml_mark_t m = y->problem_mark;
	size_t at = y->problem_offset;

	if (y->error == YAML_READER_ERROR) {
		const char *t = p->file->text;
		m = (yaml_mark_t){ 0 };
		for (size_t i = 0; i < at && i < p->file->len; i++) {
			bool first = ((uint8_t)t[i] & 0xc0) != 0x80;
			m.column = t[i] == '\n' ? 0 : m.column + first;
			m.line += t[i] == '\n';
		}
		err_hint(fault(p, m, "this is not text: %s", y->problem),
			 "a plan is YAML in UTF-8");
		return;
	}
	struct err *e = fault(p, m, "this is not YAML: %s",
			      y->problem ? y->problem : "out of memory");
	if (y->problem && strstr(y->problem, "cannot start any token"))
		err_hint(e, "text that begins with a tab, @ or ` needs quotes; "
			    "indent with spaces");
	else if (y->problem && strstr(y->problem, "mapping values are not allowed"))
		err_hint(e, "is the ':' behind a key missing in the line before, or is this a text "
			    "with ': ' in it, which needs quotes?");
	else if (y->context)
		err_hint(e, "%s that begins in line %zu", y->context,
			 y->context_mark.line + 1);
}

static void on_event(struct parser *p, const yaml_event_t *ev, unsigned *documents)
{
	switch (ev->type) {
	case YAML_DOCUMENT_START_EVENT:
		if ((*documents)++) {
			fault(p, ev->start_mark, "a second document begins here");
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

static void parse_events(struct parser *p)
{
	yaml_parser_t y;
	unsigned documents = 0;
	bool end = false;

	if (!yaml_parser_initialize(&y)) {
		err_list_add(p->errors, NULL, "cannot read '%s': out of memory",
			     p->file->name);
		p->stop = true;
		return;
	}
	yaml_parser_set_encoding(&y, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&y, (const unsigned char *)p->file->text,
				     p->file->len);
	while (!end && !p->stop) {
		yaml_event_t ev;
		if (!yaml_parser_parse(&y, &ev)) {
			syntax_error(p, &y);
			p->stop = true;
			break;
		}
		end = ev.type == YAML_STREAM_END_EVENT;
		on_event(p, &ev, &documents);
		yaml_event_delete(&ev);
	}
	yaml_parser_delete(&y);
}

static void refuse_bomb(struct parser *p)
{
	uint64_t limit = p->literal * YAML_MAX_ALIAS;

	for (size_t i = 0; i < p->use_count; i++) {
		if (p->uses[i].total <= limit)
			continue;
		err_hint(err_list_add(p->errors, &p->uses[i].at,
				      "the aliases repeat too much: they stand for more than "
				      "%d times what is written", YAML_MAX_ALIAS),
			 "%llu nodes are written; with this alias %llu would be copies",
			 (unsigned long long)p->literal,
			 (unsigned long long)p->uses[i].total);
		p->stop = true;
		return;
	}
}

struct yaml_node *yaml_parse(struct arena *a, const char *name, char *text,
			     size_t len, uint32_t order, struct err_list *errors)
{
	size_t first = errors ? errors->count : 0;
	struct yaml_file *file = arena_alloc(a, sizeof(*file));
	struct parser p = { .arena = a, .errors = errors, .file = file };

	*file = (struct yaml_file){ .name = arena_strdup(a, name), .text = text,
				    .len = len, .order = order };
	if (memchr(text, '\0', len)) {
		err_list_add(errors, &(struct place){ .file = file->name },
			     "this is not a text file: it holds NUL bytes");
		return NULL;
	}
	parse_events(&p);
	cut_lines(&p);
	if (!p.stop)
		refuse_bomb(&p);
	fill_lines(&p, first);
	if (!p.stop && !p.root) {
		err_hint(err_list_add(errors, &(struct place){ .file = file->name },
				      "the file is empty"), "a plan begins with plan: NAME");
		p.stop = true;
	}
	names_free(&p.anchors);
	free(p.stack);
	free(p.uses);
	return p.stop ? NULL : p.root;
}

struct yaml_node *yaml_load(struct arena *a, const char *path, uint32_t order,
			    struct err_list *errors, struct err *e)
{
	size_t len;
	AUTO_FREE char *bytes = io_read_file(AT_FDCWD, path, YAML_MAX_BYTES, &len);

	if (!bytes) {
		if (errno == EFBIG)
			err_set(e, ERR_PLAN, "cannot read '%s': it is larger than %u MiB",
				path, YAML_MAX_BYTES >> 20);
		else
			err_set(e, ERR_PLAN, "cannot read '%s': %s", path,
				strerror(errno));
		return NULL;
	}
	char *text = arena_alloc(a, len + 1);
	memcpy(text, bytes, len);
	return yaml_parse(a, path, text, len, order, errors);
}
