/* SPDX-License-Identifier: Apache-2.0
 * map - what is known of a copied disk: a digest per chunk, beside the image.
 */
#include "modules/lib/map.h"

#include "engine/base/mem.h"
#include "modules/lib/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the file is little-endian");

#define MAGIC "DRMAP02\n"
#define PAGE 4096u
#define PAGES_AT (2 * PAGE)
#define ENTRIES 113u
#define CHECK_LEN 16u
#define COVER_AHEAD (64ull << 20)	/* bytes of disk that one header write covers */

struct head {
	char magic[8];
	uint64_t number;	/* of this writing of the header */
	struct map_id id;
	uint32_t pass, generation, pass_begin, complete;
	uint64_t lo, hi;	/* chunks that may be half written in `generation` */
	uint8_t root[SHA256_LEN];
	uint8_t birth[MAP_BIRTH];	/* random */
	uint8_t check[CHECK_LEN];	/* of all before it */
};

struct entry {
	uint8_t digest[SHA256_LEN];
	uint32_t generation;
} __attribute__((packed));

struct page {
	struct entry e[ENTRIES];
	uint64_t number;
	uint8_t check[CHECK_LEN];
	uint8_t pad[PAGE - ENTRIES * sizeof(struct entry) - 8 - CHECK_LEN];
} __attribute__((packed));

_Static_assert(sizeof(struct page) == PAGE, "a page is a page");
_Static_assert(sizeof(struct head) <= PAGE, "the header is one page");

struct span {
	uint64_t index, count;
};

struct map {
	int fd;
	char *path;
	pthread_mutex_t lock;
	struct head h;
	struct page page;	/* the one page in memory */
	uint64_t page_number;	/* which; UINT64_MAX: none */
	bool page_dirty;
	bool reader;		/* opened for reading */
	struct span *open;	/* written over a known entry, not committed; owned */
	size_t opens, open_cap;
};

static void check_of(const void *p, size_t n, uint8_t out[CHECK_LEN])
{
	uint8_t d[SHA256_LEN];

	sha256_of(p, n, d);
	memcpy(out, d, CHECK_LEN);
}

static int damaged(const struct map *m, struct err *e)
{
	err_set(e, ERR_STEP, "cannot use map '%s': it is damaged", m->path);
	return err_hint(e, "remove it and the image beside it; the disk is copied again");
}

/* ---- the header ---------------------------------------------------------- */

static int write_head(struct map *m, struct err *e)
{
	m->h.number++;
	check_of(&m->h, offsetof(struct head, check), m->h.check);
	if (io_pwrite_full(m->fd, &m->h, sizeof(m->h), m->h.number % 2 * PAGE) < 0 ||
	    fdatasync(m->fd) < 0)
		return err_sys(e, "cannot write map '%s'", m->path);
	return 0;
}

static bool read_head(struct map *m, unsigned copy, struct head *h)
{
	uint8_t check[CHECK_LEN];

	if (io_pread_full(m->fd, h, sizeof(*h), copy * PAGE) < 0 ||
	    memcmp(h->magic, MAGIC, sizeof(h->magic)) != 0)
		return false;
	check_of(h, offsetof(struct head, check), check);
	return memcmp(check, h->check, CHECK_LEN) == 0 && h->id.chunk >= 4096 &&
		h->id.chunk % 4096 == 0 && h->id.size > 0;
}

static int load_head(struct map *m, struct err *e)
{
	struct head h[2];
	bool ok[2] = { read_head(m, 0, &h[0]), read_head(m, 1, &h[1]) };

	if (!ok[0] && !ok[1])
		return damaged(m, e);
	m->h = ok[0] && (!ok[1] || h[0].number > h[1].number) ? h[0] : h[1];
	return 0;
}

/* ---- pages --------------------------------------------------------------- */

static int flush_page(struct map *m, struct err *e)
{
	if (!m->page_dirty)
		return 0;
	m->page.number = m->page_number;
	check_of(&m->page, offsetof(struct page, check), m->page.check);
	if (io_pwrite_full(m->fd, &m->page, PAGE, PAGES_AT + m->page_number * PAGE) < 0)
		return err_sys(e, "cannot write map '%s'", m->path);
	m->page_dirty = false;
	return 0;
}

/* Bring page p into memory. What cannot be believed is empty. */
static int load_page(struct map *m, uint64_t p, struct err *e)
{
	uint8_t check[CHECK_LEN];

	if (m->page_number == p)
		return 0;
	if (flush_page(m, e) < 0)
		return -1;
	m->page_number = p;
	if (io_pread_full(m->fd, &m->page, PAGE, PAGES_AT + p * PAGE) == 0) {
		check_of(&m->page, offsetof(struct page, check), check);
		if (m->page.number == p && memcmp(check, m->page.check, CHECK_LEN) == 0)
			return 0;
	}
	memset(&m->page, 0, PAGE);
	return 0;
}

