/* SPDX-License-Identifier: Apache-2.0
 * stream_sender - the sending end of a pass, as its three files see it: which chunk
 * is next (stream_pick.c), what is done with it (stream_work.c), what the receiver
 * says and how a pass begins and ends (stream_send.c).
 */
#ifndef DROVER_STREAM_SENDER_H
#define DROVER_STREAM_SENDER_H

#include "modules/lib/pace.h"
#include "modules/lib/stream_impl.h"
#include "modules/lib/tree.h"
#include "modules/lib/zip.h"

#include <pthread.h>
#include <zstd.h>

#define BATCHES 4u			/* of digests that the receiver has */

struct sender {
	const struct stream *s;
	struct disk *d;
	uint32_t chunk;
	uint64_t chunks;
	uint8_t zero[2][SHA256_LEN];	/* of a whole chunk, of the last one */
	bool known;			/* the receiver has digests */
	const struct track_changes *changes;	/* all that need be read; NULL: everything */
	struct slots *slots;		/* where chunks are read to and not sent; or NULL */
	pthread_mutex_t writing;	/* held while a record is written */
	pthread_mutex_t lock;		/* guards all below, and whose a slot is */
	pthread_cond_t cond;
	uint64_t next;			/* the chunk to take */
	uint64_t run_end;		/* in bytes: what is known of the extents */
	bool run_hole;
	uint8_t *have[BATCHES];		/* HAVE_MAX digests each, by batch % BATCHES */
	uint64_t have_loaded;		/* batches that have come */
	uint64_t have_asked;		/* batches that were asked for */
	bool asking;			/* a worker asks: in order */
	struct tree tree;
	uint64_t credit;
	struct pace sending, reading;
	struct zip zip;			/* how hard to compress, if that is ours to say */
	struct stream_stat st;
	unsigned working;		/* threads that have not ended */
	bool stop;			/* something failed */
	bool cut;			/* the pipe broke; the reader finds out why */
	struct err err;			/* the first failure */
};

struct item {
	uint64_t index, count;
	bool hole;			/* known to be zeros, nothing to read */
	bool clean;			/* not written since the receiver got `have` */
	bool has;			/* `have` holds what the receiver has */
	uint8_t have[SHA256_LEN];
};

struct worker {
	struct sender *x;
	uint8_t *buf;			/* chunk, aligned; its own, or ... */
	uint32_t slot;			/* ... this slot, until it is sent: then NULL */
	uint8_t *zip;			/* ZSTD_compressBound(chunk); NULL with slots */
	size_t zip_cap;
	ZSTD_CCtx *cctx;
	unsigned rest;			/* chunks not to try to compress */
	unsigned dull;			/* so many were left out the last time */
};

/* stream_send.c: end everything; the first reason stays. e may be NULL. */
void sender_stop(struct sender *x, struct err *e);
/* stream_send.c: whole, one at a time. -1: the pipe broke, all is stopped. */
int sender_record(struct sender *x, const struct record *r, const void *a, size_t an,
		  const void *b, size_t bn);
/* stream_send.c: wait for something to change, at most so long; lock held. */
void sender_nap(struct sender *x, uint64_t ns);
uint32_t sender_chunk_len(const struct sender *x, uint64_t index);
const uint8_t *sender_zero_digest(const struct sender *x, uint64_t index);

/* stream_pick.c. 1: *it is filled; 0: nothing is left; -1: stopped. */
int sender_take(struct sender *x, struct item *it);

/* stream_work.c: a thread; arg is a struct worker. */
void *sender_work(void *arg);
void worker_init(struct worker *w, struct sender *x);
void worker_free(struct worker *w);

#endif
