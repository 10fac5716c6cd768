/* SPDX-License-Identifier: Apache-2.0
 * chunkstore_impl - a store of chunks, as its halves see it: adding and reading
 * (chunkstore.c), sweeping (chunksweep.c).
 */
#ifndef DROVER_CHUNKSTORE_IMPL_H
#define DROVER_CHUNKSTORE_IMPL_H

#include "modules/lib/chunkindex.h"
#include "modules/lib/chunkstore.h"

#include <pthread.h>

#define PACK_MAGIC "DRPACK1\n"
#define PACK_HEAD 8u

typedef char pack_name[32];

/* Where a chunk lies that was found damaged. */
struct chunk_bad { uint64_t pack, offset; };

struct chunkstore {
	char *place;		/* for messages */
	int packs;		/* the directory */
	int lock;		/* held while it is open; -1: a place that cannot be written to */
	pthread_rwlock_t writing;	/* read: writes to the pack; write: nobody does */
	pthread_mutex_t putting;	/* the pack under way, and pending */
	int pack;		/* -1: none yet */
	uint64_t pack_id;
	uint64_t end;		/* of the pack: where the next chunk goes */
	struct chunk_entry *pending;	/* written, not yet in the index */
	size_t pendings, pending_cap;
	pthread_rwlock_t looking;	/* the index */
	struct chunk_index index;
	struct chunk_bad *bad;	/* as it was when it was opened (chunkbad.c) */
	size_t bads, bad_cap;
	uint8_t **marks;	/* a bit per entry of each file; NULL: not sweeping */
	size_t mark_files;	/* how many files that is */
};

void chunkstore_pack_name(uint64_t id, pack_name out);
int chunkstore_damaged(const struct chunkstore *s, const char *what, struct err *e);
/* Read the bytes of an entry as they lie there; caller frees. NULL with e. */
void *chunkstore_raw(struct chunkstore *s, const struct chunk_entry *en, struct err *e);
/* Unpack what was read and compare the digest. */
int chunkstore_unpack(const struct chunkstore *s, const struct chunk_entry *en,
		      const void *raw, void *buf, uint32_t len, struct err *e);
/* What was found damaged here: read when it is opened; noted, best effort, for the next who
 * opens it; forgotten with the store. */
void chunkbad_load(struct chunkstore *s);
bool chunkbad_is(const struct chunkstore *s, const struct chunk_entry *en);
void chunkbad_note(const struct chunkstore *s, const struct chunk_entry *en);
void chunkbad_forget(const struct chunkstore *s);
/* What was appended and not sealed, in a pack that was begun since it was opened, goes with
 * that pack. */
void chunkstore_abandon(struct chunkstore *s);
/* Write it whether it is there or not. */
int chunkstore_append(struct chunkstore *s, const uint8_t digest[SHA256_LEN],
		      const struct chunk_bytes *b, struct err *e);

#endif
