/* SPDX-License-Identifier: Apache-2.0
 * errlist - collect, sort, tell equal ones once. */
#include "engine/plan/errlist.h"

#include "engine/base/mem.h"

#include <stdlib.h>
#include <string.h>

struct err *err_list_vadd(struct err_list *l, const struct place *at,
			  const char *fmt, va_list ap)
{
	if (!l)
		return NULL;
	AUTO_FREE char *text = mem_vprintf(fmt, ap);
	AUTO_STR what = { 0 };
	for (const char *s = text; *s; s++)	/* one error, one line */
		str_addf(&what, *s == '\n' || *s == '\r' || *s == '\t' ? "\\x%02x" : "%c", *s);
	l->v = mem_grow(l->v, l->count, &l->cap, sizeof(*l->v));
	struct err *e = &l->v[l->count++];
	*e = (struct err){ 0 };
	err_set(e, ERR_PLAN, "%s", what.len ? what.s : "");
	if (at)
		err_at(e, at);
	return e;
}

struct err *err_list_add(struct err_list *l, const struct place *at,
			 const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	struct err *e = err_list_vadd(l, at, fmt, ap);
	va_end(ap);
	return e;
}

void err_list_free(struct err_list *l)
{
	for (size_t i = 0; i < l->count; i++)
		err_clear(&l->v[i]);
	free(l->v);
	*l = (struct err_list){ 0 };
}

struct order { const char *const *files; size_t count; };

static size_t file_rank(const struct order *o, const char *file)
{
	for (size_t i = 0; i < o->count; i++)
		if (file && strcmp(o->files[i], file) == 0)
			return i;
	return o->count;
}

static int compare(const void *pa, const void *pb, void *arg)
{
	const struct err *a = pa, *b = pb;
	size_t fa = file_rank(arg, a->at.file), fb = file_rank(arg, b->at.file);

	if (fa != fb)
		return fa < fb ? -1 : 1;
	if (a->at.line != b->at.line)
		return a->at.line < b->at.line ? -1 : 1;
	if (a->at.column != b->at.column)
		return a->at.column < b->at.column ? -1 : 1;
	return strcmp(a->what, b->what);
}

void err_list_sort(struct err_list *l, const char *const *files, size_t count)
{
	struct order o = { files, count };
	size_t kept = 0;

	if (!l || !l->count)
		return;
	qsort_r(l->v, l->count, sizeof(*l->v), compare, &o);
	for (size_t i = 0; i < l->count; i++) {
		if (kept && compare(&l->v[kept - 1], &l->v[i], &o) == 0)
			err_clear(&l->v[i]);
		else
			l->v[kept++] = l->v[i];
	}
	l->count = kept;
}
