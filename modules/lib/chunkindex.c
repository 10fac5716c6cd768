/* SPDX-License-Identifier: Apache-2.0
 * chunkindex - which chunks a store of backups has, and where.
 */
#include "modules/lib/chunkindex.h"

#include "engine/base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define MERGE_AT 8u		/* so many files of about one size become one */
#define FILES_MAX 100000u
#define LEVELS 22u		/* 8^22: more than 64 bits */
#define SUFFIX ".idx"

typedef char file_name[32];

static void name_of(uint64_t name, file_name out)
{
	snprintf(out, sizeof(file_name), "%016" PRIx64 SUFFIX, name);
}

static uint32_t check_of(const struct chunk_entry *en)
{
	return (uint32_t)crc32(0, (const Bytef *)en, offsetof(struct chunk_entry, check));
}

/* ---- the files ------------------------------------------------------------ */

static void unmap(struct chunk_file *f)
{
	if (f->v)
		munmap((void *)f->v, f->count * sizeof(*f->v));
	f->v = NULL;
}

/* Its name, when it is one of ours. */
static bool parse_name(const char *s, uint64_t *name)
{
	file_name again;
	char *end;

	*name = strtoull(s, &end, 16);
	name_of(*name, again);
	return strcmp(s, again) == 0;
}

