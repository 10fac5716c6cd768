/* SPDX-License-Identifier: Apache-2.0
 * chunksweep - give back the room of chunks that no backup names any more.
 *
 * In this order, so that a kill at any point leaves every wanted chunk in place:
 * packs of which nothing is wanted go; the wanted rest of thin packs is written anew and
 * sealed; one index of what is wanted takes the place of all; packs that it does not name go.
 *
 * Where there is no room to write anything anew, nothing is: of thin packs what the new index
 * does not name is given back where it lies, as holes.
 */
#include "modules/lib/chunkstore_impl.h"

#include "engine/base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct pack {
	uint64_t id;
	uint64_t size;		/* of the file */
	uint64_t wanted;	/* bytes of chunks that were marked */
	bool thin;		/* less than half of it is wanted */
	bool holes;		/* it is, and there is no room to write that anew */
};

struct sweep {
	struct chunkstore *s;
	struct pack *packs;	/* sorted by id */
	size_t count, cap;
	size_t old_files;	/* index files that were there before */
};

/* ---- marks --------------------------------------------------------------------- */

static bool marked(const struct chunkstore *s, size_t file, size_t i)
{
	return s->marks[file][i / 8] >> (i % 8) & 1;
}

static void make_marks(struct chunkstore *s)
{
	s->mark_files = s->index.count;
	s->marks = mem_alloc((s->mark_files + 1) * sizeof(*s->marks));
	for (size_t i = 0; i < s->mark_files; i++)
		s->marks[i] = mem_alloc(s->index.files[i].count / 8 + 1);
}

bool chunkstore_mark(struct chunkstore *s, const uint8_t digest[SHA256_LEN])
{
	const struct chunk_entry *en = chunk_index_find(&s->index, digest);

	if (!s->marks)
		make_marks(s);
	for (size_t f = 0; en && f < s->index.count; f++) {
		const struct chunk_file *x = &s->index.files[f];

		if (en >= x->v && en < x->v + x->count)
			s->marks[f][(size_t)(en - x->v) / 8] |= 1 << (en - x->v) % 8;
	}
	return en != NULL;
}

/* ---- packs ------------------------------------------------------------------------ */

static int by_id(const void *a, const void *b)
{
	const struct pack *p = a, *q = b;

	return p->id < q->id ? -1 : p->id > q->id;
}

static struct pack *find_pack(const struct sweep *w, uint64_t id)
{
	struct pack key = { .id = id };

	return w->count ? bsearch(&key, w->packs, w->count, sizeof(key), by_id) : NULL;
}

static int list_packs(struct sweep *w, struct err *e)
{
	int fd = openat(w->s->packs, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *d;

	if (!dir) {
		mem_close_fd(&fd);
		return err_sys(e, "cannot read the backups at '%s'", w->s->place);
	}
	while ((d = readdir(dir))) {
		struct pack p = { .id = strtoull(d->d_name, NULL, 16) };
		struct stat st;
		pack_name name;

		chunkstore_pack_name(p.id, name);
		if (strcmp(name, d->d_name) != 0 || fstatat(fd, name, &st, 0) < 0)
			continue;
		p.size = (uint64_t)st.st_size;
		w->packs = mem_grow(w->packs, w->count, &w->cap, sizeof(p));
		w->packs[w->count++] = p;
	}
	closedir(dir);
	if (w->count > 0)
		qsort(w->packs, w->count, sizeof(*w->packs), by_id);
	return 0;
}

static void weigh(struct sweep *w)
{
	for (size_t f = 0; f < w->old_files; f++)
		for (size_t i = 0; i < w->s->index.files[f].count; i++) {
			const struct chunk_entry *en = &w->s->index.files[f].v[i];
			struct pack *p = marked(w->s, f, i) ? find_pack(w, en->pack) : NULL;

			if (p)
				p->wanted += en->length;
		}
	for (size_t i = 0; i < w->count; i++)
		w->packs[i].thin = w->packs[i].wanted == 0 ||
			w->packs[i].wanted < w->packs[i].size / 2;
}

/* One chunk into the new pack, as it lies; a damaged one is not carried along. */
static int move_one(struct sweep *w, const struct chunk_entry *en, struct err *e)
{
	AUTO_FREE void *raw = chunkstore_raw(w->s, en, e);
	AUTO_FREE void *plain = raw ? mem_alloc(en->plain + 1) : NULL;
	struct chunk_bytes b = { raw, en->length, en->plain, en->flags & CHUNK_ZIP };

	if (!raw || chunkstore_unpack(w->s, en, raw, plain, en->plain, e) < 0)
		return -1;
	return chunkstore_append(w->s, en->digest, &b, e);
}

static bool is_full(const struct err *e)
{
	return e->sys == ENOSPC || e->sys == EDQUOT;
}

/* What was moved so far is not, and nothing else will be. */
static void move_none(struct sweep *w)
{
	chunkstore_abandon(w->s);
	for (size_t i = 0; i < w->count; i++) {
		w->packs[i].holes = w->packs[i].thin && w->packs[i].wanted > 0;
		w->packs[i].thin = w->packs[i].wanted == 0;
	}
}

/* A pack in which a wanted chunk cannot be read stays as it is. */
static int move_thin(struct sweep *w, struct err *e)
{
	for (size_t f = 0; f < w->old_files; f++)
		for (size_t i = 0; i < w->s->index.files[f].count; i++) {
			const struct chunk_entry *en = &w->s->index.files[f].v[i];
			struct pack *p = marked(w->s, f, i) ? find_pack(w, en->pack) : NULL;
			AUTO_ERR bad = { 0 };

			if (!p || !p->thin || move_one(w, en, &bad) == 0)
				continue;
			if (bad.sys) {
				err_move(e, &bad);
				return -1;
			}
			p->thin = false;
		}
	return chunkstore_seal(w->s, e);
}

static int move_what_fits(struct sweep *w, struct err *e)
{
	if (move_thin(w, e) == 0)
		return 0;
	if (!is_full(e))
		return -1;
	err_clear(e);
	move_none(w);
	return 0;
}

/* ---- holes ------------------------------------------------------------------------ */

/* What the index has of a pack. */
struct named { const struct chunk_entry **v; size_t n, cap; };

static int by_offset(const void *a, const void *b)
{
	const struct chunk_entry *p = *(const struct chunk_entry *const *)a;
	const struct chunk_entry *q = *(const struct chunk_entry *const *)b;

	return p->offset < q->offset ? -1 : p->offset > q->offset;
}

static void name_chunks(const struct sweep *w, uint64_t id, struct named *x)
{
	for (size_t f = 0; f < w->s->index.count; f++)
		for (size_t i = 0; i < w->s->index.files[f].count; i++) {
			const struct chunk_entry *en = &w->s->index.files[f].v[i];

			if (en->pack != id)
				continue;
			x->v = mem_grow(x->v, x->n, &x->cap, sizeof(const struct chunk_entry *));
			x->v[x->n++] = en;
		}
	if (x->n > 0)
		qsort(x->v, x->n, sizeof(const struct chunk_entry *), by_offset);
}

/* A file system that has no holes keeps all. */
static void punch(int fd, uint64_t at, uint64_t end)
{
	if (at < end && fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at,
				  (off_t)(end - at)) < 0)
		errno = 0;
}

