/* SPDX-License-Identifier: Apache-2.0
 * err - one error value, and the one printer.
 */
#include "engine/base/err.h"
#include "engine/base/wrap.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

int err_set(struct err *e, enum err_kind kind, const char *fmt, ...)
{
	va_list ap;
	char *what;

	if (!e)
		return -1;
	va_start(ap, fmt);
	what = mem_vprintf(fmt, ap);
	va_end(ap);
	err_clear(e);
	e->kind = kind;
	e->what = what;
	return -1;
}

int err_sys(struct err *e, const char *fmt, ...)
{
	int sys = errno;
	va_list ap;
	char *what;

	if (!e)
		return -1;
	va_start(ap, fmt);
	what = mem_vprintf(fmt, ap);
	va_end(ap);
	err_clear(e);
	e->kind = ERR_SYSTEM;
	e->sys = sys;
	e->what = mem_printf("%s: %s", what, strerror(sys));
	free(what);
	errno = sys;
	return -1;
}

int err_wrap(struct err *e, const char *fmt, ...)
{
	va_list ap;
	char *head, *old;

	if (!e)
		return -1;
	va_start(ap, fmt);
	head = mem_vprintf(fmt, ap);
	va_end(ap);
	old = e->what;
	e->what = old ? mem_printf("%s: %s", head, old) : mem_strdup(head);
	if (!e->kind)
		e->kind = ERR_SYSTEM;
	free(old);
	free(head);
	return -1;
}

int err_hint(struct err *e, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return -1;
	free(e->hint);
	va_start(ap, fmt);
	e->hint = mem_vprintf(fmt, ap);
	va_end(ap);
	return -1;
}

size_t err_hint_typed(const char *hint)
{
	return hint && strncmp(hint, "drover ", 7) == 0 ? strcspn(hint, ";") : 0;
}

int err_at(struct err *e, const struct place *at)
{
	if (!e || e->at.file || !at || !at->file)
		return -1;
	e->at = *at;
	e->at.file = mem_strdup(at->file);
	e->at.text = mem_strdup(at->text);
	return -1;
}

int err_host(struct err *e, const char *host)
{
	if (e && !e->host)
		e->host = mem_strdup(host);
	return -1;
}

int err_step(struct err *e, const char *step, int attempt, int attempts)
{
	if (!e || e->step)
		return -1;
	e->step = mem_strdup(step);
	e->attempt = attempt;
	e->attempts = attempts;
	return -1;
}

int err_is(const struct err *e)
{
	return e && e->kind != ERR_NONE;
}

void err_clear(struct err *e)
{
	if (!e)
		return;
	free(e->what);
	free(e->hint);
	free((char *)(uintptr_t)e->at.file);
	free((char *)(uintptr_t)e->at.text);
	free(e->host);
	free(e->step);
	memset(e, 0, sizeof(*e));
}

void err_move(struct err *to, struct err *from)
{
	if (!to) {
		err_clear(from);
		return;
	}
	err_clear(to);
	*to = *from;
	memset(from, 0, sizeof(*from));
}

/* The source line, and under it a caret: tabs are kept so that it lines up. */
static void add_source_line(struct str *out, const struct place *at)
{
	uint32_t column = 1;

	str_addf(out, "%5u | ", at->line);
	str_add_safe(out, at->text);
	str_add(out, "\n      | ");
	for (const char *p = at->text; column < at->column; column++) {
		str_addc(out, *p == '\t' ? '\t' : ' ');
		while (*p && ((unsigned char)*++p & 0xc0) == 0x80)
			;
	}
	str_add(out, "^\n");
}

/* "erp.yaml:3:5: host db1, step erp-db convert.disks (attempt 2 of 3): " */
static void add_where(struct str *out, const struct err *e)
{
	if (e->at.file) {
		str_add_safe(out, e->at.file);
		if (e->at.line)
			str_addf(out, ":%u:%u", e->at.line, e->at.column);
		str_add(out, ": ");
	} else {
		str_add(out, "drover: ");
	}
	if (e->host) {
		str_add(out, "host ");
		str_add_safe(out, e->host);
		str_add(out, e->step ? ", " : ": ");
	}
	if (e->step) {
		str_add(out, "step ");
		str_add_safe(out, e->step);
		if (e->attempts > 1)
			str_addf(out, " (attempt %d of %d)", e->attempt, e->attempts);
		str_add(out, ": ");
	}
}

void err_print_wrapped(FILE *f, const struct err *e, size_t width)
{
	AUTO_STR out = {0};

	if (!err_is(e))
		return;
	add_where(&out, e);
	str_add_wrapped(&out, e->what, text_columns(out.s), 2, width);
	str_addc(&out, '\n');
	if (e->at.text)
		add_source_line(&out, &e->at);
	if (e->hint) {
		str_add(&out, "  ");
		str_add_wrapped(&out, e->hint, 2, 2, width);
		str_addc(&out, '\n');
	}
	fputs(out.s, f);
}

void err_print(FILE *f, const struct err *e)
{
	err_print_wrapped(f, e, 0);
}
