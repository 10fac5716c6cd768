/* SPDX-License-Identifier: Apache-2.0
 * chunkstore - chunks of data by their SHA-256: what all backups at a place share.
 *
 *   <place>/lock             held shared by who reads or adds, alone by who sweeps
 *   <place>/packs/<16 hex>.pack     8 bytes of magic, then chunks one after the other
 *   <place>/index/<16 hex>.idx      chunkindex.h: which chunk lies where
 *   <place>/bad              where chunks lie that were found damaged (chunkbad.c)
 *
 * What is written is data first, then the index, then (the caller's) the pointer
 * that names chunks. A kill or a power cut at any point leaves bytes in packs that no
 * index names: a sweep takes them away.
 */
#ifndef DROVER_CHUNKSTORE_H
#define DROVER_CHUNKSTORE_H

#include "engine/base/err.h"
#include "engine/base/io.h"

#include <stdbool.h>
#include <stdint.h>

struct chunkstore;

enum chunkstore_mode {
	CHUNKS_READ,
	CHUNKS_ADD,		/* makes the store when it is not there */
	CHUNKS_SWEEP,		/* nobody else may have it open */
};

/* NULL with e; CHUNKS_READ: e->sys is ENOENT when there is none, and kind ERR_HELD when somebody
 * else has it in a way that excludes ours. */
struct chunkstore *chunkstore_open(const char *place, enum chunkstore_mode mode, struct err *e);
void chunkstore_close(struct chunkstore *s);	/* NULL is harmless */
void chunkstore_close_ptr(struct chunkstore **s);
#define AUTO_CHUNKS __attribute__((cleanup(chunkstore_close_ptr))) struct chunkstore

/* False, too, when the pack that it was in is gone or too short, or the chunk was found
 * damaged before this store was opened. */
bool chunkstore_has(struct chunkstore *s, const uint8_t digest[SHA256_LEN]);

/* What is to be kept: n bytes, as one zstd frame or as they are, of `plain` bytes. */
struct chunk_bytes { const void *p; uint32_t n, plain; bool zip; };
/* Keep it, unless it is there. Several threads at once. `added` grows by what it took
 * (atomically). It counts once chunkstore_seal() came back. */
int chunkstore_put(struct chunkstore *s, const uint8_t digest[SHA256_LEN],
		   const struct chunk_bytes *b, uint64_t *added, struct err *e);
/* All that was put before is durable, and found, on return. One call at a time. */
int chunkstore_seal(struct chunkstore *s, struct err *e);

/* The plain data, `len` bytes, checked against its digest. -1 with e: e->sys is 0 when it is
 * missing or damaged. Several threads at once. */
int chunkstore_get(struct chunkstore *s, const uint8_t digest[SHA256_LEN], void *buf,
		   uint32_t len, struct err *e);

/* ---- sweeping (CHUNKS_SWEEP) ---------------------------------------------- */

/* This chunk is wanted; false: the store does not have it. */
bool chunkstore_mark(struct chunkstore *s, const uint8_t digest[SHA256_LEN]);
/* Take away what was not marked: packs without a wanted chunk, and those in which less
 * than half is wanted, after the rest of them was written anew. `freed` is in bytes. */
int chunkstore_sweep(struct chunkstore *s, uint64_t *freed, struct err *e);
/* When it has no chunk any more: remove its files. To be closed next. */
void chunkstore_leave_no_trace(struct chunkstore *s);

#endif
