/* SPDX-License-Identifier: Apache-2.0
 * disk - raw files and block devices.
 */
#include "modules/lib/disk.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "modules/lib/imgcheck.h"
#include "modules/lib/imgforeign.h"
#include "modules/lib/imgkind.h"
#include "modules/lib/qemunbd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

struct raw {
	struct disk d;
	int fd;		/* past the page cache if d.direct; what is not aligned is written here too */
	int past;	/* writes what is aligned past the page cache; -1: nothing does */
	bool punch;	/* fallocate() has not said that it cannot */
};

void *disk_buffer(size_t n)
{
	n = (n + DISK_ALIGN - 1) & ~(size_t)(DISK_ALIGN - 1);
	return mem_aligned(DISK_ALIGN, n ? n : DISK_ALIGN);
}

static struct raw *raw_of(struct disk *d)
{
	return (struct raw *)d;
}

/* Not by errno: ENODATA is what a disk says of a sector that it cannot read. */
static int ended(struct disk *d, uint64_t at, struct err *e)
{
	err_set(e, ERR_STEP, "cannot read '%s' at byte %llu: it ends there now, it had "
		"%llu bytes", d->path, (unsigned long long)at, (unsigned long long)d->size);
	return err_hint(e, "something made it shorter: stop that and bring it back, then "
			"drover run PLAN; or drover rollback PLAN --to convert");
}

static int fault(struct disk *d, const char *verb, uint64_t n, uint64_t at, struct err *e)
{
	return err_sys(e, "cannot %s '%s' at byte %llu, length %llu", verb, d->path,
		       (unsigned long long)at, (unsigned long long)n);
}

static int raw_read(struct disk *d, void *buf, size_t n, uint64_t at, struct err *e)
{
	size_t want = n, got = 0;

	if (d->direct)	/* whole sectors; the buffer has room, end of file stops it */
		want = (n + DISK_ALIGN - 1) & ~(size_t)(DISK_ALIGN - 1);
	if (d->direct && d->block && at + want > d->size)
		want = n;
	while (got < n) {
		ssize_t r = pread(raw_of(d)->fd, (char *)buf + got, want - got,
				  (off_t)(at + got));

		if (r < 0 && errno == EINTR)
			continue;
		if (r == 0)
			return ended(d, at + got, e);
		if (r < 0)
			return fault(d, "read", n - got, at + got, e);
		got += (size_t)r;
	}
	return 0;
}

static bool aligned(const void *buf, size_t n, uint64_t at)
{
	return ((uintptr_t)buf | n | at) % DISK_ALIGN == 0;
}

static int raw_write(struct disk *d, const void *buf, size_t n, uint64_t at, struct err *e)
{
	struct raw *r = raw_of(d);

	if (r->past >= 0 && aligned(buf, n, at)) {
		if (io_pwrite_full(r->past, buf, n, at) == 0)
			return 0;
		if (errno != EINVAL)	/* it wants wider sectors than we know */
			return fault(d, "write", n, at, e);
	}
	if (io_pwrite_full(r->fd, buf, n, at) < 0)
		return fault(d, "write", n, at, e);
	/* Begin write-back now, so that a later flush has little left to wait for. */
	sync_file_range(raw_of(d)->fd, (off_t)at, (off_t)n, SYNC_FILE_RANGE_WRITE);
	return 0;
}

static int write_zeros(struct disk *d, uint64_t at, uint64_t n, struct err *e)
{
	AUTO_FREE char *zeros = mem_alloc(1 << 20);

	while (n > 0) {
		size_t part = n < 1 << 20 ? (size_t)n : 1 << 20;

		if (raw_write(d, zeros, part, at, e) < 0)
			return -1;
		at += part;
		n -= part;
	}
	return 0;
}

