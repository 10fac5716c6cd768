/* SPDX-License-Identifier: Apache-2.0
 * xml - write XML: elements, attributes and text, always escaped, indented.
 */
#include "modules/lib/xml.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static void add_escaped(struct str *out, const char *s)
{
	static const char *const entity[256] = {
		['&'] = "&amp;", ['<'] = "&lt;", ['>'] = "&gt;",
		['"'] = "&quot;", ['\''] = "&apos;",
		['\n'] = "&#10;", ['\t'] = "&#9;", ['\r'] = "&#13;",
	};

	for (; *s; s++) {
		unsigned char ch = (unsigned char)*s;

		if (entity[ch])
			str_add(out, entity[ch]);
		else if (ch < 0x20)
			str_add(out, "\xef\xbf\xbd");	/* XML 1.0 has no such character */
		else
			str_addc(out, (char)ch);
	}
}

static void finish_tag(struct xml *x)
{
	if (x->tag_open)
		str_add(&x->out, ">\n");
	x->tag_open = 0;
}

static void indent(struct xml *x)
{
	for (int i = 0; i < x->depth; i++)
		str_add(&x->out, "  ");
}

void xml_open(struct xml *x, const char *name)
{
	finish_tag(x);
	if (x->depth == XML_DEPTH)
		abort();	/* the writer's own text is nested too deep */
	indent(x);
	str_addf(&x->out, "<%s", name);
	x->open[x->depth++] = name;
	x->tag_open = 1;
}

void xml_attr(struct xml *x, const char *name, const char *value)
{
	str_addf(&x->out, " %s='", name);
	add_escaped(&x->out, value);
	str_addc(&x->out, '\'');
}

void xml_attrf(struct xml *x, const char *name, const char *fmt, ...)
{
	AUTO_FREE char *value = NULL;
	va_list ap;

	va_start(ap, fmt);
	value = mem_vprintf(fmt, ap);
	va_end(ap);
	xml_attr(x, name, value);
}

void xml_text(struct xml *x, const char *name, const char *value)
{
	finish_tag(x);
	indent(x);
	str_addf(&x->out, "<%s>", name);
	add_escaped(&x->out, value);
	str_addf(&x->out, "</%s>\n", name);
}

void xml_textf(struct xml *x, const char *name, const char *fmt, ...)
{
	AUTO_FREE char *value = NULL;
	va_list ap;

	va_start(ap, fmt);
	value = mem_vprintf(fmt, ap);
	va_end(ap);
	xml_text(x, name, value);
}

void xml_close(struct xml *x)
{
	const char *name = x->open[--x->depth];

	if (x->tag_open) {
		str_add(&x->out, "/>\n");
		x->tag_open = 0;
		return;
	}
	indent(x);
	str_addf(&x->out, "</%s>\n", name);
}

void xml_close_text(struct xml *x, const char *text)
{
	str_addc(&x->out, '>');
	add_escaped(&x->out, text);
	str_addf(&x->out, "</%s>\n", x->open[--x->depth]);
	x->tag_open = 0;
}

char *xml_take(struct xml *x)
{
	while (x->depth)
		xml_close(x);
	return str_take(&x->out);
}
