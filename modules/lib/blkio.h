/* SPDX-License-Identifier: Apache-2.0
 * blkio - bytes of a disk, or of a part of one, at any offset and of any length,
 * for those who read its structures. A small value over `struct disk`.
 */
#ifndef DROVER_BLKIO_H
#define DROVER_BLKIO_H

#include "modules/lib/disk.h"

struct blk {
	struct disk *disk;	/* borrowed */
	uint64_t start, size;	/* bytes */
	uint32_t sector;	/* logical sector size by which tables count */
};

struct blk blk_of(struct disk *d);		/* the whole of it */
/* A part of it; -1 with e when it does not fit. */
int blk_window(const struct blk *whole, uint64_t start, uint64_t size,
	       struct blk *part, struct err *e);

/* All or nothing; what lies beyond `size` is refused. */
int blk_read(const struct blk *b, void *p, size_t n, uint64_t at, struct err *e);
int blk_write(const struct blk *b, const void *p, size_t n, uint64_t at,
	      struct err *e);

#endif
