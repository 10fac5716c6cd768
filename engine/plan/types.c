/* SPDX-License-Identifier: Apache-2.0
 * types - sizes, rates, durations, enums and the rest, from text and back. */
#include "engine/plan/types.h"

#include "engine/base/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name;	/* with its article */
	const char *hint;	/* how one looks; NULL: the name says it */
	bool scalar, text;
} types[] = {
	[P_STR] = { "text", NULL, true, true },
	[P_BOOL] = { "true or false", "YAML 1.2 knows only true and false", true, false },
	[P_INT] = { "a whole number", NULL, true, false },
	[P_SIZE] = { "a size", "sizes look like 512MiB, 40GiB or 1TB", true, false },
	[P_RATE] = { "a rate", "rates look like 400MiB/s", true, false },
	[P_DURATION] = { "a duration", "durations look like 90s, 10m or 1h30m", true, false },
	[P_PATH] = { "an absolute path", "paths on a host begin with /", true, true },
	[P_PLACE] = { "a place", "places look like HOST:/path", true, true },
	[P_ENUM] = { "one of a few words", NULL, true, false },
	[P_ARGV] = { "a program and its arguments", "write it as a list: [systemctl, stop, web]",
		     false, true },
	[P_LIST] = { "a list of texts", NULL, false, true },
	[P_MAP] = { "a map of plain values", NULL, false, true },
	[P_ANY] = { "a value", NULL, false, true },
};

bool types_is_scalar(enum param_type t)
{
	return types[t].scalar;
}

bool types_is_text(enum param_type t)
{
	return types[t].text;
}

const char *types_name(enum param_type t)
{
	return types[t].name;
}

bool types_has_word(const char *words, const char *word)
{
	size_t n = strlen(word);

	for (const char *at = words; at; at = strchr(at, '|')) {
		at += *at == '|';
		if (strncmp(at, word, n) == 0 && (at[n] == '|' || !at[n]))
			return n > 0;
	}
	return false;
}

static char *enum_choices(const char *words)
{
	AUTO_STR out = { 0 };

	for (const char *at = words; *at; ) {
		size_t n = strcspn(at, "|");
		const char *next = at[n] ? at + n + 1 : at + n;
		str_add(&out, out.len ? (*next ? ", " : " or ") : "");
		str_addn(&out, at, n);
		at = next;
	}
	return str_take(&out);
}

static int parse_int(const char *s, int64_t *v)
{
	char *end;
	int base = s[0] == '0' && s[1] == 'x' ? 16 : s[0] == '0' && s[1] == 'o' ? 8 : 10;

	if (base != 10)
		s += 2;
	if (!*s || strspn(s, "+-0123456789abcdefABCDEF") != strlen(s))
		return -1;
	errno = 0;
	*v = strtoll(s, &end, base);
	return errno || *end ? -1 : 0;
}

static int parse_rate(const char *s, uint64_t *v)
{
	size_t n = strlen(s);

	if (n < 3 || strcmp(s + n - 2, "/s") != 0)
		return -1;
	AUTO_FREE char *size = mem_strndup(s, n - 2);
	return text_parse_size(size, v);
}

static int parse_amount(enum param_type t, const char *s, int64_t *v)
{
	uint64_t u;

	if (t == P_INT)
		return parse_int(s, v);
	if (t == P_DURATION && strcmp(s, "0") != 0 &&
	    strspn(s, "0123456789.") == strlen(s))
		return -1;		/* of what? */
	if ((t == P_SIZE ? text_parse_size(s, &u) :
	     t == P_RATE ? parse_rate(s, &u) : text_parse_duration(s, &u)) < 0 ||
	    u > INT64_MAX)
		return -1;
	*v = (int64_t)u;
	return 0;
}

static char *amount_text(enum param_type t, int64_t v);

static json_t *amount(const struct param *p, const char *s, char **why)
{
	int64_t v;

	if (parse_amount(p->type, s, &v) < 0)
		return NULL;
	if ((p->min || p->max) && (v < p->min || (p->max && v > p->max))) {
		AUTO_FREE char *min = amount_text(p->type, p->min);
		AUTO_FREE char *max = amount_text(p->type, p->max);
		*why = p->max ? mem_printf("must be between %s and %s", min, max) :
				mem_printf("must be at least %s", min);
		return NULL;
	}
	return json_integer(v);
}

static bool place_ok(const char *s)
{
	const char *colon = strchr(s, ':');

	return colon && colon > s && colon[1] == '/';
}

json_t *types_value(const struct param *p, const char *s, char **why,
		    const char **hint)
{
	json_t *v = NULL;

	*why = NULL;
	*hint = NULL;
	switch (p->type) {
	case P_BOOL:
		if (!strcmp(s, "true") || !strcmp(s, "True") || !strcmp(s, "TRUE"))
			v = json_true();
		else if (!strcmp(s, "false") || !strcmp(s, "False") || !strcmp(s, "FALSE"))
			v = json_false();
		break;
	case P_INT: case P_SIZE: case P_RATE: case P_DURATION:
		v = amount(p, s, why);
		break;
	case P_PATH:
		v = *s == '/' ? json_string(s) : NULL;
		break;
	case P_PLACE:
		v = place_ok(s) ? json_string(s) : NULL;
		break;
	case P_ENUM:
		if (types_has_word(p->words, s))
			v = json_string(s);
		else {
			AUTO_FREE char *words = enum_choices(p->words);
			*why = mem_printf("must be %s", words);
		}
		break;
	default:
		v = json_string(s);
	}
	if (!v && !*why) {
		*why = mem_printf("is not %s", types[p->type].name);
		*hint = types[p->type].hint;
	}
	return v;
}

/* ---- and back ----------------------------------------------------------------- */

static char *size_text(int64_t v)
{
	static const char *const units[] = { "TiB", "GiB", "MiB", "KiB" };

	for (int i = 0; i < 4; i++) {
		int shift = 40 - 10 * i;
		if (v && v % (1LL << shift) == 0)
			return mem_printf("%" PRId64 "%s", v >> shift, units[i]);
	}
	return mem_printf("%" PRId64, v);
}

static char *duration_text(int64_t ms)
{
	static const struct { int64_t ms; const char *unit; } units[] = {
		{ 3600000, "h" }, { 60000, "m" }, { 1000, "s" } };

	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		if (ms && ms % units[i].ms == 0)
			return mem_printf("%" PRId64 "%s", ms / units[i].ms,
					  units[i].unit);
	return ms ? mem_printf("%" PRId64 "ms", ms) : mem_strdup("0");
}

static char *amount_text(enum param_type t, int64_t v)
{
	if (t == P_DURATION)
		return duration_text(v);
	if (t == P_INT)
		return mem_printf("%" PRId64, v);
	AUTO_FREE char *size = size_text(v);
	return mem_printf(t == P_RATE ? "%s/s" : "%s", size);
}

json_t *types_written(const struct param *p, const json_t *value)
{
	if (!json_is_integer(value) || !json_integer_value(value) || p->type == P_INT ||
	    (p->type != P_SIZE && p->type != P_RATE && p->type != P_DURATION))
		return json_deep_copy(value);
	AUTO_FREE char *text = amount_text(p->type, json_integer_value(value));
	return json_string(text);
}
