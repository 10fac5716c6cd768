/* SPDX-License-Identifier: Apache-2.0
 * text - units, near names, globs.
 */
#include "engine/base/text.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

struct unit { const char *name; uint64_t factor; };

static const struct unit sizes[] = {
	{ "", 1 }, { "B", 1 },
	{ "KiB", 1ull << 10 }, { "MiB", 1ull << 20 }, { "GiB", 1ull << 30 },
	{ "TiB", 1ull << 40 }, { "PiB", 1ull << 50 },
	{ "kB", 1000 }, { "MB", 1000000 }, { "GB", 1000000000 }, { "TB", 1000000000000 },
	{ NULL, 0 },
};
static const struct unit durations[] = {
	{ "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { "d", 86400000 },
	{ NULL, 0 },
};

static const struct unit *unit_find(const struct unit *u, const char *s, size_t n)
{
	for (; u->name; u++)
		if (strlen(u->name) == n && memcmp(u->name, s, n) == 0)
			return u;
	return NULL;
}

/* NUMBER[.FRACTION]UNIT at *s, moved past it. No sign, no exponent, no overflow. */
static int parse_one(const char **s, const struct unit *units, uint64_t *out)
{
	const struct unit *u;
	uint64_t whole = 0, part = 0, scale = 1;
	const char *p = *s;
	size_t n;

	if (*p < '0' || *p > '9')
		return -1;
	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(whole, 10, &whole) ||
		    __builtin_add_overflow(whole, (uint64_t)(*p - '0'), &whole))
			return -1;
	if (*p == '.') {
		for (p++; *p >= '0' && *p <= '9' && scale < 1000000; p++) {
			part = part * 10 + (uint64_t)(*p - '0');
			scale *= 10;
		}
		if (scale == 1)
			return -1;
	}
	n = strspn(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
	u = unit_find(units, p, n);
	if (!u || (scale > 1 && u->factor == 1) ||
	    __builtin_mul_overflow(whole, u->factor, &whole))
		return -1;
	if (__builtin_add_overflow(whole, u->factor / scale * part +
				   u->factor % scale * part / scale, out))
		return -1;
	*s = p + n;
	return 0;
}

int text_parse_size(const char *s, uint64_t *bytes)
{
	return parse_one(&s, sizes, bytes) < 0 || *s ? -1 : 0;
}

int text_parse_duration(const char *s, uint64_t *ms)
{
	uint64_t sum = 0, one;

	do {
		if (parse_one(&s, durations, &one) < 0 ||
		    __builtin_add_overflow(sum, one, &sum))
			return -1;
	} while (*s);
	*ms = sum;
	return 0;
}

void text_size(uint64_t bytes, char out[24])
{
	static const char *const names[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double v = (double)bytes;
	size_t i = 0;

	while (v >= 1024 && i + 1 < ARRAY_LEN(names)) {
		v /= 1024;
		i++;
	}
	if (i == 0)
		snprintf(out, 24, "%llu B", (unsigned long long)bytes);
	else
		snprintf(out, 24, v < 99.95 ? "%.1f %s" : "%.0f %s", v, names[i]);
}

void text_duration(uint64_t ms, char out[24])
{
	unsigned long long s = ms / 1000;

	if (ms < 1000)
		snprintf(out, 24, "%llums", (unsigned long long)ms);
	else if (s < 60)
		snprintf(out, 24, "%llus", s);
	else if (s < 3600)
		snprintf(out, 24, "%llum%02llus", s / 60, s % 60);
	else if (s < 86400)
		snprintf(out, 24, "%lluh%02llum", s / 3600, s / 60 % 60);
	else
		snprintf(out, 24, "%llud%02lluh", s / 86400, s / 3600 % 24);
}

/* Damerau-Levenshtein with adjacent swaps, for short words. */
static size_t distance(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b);
	size_t d[3][65];

	if (n > 64 || m > 64)
		return SIZE_MAX;
	for (size_t j = 0; j <= m; j++)
		d[0][j] = j;
	for (size_t i = 1; i <= n; i++) {
		size_t *now = d[i % 3], *last = d[(i + 2) % 3], *before = d[(i + 1) % 3];

		now[0] = i;
		for (size_t j = 1; j <= m; j++) {
			size_t best = last[j - 1] + (a[i - 1] != b[j - 1]);

			if (last[j] + 1 < best)
				best = last[j] + 1;
			if (now[j - 1] + 1 < best)
				best = now[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    before[j - 2] + 1 < best)
				best = before[j - 2] + 1;
			now[j] = best;
		}
	}
	return d[n % 3][m];
}

const char *text_near(const char *word, const char *const *names, size_t n)
{
	size_t len = strlen(word), best = len < 4 ? 1 : len / 3 + 1, found;
	const char *near = NULL;

	if (best > 3)
		best = 3;
	for (size_t i = 0; i < n; i++) {
		found = distance(word, names[i]);
		if (found < best || (found == best && !near)) {
			best = found;
			near = names[i];
		}
	}
	return near;
}

void text_unescape(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (s[0] == '\\' && strspn(s + 1, "01234567") >= 3) {
			*to++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
			s += 3;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

bool text_name_ok(const char *s)
{
	static const char first[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
	size_t n = strlen(s);

	if (n == 0 || n > 64 || !strchr(first, s[0]))
		return false;
	for (size_t i = 1; i < n; i++)
		if (!strchr(first, s[i]) && !strchr("._-", s[i]))
			return false;
	return true;
}

bool text_glob(const char *pattern, const char *s)
{
	return fnmatch(pattern, s, 0) == 0;
}
