/* SPDX-License-Identifier: Apache-2.0
 * backup_read - images of machines' disks: reading, listing.
 */
#include "modules/lib/backup.h"

#include "engine/base/mem.h"
#include "engine/base/text.h"
#include "modules/lib/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INDEX_MAX (1u << 20)
#define ANOTHER "use another backup of this machine: drover backups list PLAN"

/* ---- a disk ---------------------------------------------------------------- */

struct reader {
	struct disk d;
	struct chunkstore *store;
	struct map *m;
	uint8_t zero[2][SHA256_LEN];	/* of a whole chunk, of the shorter last one */
};

static struct reader *of(const struct disk *d)
{
	return (struct reader *)d;
}

uint32_t backup_chunk(const struct disk *d)
{
	return map_id(of(d)->m)->chunk;
}

bool backup_digest(const struct disk *d, uint64_t index, uint8_t digest[SHA256_LEN])
{
	const struct reader *r = of(d);
	bool last = map_chunk_len(r->m, index) < backup_chunk(d);

	/* The root was computed from all of them: each is there. */
	map_get(r->m, index, digest);
	return memcmp(digest, r->zero[last], SHA256_LEN) == 0;
}

/* One whole chunk into buf. */
static int read_chunk(struct reader *r, uint64_t i, void *buf, struct err *e)
{
	uint32_t len = map_chunk_len(r->m, i);
	uint8_t digest[SHA256_LEN];

	if (backup_digest(&r->d, i, digest)) {
		memset(buf, 0, len);
		return 0;
	}
	if (chunkstore_get(r->store, digest, buf, len, e) == 0)
		return 0;
	err_wrap(e, "cannot read backup '%s' at byte %llu, length %u", r->d.path,
		 (unsigned long long)(i * backup_chunk(&r->d)), len);
	return -1;
}

static int r_read(struct disk *d, void *buf, size_t n, uint64_t at, struct err *e)
{
	struct reader *r = of(d);
	uint32_t size = backup_chunk(d);
	AUTO_FREE char *chunk = mem_alloc(size);

	while (n > 0) {
		size_t skip = (size_t)(at % size), part = size - skip < n ? size - skip : n;

		if (read_chunk(r, at / size, chunk, e) < 0)
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
	uint64_t i = at / backup_chunk(d), end;
	uint8_t digest[SHA256_LEN];

	(void)e;
	*hole = backup_digest(d, i, digest);
	while ((++i) * backup_chunk(d) < d->size && backup_digest(d, i, digest) == *hole)
		;
	end = i * backup_chunk(d) < d->size ? i * backup_chunk(d) : d->size;
	*len = end - at;
	return 0;
}

static int r_close(struct disk *d, struct err *e)
{
	struct reader *r = of(d);

	(void)e;
	map_close(r->m);
	free(d->path);
	free(r);
	return 0;
}

static const struct disk_ops ops = {
	.read = r_read, .write = r_write, .zero = r_zero,
	.flush = r_flush, .extent = r_extent, .close = r_close,
};

static int damaged(const char *path, struct err *e)
{
	err_set(e, ERR_STEP, "backup '%s' is damaged: it has not the digest that index.json says",
		path);
	return err_hint(e, ANOTHER);
}

/* The map must be whole, and be what index.json says. */
static int check_root(struct reader *r, const char *dir, const char *disk, struct err *e)
{
	AUTO_JSON *index = backup_index(dir, e);
	const json_t *line = json_object_get(json_object_get(index, "disks"), disk);
	uint8_t root[SHA256_LEN];
	char hex[SHA256_HEX];

	if (!index)
		return -1;
	if (map_root(r->m, root, NULL) < 0)
		return damaged(r->d.path, e);
	io_hex(root, SHA256_LEN, hex);
	return strcmp(hex, jstr(line, "digest", "")) == 0 ? 0 : damaged(r->d.path, e);
}

struct disk *backup_open(struct chunkstore *store, const char *dir, const char *disk,
			 struct err *e)
{
	AUTO_FREE char *path = mem_printf("%s/%s.map", dir, disk);
	struct reader *r = mem_alloc(sizeof(*r));

	r->d = (struct disk){ .ops = &ops, .sector = 512, .path = mem_strdup(path) };
	r->store = store;
	r->m = map_open(path, false, e);
	if (!r->m)
		err_hint(e, ANOTHER);
	if (r->m && map_id(r->m)->chunk > STREAM_CHUNK_MAX)
		damaged(path, e);
	else if (r->m && check_root(r, dir, disk, e) == 0) {
		r->d.size = map_id(r->m)->size;
		tree_zeros(r->d.size, backup_chunk(&r->d), r->zero);
		return &r->d;
	}
	r_close(&r->d, NULL);
	return NULL;
}

/* ---- a backup ----------------------------------------------------------------- */

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
	j = json_parse(text, n, NULL);
	ok = json_is_object(json_object_get(j, "disks"));
	json_object_foreach(json_object_get(j, "disks"), name, disk)
		ok = ok && text_name_ok(name) && jint(disk, "size", 0) > 0;
	if (ok)
		return j;
	json_decref(j);
	err_set(e, ERR_STEP, "backup '%s' is damaged: its index.json is not one", dir);
	err_hint(e, ANOTHER);
	return NULL;
}

/* ---- all of them ---------------------------------------------------------------- */

char *backup_machine_dir(const char *place, const char *machine)
{
	return mem_printf("%s/machines/%s", place, machine);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* What is in a directory, sorted, without `.` and `..`; none when it is not there. -1 with e:
 * nobody can say what is in it. */
static int names_in(const char *path, char ***out, size_t *n, struct err *e)
{
	DIR *dir = opendir(path);
	const struct dirent *d;
	size_t cap = 0;
	int fault;

	*out = NULL;
	*n = 0;
	if (!dir)
		return errno == ENOENT || errno == ENOTDIR ? 0 :
			err_sys(e, "cannot list '%s'", path);
	while (errno = 0, (d = readdir(dir))) {
		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		*out = mem_grow(*out, *n, &cap, sizeof(**out));
		(*out)[(*n)++] = mem_strdup(d->d_name);
	}
	fault = errno;
	closedir(dir);
	if (*n > 0)
		qsort(*out, *n, sizeof(**out), by_name);
	errno = fault;
	return fault ? err_sys(e, "cannot list '%s'", path) : 0;
}

static void free_names(char **names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(names[i]);
	free(names);
}

static int each_of(const char *place, const char *machine,
		   int (*each)(void *arg, const struct backup_at *b), void *arg, struct err *e)
{
	AUTO_FREE char *dir = backup_machine_dir(place, machine);
	char **names;
	size_t n;
	int rc = names_in(dir, &names, &n, e);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		AUTO_FREE char *path = mem_printf("%s/%s", dir, names[i]);

		rc = each(arg, &(struct backup_at){ machine, names[i], path,
			  text_name_ok(names[i]) });
	}
	free_names(names, n);
	return rc;
}

int backup_each(const char *place, int (*each)(void *arg, const struct backup_at *b), void *arg,
		struct err *e)
{
	AUTO_FREE char *dir = mem_printf("%s/machines", place);
	char **names;
	size_t n;
	int rc = names_in(dir, &names, &n, e);

	for (size_t i = 0; rc == 0 && i < n; i++)
		if (text_name_ok(names[i]))
			rc = each_of(place, names[i], each, arg, e);
	free_names(names, n);
	return rc;
}
