/* SPDX-License-Identifier: Apache-2.0
 * record - encode, apply, and the message that people and recovery read.
 */
#include "engine/state/record.h"
#include "engine/base/mem.h"
#include "engine/base/text.h"
#include "engine/state/journal.h"

#include <stdlib.h>
#include <string.h>

#define PATH_BYTES 512

bool record_path_ok(const char *path)
{
	if (strlen(path) > PATH_BYTES)
		return false;
	for (const char *p = path;;) {
		size_t n = strcspn(p, "/");

		if (n == 0 || (n == 1 && p[0] == '.') || (n == 2 && !memcmp(p, "..", 2)) ||
		    (n == 4 && !strncasecmp(p, ".git", 4)) || memchr(p, '\\', n) ||
		    (n >= 4 && !strncasecmp(p, "git~", 4)))
			return false;
		if (!p[n])
			return true;
		p += n + 1;
	}
}

bool record_name_ok(const char *name)
{
	size_t n = strlen(name);

	return text_name_ok(name) && !strstr(name, "..") && name[n - 1] != '.' &&
		(n < 5 || strcmp(name + n - 5, ".lock") != 0);
}

/* ---- encode ---------------------------------------------------------------- */

static int set_check(const json_t *set, struct err *e)
{
	const char *path;
	json_t *text;

	json_object_foreach((json_t *)set, path, text)
		if (!record_path_ok(path) || !json_is_string(text))
			return err_set(e, ERR_SYSTEM, "cannot record '%s': it is no path "
				       "with a text in a machine's tree", path);
	return 0;
}

static int del_check(const json_t *del, struct err *e)
{
	size_t i;
	json_t *v;

	json_array_foreach((json_t *)del, i, v) {
		const char *s = json_string_value(v);
		size_t n = s ? strlen(s) : 0;
		AUTO_FREE char *path = mem_strndup(s ? s : "", n && s[n - 1] == '/' ? n - 1 : n);

		if (!record_path_ok(path))
			return err_set(e, ERR_SYSTEM, "cannot record the removal of '%s': "
				       "it is no path in a machine's tree", s ? s : "?");
	}
	return 0;
}

static int meta_check(const json_t *meta, struct err *e)
{
	const char *p;
	json_t *v;

	json_object_foreach((json_t *)meta, p, v) {
		size_t n = strcspn(p, "/");
		AUTO_FREE char *top = mem_strndup(p, n);
		bool machines = strcmp(top, "machines") == 0;
		const char *name = p[n] ? p + n + 1 : "";
		AUTO_FREE char *machine = mem_strndup(name, strcspn(name, "/"));

		if (!record_name_ok(*top ? top : ".") ||
		    (machines && !record_name_ok(*machine ? machine : ".")))
			return err_set(e, ERR_SYSTEM, "cannot record '%s': it is no place in "
				       "the meta document", p);
	}
	return 0;
}

static int record_check(const struct record *r, struct err *e)
{
	if (r->machine && !record_name_ok(r->machine))
		return err_set(e, ERR_SYSTEM, "cannot record: '%s' is no name of a machine",
			       r->machine);
	if (!r->machine && (r->subject || r->set || r->del))
		return err_set(e, ERR_SYSTEM, "cannot record '%s': a tree needs a machine",
			       r->subject ? r->subject : r->kind);
	return set_check(r->set, e) < 0 || del_check(r->del, e) < 0 ||
		meta_check(r->meta, e) < 0 ? -1 : 0;
}

static void put_text(json_t *o, const char *key, const char *s)
{
	if (s)
		jset(o, key, jtext(s, strlen(s)));
}

static void put_json(json_t *o, const char *key, json_t *v)
{
	if (v)
		jset(o, key, json_incref(v));
}

char *record_encode(const struct record *r, const char *run, int64_t at, size_t *len,
		    struct err *e)
{
	AUTO_JSON *o = json_object(), *set = r->set ? json_object() : NULL;
	char *s;

	if (record_check(r, e) < 0)
		return NULL;
	jset_int(o, "at", at);
	put_text(o, "run", run);
	put_text(o, "machine", r->machine);
	put_text(o, "kind", r->kind);
	put_text(o, "step", r->step);
	put_text(o, "subject", r->subject);
	tree_apply(set, NULL, r->set);	/* "a" and "a/b" at once: the last wins */
	put_json(o, "set", set);
	put_json(o, "del", r->del);
	put_json(o, "meta", r->meta);
	put_json(o, "trailers", r->trailers);
	s = json_dumps(o, JSON_COMPACT);
	if (!s) {
		err_set(e, ERR_SYSTEM, "cannot record '%s': it is no JSON text", r->kind);
		return NULL;
	}
	*len = strlen(s);
	if (*len > JOURNAL_PAYLOAD_MAX) {
		err_set(e, ERR_SYSTEM, "cannot record '%s' of '%s': %zu bytes are more than "
			"a record holds (%u)", r->kind, r->machine ? r->machine : "-", *len,
			JOURNAL_PAYLOAD_MAX);
		free(s);
		return NULL;
	}
	return s;
}

/* ---- apply ----------------------------------------------------------------- */

