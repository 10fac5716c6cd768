/* SPDX-License-Identifier: Apache-2.0
 * fstab - lines and fields, changed in place.
 */
#include "modules/lib/fstab.h"

#include <stdlib.h>
#include <string.h>

bool line_next(const char **s, const char **line, size_t *n)
{
	if (!**s)
		return false;
	*line = *s;
	*n = strcspn(*s, "\n");
	*s += *n + ((*s)[*n] == '\n');
	return true;
}

bool line_field(const char *line, size_t n, int i, const char **field, size_t *len)
{
	const char *end = line + n;

	for (;;) {
		while (line < end && (*line == ' ' || *line == '\t'))
			line++;
		if (line == end || *line == '#')
			return false;
		*field = line;
		while (line < end && *line != ' ' && *line != '\t' && *line != '\r')
			line++;
		*len = (size_t)(line - *field);
		if (i-- == 0)
			return *len > 0;
	}
}

json_t *fstab_parse(const char *text)
{
	static const char *const keys[] = { "spec", "dir", "type", "options" };
	json_t *out = json_array();
	const char *line, *f;
	size_t n, len;

	for (int number = 1; line_next(&text, &line, &n); number++) {
		json_t *o;

		if (!line_field(line, n, 2, &f, &len))
			continue;
		o = json_object();
		jset_int(o, "line", number);
		for (int i = 0; i < 4; i++)
			if (line_field(line, n, i, &f, &len))
				jset(o, keys[i], jtext(f, len));
			else
				jset_str(o, keys[i], "defaults");
		jadd(out, o);
	}
	return out;
}

char *lines_map_field(const char *text, int i,
		      char *(*fn)(void *arg, int line, const char *field), void *arg)
{
	AUTO_STR out = { 0 };
	bool changed = false;
	const char *line, *f, *s = text;
	size_t n, len;

	for (int number = 1; line_next(&s, &line, &n); number++) {
		AUTO_FREE char *now = NULL;

		if (line_field(line, n, i, &f, &len)) {
			AUTO_FREE char *was = mem_strndup(f, len);

			now = fn(arg, number, was);
		}
		if (now) {
			str_addn(&out, line, (size_t)(f - line));
			str_add(&out, now);
			str_addn(&out, f + len, (size_t)(s - (f + len)));
			changed = true;
		} else {
			str_addn(&out, line, (size_t)(s - line));
		}
	}
	return changed ? str_take(&out) : NULL;
}

char *lines_map(const char *text, char *(*fn)(void *arg, int line, const char *s),
		void *arg)
{
	AUTO_STR out = { 0 };
	bool changed = false;
	const char *line, *s = text;
	size_t n;

	for (int number = 1; line_next(&s, &line, &n); number++) {
		AUTO_FREE char *was = mem_strndup(line, n);
		AUTO_FREE char *now = fn(arg, number, was);

		str_add(&out, now ? now : was);
		str_addn(&out, line + n, (size_t)(s - (line + n)));
		changed |= now && strcmp(now, was) != 0;
	}
	return changed ? str_take(&out) : NULL;
}
