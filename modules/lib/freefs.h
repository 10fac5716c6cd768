/* SPDX-License-Identifier: Apache-2.0
 * freefs - free space of single file systems, for freespace.c alone: own readers, which
 * give up at whatever they do not understand.
 *
 * Nothing in a file system is believed: each length is bounded by the partition, each run
 * lies in it and behind the one before, and the sums that it keeps must be met.
 */
#ifndef DROVER_FREEFS_H
#define DROVER_FREEFS_H

#include "modules/lib/blkio.h"
#include "modules/lib/freespace.h"

/* NULL: what is free was added to `f`; else why nothing can be told, a static text (and
 * what was added until then must be dropped). */
const char *freexfs_find(struct freespace *f, const struct blk *part);
const char *freentfs_find(struct freespace *f, const struct blk *part);

/* Bytes of the disk that are free; what is too short to be worth it is passed over. */
void freespace_add(struct freespace *f, uint64_t at, uint64_t len);

#endif
