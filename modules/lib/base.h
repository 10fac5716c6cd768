/* SPDX-License-Identifier: Apache-2.0
 * base - the base image of a disk, whatever it is: a file, a device that was there, or
 * a logical volume. Is it there and ours; make it, grow it, take it away.
 */
#ifndef DROVER_BASE_H
#define DROVER_BASE_H

#include "modules/lib/disk.h"
#include "modules/lib/layout.h"
#include "modules/module.h"

/* Refuse what drover did not make, where the plan does not let it be replaced. *there
 * (may be NULL): something is at its place. */
int base_check(struct ctx *c, const char *disk, const struct layout_disk *d, bool *there,
	       struct err *e);
/* Of a copy that is gone on with: is it somebody else's by now? -1 with e. */
int base_still_ours(const struct layout_disk *d, struct err *e);
/* Make it for `size` bytes at least, noted in the ledger and in its record before, and
 * open it for writing. disk->blank where that is known. d->base may change: LVM says
 * where a volume is. */
struct disk *base_make(struct ctx *c, const char *disk, struct layout_disk *d,
		       uint64_t size, struct err *e);
/* Open it for writing and make it as long as the plan wants; `size` is the source's.
 * e->sys is ENOENT when it is gone. */
struct disk *base_open(const char *disk, struct layout_disk *d, uint64_t size,
		       struct err *e);
/* The bytes it is to have: the plan's, at least the source's. */
uint64_t base_size(const struct layout_disk *d, uint64_t source);
/* Does its format hold a disk of that size, and can the one that is there be made as long?
 * -1 with e when not. */
int base_fits(const char *disk, const struct layout_disk *d, uint64_t source, struct err *e);
/* The host went down while it was written to, and its format does not bear that: nothing
 * in it can be relied upon. */
bool base_torn(const struct layout_disk *d);
/* It was closed by who wrote to it: from now on it bears whatever comes. */
int base_closed(struct layout_disk *d, struct err *e);
/* Let libvirt see in its pool what came or went; it is no fault when it does not. */
void base_announce(struct ctx *c, const struct layout_disk *d);
/* Take away what we made; of a device that was there, wipe the first `written` bytes. */
int base_remove(struct ctx *c, const char *disk, const struct layout_disk *d,
		uint64_t written, struct err *e);

#endif
