/* SPDX-License-Identifier: Apache-2.0
 * writer - the two threads behind a state that is open for writing.
 *
 *	state_append -> [queue] -> journal thread: one write and one fdatasync for
 *	all that waits -> outcomes to the loop, records to -> [queue] -> git thread
 *
 * With a virtual clock the journal is written in writer_put() itself, so that a
 * test's time cannot run ahead of the disk; its outcome still comes by the loop.
 */
#ifndef DROVER_STATE_WRITER_H
#define DROVER_STATE_WRITER_H

#include "engine/base/loop.h"
#include "engine/state/journal.h"
#include "engine/state/repo.h"

typedef void durable_fn(void *arg, struct err *e);

struct writer;

/* Takes over j and repo; `dir` is borrowed. */
struct writer *writer_start(const char *dir, struct journal *j, struct repo *repo,
			    struct loop *loop);
/* Take one record's payload (stolen). starts: something is started on it, so it
 * is refused once the disk is full and the rest lives from the reserve. fn (may
 * be NULL) is called from the loop, or from writer_stop(). */
void writer_put(struct writer *w, uint64_t seq, char *payload, size_t len, bool starts,
		durable_fn *fn, void *arg);
/* Tell of a record that never got so far; takes over e. */
void writer_refuse(struct writer *w, struct err *e, durable_fn *fn, void *arg);
/* Wait until all that was put is durable. */
int writer_sync(struct writer *w, struct err *e);
/* Wait until all of it is in git too. */
int writer_flush(struct writer *w, struct err *e);
/* All records up to this one are applied in git and its branches moved. */
uint64_t writer_in_git(struct writer *w);
/* Flush, trim the journal when git has all, end the threads, call what is still
 * to be called, free. -1 with e as writer_flush(). */
int writer_stop(struct writer *w, struct err *e);

#endif
