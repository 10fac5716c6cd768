/* SPDX-License-Identifier: Apache-2.0
 * track - which parts of a serving disk were written since it was copied, told by
 * the kernel's own block tracepoints.
 *
 * A machine has one tracker at its source: a process of its own, in memory only,
 * that listens to a private tracefs instance and keeps three bitmaps for each disk.
 * It is started before the first pass reads, outlives the step, and ends when it is
 * told to, or when nobody asked it anything for `keep_ms`.
 *
 * Nothing is missed:
 *
 *   - It counts *completed* writes (block_rq_complete). A write that was counted before
 *     track_take() was on the device before the pass reads; one that completes later is
 *     in the next bitmap, even when the pass read it half. Writes in flight need no care.
 *   - Requests bear the whole disk and its sectors, whichever partition, LVM or md they
 *     came through. A device that has no requests of its own (dm, md) is not traced.
 *   - Discards may share one request though they do not touch; they are counted when
 *     they are queued (block_bio_queue) too.
 *   - Each CPU's buffer is emptied by a thread that runs on that CPU: whoever was
 *     amid an event there has finished it.
 *   - Lost events (the kernel counts them), a new tracker after a reboot or a kill,
 *     another device in place of the disk: all of the disk is read once, and it is said.
 *   - The bitmap is relative to a copy, known by its root digest. A target that holds
 *     any other copy is compared whole.
 *
 * Not seen by it: raw SCSI or NVMe commands that write past the block layer.
 */
#ifndef DROVER_TRACK_H
#define DROVER_TRACK_H

#include "engine/base/io.h"
#include "modules/module.h"

#define TRACK_KEEP_MS (24u * 3600 * 1000)	/* when the plan says nothing */
#define TRACK_LAST_MS (3600u * 1000)		/* after the last pass: it may go back */

/* Which granules of a disk were written since the copy with root `base`. */
struct track_changes {
	uint8_t *bits;		/* one a granule; owned */
	uint64_t granule;	/* bytes */
	uint64_t count;		/* of granules */
	uint64_t bytes;		/* that they make, at most */
	uint8_t base[SHA256_LEN];
};
/* None yet, of a disk of `size` bytes, and a base that is to be filled in. */
void track_changes_make(struct track_changes *t, uint64_t size);
/* [at, at + len) was written, which lies inside of the disk; len >= 1. */
void track_changes_add(struct track_changes *t, uint64_t at, uint64_t len);
/* Anything in [at, at + len)? */
bool track_changed(const struct track_changes *t, uint64_t at, uint64_t len);
void track_changes_free(struct track_changes *t);
#define AUTO_CHANGES __attribute__((cleanup(track_changes_free))) struct track_changes

/* Why the writes of what stands at this path cannot be traced here; NULL: they can. A
 * static text that goes on from "its writes are not traced: ". Changes nothing. */
const char *track_why_not(const char *path);
/* Is there a tracker that follows this disk? */
bool track_follows(const struct ctx *c, const char *disk, const char *path);
/* Is all known that was written to it since a copy? Then `root` is that copy's. */
bool track_since(const struct ctx *c, const char *disk, const char *path,
		 uint8_t root[SHA256_LEN]);
/* Follow all disks of the machine that are copied and can be followed, unless all of
 * them are already. The ledger has it ("tracker"). 0, -1 (told) only when the engine
 * is gone: who cannot trace compares digests. */
int track_start(struct ctx *c, uint64_t keep_ms);
/* Before a pass reads: what is to be read. NULL with *t filled (the caller frees it),
 * or why all of the disk is ("no tracker follows it", TRACK_NEW); a static text. */
#define TRACK_NEW "its writes are followed from now on"
const char *track_take(const struct ctx *c, const char *disk, const char *path,
		       uint64_t keep_ms, struct track_changes *t);
/* After the pass: the target has all that was taken, and this root. */
void track_confirm(const struct ctx *c, const char *disk, const uint8_t root[SHA256_LEN],
		   uint64_t keep_ms);
/* The copy `from` became `to`, by chunks that were read while all was followed: what was
 * written since the one was written since the other, or is in it. Of one that is relative to
 * any other copy nothing changes. */
void track_rebase(const struct ctx *c, const char *disk, const uint8_t from[SHA256_LEN],
		  const uint8_t to[SHA256_LEN]);
/* The same as track_confirm() of a backup: a copy to which passes may go back. */
void track_anchor(const struct ctx *c, const char *disk, const uint8_t root[SHA256_LEN],
		  uint64_t keep_ms);
/* The target's copy goes. What was anchored is what the next pass is relative to, as if none
 * had come since; where nothing was the tracker ends. 0, -1 (told). */
int track_back(struct ctx *c, uint64_t keep_ms);
/* End the tracker of this name and remove its instance; fine when there is none. */
int track_end(const char *name, struct err *e);
/* The same for this machine's, and strike it from the ledger. 0, -1 (told). */
int track_stop(struct ctx *c);
/* Write back what the page cache holds of a device and its partitions: before the
 * last pass asks what was written. Files need none. 0, -1 with e. */
int track_settle(const char *path, struct err *e);

#endif
