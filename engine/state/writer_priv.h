/* SPDX-License-Identifier: Apache-2.0
 * writer_priv - what the loop's side and the two threads of a writer share.
 *
 *   writer.c          the loop's side, start and stop
 *   writer_journal.c  records to the journal, outcomes to the loop
 *   writer_git.c      records to git, a settling now and then
 */
#ifndef DROVER_STATE_WRITER_PRIV_H
#define DROVER_STATE_WRITER_PRIV_H

#include "engine/state/writer.h"

#include <pthread.h>
#include <stdlib.h>

#define BATCH_BYTES (16u << 20)		/* in one write */
#define BATCH_RECORDS 1024		/* in one turn of either thread */

/* One record on its way; first to the journal, then to git. */
struct item {
	struct item *next;
	uint64_t seq;
	char *payload;			/* owned */
	size_t len;
	bool starts;
	struct outcome *told;		/* owned until it is queued; NULL: nobody asks */
};

/* What a caller of state_append waits for. */
struct outcome {
	struct outcome *next;
	durable_fn *fn;
	void *arg;
	struct err err;
};

struct items { struct item *head, **tail; };
struct outcomes { struct outcome *head, **tail; };

struct writer {
	const char *dir;		/* borrowed */
	struct loop *loop;		/* borrowed */
	bool inline_journal;		/* virtual clock: no journal thread */
	/* the loop's side only */
	struct loop_fd *watch;		/* while somebody waits */
	size_t waiting;
	/* the journal thread's */
	struct journal journal;
	bool low;			/* the disk is full: we live from the reserve */
	/* the git thread's */
	struct repo *repo;
	/* shared, under lock */
	pthread_mutex_t lock;
	pthread_cond_t moved;		/* anything below has changed */
	struct items to_journal, to_git;
	struct outcomes done;
	uint64_t put;			/* last record handed in */
	uint64_t written;		/* last one the journal has dealt with */
	uint64_t durable;		/* last one that is in the journal */
	uint64_t in_git;		/* last one whose commit is in its branch */
	uint64_t complete;		/* and whose meta edits are too */
	uint64_t trim;			/* the journal may be trimmed up to here; 0: no */
	uint64_t size;			/* of the journal */
	struct err journal_err, git_err;	/* sticky */
	unsigned flushing;		/* callers that wait for git */
	bool stop_journal, stop_git;
	int wake;			/* eventfd: outcomes are there */
	pthread_t journal_thread, git_thread;
};

static inline void items_init(struct items *q)
{
	q->head = NULL;
	q->tail = &q->head;
}

static inline void items_add(struct items *q, struct item *i)
{
	i->next = NULL;
	*q->tail = i;
	q->tail = &i->next;
}

static inline void item_free(struct item *i)
{
	free(i->payload);
	free(i);
}

static inline void outcomes_add(struct outcomes *q, struct outcome *o)
{
	o->next = NULL;
	*q->tail = o;
	q->tail = &o->next;
}

/* Take from the front as many as fit one turn; NULL: there is none. Under lock. */
struct item *items_take(struct items *q);

/* Write the list, without lock; journal_list_done() then hands its records on to git and
 * its outcomes to the loop, under lock. */
void journal_list(struct writer *w, struct item *list);
void journal_list_done(struct writer *w, struct item *list);
/* Drop what git has from the front of the journal; what cannot be is only longer. */
void journal_trim_to(struct writer *w, uint64_t upto);

/* The threads; arg is the writer. */
void *journal_main(void *arg);
void *git_main(void *arg);

#endif
