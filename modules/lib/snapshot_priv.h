/* SPDX-License-Identifier: Apache-2.0
 * snapshot_priv - what the files of snapshot share; nobody else includes it.
 *
 *   snapshot.c		what can be said beforehand, taking away
 *   snapshot_lvm.c	what LVM is told and says
 *   snapshot_pass.c	one pass
 *   snapshot_read.c	a snapshot that may be lost while it is read
 */
#ifndef DROVER_SNAPSHOT_PRIV_H
#define DROVER_SNAPSHOT_PRIV_H

#include "modules/lib/snapshot.h"

#define SNAPSHOT_LEDGER "lvm-snapshot"

/* ---- snapshot_lvm.c ----------------------------------------------------------------- */

/* All volumes of this host: rows of `lvs`. Owned; NULL with e. */
json_t *snap_rows(struct err *e);
/* By what the device mapper knows the volume of a row: "LVM-...". Owned. */
char *snap_uuid(const json_t *row);
/* Of which copy this snapshot says that it is; "" when it does not. Owned. */
char *snap_root(const json_t *row);
/* The number behind its name. */
unsigned snap_number(const json_t *row);
/* Is the row one of `tag`, of this disk of the volume in the row `of`? */
bool snap_is(const json_t *row, const char *tag, const char *disk, const json_t *of);

/* Make one of `bytes`, numbered n. */
int snap_make(const json_t *of, const char *tag, const char *disk, unsigned n, uint64_t bytes,
	      struct err *e);
/* It says of which copy it is from now on, instead of what it said. */
int snap_note(const json_t *row, const uint8_t root[SHA256_LEN], struct err *e);
int snap_take_away(const json_t *row, struct err *e);
/* Is it whole, as the kernel has it now? e says why not. */
bool snap_whole(const char *uuid, struct err *e);

/* ---- snapshot.c --------------------------------------------------------------------- */

struct snap_part {		/* a disk of the machine that is a volume */
	char *disk, *path;	/* in the plan, here; owned */
	char *uuid;		/* of the volume: "LVM-..."; owned */
	const json_t *row;	/* of the volume, in the view's rows; NULL: LVM does not say */
	const json_t *since;	/* its newest snapshot that says of which copy it is, or NULL */
	unsigned last;		/* the highest number of ours */
	uint64_t room;		/* what a new snapshot would get, bytes */
	char *why;		/* none can be made: owned */
	char *fault;		/* of `since`: it is lost; owned */
};

struct snapshot_view {
	char *tag;		/* drover-KEY; owned */
	json_t *rows;		/* of LVM; owned */
	struct snap_part *parts;	/* owned */
	size_t count;
};
struct snap_part *snap_part_of(const struct snapshot_view *v, const char *disk);

/* ---- snapshot_read.c ---------------------------------------------------------------- */

/* The snapshot known as `uuid`, as long as it is whole; else the volume at `path`, from the
 * first read on of which that cannot be said, and *lost is set. */
struct disk *snap_open(const char *uuid, const char *path, bool *lost, struct err *e);

#endif
