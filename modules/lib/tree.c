/* SPDX-License-Identifier: Apache-2.0
 * tree - the digest of a whole disk, from the digests of its chunks.
 */
#include "modules/lib/tree.h"

#include "engine/base/mem.h"

#include <endian.h>
#include <string.h>

static void add_at(struct tree *t, unsigned level, const uint8_t *digest);

static void close_node(struct tree *t, unsigned level)
{
	struct sha256 *h = sha256_new();
	uint8_t out[SHA256_LEN];

	sha256_add(h, "\1", 1);
	sha256_add(h, t->level[level], (size_t)t->count[level] * SHA256_LEN);
	sha256_end(h, out);
	t->count[level] = 0;
	add_at(t, level + 1, out);
}

static void add_at(struct tree *t, unsigned level, const uint8_t *digest)
{
	if (level >= TREE_LEVELS)
		return;		/* beyond any disk */
	if (!t->level[level])
		t->level[level] = mem_alloc((size_t)TREE_FAN * SHA256_LEN);
	memcpy(t->level[level] + (size_t)t->count[level] * SHA256_LEN, digest, SHA256_LEN);
	if (++t->count[level] == TREE_FAN)
		close_node(t, level);
}

void tree_add(struct tree *t, const uint8_t digest[SHA256_LEN])
{
	add_at(t, 0, digest);
	t->next++;
}

/* Something at a level above this one? */
static int higher(const struct tree *t, unsigned level)
{
	for (unsigned i = level + 1; i < TREE_LEVELS; i++)
		if (t->count[i])
			return 1;
	return 0;
}

void tree_end(struct tree *t, uint64_t size, uint32_t chunk, uint8_t root[SHA256_LEN])
{
	struct { uint64_t size; uint32_t chunk; } __attribute__((packed)) shape = {
		htole64(size), htole32(chunk) };
	struct sha256 *h = sha256_new();
	unsigned top = 0;

	while (top + 1 < TREE_LEVELS && (t->count[top] != 1 || higher(t, top))) {
		if (t->count[top])
			close_node(t, top);
		else if (!higher(t, top))
			break;
		top++;
	}
	sha256_add(h, "\2", 1);
	sha256_add(h, &shape, sizeof(shape));
	if (t->count[top])
		sha256_add(h, t->level[top], SHA256_LEN);
	sha256_end(h, root);
	tree_free(t);
}

void tree_free(struct tree *t)
{
	for (unsigned i = 0; i < TREE_LEVELS; i++)
		mem_free_ptr(&t->level[i]);
	*t = (struct tree){ .next = 0 };
}

void tree_zero_digest(size_t n, uint8_t out[SHA256_LEN])
{
	AUTO_FREE uint8_t *zeros = mem_alloc(n);

	sha256_of(zeros, n, out);
}

uint64_t tree_chunks(uint64_t size, uint32_t chunk)
{
	return (size + chunk - 1) / chunk;
}

uint32_t tree_chunk_len(uint64_t size, uint32_t chunk, uint64_t index)
{
	uint64_t left = size - index * chunk;

	return left < chunk ? (uint32_t)left : chunk;
}

void tree_zeros(uint64_t size, uint32_t chunk, uint8_t zero[2][SHA256_LEN])
{
	tree_zero_digest(chunk, zero[0]);
	tree_zero_digest((size_t)(size % chunk), zero[1]);
}
