/* SPDX-License-Identifier: Apache-2.0
 * figures - what a cutover cost, as people read it.
 */
#include "engine/cli/figures.h"

#include "engine/base/mem.h"
#include "engine/base/text.h"

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

/* "0.8s", "41.5s", "1m17s": a tenth of a second is what a person can make use of. */
static void add_time(struct str *s, int64_t ms)
{
	char text[24];

	if (ms >= 60000) {
		text_duration((uint64_t)ms, text);
		str_add(s, text);
	} else {
		str_addf(s, "%lld.%llds", (long long)(ms / 1000), (long long)(ms % 1000 / 100));
	}
}

char *figures_text(const json_t *f)
{
	const char *disk, *word = ", proven: ";
	AUTO_STR s = { 0 };
	json_t *digest;

	if (!jget(f, "down_ms"))
		return NULL;
	if (jget(f, "still_ms")) {
		str_addf(&s, "%s for ", jstr(f, "still", "still"));
		add_time(&s, jint(f, "still_ms", 0));
		str_add(&s, " until it was off, ");
	}
	str_add(&s, "nobody served for ");
	add_time(&s, jint(f, "down_ms", 0));
	add_ways(&s, jstr(f, "changes", ""));
	json_object_foreach(json_object_get(f, "proof"), disk, digest) {
		str_addf(&s, "%s%s %.12s", word, disk, json_string_value(digest));
		word = ", ";
	}
	return str_take(&s);
}