static int raw_zero(struct disk *d, uint64_t at, uint64_t n, struct err *e)
{
	static const int modes[] = {
		FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
	};
	struct raw *r = raw_of(d);

	if (n >= d->sector && __atomic_load_n(&r->punch, __ATOMIC_RELAXED)) {
		for (size_t i = 0; i < ARRAY_LEN(modes); i++)
			if (fallocate(r->fd, modes[i], (off_t)at, (off_t)n) == 0)
				return 0;
		if (errno == EOPNOTSUPP || errno == ENOSYS)
			__atomic_store_n(&r->punch, false, __ATOMIC_RELAXED);
		else if (errno != EINVAL)
			return fault(d, "write", n, at, e);
	}
	return write_zeros(d, at, n, e);
}

static int raw_flush(struct disk *d, struct err *e)
{
	return fdatasync(raw_of(d)->fd) < 0 ? err_sys(e, "cannot sync '%s'", d->path) : 0;
}

/* Holes count on files only: a block device's answer says nothing of its content. */
static int raw_extent(struct disk *d, uint64_t at, uint64_t *len, bool *hole,
		      struct err *e)
{
	struct stat st;
	off_t data, end;

	*hole = false;
	*len = d->size - at;
	if (d->block)
		return 0;
	data = lseek(raw_of(d)->fd, (off_t)at, SEEK_DATA);
	if (data < 0 && errno != ENXIO)
		return 0;	/* it cannot tell */
	if (data < 0) {
		*hole = true;	/* up to the end: but not where the end came nearer */
		if (fstat(raw_of(d)->fd, &st) < 0)
			return err_sys(e, "cannot look at '%s'", d->path);
		return (uint64_t)st.st_size >= d->size ? 0 : ended(d, (uint64_t)st.st_size, e);
	}
	if ((uint64_t)data > at) {
		*hole = true;
		*len = (uint64_t)data < d->size ? (uint64_t)data - at : *len;
		return 0;
	}
	end = lseek(raw_of(d)->fd, (off_t)at, SEEK_HOLE);
	if (end > (off_t)at && (uint64_t)end < d->size)
		*len = (uint64_t)end - at;
	return 0;
}

static int raw_close(struct disk *d, struct err *e)
{
	int rc = close(raw_of(d)->fd);

	mem_close_fd(&raw_of(d)->past);
	if (rc < 0)
		err_sys(e, "cannot close '%s'", d->path);
	free(d->path);
	free(d);
	return rc;
}

static const struct disk_ops raw_ops = {
	.read = raw_read, .write = raw_write, .zero = raw_zero,
	.flush = raw_flush, .extent = raw_extent, .close = raw_close,
};

/* ---- opening ------------------------------------------------------------- */

static int open_flags(const struct stat *st, unsigned flags)
{
	int f = O_CLOEXEC | (flags & DISK_WRITE ? O_RDWR : O_RDONLY);

	if (S_ISBLK(st->st_mode) && (flags & DISK_WRITE))
		f |= O_EXCL;
	/* A device is always read past the cache: whatever lies on it may be mounted,
	 * and the cache of a device does not see what a file system wrote. */
	if (!(flags & DISK_WRITE) && (S_ISBLK(st->st_mode) || (flags & DISK_DIRECT)))
		f |= O_DIRECT;
	return f;
}

static int open_raw(const char *path, unsigned flags, struct stat *st, bool *direct,
		    struct err *e)
{
	int f, fd;

	if (stat(path, st) < 0)
		return err_sys(e, "cannot open disk '%s'", path);
	if (!S_ISREG(st->st_mode) && !S_ISBLK(st->st_mode))
		return err_set(e, ERR_STEP, "cannot open disk '%s': it is neither a file "
			       "nor a block device", path);
	f = open_flags(st, flags);
	fd = open(path, f);
	if (fd < 0 && errno == EINVAL && (f & O_DIRECT) && S_ISREG(st->st_mode)) {
		f &= ~O_DIRECT;		/* tmpfs and others have no such thing */
		fd = open(path, f);
	}
	if (fd < 0 && errno == EBUSY) {
		err_set(e, ERR_STEP, "cannot write to '%s': it is mounted or in use", path);
		return err_hint(e, "name a device that nothing uses");
	}
	if (fd < 0)
		return err_sys(e, "cannot open disk '%s'", path);
	*direct = f & O_DIRECT;
	return fd;
}

