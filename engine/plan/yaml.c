/* SPDX-License-Identifier: Apache-2.0
 * yaml - a file through libyaml, what it says of errors in words of ours, and where all
 * of it stands.
 */
#include "engine/plan/yaml_priv.h"

#include "engine/base/io.h"
#include "engine/base/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

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

struct place yaml_mark_place(const struct parser *p, yaml_mark_t m)
{
	return (struct place){ p->file->name, (uint32_t)m.line + 1,
			       (uint32_t)m.column + 1, NULL };
}

struct err *yaml_fault(struct parser *p, yaml_mark_t m, const char *fmt, ...)
{
	struct place at = yaml_mark_place(p, m);
	va_list ap;

	va_start(ap, fmt);
	struct err *e = err_list_vadd(p->errors, &at, fmt, ap);
	va_end(ap);
	return e;
}

/* ---- reading ----------------------------------------------------------------- */

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
		err_hint(yaml_fault(p, m, "this is not text: %s", y->problem),
			 "a plan is YAML in UTF-8");
		return;
	}
	struct err *e = yaml_fault(p, m, "this is not YAML: %s",
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

static void parse_events(struct parser *p)
{
	yaml_parser_t y;
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
		yaml_event(p, &ev);
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
