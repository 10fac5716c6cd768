/* SPDX-License-Identifier: Apache-2.0
 * lock - who holds a state directory. flock(2) on the directory itself, which nobody can
 * remove while it is in use, and on DIR/lock, which works where directories cannot be locked
 * (NFS). Both die with their process. The file's text says who holds it, for the message to
 * the others.
 */
#ifndef DROVER_STATE_LOCK_H
#define DROVER_STATE_LOCK_H

#include "engine/base/err.h"

#include <stdbool.h>

struct lock {
	int dir, file;		/* close-on-exec; a child that forks without exec must
				   close them; -1: not held */
};
#define LOCK_NONE { -1, -1 }

/* 0, or -1 with e: ERR_HELD names pid, host, user, run and since when. `dir` is the folder
 * as the user knows it. */
int lock_take(struct lock *l, const char *dir, const char *run, int64_t now, struct err *e);
void lock_release(struct lock *l);	/* one that is not held is harmless */
/* From now on another drover may ask for it; the holder lets go at a moment of its own
 * choice. -1 with e: it was not written down. */
int lock_offer(struct lock *l, struct err *e);
/* Does anybody ask for it just now? */
bool lock_wanted(const struct lock *l);
/* Is it held by somebody who offers it? */
bool lock_offered(const char *dir);
/* Ask for it, until the returned descriptor is closed or this process ends; many may at once.
 * -1 with e. */
int lock_ask(const char *dir, struct err *e);
/* Who holds it now, as one line of text for people; NULL when nobody does.
 * Caller frees. Reads only. */
char *lock_holder(const char *dir);

#endif
