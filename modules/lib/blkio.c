/* SPDX-License-Identifier: Apache-2.0
 * blkio - reading a disk's structures, whatever alignment the way in asks for.
 */
#include "modules/lib/blkio.h"
#include "engine/base/mem.h"

#include <errno.h>
#include <string.h>

struct blk blk_of(struct disk *d)
{
	return (struct blk){ .disk = d, .size = d->size,
			     .sector = d->sector ? d->sector : 512 };
}

static int refuse(const struct blk *b, struct err *e)
{
	errno = ERANGE;
	return err_set(e, ERR_STEP, "cannot read '%s': a structure on it points "
		       "beyond its %llu bytes", b->disk->path,
		       (unsigned long long)b->size);
}

static bool fits(const struct blk *b, uint64_t n, uint64_t at)
{
	return at <= b->size && n <= b->size - at;
}

int blk_window(const struct blk *whole, uint64_t start, uint64_t size,
	       struct blk *part, struct err *e)
{
	if (!fits(whole, size, start))
		return refuse(whole, e);
	*part = *whole;
	part->start += start;
	part->size = size;
	return 0;
}

/* Aligned on the outside, what was asked for on the inside. */
static int read_bounced(struct disk *d, uint8_t *p, size_t n, uint64_t at,
			struct err *e)
{
	uint64_t from = at & ~(uint64_t)(DISK_ALIGN - 1);
	uint64_t to = (at + n + DISK_ALIGN - 1) & ~(uint64_t)(DISK_ALIGN - 1);
	AUTO_FREE uint8_t *buf = NULL;

	if (to > d->size)
		to = d->size;
	buf = disk_buffer(to - from);
	if (d->ops->read(d, buf, to - from, from, e) < 0)
		return -1;
	memcpy(p, buf + (at - from), n);
	return 0;
}

int blk_read(const struct blk *b, void *p, size_t n, uint64_t at, struct err *e)
{
	const size_t piece = 1024 * 1024;
	uint8_t *to = p;

	if (!fits(b, n, at))
		return refuse(b, e);
	for (size_t done = 0, k; done < n; done += k) {
		k = n - done < piece ? n - done : piece;
		if (read_bounced(b->disk, to + done, k, b->start + at + done, e) < 0)
			return -1;
	}
	return 0;
}

int blk_write(const struct blk *b, const void *p, size_t n, uint64_t at,
	      struct err *e)
{
	if (!fits(b, n, at))
		return refuse(b, e);
	return b->disk->ops->write(b->disk, p, n, b->start + at, e);
}
