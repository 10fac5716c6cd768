/* SPDX-License-Identifier: Apache-2.0
 * nbdserver - an image served by qemu-nbd, confined, to us alone.
 *
 * With bwrap it sees the image and the system's programs, no network and no other
 * process; without it, it has no network. It ends when its one client closes, and when we
 * die.
 */
#ifndef DROVER_NBDSERVER_H
#define DROVER_NBDSERVER_H

#include "engine/base/err.h"
#include "modules/lib/imgforeign.h"

#include <stdbool.h>
#include <sys/types.h>

/* What is to be served. */
struct nbdserver_what {
	const char *path;		/* absolute, no links in it */
	const char *base;		/* of an overlay, or NULL */
	const char *format;
	unsigned flags;			/* DISK_WRITE, DISK_DIRECT */
	const struct img_files *beside;	/* extents in its folder, or NULL */
	const char *bitmap;		/* in it, that is exported too, or NULL */
	bool live;			/* another program writes to it */
	bool unsynced;			/* it never syncs: who asks for it does, by the file */
	uid_t uid;			/* who may read it, if not root's own: the sandbox runs as */
	gid_t gid;			/* that; 0: as we do */
};

struct nbdserver {
	pid_t pid;		/* of who minds it, and leads its group; -1: none */
	int noise;		/* its stderr, or -1 */
	const char *sandbox;	/* how it is confined; static */
};

/* Start it: our connection to it, or -1 with e. */
int nbdserver_start(const struct nbdserver_what *w, struct nbdserver *s, struct err *e);
/* Wait for its end, which the end of the connection brings; kill it when that does not come. */
void nbdserver_end(struct nbdserver *s);
/* What it said on stderr, one line, made safe; NULL: nothing. Caller frees. */
char *nbdserver_words(const struct nbdserver *s);
void nbdserver_free(struct nbdserver *s);	/* ended, if it is not; of none harmless */

#endif
