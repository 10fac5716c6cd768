/* SPDX-License-Identifier: Apache-2.0
 * figures - what a cutover cost, as people read it.
 */
#include "engine/cli/figures.h"

#include "engine/base/mem.h"

#include <string.h>

static const struct { const char *by, *text; } ways[] = {
	{ "trace", "traced writes" }, { "bitmap", "a dirty bitmap" }, { "snapshot", "an LVM snapshot" },
	{ "digest", "comparing digests" },
};

static void add_ways(struct str *s, const char *changes)
{
	const char *word = ", changes by ";

	for (size_t i = 0; i < ARRAY_LEN(ways); i++)
		if (strstr(changes, ways[i].by)) {
			str_addf(s, "%s%s", word, ways[i].text);
			word = " and ";
		}
}

char *figures_text(const json_t *f)
{
	const char *disk, *word = ", proven: ";
	AUTO_STR s = { 0 };
	json_t *digest;

	if (!jget(f, "down_ms"))
		return NULL;
	if (jget(f, "still_ms"))
		str_addf(&s, "%s for %lldms until it was off, ", jstr(f, "still", "still"),
			 (long long)jint(f, "still_ms", 0));
	str_addf(&s, "nobody served for %lldms", (long long)jint(f, "down_ms", 0));
	add_ways(&s, jstr(f, "changes", ""));
	json_object_foreach(json_object_get(f, "proof"), disk, digest) {
		str_addf(&s, "%s%s %.12s", word, disk, json_string_value(digest));
		word = ", ";
	}
	return str_take(&s);
}
