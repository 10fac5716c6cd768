/* SPDX-License-Identifier: Apache-2.0
 * text - small things about text that several folders need: units, diffs,
 * near names, escaping.
 */
#ifndef DROVER_TEXT_H
#define DROVER_TEXT_H

#include "engine/base/mem.h"

#include <stdbool.h>
#include <stdint.h>

/* "40GiB", "400MiB", "1.5TiB", "4096", "1MB" (10^6). -1 if it is none. */
int text_parse_size(const char *s, uint64_t *bytes);
int text_parse_duration(const char *s, uint64_t *ms);	/* "10m", "90s", "1h30m" */
/* Binary units, three digits: "11.2 GiB", "512 B". */
void text_size(uint64_t bytes, char out[24]);
void text_duration(uint64_t ms, char out[24]);		/* "1h50m", "42s", "350ms" */

/* Of `n` names the one nearest to `word` by edit distance, if near enough to
 * be what was meant; else NULL. */
const char *text_near(const char *word, const char *const *names, size_t n);

/* A unified diff with 3 lines of context and the given labels; "" when equal.
 * Caller frees. Bounded: beyond 20000 lines it says so instead. */
char *text_diff(const char *label_old, const char *label_new,
		const char *a, size_t alen, const char *b, size_t blen);

/* In place: "\040" is a blank, as the kernel writes it in the table of mounts. */
void text_unescape(char *s);

bool text_name_ok(const char *s);	/* [A-Za-z0-9][A-Za-z0-9._-]{0,63} */
bool text_glob(const char *pattern, const char *s);	/* fnmatch, no path rule */

#endif
