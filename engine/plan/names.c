/* SPDX-License-Identifier: Apache-2.0
 * names - open addressing, doubled at two thirds full. */
#include "engine/plan/names.h"

#include "engine/base/mem.h"
#include "engine/base/text.h"

#include <string.h>

#define MAX_COMPARED 500000	/* a fraction of a second */

uint32_t names_hash(const char *s)
{
	uint32_t h = 2166136261u;

	for (; *s; s++)
		h = (h ^ (uint8_t)*s) * 16777619u;
	return h;
}

static struct names_slot *probe(const struct names *n, const char *key,
				uint32_t hash)
{
	size_t mask = n->cap - 1, i = hash & mask;

	while (n->slots[i].key && (n->slots[i].hash != hash ||
				   strcmp(n->slots[i].key, key) != 0))
		i = (i + 1) & mask;
	return &n->slots[i];
}

static void grow(struct names *n)
{
	struct names bigger = { .count = n->count, .cap = n->cap ? n->cap * 2 : 16 };

	bigger.slots = mem_alloc(bigger.cap * sizeof(*bigger.slots));
	for (size_t i = 0; i < n->cap; i++)
		if (n->slots[i].key)
			*probe(&bigger, n->slots[i].key, n->slots[i].hash) =
				n->slots[i];
	names_free(n);
	*n = bigger;
}

void **names_slot(struct names *n, const char *key)
{
	uint32_t hash = names_hash(key);

	if ((n->count + 1) * 3 > n->cap * 2)
		grow(n);
	struct names_slot *s = probe(n, key, hash);
	if (!s->key) {
		s->key = key;
		s->hash = hash;
		n->count++;
	}
	return &s->value;
}

void *names_get(const struct names *n, const char *key)
{
	return n->cap ? probe(n, key, names_hash(key))->value : NULL;
}

const char *names_near(struct names *n, const char *word)
{
	if (strlen(word) < 3 || n->compared > MAX_COMPARED)
		return NULL;
	n->compared += n->count;
	AUTO_FREE const char **keys = mem_alloc((n->count + 1) * sizeof(*keys));
	size_t count = 0;

	for (size_t i = 0; i < n->cap; i++)
		if (n->slots[i].key)
			keys[count++] = n->slots[i].key;
	return text_near(word, keys, count);
}

void names_free(struct names *n)
{
	mem_free_ptr(&n->slots);
	n->slots = NULL;
	n->count = n->cap = 0;
}
