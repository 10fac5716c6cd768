/* SPDX-License-Identifier: Apache-2.0
 * disk_over - a disk over another one: what it does not do itself that one does.
 */
#ifndef DROVER_DISK_OVER_H
#define DROVER_DISK_OVER_H

#include "modules/lib/disk.h"

/* First in the struct of the disk that lies over `under`. */
struct disk_over {
	struct disk d;		/* as the one below, but for its ops; its path is borrowed */
	struct disk *under;	/* owned */
};

/* `o` is the beginning of memory of malloc() that disk_over_close() frees; takes `under`. */
void disk_over_init(struct disk_over *o, const struct disk_ops *ops, struct disk *under);

static inline struct disk *disk_under(struct disk *d)
{
	return ((struct disk_over *)d)->under;
}

/* Rows of `ops` that ask the disk below. */
int disk_over_read(struct disk *d, void *buf, size_t n, uint64_t at, struct err *e);
int disk_over_write(struct disk *d, const void *buf, size_t n, uint64_t at, struct err *e);
int disk_over_zero(struct disk *d, uint64_t at, uint64_t n, struct err *e);
int disk_over_flush(struct disk *d, struct err *e);
int disk_over_extent(struct disk *d, uint64_t at, uint64_t *len, bool *hole, struct err *e);
/* Closes the disk below, frees this one. */
int disk_over_close(struct disk *d, struct err *e);

#endif
