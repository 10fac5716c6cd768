/* SPDX-License-Identifier: Apache-2.0
 * copy_recv - what the target's end of passes shares: what is written to, and how it is opened.
 */
#ifndef DROVER_COPY_RECV_H
#define DROVER_COPY_RECV_H

#include "modules/lib/copy.h"

/* A sink into a base and its map. */
struct target {
	struct sink k;			/* first: the stream knows no more of it */
	struct layout_disk at;		/* owned */
	struct disk *d;			/* the base; owned, NULL until it is open */
	struct map *m;			/* owned, NULL until it is open */
	bool broken;			/* a write failed */
	char name[72];			/* of the disk */
};

/* The target's end of all disks of a step. */
struct receiving {
	struct ctx *c;
	const struct copy_how *how;
	json_t *fact;		/* what is told as `how->fact` */
	json_t *loose;		/* its volatile part */
};

/* Open what the offer is for: the base and the map that are gone on with, or new ones, and begin
 * the pass in them (k.known, k.same, k.since, k.pass). -1 with e; what was opened by then is the
 * caller's in t, too. copy_target.c */
int target_open(const struct receiving *x, struct target *t, const struct stream_offer *o,
		struct err *e);

#endif
