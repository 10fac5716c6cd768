/* SPDX-License-Identifier: Apache-2.0
 * backup_read - images of a machine's disks: reading.
 */
#include "modules/lib/backup_impl.h"

#include "engine/base/mem.h"
#include "engine/base/text.h"
#include "modules/lib/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#define INDEX_MAX (1u << 20)

struct reader {
	struct disk d;
	struct backup_head h;
	int index, data;
};

static struct reader *of(const struct disk *d)
{
	return (struct reader *)d;
}

static int damaged(struct reader *r, uint64_t i, uint32_t len, struct err *e)
{
	err_set(e, ERR_STEP, "backup '%s' is damaged at byte %llu, length %u", r->d.path,
		(unsigned long long)(i * r->h.chunk), len);
	return err_hint(e, "use another backup of this machine: drover backups list");
}

static int get_entry(struct reader *r, uint64_t i, struct backup_entry *en, struct err *e)
{
	if (io_pread_full(r->index, en, sizeof(*en), backup_entry_at(i)) < 0)
		return err_sys(e, "cannot read backup '%s'", r->d.path);
	return 0;
}

/* One whole chunk into buf (h.chunk bytes). */
static int read_chunk(struct reader *r, uint64_t i, void *buf, struct err *e)
{
	uint64_t left = r->d.size - i * r->h.chunk;
	uint32_t len = left < r->h.chunk ? (uint32_t)left : r->h.chunk;
	AUTO_FREE void *frame = NULL;
	uint8_t digest[SHA256_LEN];
	struct backup_entry en;
	size_t got = len;

	if (get_entry(r, i, &en, e) < 0)
		return -1;
	if (en.flags == 0) {
		memset(buf, 0, len);
		return 0;
	}
	if (en.length > ZSTD_compressBound(r->h.chunk) ||
	    (en.flags == BACKUP_PLAIN ? en.length != len : en.flags != BACKUP_ZIP))
		return damaged(r, i, len, e);
	frame = mem_alloc(en.length + 1);
	if (io_pread_full(r->data, frame, en.length, en.offset) < 0)
		return errno == ENODATA ? damaged(r, i, len, e) :
			err_sys(e, "cannot read backup '%s'", r->d.path);
	if (en.flags == BACKUP_ZIP)
		got = ZSTD_decompress(buf, r->h.chunk, frame, en.length);
	else
		memcpy(buf, frame, len);
	if (got != len)
		return damaged(r, i, len, e);
	sha256_of(buf, len, digest);
	return memcmp(digest, en.digest, SHA256_LEN) ? damaged(r, i, len, e) : 0;
}

static int r_read(struct disk *d, void *buf, size_t n, uint64_t at, struct err *e)
{
	struct reader *r = of(d);
	AUTO_FREE char *chunk = mem_alloc(r->h.chunk);

	while (n > 0) {
		size_t skip = (size_t)(at % r->h.chunk), part = r->h.chunk - skip;

		if (part > n)
			part = n;
		if (read_chunk(r, at / r->h.chunk, chunk, e) < 0)
			return -1;
		memcpy(buf, chunk + skip, part);
		buf = (char *)buf + part;
		at += part;
		n -= part;
	}
	return 0;
}

static int r_write(struct disk *d, const void *buf, size_t n, uint64_t at, struct err *e)
{
	(void)buf;
	(void)n;
	(void)at;
	return err_set(e, ERR_STEP, "cannot write to backup '%s'", d->path);
}

static int r_zero(struct disk *d, uint64_t at, uint64_t n, struct err *e)
{
	return r_write(d, NULL, (size_t)n, at, e);
}

static int r_flush(struct disk *d, struct err *e)
{
	(void)d;
	(void)e;
	return 0;
}

static int r_extent(struct disk *d, uint64_t at, uint64_t *len, bool *hole, struct err *e)
{
	struct reader *r = of(d);
	uint64_t i = at / r->h.chunk, end;

	(void)e;
	*hole = backup_is_zero(d, i);
	while ((++i) * r->h.chunk < d->size && backup_is_zero(d, i) == *hole)
		;
	end = i * r->h.chunk < d->size ? i * r->h.chunk : d->size;
	*len = end - at;
	return 0;
}

static int r_close(struct disk *d, struct err *e)
{
	struct reader *r = of(d);

	(void)e;
	mem_close_fd(&r->index);
	mem_close_fd(&r->data);
	free(d->path);
	free(r);
	return 0;
}

static const struct disk_ops ops = {
	.read = r_read, .write = r_write, .zero = r_zero,
	.flush = r_flush, .extent = r_extent, .close = r_close,
};

bool backup_is_zero(struct disk *d, uint64_t index)
{
	struct backup_entry en;

	return get_entry(of(d), index, &en, NULL) == 0 && en.flags == 0;
}

uint32_t backup_chunk(const struct disk *d)
{
	return of(d)->h.chunk;
}

void backup_root(const struct disk *d, uint8_t root[SHA256_LEN])
{
	memcpy(root, of(d)->h.root, SHA256_LEN);
}

/* The index must have the root that its header says. */
static int check_index(struct reader *r, struct err *e)
{
	uint8_t root[SHA256_LEN];
	bool ok = io_pread_full(r->index, &r->h, sizeof(r->h), 0) == 0 &&
		memcmp(r->h.magic, BACKUP_MAGIC, sizeof(r->h.magic)) == 0 &&
		r->h.size > 0 && r->h.chunk >= STREAM_CHUNK_MIN &&
		r->h.chunk <= STREAM_CHUNK_MAX &&
		backup_compute_root(r->index, &r->h, root) == 0 &&
		memcmp(root, r->h.root, SHA256_LEN) == 0;

	if (ok)
		return 0;
	err_set(e, ERR_STEP, "backup '%s' is damaged: its index is not whole", r->d.path);
	return err_hint(e, "use another backup of this machine: drover backups list");
}

struct disk *backup_open(const char *dir, const char *disk, struct err *e)
{
	AUTO_FREE char *index = mem_printf("%s/%s.index", dir, disk);
	struct reader *r = mem_alloc(sizeof(*r));

	r->d = (struct disk){ .ops = &ops, .sector = 512,
		.path = mem_printf("%s/%s.data", dir, disk) };
	r->index = open(index, O_RDONLY | O_CLOEXEC);
	r->data = open(r->d.path, O_RDONLY | O_CLOEXEC);
	if (r->index < 0 || r->data < 0)
		err_sys(e, "cannot open backup '%s'", r->d.path);
	else if (check_index(r, e) == 0) {
		r->d.size = r->h.size;
		return &r->d;
	}
	r_close(&r->d, NULL);
	return NULL;
}

json_t *backup_index(const char *dir, struct err *e)
{
	AUTO_FREE char *path = mem_printf("%s/index.json", dir);
	size_t n = 0;
	AUTO_FREE char *text = io_read_file(AT_FDCWD, path, INDEX_MAX, &n);
	json_t *j, *disk;
	const char *name;
	bool ok;

	if (!text) {
		err_sys(e, "cannot read backup '%s'", dir);
		return NULL;
	}
	j = json_parse(text, n, e);
	if (!j)
		return NULL;
	ok = json_is_object(json_object_get(j, "disks"));
	json_object_foreach(json_object_get(j, "disks"), name, disk)
		ok = ok && text_name_ok(name) && jint(disk, "size", 0) > 0;
	if (ok)
		return j;
	json_decref(j);
	err_set(e, ERR_STEP, "backup '%s' is damaged: its index.json is not one", dir);
	return NULL;
}
