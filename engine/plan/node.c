/* SPDX-License-Identifier: Apache-2.0
 * node - looking into YAML trees, laying one over another, typing scalars. */
#include "engine/plan/yaml.h"

#include "engine/plan/names.h"

#include <ctype.h>
#include <string.h>

#define BIG_MAP 16	/* pairs from which a map gets an index */
#define LONG_LINE 400	/* a longer line is not quoted in errors */

struct place yaml_place(const struct yaml_node *n)
{
	struct place at = { .file = n->file->name, .line = n->line,
			    .column = n->column };

	if (n->file->lines && n->line >= 1 && n->line <= n->file->line_count) {
		const char *text = n->file->text + n->file->lines[n->line - 1];
		if (memchr(text, '\0', LONG_LINE) && *text)
			at.text = text;
	}
	return at;
}

bool yaml_is_scalar(const struct yaml_node *n)
{
	return n->kind != YAML_LIST && n->kind != YAML_MAP;
}

const char *yaml_kind_name(const struct yaml_node *n)
{
	static const char *const names[] = {
		[YAML_NULL] = "nothing", [YAML_BOOL] = "true or false",
		[YAML_INT] = "a number", [YAML_FLOAT] = "a number",
		[YAML_STR] = "text", [YAML_LIST] = "a list", [YAML_MAP] = "a map",
	};
	return names[n->kind];
}

/* ---- maps ------------------------------------------------------------------- */

static uint32_t index_size(uint32_t count)
{
	uint32_t size = 32;

	while (size < count * 2)
		size *= 2;
	return size;
}

struct yaml_node *yaml_map_seal(struct arena *a, struct yaml_node *map)
{
	map->index = NULL;
	if (map->count < BIG_MAP)
		return map;
	uint32_t size = index_size(map->count), mask = size - 1;
	uint32_t *index = arena_alloc(a, size * sizeof(*index));
	for (uint32_t i = 0; i < map->count; i++) {
		if (!yaml_is_scalar(map->pairs[i].key))
			continue;
		uint32_t at = names_hash(map->pairs[i].key->text) & mask;
		while (index[at])
			at = (at + 1) & mask;
		index[at] = i + 1;
	}
	map->index = index;
	return map;
}

static bool is_key(const struct yaml_pair *p, const char *key)
{
	return yaml_is_scalar(p->key) && strcmp(p->key->text, key) == 0;
}

const struct yaml_pair *yaml_pair(const struct yaml_node *map, const char *key)
{
	if (!map || map->kind != YAML_MAP)
		return NULL;
	if (!map->index) {
		for (uint32_t i = 0; i < map->count; i++)
			if (is_key(&map->pairs[i], key))
				return &map->pairs[i];
		return NULL;
	}
	uint32_t mask = index_size(map->count) - 1, at = names_hash(key) & mask;
	for (; map->index[at]; at = (at + 1) & mask)
		if (is_key(&map->pairs[map->index[at] - 1], key))
			return &map->pairs[map->index[at] - 1];
	return NULL;
}

struct yaml_node *yaml_get(const struct yaml_node *map, const char *key)
{
	const struct yaml_pair *p = yaml_pair(map, key);

	return p ? p->value : NULL;
}

struct yaml_node *yaml_merge(struct arena *a, struct yaml_node *base,
			     struct yaml_node *over)
{
	if (!base || !over)
		return over ? over : base;
	if (base->kind != YAML_MAP || over->kind != YAML_MAP || base == over)
		return over;
	struct yaml_node *n = arena_alloc(a, sizeof(*n));
	*n = *over;
	n->pairs = arena_alloc(a, (base->count + over->count) * sizeof(*n->pairs));
	n->count = 0;
	for (uint32_t i = 0; i < base->count; i++) {
		struct yaml_pair pair = base->pairs[i];
		const struct yaml_pair *o = yaml_is_scalar(pair.key) ?
			yaml_pair(over, pair.key->text) : NULL;
		if (o) {
			pair.key = o->key;
			pair.value = yaml_merge(a, pair.value, o->value);
		}
		n->pairs[n->count++] = pair;
	}
	for (uint32_t i = 0; i < over->count; i++)
		if (yaml_is_scalar(over->pairs[i].key) &&
		    !yaml_pair(base, over->pairs[i].key->text))
			n->pairs[n->count++] = over->pairs[i];
	return yaml_map_seal(a, n);
}

/* ---- YAML 1.2 core: what a plain scalar is ------------------------------------ */

static bool one_of(const char *s, const char *const *words)
{
	for (; *words; words++)
		if (strcmp(s, *words) == 0)
			return true;
	return false;
}

static size_t digits(const char *s, const char *set)
{
	return strspn(s, set);
}

static bool is_int(const char *s)
{
	size_t n;

	if (s[0] == '0' && s[1] == 'o')
		return (n = digits(s + 2, "01234567")) && !s[2 + n];
	if (s[0] == '0' && s[1] == 'x')
		return (n = digits(s + 2, "0123456789abcdefABCDEF")) && !s[2 + n];
	s += *s == '-' || *s == '+';
	n = digits(s, "0123456789");
	return n && !s[n];
}

static bool is_float(const char *s)
{
	static const char *const special[] = {
		".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf",
		"-.INF", ".nan", ".NaN", ".NAN", NULL
	};
	size_t whole, part = 0;

	if (one_of(s, special))
		return true;
	s += *s == '-' || *s == '+';
	s += whole = digits(s, "0123456789");
	if (*s == '.')
		s += 1 + (part = digits(s + 1, "0123456789"));
	if (!whole && !part)
		return false;
	if (*s == 'e' || *s == 'E') {
		s++;
		s += *s == '-' || *s == '+';
		size_t exp = digits(s, "0123456789");
		if (!exp)
			return false;
		s += exp;
	}
	return !*s;
}

enum yaml_kind yaml_kind_of(const char *s)
{
	static const char *const nulls[] = { "", "~", "null", "Null", "NULL", NULL };
	static const char *const bools[] = { "true", "True", "TRUE", "false", "False",
					     "FALSE", NULL };

	if (strchr("~nN", *s))		/* also the empty text */
		return one_of(s, nulls) ? YAML_NULL : YAML_STR;
	if (strchr("tTfF", *s))
		return one_of(s, bools) ? YAML_BOOL : YAML_STR;
	if (!strchr("+-.0123456789", *s))
		return YAML_STR;
	return is_int(s) ? YAML_INT : is_float(s) ? YAML_FLOAT : YAML_STR;
}

bool yaml_is_odd(const char *s)
{
	static const char *const odd[] = { "yes", "no", "on", "off", NULL };
	char low[4] = "";

	if (strlen(s) > 3)
		return false;
	for (size_t i = 0; s[i]; i++)
		low[i] = (char)tolower((unsigned char)s[i]);
	return one_of(low, odd);
}
