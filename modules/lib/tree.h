/* SPDX-License-Identifier: Apache-2.0
 * tree - the digest of a whole disk, from the digests of its chunks.
 *
 *   leaf    SHA-256 of a chunk's data; the last chunk may be shorter
 *   node    SHA-256(0x01 | up to 1024 digests of the level below)
 *   root    SHA-256(0x02 | size u64 | chunk u32, little-endian | topmost node)
 *
 * Memory does not grow with the disk: one unfinished node per level.
 */
#ifndef DROVER_TREE_H
#define DROVER_TREE_H

#include "engine/base/io.h"

#include <stdint.h>

#define TREE_FAN 1024u
#define TREE_LEVELS 7		/* 1024^7 chunks: more than 64 bits of size */

struct tree {
	uint8_t *level[TREE_LEVELS];	/* digests of an unfinished node; owned */
	uint32_t count[TREE_LEVELS];
	uint64_t next;			/* number of leaves added */
};

void tree_add(struct tree *t, const uint8_t digest[SHA256_LEN]);
/* The root; t is freed and empty afterwards. */
void tree_end(struct tree *t, uint64_t size, uint32_t chunk,
	      uint8_t root[SHA256_LEN]);
void tree_free(struct tree *t);
/* The digest of n zero bytes. */
void tree_zero_digest(size_t n, uint8_t out[SHA256_LEN]);

/* A disk of `size` in chunks: how many, how long one of them is, the digests of a whole one
 * and of the shorter last one if they are zeros. */
uint64_t tree_chunks(uint64_t size, uint32_t chunk);
uint32_t tree_chunk_len(uint64_t size, uint32_t chunk, uint64_t index);
void tree_zeros(uint64_t size, uint32_t chunk, uint8_t zero[2][SHA256_LEN]);

#endif
