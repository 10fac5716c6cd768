/* SPDX-License-Identifier: Apache-2.0
 * xmlread - read XML into a tree.
 */
#include "modules/lib/xmlread.h"

#include "engine/base/mem.h"

#include <stdlib.h>
#include <string.h>

struct reader {
	const char *at, *end, *begin;
	unsigned elements;
	struct err *e;
};

static int wrong(const struct reader *r, const char *why)
{
	unsigned line = 1;

	for (const char *p = r->begin; p < r->at && p < r->end; p++)
		line += *p == '\n';
	return err_set(r->e, ERR_STEP, "cannot read XML, line %u: %s", line, why);
}

static bool sees(const struct reader *r, const char *word)
{
	size_t n = strlen(word);

	return (size_t)(r->end - r->at) >= n && memcmp(r->at, word, n) == 0;
}

static void skip_space(struct reader *r)
{
	while (r->at < r->end && strchr(" \t\r\n", *r->at) && *r->at)
		r->at++;
}

/* Up to and with `word`; what stood before it is *from, n long. */
static int upto(struct reader *r, const char *word, const char **from, size_t *n)
{
	const char *found = memmem(r->at, (size_t)(r->end - r->at), word, strlen(word));

	if (!found)
		return wrong(r, "it ends too early");
	if (from) {
		*from = r->at;
		*n = (size_t)(found - r->at);
	}
	r->at = found + strlen(word);
	return 0;
}

/* ---- text ------------------------------------------------------------------------- */

static void add_utf8(struct str *out, unsigned long c)
{
	if (c < 0x80) {
		str_addc(out, (char)c);
		return;
	}
	if (c >= 0x10000) {
		str_addc(out, (char)(0xf0 | c >> 18));
		str_addc(out, (char)(0x80 | (c >> 12 & 0x3f)));
	} else if (c >= 0x800) {
		str_addc(out, (char)(0xe0 | c >> 12));
	}
	str_addc(out, (char)(c >= 0x800 ? 0x80 | (c >> 6 & 0x3f) : 0xc0 | c >> 6));
	str_addc(out, (char)(0x80 | (c & 0x3f)));
}

/* What stands between & and ;. */
static bool add_entity(struct str *out, const char *name, size_t n)
{
	static const struct { const char *name, *text; } known[] = {
		{ "amp", "&" }, { "lt", "<" }, { "gt", ">" }, { "quot", "\"" }, { "apos", "'" },
	};
	char digits[12], *rest;
	bool hex = n > 1 && name[1] == 'x';
	unsigned long c;

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (strlen(known[i].name) == n && memcmp(known[i].name, name, n) == 0) {
			str_add(out, known[i].text);
			return true;
		}
	if (n < 2 || n >= sizeof(digits) || name[0] != '#')
		return false;
	snprintf(digits, sizeof(digits), "%.*s", (int)(n - 1), name + 1);
	c = strtoul(digits + hex, &rest, hex ? 16 : 10);
	if (*rest || rest == digits + hex || c == 0 || c > 0x10ffff ||
	    (c >= 0xd800 && c < 0xe000))
		return false;
	add_utf8(out, c);
	return true;
}

static int add_text(struct reader *r, struct str *out, const char *from, size_t n)
{
	const char *end = from + n;

	while (from < end) {
		const char *stop;

		if (*from != '&') {
			str_addc(out, *from++);
			continue;
		}
		stop = memchr(from, ';', (size_t)(end - from));
		if (!stop || !add_entity(out, from + 1, (size_t)(stop - from - 1)))
			return wrong(r, "an entity that is not known");
		from = stop + 1;
	}
	return 0;
}

static json_t *text_of(const struct str *text)
{
	return json_stringn(text->s ? text->s : "", text->len);
}

/* ---- elements ---------------------------------------------------------------------- */

static char *name_here(struct reader *r)
{
	const char *from = r->at;

	while (r->at < r->end && *r->at && !strchr(" \t\r\n/>=<'\"&", *r->at))
		r->at++;
	if (r->at == from || r->at - from > 256) {
		wrong(r, "a name is missing");
		return NULL;
	}
	return mem_printf("%.*s", (int)(r->at - from), from);
}

static int read_attr(struct reader *r, json_t *attrs)
{
	AUTO_FREE char *name = name_here(r);
	AUTO_STR value = {0};
	const char *from;
	size_t n;
	char quote[2] = "";

	if (!name)
		return -1;
	skip_space(r);
	if (r->at == r->end || *r->at++ != '=')
		return wrong(r, "an attribute without value");
	skip_space(r);
	if (r->at == r->end || (*r->at != '\'' && *r->at != '"'))
		return wrong(r, "an attribute's value without quotes");
	quote[0] = *r->at++;
	if (upto(r, quote, &from, &n) < 0 || add_text(r, &value, from, n) < 0)
		return -1;
	if (json_object_get(attrs, name))
		return wrong(r, "an attribute stands twice");
	jset(attrs, name, text_of(&value));
	return 0;
}

