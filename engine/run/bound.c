/* SPDX-License-Identifier: Apache-2.0
 * bound - what a line marked '?' admits. It says what cannot be known before an earlier
 * step, and how much that may become: so many lines, or so many bytes. Both are saved
 * with a preview; a step that would do more at its turn is stopped.
 */
#include "engine/base/text.h"
#include "engine/run/preview.h"

#include <stdlib.h>
#include <string.h>

#define LINES_MAX 64		/* of a '?' that names no bound */

static const char *const bytes[] = { "read", "send", "write" };

char *bound_text(const json_t *line)
{
	const char *what = jstr(line, "bound.what", "changes");
	int64_t max = jint(line, "bound.max", LINES_MAX);
	char size[24];

	if (!strcmp(what, "changes"))
		return mem_printf("at most %lld change%s", (long long)max, max == 1 ? "" : "s");
	text_size((uint64_t)max, size);
	return mem_printf("at most %s to %s", size, what);
}

int64_t bound_admits(const json_t *step)
{
	const json_t *lines = json_object_get(step, "changes");
	int64_t sum = 0;
	json_t *line;
	size_t i;

	json_array_foreach((json_t *)lines, i, line)
		if (*jstr(line, "mark", "") == '?')
			sum += strcmp(jstr(line, "bound.what", "changes"), "changes") ? 1 :
				jint(line, "bound.max", LINES_MAX);
	if (json_array_size(lines) == 0 && !strcmp(jstr(step, "state", ""), "unknown"))
		sum = LINES_MAX;
	return sum;
}

/* How many bytes; -1: nothing was said of it. */
static int64_t bytes_admitted(const json_t *step, const char *what)
{
	int64_t sum = 0;
	bool bound = false;
	json_t *line;
	size_t i;

	json_array_foreach(json_object_get(step, "changes"), i, line)
		if (!strcmp(jstr(line, "bound.what", ""), what)) {
			sum += jint(line, "bound.max", 0);
			bound = true;
		}
	return bound ? sum + jint(json_object_get(step, "cost"), what, 0) : -1;
}

int bound_holds(const json_t *then, const json_t *now, int64_t new_lines, char **how)
{
	int64_t lines = bound_admits(then);

	if (new_lines > lines) {
		*how = mem_printf("it would make %lld changes more than it names, at most %lld "
				  "were said", (long long)new_lines, (long long)lines);
		return -1;
	}
	for (size_t i = 0; i < ARRAY_LEN(bytes); i++) {
		int64_t may = bytes_admitted(then, bytes[i]);
		int64_t would = jint(json_object_get(now, "cost"), bytes[i], 0);
		char a[24], b[24];

		if (may < 0 || would <= may)
			continue;
		text_size((uint64_t)would, a);
		text_size((uint64_t)may, b);
		*how = mem_printf("it would %s %s (%lld bytes), at most %s (%lld bytes) were said",
				  bytes[i], a, (long long)would, b, (long long)may);
		return -1;
	}
	return 0;
}
