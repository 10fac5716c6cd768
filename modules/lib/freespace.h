/* SPDX-License-Identifier: Apache-2.0
 * freespace - what of a quiet disk nobody needs: blocks that its ext2, ext3, ext4,
 * XFS or NTFS call free, the inside of swap areas, the gaps between partitions.
 *
 * Nothing is called free that is not known to be: a file system that is in use, was not
 * cleanly unmounted, is damaged or of another kind is read whole, and so are the first
 * and the last MiB of a disk, gaps around logical partitions, and a swap area that holds
 * a hibernated system.
 */
#ifndef DROVER_FREESPACE_H
#define DROVER_FREESPACE_H

#include "engine/base/mem.h"
#include "modules/lib/disk.h"

struct free_run { uint64_t at, len; };

struct freespace {
	struct free_run *v;	/* owned; sorted, apart from each other, 64 KiB or more each */
	size_t count, cap;
	uint64_t bytes;		/* all of them together */
	struct str said;	/* per partition, for a log: what is free, or why nothing is */
	struct str whole;	/* those of which nothing is, a line each; not the smallest */
};

#define AUTO_FREESPACE __attribute__((cleanup(freespace_free))) struct freespace

/* Look at a disk that nothing uses. What cannot be read has no free space, and says so. */
void freespace_find(struct disk *d, struct freespace *f);
void freespace_free(struct freespace *f);

/* The same disk, in which free space is known to be zeros: it is a hole, and never
 * read. Takes `d` and the runs, leaves `f` empty. */
struct disk *freespace_skip(struct disk *d, struct freespace *f);

#endif
