/* SPDX-License-Identifier: Apache-2.0
 * verify - are the objects what their names say? Asked in a child, so that
 * nothing on disk can end the engine by a signal.
 *
 * Every loose object is checked again whenever it is read (store.h): that alone
 * is sound. What is checked before the repository is opened finds damage early,
 * before anything is started on it, and is bounded:
 *
 *	every loose object and pack that changed since the last verified mark,
 *	all others in turn, a sixteenth of the folders at each opening for writing,
 *	all of them while there are few (2048), and no more than CHECK_MAX at once.
 *
 * Packs are checked by the checksum at their end; libgit2 reads them itself.
 */
#ifndef DROVER_STATE_VERIFY_H
#define DROVER_STATE_VERIFY_H

#include "engine/base/err.h"

#include <stdbool.h>

/* loose: check loose objects too (opening for writing); else only the packs.
 * -1 with e that names object and path. With `mark` (the lock is held) the mark
 * moves on. */
int verify_objects(const char *dir, bool loose, bool mark, struct err *e);

#endif