static uint64_t held(int fd)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

/* Give back what lies between its chunks; the bytes. */
static uint64_t punch_pack(struct sweep *w, const struct pack *p)
{
	struct named x = { 0 };
	uint64_t at = PACK_HEAD, before, after;
	pack_name name;

	chunkstore_pack_name(p->id, name);
	AUTO_FD fd = openat(w->s->packs, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	before = held(fd);
	name_chunks(w, p->id, &x);
	for (size_t i = 0; fd >= 0 && i < x.n; i++) {
		uint64_t end = x.v[i]->offset + x.v[i]->length;

		punch(fd, at, x.v[i]->offset);
		at = end > at ? end : at;
	}
	if (fd >= 0)
		punch(fd, at, p->size);
	after = held(fd);
	free(x.v);
	return before > after ? before - after : 0;
}

static uint64_t punch_packs(struct sweep *w)
{
	uint64_t freed = 0;

	for (size_t i = 0; i < w->count; i++)
		freed += w->packs[i].holes ? punch_pack(w, &w->packs[i]) : 0;
	return freed;
}

/* ---- all of it -------------------------------------------------------------------- */

/* Of what was there before: what is wanted and does not lie in a thin pack. Of a chunk
 * that was moved both entries are seen, and one is kept. */
static bool keep(void *arg, size_t file, size_t i)
{
	const struct sweep *w = arg;
	const struct pack *p;

	if (file >= w->old_files)
		return true;
	p = find_pack(w, w->s->index.files[file].v[i].pack);
	return marked(w->s, file, i) && p && !p->thin;
}

static void count_bytes(struct sweep *w, uint64_t *bytes)
{
	*bytes = 0;
	for (size_t i = 0; i < w->count; i++)
		*bytes += w->packs[i].size;
}

/* Those without a wanted chunk, or all that are thin. */
static int drop_packs(struct sweep *w, bool all, struct err *e)
{
	for (size_t i = 0; i < w->count; i++) {
		pack_name name;

		chunkstore_pack_name(w->packs[i].id, name);
		if (w->packs[i].thin && (all || w->packs[i].wanted == 0) &&
		    unlinkat(w->s->packs, name, 0) < 0 && errno != ENOENT)
			return err_sys(e, "cannot remove '%s/packs/%s'", w->s->place, name);
	}
	return 0;
}

/* How many bytes lie in packs now. */
static int left_over(struct sweep *w, uint64_t *bytes, struct err *e)
{
	struct sweep after = { .s = w->s };
	int rc = list_packs(&after, e);

	count_bytes(&after, bytes);
	free(after.packs);
	return rc;
}

static int sweep(struct sweep *w, uint64_t *freed, struct err *e)
{
	uint64_t before, after = 0;

	if (list_packs(w, e) < 0)
		return -1;
	count_bytes(w, &before);
	weigh(w);
	if (drop_packs(w, false, e) < 0 || move_what_fits(w, e) < 0 ||
	    chunk_index_rewrite(&w->s->index, keep, w, e) < 0 ||
	    drop_packs(w, true, e) < 0 || left_over(w, &after, e) < 0)
		return -1;
	*freed = (before > after ? before - after : 0) + punch_packs(w);
	return 0;
}

int chunkstore_sweep(struct chunkstore *s, uint64_t *freed, struct err *e)
{
	struct sweep w = { .s = s };
	int rc;

	if (!s->marks)
		make_marks(s);
	w.old_files = s->mark_files;
	rc = sweep(&w, freed, e);
	free(w.packs);
	return rc;
}
