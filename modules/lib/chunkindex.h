/* SPDX-License-Identifier: Apache-2.0
 * chunkindex - which chunks a store of backups has, and where: sorted files that
 * are written once and never changed.
 *
 *   <store>/index/<16 hex>.idx    64 bytes an entry, sorted by digest, no header
 *
 * A chunk is in the store when an entry names it. Files of about the same size
 * are merged, eight into one, so that there are never more than a few dozen, and a
 * look-up costs a few dozen binary searches in mapped memory: what the page cache
 * keeps, not what the process owns.
 */
#ifndef DROVER_CHUNKINDEX_H
#define DROVER_CHUNKINDEX_H

#include "engine/base/err.h"
#include "engine/base/io.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As it lies in the file, little-endian. */
struct chunk_entry {
	uint8_t digest[SHA256_LEN];	/* of the plain data */
	uint64_t pack;		/* the pack's name, as a number */
	uint64_t offset;	/* of the chunk in it */
	uint32_t length;	/* bytes there */
	uint32_t plain;		/* bytes once unpacked */
	uint32_t flags;		/* CHUNK_ZIP, or 0: as it is */
	uint32_t check;		/* CRC-32 of the bytes before it */
};

_Static_assert(sizeof(struct chunk_entry) == 64, "an entry of an index");

enum { CHUNK_ZIP = 1 };		/* one zstd frame */

struct chunk_file {
	uint64_t name;
	const struct chunk_entry *v;	/* mapped */
	size_t count;
};

struct chunk_index {
	int dir;		/* <store>/index; owned */
	struct chunk_file *files;
	size_t count, cap;
	/* Is the chunk where this says? NULL: each is. Whoever opened the index may set it. */
	bool (*there)(void *arg, const struct chunk_entry *en);
	void *arg;
};

/* All files in the directory `dir`, which becomes the index's own, in error too. */
int chunk_index_open(struct chunk_index *x, int dir, struct err *e);
void chunk_index_close(struct chunk_index *x);	/* zeroed: harmless */

/* NULL: the store does not have it. Of several one that is there, else any. Valid until the
 * index changes. */
const struct chunk_entry *chunk_index_find(const struct chunk_index *x,
					   const uint8_t digest[SHA256_LEN]);

/* Add entries, durably, as a new file behind the others; they are sorted and their
 * checks set in place. */
int chunk_index_add(struct chunk_index *x, struct chunk_entry *v, size_t n, struct err *e);
/* Merge files when it is time to. */
int chunk_index_tidy(struct chunk_index *x, struct err *e);

/* Put one new file in the place of all, with the entries that `keep` wants. */
int chunk_index_rewrite(struct chunk_index *x,
			bool (*keep)(void *arg, size_t file, size_t i), void *arg,
			struct err *e);

#endif
