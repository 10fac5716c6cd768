/* SPDX-License-Identifier: Apache-2.0
 * dir - the state directory itself.
 *
 *	drover.json	that it is ours, its format, its lineage
 *	.gitignore	"*": the user's repository shall not swallow it
 *	lock		who holds it (lock.h)
 *	journal/	one write-ahead log for each plan (journal.h)
 *	reserve		space for the last records when the disk is full
 *	verified	how far the objects were checked (verify.h)
 *	HEAD, config, objects/, refs/	the bare git repository (repo.h)
 */
#ifndef DROVER_STATE_DIR_H
#define DROVER_STATE_DIR_H

#include "engine/base/err.h"
#include "engine/state/journal.h"

/* Is it a state directory? 1 yes (lineage filled in); 0 it is missing, or empty;
 * -1 with e: foreign, damaged, of a newer format, or cannot be read. */
int dir_look(const char *dir, char lineage[LINEAGE_HEX], struct err *e);
/* Make the folder when missing; dir_make_all() follows once the lock is held. */
int dir_make(const char *dir, struct err *e);
/* What is missing of the rest, synced. A new directory gets the lineage `as`, or one that
 * is drawn when `as` is NULL. */
int dir_make_all(const char *dir, const char *as, char lineage[LINEAGE_HEX], struct err *e);
void dir_draw(char lineage[LINEAGE_HEX]);
/* Allocate the reserve, or give it up for others to use. */
int dir_reserve(const char *dir, struct err *e);
void dir_reserve_drop(const char *dir);
char *dir_journal(const char *dir, const char *plan);	/* path; caller frees */

#endif
