/* SPDX-License-Identifier: Apache-2.0
 * disk_over - a disk over another one: what it does not do itself that one does.
 */
#include "modules/lib/disk_over.h"

#include <stdlib.h>

void disk_over_init(struct disk_over *o, const struct disk_ops *ops, struct disk *under)
{
	o->d = *under;
	o->d.ops = ops;
	o->under = under;
}

int disk_over_read(struct disk *d, void *buf, size_t n, uint64_t at, struct err *e)
{
	return disk_under(d)->ops->read(disk_under(d), buf, n, at, e);
}

int disk_over_write(struct disk *d, const void *buf, size_t n, uint64_t at, struct err *e)
{
	return disk_under(d)->ops->write(disk_under(d), buf, n, at, e);
}

int disk_over_zero(struct disk *d, uint64_t at, uint64_t n, struct err *e)
{
	return disk_under(d)->ops->zero(disk_under(d), at, n, e);
}

int disk_over_flush(struct disk *d, struct err *e)
{
	return disk_under(d)->ops->flush(disk_under(d), e);
}

int disk_over_extent(struct disk *d, uint64_t at, uint64_t *len, bool *hole, struct err *e)
{
	return disk_under(d)->ops->extent(disk_under(d), at, len, hole, e);
}

int disk_over_close(struct disk *d, struct err *e)
{
	struct disk_over *o = (struct disk_over *)d;
	int rc = disk_close(&o->under, e);

	free(o);
	return rc;
}
