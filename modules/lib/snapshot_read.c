/* SPDX-License-Identifier: Apache-2.0
 * snapshot_read - a snapshot that may be lost while it is read.
 *
 * What was read is right if the snapshot is whole afterwards: the kernel calls it lost before
 * it lets a write through that it has no room for.
 */
#include "engine/base/mem.h"
#include "modules/lib/disk_over.h"
#include "modules/lib/dm.h"
#include "modules/lib/snapshot_priv.h"

struct frail {
	struct disk_over over;	/* the snapshot */
	struct disk *volume;	/* owned */
	char *uuid;		/* of the snapshot; owned */
	int dm;			/* to ask for its state */
	bool *lost;		/* set once, by any thread */
};

static bool is_whole(const struct frail *f)
{
	AUTO_FREE char *status = dm_status(f->dm, f->uuid, NULL);
	struct dm_fill fill;

	return dm_fill_of(status, &fill);
}

static int f_read(struct disk *d, void *buf, size_t n, uint64_t at, struct err *e)
{
	struct frail *f = (struct frail *)d;

	if (!__atomic_load_n(f->lost, __ATOMIC_ACQUIRE)) {
		AUTO_ERR mine = { 0 };
		int rc = disk_over_read(d, buf, n, at, &mine);

		if (is_whole(f)) {
			if (rc < 0 && e)
				err_move(e, &mine);
			return rc;
		}
		__atomic_store_n(f->lost, true, __ATOMIC_RELEASE);
	}
	return f->volume->ops->read(f->volume, buf, n, at, e);
}

static int f_close(struct disk *d, struct err *e)
{
	struct frail *f = (struct frail *)d;

	disk_close(&f->volume, NULL);
	mem_close_fd(&f->dm);
	mem_free_ptr(&f->uuid);
	return disk_over_close(d, e);
}

static const struct disk_ops ops = {
	.read = f_read, .write = disk_over_write, .zero = disk_over_zero,
	.flush = disk_over_flush, .extent = disk_over_extent, .close = f_close,
};

struct disk *snap_open(const char *uuid, const char *path, bool *lost, struct err *e)
{
	AUTO_FREE char *node = dm_node(uuid);
	AUTO_DISK *volume = disk_open(path, 0, e);
	AUTO_DISK *snap = node && volume ? disk_open(node, 0, e) : NULL;
	AUTO_FD dm = snap ? dm_open(e) : -1;
	struct frail *f;

	if (!node && volume)
		err_set(e, ERR_STEP, "cannot find the snapshot of '%s'", path);
	else if (snap && snap->size != volume->size)
		err_set(e, ERR_STEP, "the snapshot of '%s' is of another size", path);
	if (dm < 0 || snap->size != volume->size)
		return NULL;
	f = mem_alloc(sizeof(*f));
	disk_over_init(&f->over, &ops, snap);
	f->volume = volume;
	f->uuid = mem_strdup(uuid);
	f->dm = dm;
	f->lost = lost;
	dm = -1;
	snap = volume = NULL;
	return &f->over.d;
}