static struct entry *entry_of(struct map *m, uint64_t index, struct err *e)
{
	return load_page(m, index / ENTRIES, e) < 0 ? NULL : &m->page.e[index % ENTRIES];
}

static int sync_pages(struct map *m, struct err *e)
{
	if (flush_page(m, e) < 0)
		return -1;
	return fdatasync(m->fd) < 0 ? err_sys(e, "cannot sync map '%s'", m->path) : 0;
}

/* ---- opening ------------------------------------------------------------- */

static struct map *map_new(const char *path, int fd)
{
	struct map *m = mem_alloc(sizeof(*m));

	m->fd = fd;
	m->path = mem_strdup(path);
	m->page_number = UINT64_MAX;
	pthread_mutex_init(&m->lock, NULL);
	return m;
}

struct map *map_create(const char *path, const struct map_id *id, struct err *e)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	struct map *m;

	if (fd < 0) {
		err_sys(e, "cannot create map '%s'", path);
		return NULL;
	}
	m = map_new(path, fd);
	memcpy(m->h.magic, MAGIC, sizeof(m->h.magic));
	m->h.id = *id;
	io_random(m->h.birth, sizeof(m->h.birth));
	if (write_head(m, e) == 0)
		return m;
	unlink(path);
	map_close(m);
	return NULL;
}

/* Entries that may describe data that is half overwritten are forgotten. */
static int drop_suspects(struct map *m, struct err *e)
{
	if (m->h.hi <= m->h.lo)
		return 0;
	for (uint64_t i = m->h.lo; i < m->h.hi && i < map_chunks(m); i++) {
		struct entry *en = entry_of(m, i, e);

		if (!en)
			return -1;
		if (en->generation && en->generation != m->h.generation) {
			memset(en, 0, sizeof(*en));
			m->page_dirty = true;
		}
	}
	if (sync_pages(m, e) < 0)
		return -1;
	m->h.lo = m->h.hi = 0;
	return write_head(m, e);
}