static void del_prefix(json_t *tree, const char *prefix)
{
	size_t n = strlen(prefix);
	const char *key;
	json_t *v;
	void *tmp;

	json_object_foreach_safe(tree, tmp, key, v)
		if (strncmp(key, prefix, n) == 0)
			json_object_del(tree, key);
}

/* "a/b/c" replaces files "a" and "a/b", and everything below "a/b/c/". */
static void make_room(json_t *tree, const char *path)
{
	AUTO_FREE char *p = mem_printf("%s/", path);

	if (!json_object_get(tree, path))
		del_prefix(tree, p);
	for (char *s = strchr(p, '/'); s && s[1]; s = strchr(s + 1, '/')) {
		*s = '\0';
		json_object_del(tree, p);
		*s = '/';
	}
}

void tree_apply(json_t *tree, const json_t *del, const json_t *set)
{
	const char *key;
	json_t *v;
	size_t i;

	json_array_foreach((json_t *)del, i, v) {
		const char *s = json_string_value(v);

		if (s && *s && s[strlen(s) - 1] == '/')
			del_prefix(tree, s);
		else if (s)
			json_object_del(tree, s);
	}
	json_object_foreach((json_t *)set, key, v) {
		make_room(tree, key);
		json_object_set(tree, key, v);
	}
}

static char *unescape(const char *s, size_t n)
{
	struct str out = { 0 };

	for (size_t i = 0; i < n; i++) {
		if (s[i] == '~' && i + 1 < n && (s[i + 1] == '0' || s[i + 1] == '1'))
			str_addc(&out, s[++i] == '0' ? '~' : '/');
		else
			str_addc(&out, s[i]);
	}
	return str_take(&out);
}

/* The next part of a pointer. The third part of "ledger/HOST/KIND:NAME" is the
 * whole rest, for names of things on hosts are often paths. */
static char *pointer_part(const char **p, int depth, bool ledger)
{
	size_t n = ledger && depth == 2 ? strlen(*p) : strcspn(*p, "/");
	char *part = unescape(*p, n);

	*p += n;
	if (**p == '/')
		(*p)++;
	return part;
}

static void meta_set(json_t *doc, const char *pointer, json_t *value)
{
	bool ledger = strncmp(pointer, "ledger/", 7) == 0;
	const char *p = pointer;

	for (int depth = 0;; depth++) {
		AUTO_FREE char *part = pointer_part(&p, depth, ledger);
		json_t *next = json_object_get(doc, part);

		if (!*p) {
			if (json_is_null(value))
				json_object_del(doc, part);
			else
				json_object_set_new(doc, part, json_deep_copy(value));
			return;
		}
		if (!json_is_object(next)) {
			if (json_is_null(value))
				return;
			json_object_set_new(doc, part, next = json_object());
		}
		doc = next;
	}
}

void meta_apply(json_t *doc, const json_t *edits)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)edits, key, v)
		meta_set(doc, key, v);
}

/* ---- messages -------------------------------------------------------------- */

/* One line: control characters would make lines or colours of their own. */
static void add_line(struct str *out, const char *s)
{
	for (; *s; s++)
		str_addc(out, (unsigned char)*s < 0x20 || *s == 0x7f ? ' ' : *s);
}

static void add_trailer(struct str *out, const char *key, const json_t *v)
{
	AUTO_FREE char *other = json_is_string(v) ? NULL :
		json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
	const char *text = other ? other : json_string_value(v);

	add_line(out, key);
	str_add(out, ": ");
	add_line(out, text ? text : "");
	str_addc(out, '\n');
}

char *record_message(const json_t *record, uint64_t seq)
{
	static const struct { const char *trailer, *key; } own[] = {
		{ "Machine", "machine" }, { "Step", "step" }, { "Run", "run" },
	};
	const json_t *trailers = jget(record, "trailers");
	struct str out = { 0 };
	const char *key;
	json_t *v;

	add_line(&out, jstr(record, "subject", ""));
	str_add(&out, "\n\n");
	json_object_foreach((json_t *)trailers, key, v)
		add_trailer(&out, key, v);
	for (size_t i = 0; i < ARRAY_LEN(own); i++) {
		v = json_object_get(record, own[i].key);
		if (v && !json_object_get(trailers, own[i].trailer))
			add_trailer(&out, own[i].trailer, v);
	}
	str_addf(&out, "Seq: %llu\n", (unsigned long long)seq);
	return str_take(&out);
}

json_t *message_trailers(const char *message, char **subject)
{
	size_t first = strcspn(message, "\n");
	const char *body = strstr(message, "\n\n");
	json_t *out = json_object();

	if (subject)
		*subject = mem_strndup(message, first);
	for (const char *p = body ? body + 2 : ""; *p;) {
		size_t n = strcspn(p, "\n");
		const char *colon = memchr(p, ':', n);

		if (colon && colon > p && colon[1] == ' ') {
			AUTO_FREE char *key = mem_strndup(p, (size_t)(colon - p));

			json_object_set_new(out, key,
					    jtext(colon + 2, n - (size_t)(colon + 2 - p)));
		}
		p += n + (p[n] == '\n');
	}
	return out;
}
