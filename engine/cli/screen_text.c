/* SPDX-License-Identifier: Apache-2.0
 * screen_text - cells of a fixed width, and text wrapped to the screen.
 */
#include "engine/cli/screen_priv.h"

#include <string.h>

void add_cell(struct str *b, const char *t, size_t columns, bool cut)
{
	AUTO_STR safe = {0};
	size_t w;

	str_add_safe(&safe, t ? t : "");
	w = text_columns(safe.s ? safe.s : "");
	if (cut && w > columns) {
		size_t n = text_fit(safe.s, columns ? columns - 1 : 0);

		str_addn(b, safe.s, n);
		str_add(b, "~");
		w = text_columns(safe.s) - text_columns(safe.s + n) + 1;
	} else {
		str_add(b, safe.s ? safe.s : "");
	}
	for (; w < columns; w++)
		str_addc(b, ' ');
}

void add_name(struct screen *s, const char *name, size_t columns, size_t indent)
{
	add_cell(&s->line, name, columns, false);
	if (text_columns(name) > columns)
		str_addf(&s->line, "\n%*s", (int)indent, "");
	else
		str_add(&s->line, "  ");
}

size_t line_column(const struct screen *s)
{
	const char *p = s->line.s ? s->line.s : "", *back;
	size_t sum = 0, n;

	while ((back = strpbrk(p, "\n\r")))	/* \r: the live region was erased */
		p = back + 1;
	for (; *p; p += n) {
		AUTO_FREE char *plain = NULL;

		n = strcspn(p, "\x1b");
		plain = mem_strndup(p, n);
		sum += text_columns(plain);
		n += strcspn(p + n, "mJA");		/* of our own codes */
		n += p[n] != '\0';
	}
	return sum;
}

void add_text(struct screen *s, const char *text, size_t indent)
{
	str_add_wrapped(&s->line, text, line_column(s), indent,
			(size_t)s->o.width(s->o.arg));
}

void add_below(struct screen *s, const char *text, size_t indent)
{
	if (!text || !*text)
		return;
	str_addf(&s->line, "\n%*s", (int)indent, "");
	add_text(s, text, indent);
}

void add_next(struct screen *s, const json_t *end)
{
	if (!jstr(end, "next", NULL))
		return;
	str_add(&s->line, "Next: ");
	add_text(s, jstr(end, "next", ""), 6);
	str_addc(&s->line, '\n');
}
