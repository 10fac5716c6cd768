/* SPDX-License-Identifier: Apache-2.0
 * lock - who holds a state directory. flock(2) on DIR/lock, which dies with its
 * process; the file's text says who holds it, for the message to the others.
 */
#ifndef DROVER_STATE_LOCK_H
#define DROVER_STATE_LOCK_H

#include "engine/base/err.h"

/* Returns the descriptor that holds the lock (close-on-exec; a child that forks
 * without exec must close it), or -1 with e: ERR_HELD names pid, host, user, run
 * and since when. `why_dir` is the folder as the user knows it. */
int lock_take(const char *dir, const char *run, int64_t now, struct err *e);
void lock_release(int fd);		/* -1 is harmless */
/* Who holds it now, as one line of text for people; NULL when nobody does.
 * Caller frees. Reads only. */
char *lock_holder(const char *dir);

#endif
