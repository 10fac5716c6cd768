/* SPDX-License-Identifier: Apache-2.0
 * vault - see the header.
 */
#include "engine/plan/vault.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define FORMS 7			/* clear, JSON, hex twice, base64 at three offsets */
#define CODED_FROM 8		/* bytes: what is shorter is found in codes by chance */
#define WORD_FROM 4		/* what is shorter counts only where it stands alone */

struct secret {
	struct secret *next;
	char *name;		/* owned */
	char *form[FORMS];	/* in the pages; form[0] is the value; NULL: not used */
	char *pages;		/* all of the forms */
	size_t size;
};

struct vault {
	struct secret *list;
};

struct vault *vault_new(void)
{
	return mem_alloc(sizeof(struct vault));
}

void vault_free(struct vault *v)
{
	struct secret *next;

	if (!v)
		return;
	for (struct secret *s = v->list; s; s = next) {
		next = s->next;
		explicit_bzero(s->pages, s->size);
		munmap(s->pages, s->size);
		free(s->name);
		free(s);
	}
	free(v);
}

/* ---- the forms in which a secret may be told ------------------------------------- */

/* Take over a text made on the heap: into the pages, and wiped where it was. */
static char *move_in(char **at, char *text)
{
	size_t n = strlen(text) + 1;
	char *to = *at;

	memcpy(to, text, n);
	explicit_bzero(text, n);
	free(text);
	*at += n;
	return to;
}

static char *as_json(const char *value)
{
	json_t *j = json_string(value);
	char *text = j ? json_dumps(j, JSON_ENCODE_ANY) : NULL;

	json_decref(j);
	if (!text)
		return mem_strdup(value);	/* not UTF-8: JSON never holds it */
	memmove(text, text + 1, strlen(text));
	text[strlen(text) - 1] = '\0';
	return text;
}

static char *as_hex(const char *value, bool upper)
{
	size_t n = strlen(value);
	char *hex = mem_alloc(2 * n + 1);

	io_hex((const uint8_t *)value, n, hex);
	for (char *p = hex; upper && *p; p++)
		*p = (char)toupper((unsigned char)*p);
	return hex;
}

/* What base64 makes of it behind `before` other bytes: the digits that depend on
 * nothing but the secret. */
static char *as_base64(const char *value, size_t before)
{
	size_t n = strlen(value), first = before ? before + 1 : 0, last = (before + n) * 8 / 6;
	AUTO_FREE char *plain = mem_alloc(before + n + 1);
	char *code;

	memcpy(plain + before, value, n);
	code = io_base64(plain, before + n);
	explicit_bzero(plain, before + n);
	memmove(code, code + first, last - first);
	code[last - first] = '\0';
	return code;
}

static void make_forms(struct secret *s, const char *value, size_t n)
{
	char *at = s->pages;
	char *text;

	s->form[0] = at;
	memcpy(at, value, n);
	at += n + 1;
	text = as_json(s->form[0]);
	if (strcmp(text, s->form[0]) != 0)
		s->form[1] = move_in(&at, text);
	else
		free(text);
	if (n < CODED_FROM)
		return;
	s->form[2] = move_in(&at, as_hex(s->form[0], false));
	s->form[3] = move_in(&at, as_hex(s->form[0], true));
	for (size_t before = 0; before < 3; before++)
		s->form[4 + before] = move_in(&at, as_base64(s->form[0], before));
}

const char *vault_put(struct vault *v, const char *name, const char *value, size_t n)
{
	struct secret *s = mem_alloc(sizeof(*s));
	struct rlimit none = { 0, 0 };

	/* copies live for a moment elsewhere: no core file from now on */
	setrlimit(RLIMIT_CORE, &none);
	/* JSON makes at most six bytes of one, hex two, base64 less */
	s->size = 16 * (n + 1) + 64;
	s->pages = mmap(NULL, s->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			-1, 0);
	if (s->pages == MAP_FAILED)
		abort();	/* no memory */
	/* both are a favour of the system's, and no reason to go without the secret */
	madvise(s->pages, s->size, MADV_DONTDUMP);
	mlock(s->pages, s->size);
	s->name = mem_strdup(name);
	make_forms(s, value, n);
	s->next = v->list;
	v->list = s;
	return s->form[0];
}

