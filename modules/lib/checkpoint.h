/* SPDX-License-Identifier: Apache-2.0
 * checkpoint - the qcow2 disks of a libvirt domain: read at one instant while it runs, and
 * what was written to them since, told by QEMU's dirty bitmaps.
 *
 * A pass of a running (or paused) domain is one pull-mode backup: libvirt keeps that
 * instant for us, what the guest overwrites meanwhile goes to a scratch file beside each
 * image, and the disks are read over NBD. With the backup begins a checkpoint, from which
 * on bitmaps note every write; the next pass asks for what was written since. A domain
 * that was shut down left its bitmaps in its images: qemu-nbd reads both.
 *
 * Nothing is missed:
 *
 *   - The new checkpoint begins at the backup's own instant, in one transaction.
 *   - A checkpoint says of which copy it is (the root of each disk, in its description)
 *     once the target has all of it; the older ones go only then. One that does not say
 *     it is of no use.
 *   - libvirt refuses a bitmap that is missing or not whole (after a crash of QEMU, or a
 *     power cut): all of the disk is read once, and it is said.
 *   - A target that holds another copy is compared whole.
 *
 * What a machine's passes made has one name, drover-KEY: its checkpoints ("drover-KEY-7"),
 * its sockets, its scratch files. The ledger has it ("checkpoint"). A backup ends with the
 * pass, also when the step is killed: a process of its own waits for that.
 */
#ifndef DROVER_CHECKPOINT_H
#define DROVER_CHECKPOINT_H

#include "modules/lib/disk.h"
#include "modules/lib/track.h"
#include "modules/module.h"

/* ---- asking ------------------------------------------------------------------------ */

enum checkpoint_way {
	CHECKPOINT_NONE,	/* no bitmap can follow this disk */
	CHECKPOINT_CAN,		/* one would from the next pass on */
	CHECKPOINT_LOST,	/* the same: one did, and is of no use any more */
	CHECKPOINT_FOLLOWS,	/* one does */
};

/* What a machine's domain is just now; NULL: the source is no domain, or its libvirt does
 * not answer. Changes nothing. */
struct checkpoint_view;
struct checkpoint_view *checkpoint_view(const struct ctx *c);
void checkpoint_view_free(struct checkpoint_view **v);
#define AUTO_VIEW __attribute__((cleanup(checkpoint_view_free))) struct checkpoint_view
/* `why` (may be NULL) gets a static text when there is none, or it is lost. */
enum checkpoint_way checkpoint_of(const struct checkpoint_view *v, const char *disk,
				  const json_t *spec, const char **why);
/* Of a disk that one follows: the digest of the copy that it knows. Borrowed. */
const char *checkpoint_since(const struct checkpoint_view *v, const char *disk);
/* The directory of its scratch file, and what that may hold at most; NULL: it needs none,
 * since the domain is off. Owned. */
char *checkpoint_scratch(const struct checkpoint_view *v, const json_t *spec);

/* ---- a pass ------------------------------------------------------------------------ */

struct checkpoint_how {
	bool (*wants)(const struct ctx *c, const char *disk, const json_t *spec);
	bool use;	/* ask bitmaps what was written */
	bool begin;	/* and begin a new checkpoint */
	bool held;	/* the source stands still: nothing that is there is taken away */
};

struct checkpoint_pass;
/* Begin a pass. 0 with *p, or with NULL there: no disk is read this way; -1 (told). */
int checkpoint_begin(struct ctx *c, const struct checkpoint_how *h,
		     struct checkpoint_pass **p);
/* Is this disk read this way? p may be NULL. */
bool checkpoint_has(const struct checkpoint_pass *p, const char *disk);
/* The disk, and either what was written to it (*why NULL, *t filled, the caller frees it)
 * or why all of it is to be read; *why lasts as long as p. NULL with e. */
struct disk *checkpoint_open(struct checkpoint_pass *p, const char *disk,
			     struct track_changes *t, const char **why, struct err *e);
/* Must the pass stop? What the guest overwrites has nearly filled its place: e says it. */
bool checkpoint_is_full(struct checkpoint_pass *p, struct err *e);
/* The target has all of this disk, with this root. */
void checkpoint_confirm(struct checkpoint_pass *p, const char *disk,
			const uint8_t root[SHA256_LEN]);
/* track_rebase() of a bitmap. */
void checkpoint_rebase(struct checkpoint_pass *p, const char *disk,
		       const uint8_t from[SHA256_LEN], const uint8_t to[SHA256_LEN]);
/* The pass is over. p may be NULL. What cannot be taken away now is left to the next pass
 * or to cleanup, and logged. */
void checkpoint_end(struct checkpoint_pass *p, bool whole);

/* ---- taking away ------------------------------------------------------------------- */

/* What the ledger calls so: backup, scratch files, checkpoints with their bitmaps. Fine
 * when there is none. -1 with e. */
int checkpoint_remove(const char *name, const json_t *detail, struct err *e);
/* The same of this machine's, and strike it from the ledger. 0, -1 (told). */
int checkpoint_stop(struct ctx *c);

#endif