static int add_file(struct chunk_index *x, uint64_t name, struct err *e)
{
	struct chunk_file f = { .name = name };
	file_name path;
	struct stat st;
	void *p;

	name_of(name, path);
	AUTO_FD fd = openat(x->dir, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, "cannot read index '%s' of the backups", path);
	f.count = (size_t)st.st_size / sizeof(*f.v);
	if (f.count == 0)
		return 0;
	p = mmap(NULL, f.count * sizeof(*f.v), PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return err_sys(e, "cannot map index '%s' of the backups", path);
	f.v = p;
	x->files = mem_grow(x->files, x->count, &x->cap, sizeof(*x->files));
	x->files[x->count++] = f;
	return 0;
}

static void drop_files(struct chunk_index *x)
{
	for (size_t i = 0; i < x->count; i++)
		unmap(&x->files[i]);
	x->count = 0;
}

/* 1: somebody merged files meanwhile, look again. */
static int load(struct chunk_index *x, struct err *e)
{
	int fd = openat(x->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *d;
	uint64_t name;
	int rc = 0;

	if (!dir) {
		mem_close_fd(&fd);
		return err_sys(e, "cannot read the index of the backups");
	}
	while (rc == 0 && x->count < FILES_MAX && (d = readdir(dir)))
		if (parse_name(d->d_name, &name) && add_file(x, name, e) < 0)
			rc = e && e->sys == ENOENT ? 1 : -1;
	closedir(dir);
	return rc;
}

int chunk_index_open(struct chunk_index *x, int dir, struct err *e)
{
	int rc = 1;

	*x = (struct chunk_index){ .dir = dir };
	for (int tries = 0; rc == 1 && tries < 100; tries++) {
		err_clear(e);
		drop_files(x);
		rc = load(x, e);
	}
	if (rc == 0)
		return 0;
	chunk_index_close(x);
	return -1;
}

void chunk_index_close(struct chunk_index *x)
{
	if (!x->files && !x->dir)
		return;
	drop_files(x);
	mem_free_ptr(&x->files);
	mem_close_fd(&x->dir);
	*x = (struct chunk_index){ .dir = -1 };
}

/* ---- looking up ------------------------------------------------------------ */

static int by_digest(const void *a, const void *b)
{
	const struct chunk_entry *p = a, *q = b;

	return memcmp(p->digest, q->digest, SHA256_LEN);
}

static const struct chunk_entry *find_in(const struct chunk_file *f, const uint8_t *digest)
{
	size_t lo = 0, hi = f->count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int c = memcmp(f->v[mid].digest, digest, SHA256_LEN);

		if (c == 0)	/* a flipped entry is as none */
			return check_of(&f->v[mid]) == f->v[mid].check ? &f->v[mid] : NULL;
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

static bool is_there(const struct chunk_index *x, const struct chunk_entry *en)
{
	return !x->there || x->there(x->arg, en);
}

const struct chunk_entry *chunk_index_find(const struct chunk_index *x,
					   const uint8_t digest[SHA256_LEN])
{
	const struct chunk_entry *any = NULL;

	/* The newest are the likeliest. */
	for (size_t i = x->count; i-- > 0;) {
		const struct chunk_entry *en = find_in(&x->files[i], digest);

		if (en && is_there(x, en))
			return en;
		any = any ? any : en;
	}
	return any;
}

/* ---- writing ---------------------------------------------------------------- */

/* A file on its way: written under a name with a dot, then renamed. */
struct growing {
	FILE *f;
	uint64_t name;
	char tmp[40];
	uint64_t count;
};

static int grow_begin(const struct chunk_index *x, struct growing *g, struct err *e)
{
	file_name name;
	int fd;

	io_random(&g->name, sizeof(g->name));
	name_of(g->name, name);
	snprintf(g->tmp, sizeof(g->tmp), ".%s", name);
	fd = openat(x->dir, g->tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	g->f = fd < 0 ? NULL : fdopen(fd, "w");
	g->count = 0;
	return g->f ? 0 : err_sys(e, "cannot write the index of the backups");
}

static void grow_add(struct growing *g, const struct chunk_entry *en)
{
	g->count += fwrite(en, sizeof(*en), 1, g->f);
}

/* It counts from here on; an empty one is not kept. */
static int grow_end(struct chunk_index *x, struct growing *g, struct err *e)
{
	bool ok = fflush(g->f) == 0 && !ferror(g->f) && fsync(fileno(g->f)) == 0;
	file_name name;
	int saved = errno;

	name_of(g->name, name);
	fclose(g->f);
	errno = saved;
	if (ok && g->count > 0)
		ok = renameat(x->dir, g->tmp, x->dir, name) == 0 && fsync(x->dir) == 0;
	if (!ok)
		err_sys(e, "cannot write the index of the backups");
	if (!ok || g->count == 0)
		unlinkat(x->dir, g->tmp, 0);
	return !ok ? -1 : g->count > 0 ? add_file(x, g->name, e) : 0;
}

/* ---- merging ------------------------------------------------------------------ */

struct merge {
	struct chunk_index *x;
	const size_t *which;	/* files, `n` of them */
	size_t n;
	size_t *at;		/* where each of them stands */
	bool (*keep)(void *arg, size_t file, size_t i);	/* or NULL: all */
	void *arg;
};

/* The file whose next entry is the smallest; -1: all are at their end. */
static ssize_t smallest(const struct merge *m)
{
	const struct chunk_entry *least = NULL;
	ssize_t found = -1;

	for (size_t k = 0; k < m->n; k++) {
		const struct chunk_file *f = &m->x->files[m->which[k]];

		if (m->at[k] == f->count ||
		    (least && by_digest(&f->v[m->at[k]], least) >= 0))
			continue;
		least = &f->v[m->at[k]];
		found = (ssize_t)k;
	}
	return found;
}

static int merge(struct merge *m, struct err *e)
{
	const struct chunk_entry *next = NULL;	/* to be added, unless a better one comes */
	struct growing g;
	ssize_t k;

	if (grow_begin(m->x, &g, e) < 0)
		return -1;
	m->at = mem_alloc((m->n + 1) * sizeof(*m->at));
	while ((k = smallest(m)) >= 0) {
		size_t file = m->which[k], i = m->at[k]++;
		const struct chunk_entry *en = &m->x->files[file].v[i];

		if (check_of(en) != en->check || (m->keep && !m->keep(m->arg, file, i)))
			continue;
		if (next && by_digest(next, en) != 0)
			grow_add(&g, next);
		else if (next && is_there(m->x, next))
			continue;
		next = en;
	}
	if (next)
		grow_add(&g, next);
	free(m->at);
	return grow_end(m->x, &g, e);
}

/* The files that were merged go, from disk and from memory. Somebody who merges the
 * same ones may have been faster. */
static void drop_merged(struct merge *m)
{
	struct chunk_index *x = m->x;
	size_t left = 0;

	for (size_t k = 0; k < m->n; k++) {
		struct chunk_file *f = &x->files[m->which[k]];
		file_name name;

		name_of(f->name, name);
		unlinkat(x->dir, name, 0);
		unmap(f);
	}
	for (size_t i = 0; i < x->count; i++)
		if (x->files[i].v)
			x->files[left++] = x->files[i];
	x->count = left;
}

/* 8, 64, 512 ...: the power of eight below its count. */
static unsigned level_of(const struct chunk_file *f)
{
	unsigned level = 0;

	for (size_t n = f->count; n >= 8; n /= 8)
		level++;
	return level;
}

static int merge_level(struct chunk_index *x, unsigned level, struct err *e)
{
	AUTO_FREE size_t *which = mem_alloc(x->count * sizeof(*which) + 1);
	struct merge m = { .x = x, .which = which };

	for (size_t i = 0; i < x->count; i++)
		if (level_of(&x->files[i]) == level)
			which[m.n++] = i;
	if (m.n < MERGE_AT)
		return 0;
	if (merge(&m, e) < 0)
		return -1;
	drop_merged(&m);
	return 0;
}

int chunk_index_add(struct chunk_index *x, struct chunk_entry *v, size_t n, struct err *e)
{
	struct growing g;

	if (n == 0)
		return 0;
	qsort(v, n, sizeof(*v), by_digest);
	if (grow_begin(x, &g, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		v[i].check = check_of(&v[i]);
		grow_add(&g, &v[i]);
	}
	return grow_end(x, &g, e);
}

int chunk_index_tidy(struct chunk_index *x, struct err *e)
{
	for (unsigned level = 0; level < LEVELS; level++)
		if (merge_level(x, level, e) < 0)
			return -1;
	return 0;
}

int chunk_index_rewrite(struct chunk_index *x,
			bool (*keep)(void *arg, size_t file, size_t i), void *arg,
			struct err *e)
{
	AUTO_FREE size_t *all = mem_alloc(x->count * sizeof(*all) + 1);
	struct merge m = { .x = x, .which = all, .n = x->count, .keep = keep, .arg = arg };

	for (size_t i = 0; i < x->count; i++)
		all[i] = i;
	if (merge(&m, e) < 0)
		return -1;
	drop_merged(&m);
	/* an old one that a power cut brings back would name packs that go after this */
	return fsync(x->dir) < 0 ? err_sys(e, "cannot write the index of the backups") : 0;
}
