/* SPDX-License-Identifier: Apache-2.0
 * conf - settings in texts that people wrote.
 */
#include "modules/lib/conf.h"
#include "engine/base/mem.h"
#include "modules/lib/fstab.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Where something stands in a text: [at, at + n); the value inside it. */
struct spot {
	const char *at;		/* the line; NULL: not found */
	size_t n;		/* with its newline */
	const char *value;
	size_t value_n;
	const char *end;	/* where a new line of this section belongs; NULL: no
				   such section */
};

static char *splice(const char *text, const char *at, size_t n, const char *put)
{
	return mem_printf("%.*s%s%s", (int)(at - text), text, put, at + n);
}

static const char *skip_blank(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	return p;
}

/* ---- key=value ------------------------------------------------------------------ */

static bool is_section(const char *p, const char *end, const char *name)
{
	size_t n = strlen(name);

	return end - p >= (ptrdiff_t)n + 2 && strncasecmp(p + 1, name, n) == 0 &&
	       p[n + 1] == ']';
}

static bool is_key(const char *p, const char *end, const char *key, const char **value)
{
	size_t n = strlen(key);

	if ((size_t)(end - p) <= n || strncasecmp(p, key, n) != 0)
		return false;
	p = skip_blank(p + n, end);
	if (p == end || *p != '=')
		return false;
	*value = skip_blank(p + 1, end);
	return true;
}

static struct spot find_key(const char *text, const char *section, const char *key)
{
	struct spot s = { .end = section ? NULL : text };
	bool inside = !section;
	const char *line, *rest = text;
	size_t n;

	while (line_next(&rest, &line, &n)) {
		const char *end = line + n, *p = skip_blank(line, end);

		if (section && p < end && *p == '[')
			inside = is_section(p, end, section);
		if (!inside)
			continue;
		if (p < end)
			s.end = rest;
		if (is_key(p, end, key, &s.value)) {
			s.at = line;
			s.n = (size_t)(rest - line);
			while (end > s.value && strchr(" \t\r", end[-1]))
				end--;
			s.value_n = (size_t)(end - s.value);
			return s;
		}
	}
	return s;
}

static bool is_quoted(const struct spot *s)
{
	return s->value_n >= 2 && (*s->value == '"' || *s->value == '\'') &&
	       s->value[s->value_n - 1] == *s->value;
}

char *conf_get(const char *text, const char *section, const char *key)
{
	struct spot s = find_key(text, section, key);

	if (!s.at)
		return NULL;
	if (is_quoted(&s))
		return mem_strndup(s.value + 1, s.value_n - 2);
	return mem_strndup(s.value, s.value_n);
}

static char *add_key(const char *text, const struct spot *s, const char *section,
		     const char *key, const char *value)
{
	AUTO_STR add = { 0 };
	const char *at = s->end ? s->end : text + strlen(text);

	if (at > text && at[-1] != '\n')
		str_addc(&add, '\n');
	if (!s->end)
		str_addf(&add, "%s[%s]\n", at > text ? "\n" : "", section);
	str_addf(&add, "%s=%s\n", key, value);
	return splice(text, at, 0, add.s);
}

char *conf_set(const char *text, const char *section, const char *key,
	       const char *value)
{
	struct spot s = find_key(text, section, key);
	bool q;

	if (!value)
		return s.at ? splice(text, s.at, s.n, "") : mem_strdup(text);
	if (!s.at)
		return add_key(text, &s, section, key, value);
	q = is_quoted(&s);
	return splice(text, s.value + q, s.value_n - 2 * q, value);
}

/* ---- ifupdown -------------------------------------------------------------------- */

static bool word_is(const char *line, size_t n, int i, const char *want)
{
	const char *f;
	size_t len;

	return line_field(line, n, i, &f, &len) && strlen(want) == len &&
	       strncmp(f, want, len) == 0;
}

static const char *const stanza_heads[] = {
	"iface", "auto", "mapping", "source", "source-directory", "rename",
	"no-auto-down", "no-scripts",
};

static bool begins_stanza(const char *line, size_t n)
{
	const char *f;
	size_t len;

	for (size_t i = 0; i < ARRAY_LEN(stanza_heads); i++)
		if (word_is(line, n, 0, stanza_heads[i]))
			return true;
	return line_field(line, n, 0, &f, &len) && len > 6 && strncmp(f, "allow-", 6) == 0;
}

static size_t rest_of_line(const char *value, const char *end)
{
	while (end > value && strchr(" \t\r", end[-1]))
		end--;
	return (size_t)(end - value);
}

/* option NULL: the head of the stanza, its method as the value. */
static struct spot find_option(const char *text, const char *iface, const char *option)
{
	struct spot s = { 0 };
	bool inside = false;
	const char *line, *rest = text;
	size_t n;

	while (line_next(&rest, &line, &n)) {
		bool head = begins_stanza(line, n);

		if (head && inside)
			return s;
		if (head)
			inside = word_is(line, n, 0, "iface") &&
				 word_is(line, n, 1, iface) && word_is(line, n, 2, "inet");
		if (!inside)
			continue;
		if (line_field(line, n, 0, &s.value, &s.value_n))
			s.end = rest;
		if (!(option ? !head && word_is(line, n, 0, option) : head))
			continue;
		if (!line_field(line, n, option ? 1 : 3, &s.value, &s.value_n))
			continue;
		if (option)	/* the rest of the line: several name servers */
			s.value_n = rest_of_line(s.value, line + n);
		s.at = line;
		s.n = (size_t)(rest - line);
		return s;
	}
	return s;
}

char *ifupdown_method(const char *text, const char *iface)
{
	struct spot s = find_option(text, iface, NULL);

	return s.at ? mem_strndup(s.value, s.value_n) : NULL;
}

char *ifupdown_get(const char *text, const char *iface, const char *option)
{
	struct spot s = find_option(text, iface, option);

	return s.at ? mem_strndup(s.value, s.value_n) : NULL;
}

char *ifupdown_set(const char *text, const char *iface, const char *option,
		   const char *value)
{
	struct spot s = find_option(text, iface, option);
	AUTO_FREE char *line = NULL;

	if (s.at)
		return value ? splice(text, s.value, s.value_n, value)
			     : splice(text, s.at, s.n, "");
	if (!value || !s.end)
		return mem_strdup(text);
	line = mem_printf("%s    %s %s\n", s.end[-1] == '\n' ? "" : "\n", option, value);
	return splice(text, s.end, 0, line);
}

char *ifupdown_set_method(const char *text, const char *iface, const char *method)
{
	struct spot s = find_option(text, iface, NULL);

	return s.at ? splice(text, s.value, s.value_n, method) : mem_strdup(text);
}
