/* SPDX-License-Identifier: Apache-2.0
 * snapshot - disks that are logical volumes: read at one instant while they serve, and what
 * was written to them since, told by snapshots of LVM.
 *
 * A pass makes a (thick) snapshot of each such disk, where its volume group has room, and
 * reads that. It stays when the pass is over: from then on the kernel keeps in it what is
 * overwritten, and the list of that, which snapcow.h reads, is what the next pass has to read.
 *
 * Nothing is missed:
 *
 *   - The new snapshot is made before the old one's list is read. Making it holds the volume
 *     still for a moment: all that was written before is in that list.
 *   - A snapshot says in a tag of which copy it is (drover-root-DIGEST) once the target has
 *     all of it; the older one goes only then. One that does not say it is of no use.
 *   - One that ran full is lost, and the kernel says so before it lets the write through that
 *     had no room. What was read is asked about after it was read: of one that was lost
 *     meanwhile nothing is believed, the volume itself is read instead, and no list is begun.
 *   - A target that holds another copy is compared whole.
 *
 * Where the source stands still no snapshot is made or taken away: the volume itself is read.
 * So it is where there is room for no second one. The old snapshot then goes on: it has all
 * that was written since the new copy too, and says so.
 *
 * What a machine's passes made is called drover-KEY-DISK-NUMBER, and has the tag drover-KEY.
 * The ledger has that ("lvm-snapshot").
 */
#ifndef DROVER_SNAPSHOT_H
#define DROVER_SNAPSHOT_H

#include "modules/lib/disk.h"
#include "modules/lib/track.h"
#include "modules/module.h"

/* ---- asking ------------------------------------------------------------------------ */

/* How many bytes a snapshot of a volume of `size` gets where `share` of the group's room is
 * for it: a tenth, SNAPSHOT_MIN at least, and no more than all of it would take; where there
 * is less, what is there, down to a fiftieth and SNAPSHOT_LEAST. Whole extents; 0: there is
 * no room. */
#define SNAPSHOT_MIN (256ull << 20)
#define SNAPSHOT_LEAST (8ull << 20)
uint64_t snapshot_size(uint64_t size, uint64_t share, uint64_t extent);
/* The same, for want of room: the least that would do. */
uint64_t snapshot_least(uint64_t size, uint64_t extent);

enum snapshot_way {
	SNAPSHOT_NONE,		/* no snapshot can follow this disk */
	SNAPSHOT_CAN,		/* one would from the next pass on */
	SNAPSHOT_LOST,		/* one did, and is of no use any more */
	SNAPSHOT_FOLLOWS,	/* one does */
};

/* What LVM says of a machine's volumes just now; NULL: none of its disks is one. Changes
 * nothing. */
struct snapshot_view;
struct snapshot_view *snapshot_view(const struct ctx *c);
void snapshot_view_free(struct snapshot_view **v);
#define AUTO_SNAPSHOTS __attribute__((cleanup(snapshot_view_free))) struct snapshot_view
/* Is it a logical volume? v may be NULL. */
bool snapshot_knows(const struct snapshot_view *v, const char *disk);
/* `why` (may be NULL) gets a text when there is none, or it is lost; it lasts as long as v. */
enum snapshot_way snapshot_of(const struct snapshot_view *v, const char *disk, const char **why);
/* Of a disk that one follows: the digest of the copy that it knows. Owned. */
char *snapshot_since(const struct snapshot_view *v, const char *disk);
/* The volume group in which one can be made for a pass that reads the disk now; NULL with
 * *why: none can. Of a disk that v knows; both last as long as v. */
const char *snapshot_place(const struct snapshot_view *v, const char *disk, const char **why);

/* ---- a pass ------------------------------------------------------------------------ */

struct snapshot_how {
	bool (*wants)(const struct ctx *c, const char *disk, const json_t *spec);
	bool use;	/* ask snapshots what was written */
	bool make;	/* and read from new ones */
	bool keep;	/* which stay, for the next pass */
	bool held;	/* the source stands still: none is made or taken away */
};

struct snapshot_pass;
/* Begin a pass. 0 with *p, or with NULL there: no disk is a volume; -1 (told): the engine is
 * gone. */
int snapshot_begin(struct ctx *c, const struct snapshot_how *h, struct snapshot_pass **p);
/* Is this disk a volume, of which the pass knows more than others? p may be NULL. */
bool snapshot_has(const struct snapshot_pass *p, const char *disk);
/* The disk, and either what was written to it (*why NULL, *t filled, the caller frees it) or
 * why all of it is to be read; *why lasts as long as p. *still: what is read does not change
 * meanwhile. NULL with e. */
struct disk *snapshot_open(struct snapshot_pass *p, const char *disk, struct track_changes *t,
			   const char **why, bool *still, struct err *e);
/* The target has all of this disk, with this root. */
void snapshot_confirm(struct snapshot_pass *p, const char *disk, const uint8_t root[SHA256_LEN]);
/* track_rebase() of the snapshot that notes its writes. */
void snapshot_rebase(struct snapshot_pass *p, const char *disk, const uint8_t from[SHA256_LEN],
		     const uint8_t to[SHA256_LEN]);
/* The pass is over; p may be NULL. What cannot be taken away now is left to the next pass or
 * to cleanup, and logged. */
void snapshot_end(struct snapshot_pass *p);

/* ---- taking away ------------------------------------------------------------------- */

/* All snapshots of this tag. Fine when there is none. -1 with e. */
int snapshot_remove(const char *tag, struct err *e);
/* The same of this machine's, and strike it from the ledger. 0, -1 (told). */
int snapshot_stop(struct ctx *c);

#endif
