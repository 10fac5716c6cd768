/* SPDX-License-Identifier: Apache-2.0
 * store - objects as this program reads and writes them. A backend of libgit2's
 * object database that
 *
 *	holds what is written in memory until store_settle() puts it on disk, as
 *	synced loose objects or, when there are many, as one synced pack; and
 *	reads loose objects itself: inflate with a bound, length and SHA-1 compared,
 *	so that a rotten object is an error that names its file and never reaches
 *	libgit2's own reader, which trusts the length that an object claims.
 *
 * A handle that never settles writes nothing: that is how readers see what the
 * journal has beyond git.
 */
#ifndef DROVER_STATE_STORE_H
#define DROVER_STATE_STORE_H

#include "engine/base/err.h"

#include <git2.h>
#include <stddef.h>

struct store;

/* The database of repository `dir` with a store in front. NULL with e. The odb
 * is the caller's (git_odb_free) and frees the store. */
git_odb *store_open(const char *dir, struct store **store, struct err *e);
size_t store_staged(const struct store *s);		/* objects in memory */
void store_drop(struct store *s);			/* forget them */
/* Durable on return, and dropped from memory. */
int store_settle(struct store *s, git_repository *repo, struct err *e);
/* What the store last found damaged: "objects/ab/cd...: reason", or NULL. */
const char *store_damage(const struct store *s);

/* Inflate a loose object file whole and compare it with the id (40 hex) that its
 * path says. NULL when it is sound, else the reason (a constant). When `data` is
 * given it receives the content (caller frees). Safe on any bytes. */
const char *loose_check(const void *file, size_t n, const char *hex, git_object_t *type,
			void **data, size_t *len);
#define LOOSE_FILE_MAX (256u << 20)

#endif