/* The same file once more, for writing past the page cache; -1: that cannot be had. */
static int open_past(int fd)
{
	char self[32];

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	return open(self, O_WRONLY | O_DIRECT | O_CLOEXEC);
}

struct disk *disk_open(const char *path, unsigned flags, struct err *e)
{
	struct disk_info info;
	struct raw *r;
	struct stat st;
	bool direct = false;
	int fd = open_raw(path, flags, &st, &direct, e);

	if (fd < 0)
		return NULL;
	if (disk_info(path, "raw", &info, e) < 0) {
		close(fd);
		return NULL;
	}
	/* Drop what the cache holds where O_DIRECT could not be had. */
	if ((flags & DISK_DIRECT) && !(flags & DISK_WRITE) && !direct)
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	r = mem_alloc(sizeof(*r));
	r->d = (struct disk){ .ops = &raw_ops, .path = mem_strdup(path),
		.size = info.size, .sector = info.sector, .block = info.block,
		.direct = direct };
	r->fd = fd;
	r->past = (flags & DISK_WRITE) && (flags & DISK_DIRECT) ? open_past(fd) : -1;
	r->punch = true;
	return &r->d;
}

/* Of another hypervisor; what lies in several files is only read. */
static struct disk *open_foreign(const char *path, const char *format, unsigned flags,
				 struct err *e)
{
	AUTO_FREE char *real = realpath(path, NULL);
	AUTO_IMG_FILES beside = { .count = 0 };

	if (!real)
		err_sys(e, "cannot open image '%s'", path);
	if (!real || imgforeign_check(real, format, &beside, e) < 0)
		return NULL;
	if (beside.count == 0)
		return qemunbd_open(real, format, flags, e);
	if (!(flags & DISK_WRITE))
		return qemunbd_open_split(real, format, &beside, flags, e);
	err_set(e, ERR_STEP, "cannot write to image '%s': it lies in several files", path);
	err_hint(e, "move it away; drover makes an image in one file");
	return NULL;
}

struct disk *disk_open_image(const char *path, const char *format, unsigned flags,
			     struct err *e)
{
	struct disk_info info;
	uint64_t size;

	if (strcmp(format, "raw") == 0)
		return disk_open(path, flags, e);
	if (imgforeign_is(format))
		return open_foreign(path, format, flags, e);
	if (strcmp(format, "qcow2") != 0) {
		err_set(e, ERR_STEP, "cannot open image '%s': format '%s' is not "
			"supported", path, format);
		err_hint(e, "formats: " IMG_KINDS);
		return NULL;
	}
	if (imgcheck_qcow2(path, &size, e) < 0)
		return NULL;
	if ((flags & DISK_LIVE) && disk_info(path, format, &info, NULL) == 0 && info.busy)
		return qemunbd_open_live(path, e);
	return qemunbd_open(path, format, flags, e);
}

struct disk *disk_open_source(const char *name, const json_t *spec, unsigned flags,
			      struct err *e)
{
	AUTO_FREE char *path = disk_find(name, spec, e);

	if (!path)
		return NULL;
	return disk_open_image(path, jstr(spec, "format", "raw"), flags & ~DISK_WRITE, e);
}

int disk_close(struct disk **d, struct err *e)
{
	struct disk *old = *d;

	*d = NULL;
	return old ? old->ops->close(old, e) : 0;
}

void disk_close_ptr(struct disk **d)
{
	disk_close(d, NULL);
}

uint64_t disk_due(struct disk *d, uint32_t chunk)
{
	uint64_t sum = 0, len, to;
	bool hole;

	for (uint64_t at = 0; at < d->size; at = to) {
		if (d->ops->extent(d, at, &len, &hole, NULL) < 0)
			return d->size;
		to = at + len;
		hole = hole && (len >= chunk || to == d->size);
		if (to < d->size)
			to = (to + (hole ? 0 : chunk - 1)) / chunk * chunk;
		if (to > d->size)
			to = d->size;
		sum += hole ? 0 : to - at;
	}
	return sum;
}