/* Behind the name: 1 when the element is closed already, 0 when it goes on. */
static int read_attrs(struct reader *r, json_t *attrs)
{
	for (;;) {
		skip_space(r);
		if (sees(r, "/>")) {
			r->at += 2;
			return 1;
		}
		if (sees(r, ">")) {
			r->at++;
			return 0;
		}
		if (r->at == r->end)
			return wrong(r, "it ends too early");
		if (read_attr(r, attrs) < 0)
			return -1;
	}
}

static json_t *read_element(struct reader *r, int depth);

/* One of what may stand between tags, other than an element or a text. 0: none. */
static int skip_other(struct reader *r, struct str *text)
{
	const char *from;
	size_t n;

	if (sees(r, "<!--"))
		return upto(r, "-->", NULL, NULL) < 0 ? -1 : 1;
	if (sees(r, "<?"))
		return upto(r, "?>", NULL, NULL) < 0 ? -1 : 1;
	if (!sees(r, "<!"))
		return 0;
	if (!sees(r, "<![CDATA["))
		return wrong(r, "document types are not read");
	r->at += strlen("<![CDATA[");
	if (upto(r, "]]>", &from, &n) < 0)
		return -1;
	if (text)
		str_addn(text, from, n);
	return 1;
}

static int close_tag(struct reader *r, const char *name)
{
	AUTO_FREE char *closes = NULL;

	r->at += 2;
	closes = name_here(r);
	skip_space(r);
	if (!closes || r->at == r->end || *r->at++ != '>' || strcmp(closes, name) != 0)
		return err_is(r->e) ? -1 : wrong(r, "an element is not closed");
	return 0;
}

static int read_inside(struct reader *r, json_t *element, int depth)
{
	AUTO_STR text = {0};

	while (!sees(r, "</")) {
		const char *from = r->at;
		json_t *kid;
		int other;

		if (r->at == r->end)
			return wrong(r, "it ends too early");
		if (*r->at != '<') {
			while (r->at < r->end && *r->at != '<')
				r->at++;
			if (add_text(r, &text, from, (size_t)(r->at - from)) < 0)
				return -1;
			continue;
		}
		other = skip_other(r, &text);
		if (other < 0)
			return -1;
		if (other)
			continue;
		kid = read_element(r, depth + 1);
		if (!kid)
			return -1;
		jadd(jget(element, "kids"), kid);
	}
	jset(element, "text", text_of(&text));
	return close_tag(r, jstr(element, "name", ""));
}

static json_t *read_element(struct reader *r, int depth)
{
	AUTO_JSON *o = json_object();
	AUTO_FREE char *name = NULL;
	int closed;

	if (depth >= XML_READ_DEPTH || ++r->elements > XML_READ_ELEMENTS) {
		wrong(r, "too many elements");
		return NULL;
	}
	r->at++;
	name = name_here(r);
	if (!name)
		return NULL;
	jset_str(o, "name", name);
	jset(o, "attrs", json_object());
	jset_str(o, "text", "");
	jset(o, "kids", json_array());
	closed = read_attrs(r, jget(o, "attrs"));
	if (closed < 0 || (!closed && read_inside(r, o, depth) < 0))
		return NULL;
	return json_incref(o);
}

json_t *xml_read(const char *text, size_t n, struct err *e)
{
	AUTO_ERR own = {0};
	struct reader r = { text, text + n, text, 0, e ? e : &own };
	AUTO_JSON *whole = n <= XML_READ_MAX ? json_stringn(text, n) : NULL;
	json_t *root = NULL;

	if (!whole || memchr(text, 0, n)) {
		err_set(r.e, ERR_STEP, "cannot read XML: it is %s", whole || n <= XML_READ_MAX ?
			"no UTF-8 text" : "too long");
		return NULL;
	}
	for (int other = 1; other > 0;) {
		skip_space(&r);
		other = r.at < r.end && *r.at == '<' ? skip_other(&r, NULL) : 0;
		if (other < 0)
			return NULL;
	}
	if (r.at == r.end || *r.at != '<')
		wrong(&r, "it does not begin with an element");
	else
		root = read_element(&r, 0);
	return root;
}

/* ---- asking ------------------------------------------------------------------------- */

json_t *xml_kid(const json_t *element, const char *path)
{
	size_t n = strcspn(path, "/"), i;
	json_t *kid;

	if (!*path)
		return (json_t *)element;
	json_array_foreach(jget(element, "kids"), i, kid) {
		const char *name = jstr(kid, "name", "");

		if (strlen(name) == n && strncmp(name, path, n) == 0)
			return xml_kid(kid, path + n + (path[n] == '/'));
	}
	return NULL;
}

const char *xml_word(const json_t *element, const char *path, const char *attr,
		     const char *dflt)
{
	const json_t *kid = xml_kid(element, path);

	if (!kid)
		return dflt;
	if (!attr)
		return jstr(kid, "text", dflt);
	return json_string_value(json_object_get(jget(kid, "attrs"), attr)) ?: dflt;
}