struct map *map_open(const char *path, bool write, struct err *e)
{
	int fd = open(path, (write ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	struct map *m;

	if (fd < 0) {
		err_sys(e, "cannot open map '%s'", path);
		return NULL;
	}
	m = map_new(path, fd);
	m->reader = !write;
	if (load_head(m, e) == 0 && (!write || drop_suspects(m, e) == 0))
		return m;
	map_close(m);
	return NULL;
}

void map_close(struct map *m)
{
	if (!m)
		return;
	close(m->fd);
	pthread_mutex_destroy(&m->lock);
	mem_free_ptr(&m->path);
	mem_free_ptr(&m->open);
	mem_free_ptr(&m);
}

void map_close_ptr(struct map **m)
{
	map_close(*m);
	*m = NULL;
}

/* ---- asking -------------------------------------------------------------- */

const struct map_id *map_id(const struct map *m)
{
	return &m->h.id;
}

void map_state(struct map *m, struct map_state *s)
{
	pthread_mutex_lock(&m->lock);
	*s = (struct map_state){ .pass = m->h.pass, .generation = m->h.generation,
		.pass_begin = m->h.pass_begin, .complete = m->h.complete };
	memcpy(s->root, m->h.root, SHA256_LEN);
	memcpy(s->birth, m->h.birth, MAP_BIRTH);
	pthread_mutex_unlock(&m->lock);
}

uint64_t map_chunks(const struct map *m)
{
	return (m->h.id.size + m->h.id.chunk - 1) / m->h.id.chunk;
}

uint32_t map_chunk_len(const struct map *m, uint64_t index)
{
	uint64_t left = m->h.id.size - index * m->h.id.chunk;

	return left < m->h.id.chunk ? (uint32_t)left : m->h.id.chunk;
}

static uint32_t get(struct map *m, uint64_t index, uint8_t digest[SHA256_LEN])
{
	const struct entry *en = index < map_chunks(m) ? entry_of(m, index, NULL) : NULL;
	uint32_t generation = en ? en->generation : 0;
	bool open = index >= m->h.lo && index < m->h.hi;

	/* Seen while a writer is at work, or after it was cut off. */
	if (m->reader && open && generation != m->h.generation)
		generation = 0;
	if (generation)
		memcpy(digest, en->digest, SHA256_LEN);
	return generation;
}

uint32_t map_get(struct map *m, uint64_t index, uint8_t digest[SHA256_LEN])
{
	uint32_t generation;

	pthread_mutex_lock(&m->lock);
	generation = get(m, index, digest);
	pthread_mutex_unlock(&m->lock);
	return generation;
}

static int root_of(struct map *m, uint8_t root[SHA256_LEN], struct err *e)
{
	struct tree t = { .next = 0 };
	uint8_t digest[SHA256_LEN];

	for (uint64_t i = 0; i < map_chunks(m); i++) {
		if (!get(m, i, digest)) {
			tree_free(&t);
			return err_set(e, ERR_STEP, "map '%s' does not know the chunk at "
				       "byte %llu", m->path,
				       (unsigned long long)(i * m->h.id.chunk));
		}
		tree_add(&t, digest);
	}
	tree_end(&t, m->h.id.size, m->h.id.chunk, root);
	return 0;
}

int map_root(struct map *m, uint8_t root[SHA256_LEN], struct err *e)
{
	int rc;

	pthread_mutex_lock(&m->lock);
	rc = root_of(m, root, e);
	pthread_mutex_unlock(&m->lock);
	return rc;
}

/* ---- writing ------------------------------------------------------------- */

static bool any_known(struct map *m, uint64_t index, uint64_t count)
{
	struct stat st;

	/* Nothing was ever entered: do not look at every chunk of a huge hole. */
	if (!m->page_dirty && fstat(m->fd, &st) == 0 && st.st_size <= (off_t)PAGES_AT)
		return false;
	for (uint64_t i = index; i < index + count; i++) {
		const struct entry *en = entry_of(m, i, NULL);

		if (!en || (en->generation && en->generation != m->h.generation))
			return true;
	}
	return false;
}

/* Durably name a range around these chunks. */
static int widen(struct map *m, uint64_t index, uint64_t count, struct err *e)
{
	uint64_t ahead = COVER_AHEAD / m->h.id.chunk + 1;

	if (m->h.hi <= m->h.lo)
		m->h.lo = m->h.hi = index;
	if (index < m->h.lo)
		m->h.lo = index;
	if (index + count > m->h.hi)
		m->h.hi = index + count + ahead;
	return write_head(m, e);
}

int map_cover(struct map *m, uint64_t index, uint64_t count, struct err *e)
{
	int rc = 0;

	pthread_mutex_lock(&m->lock);
	if (any_known(m, index, count)) {
		m->open = mem_grow(m->open, m->opens, &m->open_cap, sizeof(*m->open));
		m->open[m->opens++] = (struct span){ index, count };
		if (index < m->h.lo || index + count > m->h.hi)
			rc = widen(m, index, count, e);
	}
	pthread_mutex_unlock(&m->lock);
	return rc;
}

/* These are in the map now: the range need not go back to them any more. It
 * shrinks in memory; the header that lies on disk names more, never less. */
static void uncover(struct map *m, const struct map_update *u, size_t n)
{
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < m->opens; k++)
			if (m->open[k].index == u[i].index) {
				m->open[k] = m->open[--m->opens];
				break;
			}
	if (m->h.hi > m->h.lo)
		m->h.lo = m->h.hi;
	for (size_t k = 0; k < m->opens; k++)
		if (m->open[k].index < m->h.lo)
			m->h.lo = m->open[k].index;
}

static int enter(struct map *m, const struct map_update *u, struct err *e)
{
	for (uint64_t i = u->index; i < u->index + u->count; i++) {
		struct entry *en = i < map_chunks(m) ? entry_of(m, i, e) : NULL;

		if (!en)
			return -1;
		memcpy(en->digest, u->digest, SHA256_LEN);
		en->generation = m->h.generation;
		m->page_dirty = true;
	}
	return 0;
}

int map_commit(struct map *m, const struct map_update *u, size_t n, struct err *e)
{
	int rc = 0;

	pthread_mutex_lock(&m->lock);
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = enter(m, &u[i], e);
	if (rc == 0)
		rc = sync_pages(m, e);
	if (rc == 0)
		uncover(m, u, n);
	pthread_mutex_unlock(&m->lock);
	return rc;
}

int map_begin(struct map *m, uint32_t pass, struct err *e)
{
	int rc;

	pthread_mutex_lock(&m->lock);
	m->h.generation++;
	if (m->h.complete || m->h.pass != pass) {
		m->h.pass = pass;
		m->h.pass_begin = m->h.generation;
	}
	m->h.complete = 0;
	m->h.lo = m->h.hi = 0;
	m->opens = 0;
	rc = write_head(m, e);
	pthread_mutex_unlock(&m->lock);
	return rc;
}

void map_forget(struct map *m)
{
	pthread_mutex_lock(&m->lock);
	memset(m->h.root, 0, SHA256_LEN);
	pthread_mutex_unlock(&m->lock);
}

int map_finish(struct map *m, uint8_t root[SHA256_LEN], struct err *e)
{
	int rc;

	pthread_mutex_lock(&m->lock);
	/* All that was covered has been committed. */
	m->h.lo = m->h.hi = 0;
	rc = sync_pages(m, e);
	if (rc == 0)
		rc = root_of(m, m->h.root, e);
	if (rc == 0) {
		m->h.complete = 1;
		memcpy(root, m->h.root, SHA256_LEN);
		rc = write_head(m, e);
	}
	pthread_mutex_unlock(&m->lock);
	return rc;
}
