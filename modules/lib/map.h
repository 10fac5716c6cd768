/* SPDX-License-Identifier: Apache-2.0
 * map - what is known of a copied disk: a digest per chunk, beside the image.
 *
 * An entry is there only after its chunk was written and synced, so a later pass,
 * a resumed pass and the proof may all build on it. The file:
 *
 *   0      header, and again at 4096; the one with a good checksum and the higher
 *          number counts, they are written in turn
 *   1024   what the newest 64 generations were (which pass, when, a random mark), with a
 *          checksum, and again at 5120
 *   8192   pages of 4096 bytes: 113 entries of 36 bytes (digest, generation), the
 *          page's number and a checksum; a page that is torn or flipped counts as
 *          empty, its chunks are copied again
 *
 * A generation is one opening for writing; entries carry the one that wrote them
 * (0: unknown). A map that is put back as it was, or lost its newer header, is known by
 * the marks of its generations or a new birth: what was proven of it holds no more. What
 * happens at a power cut:
 *
 *   while                              then the entry says
 *   a chunk without entry is written   nothing; it is copied again
 *   a chunk with an entry is written   nothing: before the first such write the
 *                                      header durably names a range [lo, hi) around
 *                                      it, and entries in it that are older than the
 *                                      range's generation are not believed until
 *                                      map_settle() has compared them with their chunks;
 *                                      that of a chunk far from it is emptied before
 *   entries are written                what it said before, or nothing
 *   the header is written              the other copy of the header holds
 *
 * Thread-safe, apart from opening and closing. Memory: one page.
 */
#ifndef DROVER_MAP_H
#define DROVER_MAP_H

#include "engine/base/err.h"
#include "engine/base/io.h"

#include <stdbool.h>
#include <stdint.h>

struct map;

/* Whose disk it is; all of it is compared when a map is opened for writing. */
struct map_id {
	char lineage[40];	/* of the state that made it */
	char machine[72];
	char disk[72];
	uint64_t size;		/* bytes */
	uint32_t chunk;		/* bytes, a multiple of 4096 */
};

#define MAP_BIRTH 16u

struct map_state {
	uint32_t pass;		/* the pass that is complete, or under way; 0: none */
	uint32_t generation;	/* the newest */
	uint8_t birth[MAP_BIRTH];	/* of this map alone: generations count from there */
	uint32_t pass_begin;	/* the generation with which this pass began */
	bool complete;		/* the pass is whole, `root` holds */
	uint8_t root[SHA256_LEN];	/* tree.h; of the last whole pass, unless forgotten */
};

/* What a generation was. */
struct map_born {
	uint32_t generation, pass;
	uint32_t mend;		/* 1: it sent again what had come to harm */
	uint32_t zero;
	int64_t at;		/* seconds since the epoch */
	uint64_t mark;		/* random */
};

struct map_update {
	uint64_t index, count;	/* chunks with this same digest */
	uint8_t digest[SHA256_LEN];
};

/* What a map's file is called, behind its name, until its header is in it. */
#define MAP_HALF ".new"

/* A new, empty map; the file must not exist. NULL with e. */
struct map *map_create(const char *path, const struct map_id *id, struct err *e);
/* NULL with e; e->sys is ENOENT when there is none. What a cut left in doubt is unknown. */
struct map *map_open(const char *path, bool write, struct err *e);
void map_close(struct map *m);		/* NULL is harmless */
void map_close_ptr(struct map **m);
#define AUTO_MAP __attribute__((cleanup(map_close_ptr))) struct map

const struct map_id *map_id(const struct map *m);
void map_state(struct map *m, struct map_state *s);
uint64_t map_chunks(const struct map *m);
uint32_t map_chunk_len(const struct map *m, uint64_t index);

/* The generation that wrote it, and its digest; 0: unknown. */
uint32_t map_get(struct map *m, uint64_t index, uint8_t digest[SHA256_LEN]);
/* Bytes of the disk that it knows nothing of; reads all of the map. */
uint64_t map_unknown(struct map *m);
/* Whether a chunk is what its digest says; called under the map's lock. */
typedef bool map_same(void *arg, uint64_t index, const uint8_t digest[SHA256_LEN]);
/* After opening for writing, before map_begin(), which drops what is still in doubt then:
 * of the entries that a cut left so, durably keep those that `same` finds right. What was
 * being overwritten is so only where nothing new reached it, and the old data was synced. */
int map_settle(struct map *m, map_same *same, void *arg, struct err *e);
/* Before data of chunks [index, index + count) is written. */
int map_cover(struct map *m, uint64_t index, uint64_t count, struct err *e);
/* After their data is synced: enter them, durably. */
int map_commit(struct map *m, const struct map_update *u, size_t n,
	       struct err *e);
/* Begin pass `pass`, or go on with it when it was interrupted. */
int map_begin(struct map *m, uint32_t pass, struct err *e);
/* The same, of one that brings again only what map_drop() dropped. */
int map_begin_mend(struct map *m, uint32_t pass, struct err *e);
/* These chunks are not what the map says: durably forget them. The pass is no longer
 * whole. */
int map_drop(struct map *m, const uint64_t *index, size_t n, struct err *e);
/* What this generation was; false: it is too old, or nobody can tell. */
bool map_born(struct map *m, uint32_t generation, struct map_born *b);
/* What comes is not relative to the last pass that was whole: its root is no longer
 * known. Durable with the map_begin() that follows. */
void map_forget(struct map *m);
/* The pass is over: compute the root; -1 with e when a chunk is unknown. */
int map_finish(struct map *m, uint8_t root[SHA256_LEN], struct err *e);
int map_root(struct map *m, uint8_t root[SHA256_LEN], struct err *e);

#endif