const char *vault_get(const struct vault *v, const char *name)
{
	for (const struct secret *s = v ? v->list : NULL; s; s = s->next)
		if (strcmp(s->name, name) == 0)
			return s->form[0];
	return NULL;
}

/* ---- looking for them ---------------------------------------------------------------- */

struct find {
	const struct secret *secret;
	const char *at;
	size_t len;
};

static bool stands_alone(const char *text, const char *at, size_t n)
{
	return (at == text || !isalnum((unsigned char)at[-1])) &&
	       !isalnum((unsigned char)at[n]);
}

/* The first place of one form at or behind `from`. */
static const char *find_form(const char *text, const char *from, const char *form, size_t n)
{
	const char *at = strstr(from, form);

	while (at && n < WORD_FROM && !stands_alone(text, at, n))
		at = strstr(at + 1, form);
	return at;
}

/* The first place of any of them at or behind `from`; of two at one place the longer. */
static bool find_next(const struct vault *v, const char *text, const char *from,
		      struct find *f)
{
	*f = (struct find){ 0 };
	for (const struct secret *s = v ? v->list : NULL; s; s = s->next)
		for (size_t i = 0; i < FORMS; i++) {
			size_t n = s->form[i] ? strlen(s->form[i]) : 0;
			const char *at = n ? find_form(text, from, s->form[i], n) : NULL;

			if (at && (!f->at || at < f->at || (at == f->at && n > f->len)))
				*f = (struct find){ s, at, n };
		}
	return f->at != NULL;
}

const char *vault_told(const struct vault *v, const char *text)
{
	struct find f;

	return text && find_next(v, text, text, &f) ? f.secret->name : NULL;
}

char *vault_redact(const struct vault *v, const char *text)
{
	struct str out = { 0 };
	const char *from = text;
	struct find f;

	if (!text || !find_next(v, text, text, &f))
		return NULL;
	do {
		str_addn(&out, from, (size_t)(f.at - from));
		str_addf(&out, "[secret:%s]", f.secret->name);
		from = f.at + f.len;
	} while (find_next(v, text, from, &f));
	str_add(&out, from);
	return str_take(&out);
}

const char *vault_told_json(const struct vault *v, const json_t *j)
{
	const char *key, *name = NULL;
	json_t *item;
	size_t i;

	if (!v || !v->list)
		return NULL;
	if (json_is_string(j))
		return vault_told(v, json_string_value(j));
	json_array_foreach(j, i, item)
		if ((name = vault_told_json(v, item)))
			return name;
	json_object_foreach((json_t *)(uintptr_t)j, key, item)
		if ((name = vault_told(v, key)) || (name = vault_told_json(v, item)))
			return name;
	return NULL;
}

static json_t *redacted(const struct vault *v, const json_t *j)
{
	AUTO_FREE char *text = NULL;
	const char *key;
	json_t *item, *out;
	size_t i;

	if (json_is_array(j)) {
		out = json_array();
		json_array_foreach(j, i, item)
			jadd(out, redacted(v, item));
		return out;
	}
	if (json_is_object(j)) {
		out = json_object();
		json_object_foreach((json_t *)(uintptr_t)j, key, item) {
			AUTO_FREE char *name = vault_redact(v, key);

			jset(out, name ? name : key, redacted(v, item));
		}
		return out;
	}
	text = json_is_string(j) ? vault_redact(v, json_string_value(j)) : NULL;
	return text ? json_string(text) : json_incref((json_t *)(uintptr_t)j);
}

json_t *vault_redact_json(const struct vault *v, json_t *j)
{
	return vault_told_json(v, j) ? redacted(v, j) : json_incref(j);
}
