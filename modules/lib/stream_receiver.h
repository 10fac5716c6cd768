/* SPDX-License-Identifier: Apache-2.0
 * stream_receiver - the receiving end of a pass, as its two files see it: what the
 * sender says (stream_recv.c), and the threads that write it down and make it
 * durable (stream_store.c).
 */
#ifndef DROVER_STREAM_RECEIVER_H
#define DROVER_STREAM_RECEIVER_H

#include "modules/lib/stream_impl.h"

#include <pthread.h>

struct job {
	struct record r;
	uint8_t *payload;	/* aligned data; DATA only */
	uint32_t slot;		/* where that is, or NO_SLOT: it is the job's own */
	uint8_t digest[SHA256_LEN];
	unsigned round;		/* in which a worker took it */
	struct job *next;
};

struct receiver {
	const struct stream *s;
	struct sink *k;
	uint64_t size, chunks;
	uint32_t chunk;
	uint8_t zero[2][SHA256_LEN];
	struct slots *slots;	/* that were offered to the sender, or NULL */
	pthread_mutex_t writing;	/* held while a record is written */
	pthread_mutex_t lock;		/* guards all below, and whose a slot is */
	pthread_cond_t cond;
	struct job *first, **last;	/* waiting for a worker */
	unsigned busy;			/* jobs in a worker's hands */
	unsigned writing_in[2];		/* of them not yet written, by the round's lowest bit */
	unsigned round;			/* syncs that ended */
	uint64_t window;		/* what the sender may still send */
	struct map_update *done;	/* written, not yet durable; owned */
	size_t dones, done_cap;
	uint64_t done_bytes;
	uint64_t unsynced;		/* bytes in workers' hands or written, not yet durable */
	bool syncing;			/* a commit is under way */
	bool flush;			/* commit now, whatever there is */
	bool end;			/* threads are to end */
	bool stop;			/* something failed */
	struct stream_stat st;
	struct err err;
};

/* End everything; the first reason stays. e may be NULL. */
void receiver_stop(struct receiver *x, struct err *e);
uint32_t receiver_chunk_len(const struct receiver *x, uint64_t index);
uint32_t receiver_data_len(const struct record *r);	/* of DATA, as it came */
uint64_t receiver_cost(const struct record *r);	/* of the window */
void receiver_job_free(struct job *j);
/* Threads; arg is the receiver. Workers unpack, check and write; one syncs. */
void *receiver_work(void *arg);
void *receiver_sync(void *arg);

#endif
