/* SPDX-License-Identifier: Apache-2.0
 * map - what is known of a copied disk: a digest per chunk, beside the image.
 */
#include "modules/lib/map_impl.h"

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "modules/lib/tree.h"

#include <string.h>
#include <sys/stat.h>

#define COVER_AHEAD (64ull << 20)	/* bytes of disk that one header write covers */

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
	return tree_chunks(m->h.id.size, m->h.id.chunk);
}

uint32_t map_chunk_len(const struct map *m, uint64_t index)
{
	return tree_chunk_len(m->h.id.size, m->h.id.chunk, index);
}

static uint32_t get(struct map *m, uint64_t index, uint8_t digest[SHA256_LEN])
{
	const struct entry *en = index < map_chunks(m) ? map_entry(m, index, NULL) : NULL;
	uint32_t generation = en ? en->generation : 0;
	bool open = index >= m->h.lo && index < m->h.hi;

	/* Seen while a writer is at work, or after it was cut off. */
	if (m->doubts && open && generation != m->h.generation)
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

uint64_t map_unknown(struct map *m)
{
	uint8_t digest[SHA256_LEN];
	uint64_t bytes = 0;

	pthread_mutex_lock(&m->lock);
	for (uint64_t i = 0; i < map_chunks(m); i++)
		if (!get(m, i, digest))
			bytes += map_chunk_len(m, i);
	pthread_mutex_unlock(&m->lock);
	return bytes;
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
		const struct entry *en = map_entry(m, i, NULL);

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
	return map_write_head(m, e);
}

static int empty(struct map *m, uint64_t index, uint64_t count, struct err *e)
{
	for (uint64_t i = index; i < index + count; i++) {
		struct entry *en = i < map_chunks(m) ? map_entry(m, i, e) : NULL;

		if (!en)
			return -1;
		memset(en, 0, sizeof(*en));
		m->page_dirty = true;
	}
	return 0;
}

/* What the range names besides is sent again after a crash: it stays about as long as what
 * is under way, and what follows. */
static bool near(const struct map *m, uint64_t index)
{
	uint64_t ahead = COVER_AHEAD / m->h.id.chunk + 1;

	if (m->h.hi <= m->h.lo)
		return true;
	return index < m->h.lo ? m->h.hi - index <= 2 * ahead : index - m->h.lo <= ahead;
}

static int cover(struct map *m, uint64_t index, uint64_t count, struct err *e)
{
	m->open = mem_grow(m->open, m->opens, &m->open_cap, sizeof(*m->open));
	m->open[m->opens++] = (struct span){ index, count };
	if (index >= m->h.lo && index + count <= m->h.hi)
		return 0;
	return widen(m, index, count, e);
}

static int cover_far(struct map *m, uint64_t index, uint64_t count, struct err *e)
{
	return empty(m, index, count, e) < 0 ? -1 : map_sync_pages(m, e);
}

int map_cover(struct map *m, uint64_t index, uint64_t count, struct err *e)
{
	int rc = 0;

	pthread_mutex_lock(&m->lock);
	if (any_known(m, index, count))
		rc = near(m, index) ? cover(m, index, count, e) :
			cover_far(m, index, count, e);
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
		struct entry *en = i < map_chunks(m) ? map_entry(m, i, e) : NULL;

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
		rc = map_sync_pages(m, e);
	if (rc == 0)
		uncover(m, u, n);
	pthread_mutex_unlock(&m->lock);
	return rc;
}

/* Where a header was lost, entries may be younger than what it says: none of theirs is
 * given twice. */
static int count_on(struct map *m, struct err *e)
{
	for (uint64_t i = 0; m->lost && i < map_chunks(m); i++) {
		const struct entry *en = map_entry(m, i, e);

		if (!en)
			return -1;
		if (en->generation > m->h.generation)
			m->h.generation = en->generation;
	}
	return 0;
}

/* `generation`: which the range is of. */
static int settle_range(struct map *m, uint32_t generation, map_same *same, void *arg,
			struct err *e)
{
	for (uint64_t i = m->h.lo; i < m->h.hi && i < map_chunks(m); i++) {
		struct entry *en = map_entry(m, i, e);

		if (!en)
			return -1;
		if (!en->generation || en->generation == generation ||
		    (same && same(arg, i, en->digest)))
			continue;
		memset(en, 0, sizeof(*en));
		m->page_dirty = true;
	}
	if (map_sync_pages(m, e) < 0)
		return -1;
	m->h.lo = m->h.hi = 0;
	return map_write_head(m, e);
}

static int settle(struct map *m, map_same *same, void *arg, struct err *e)
{
	uint32_t generation = m->h.generation;

	if (!m->doubts)
		return 0;
	if (count_on(m, e) < 0 ||
	    (m->h.hi > m->h.lo && settle_range(m, generation, same, arg, e) < 0))
		return -1;
	m->doubts = false;
	return 0;
}

int map_settle(struct map *m, map_same *same, void *arg, struct err *e)
{
	int rc;

	pthread_mutex_lock(&m->lock);
	rc = settle(m, same, arg, e);
	pthread_mutex_unlock(&m->lock);
	return rc;
}

static void note_generation(struct map *m, uint32_t pass, bool mend)
{
	struct map_born *b = &m->history.born[m->h.generation % BORN];

	*b = (struct map_born){ .generation = m->h.generation, .pass = pass, .mend = mend,
		.at = clock_real.wall_s(clock_real.arg) };
	io_random(&b->mark, sizeof(b->mark));
}

static int begin(struct map *m, uint32_t pass, bool mend, struct err *e)
{
	if (settle(m, NULL, NULL, e) < 0)
		return -1;
	m->h.generation++;
	note_generation(m, pass, mend);
	if (m->h.complete || m->h.pass != pass) {
		m->h.pass = pass;
		m->h.pass_begin = m->h.generation;
	}
	m->h.complete = 0;
	m->h.lo = m->h.hi = 0;
	m->opens = 0;
	return map_write_history(m, e) < 0 ? -1 : map_write_head(m, e);
}

static int locked_begin(struct map *m, uint32_t pass, bool mend, struct err *e)
{
	int rc;

	pthread_mutex_lock(&m->lock);
	rc = begin(m, pass, mend, e);
	pthread_mutex_unlock(&m->lock);
	return rc;
}

int map_begin(struct map *m, uint32_t pass, struct err *e)
{
	return locked_begin(m, pass, false, e);
}

int map_begin_mend(struct map *m, uint32_t pass, struct err *e)
{
	return locked_begin(m, pass, true, e);
}

static int drop(struct map *m, const uint64_t *index, size_t n, struct err *e)
{
	/* Not whole before the first is gone: no moment calls a part the whole. */
	m->h.complete = 0;
	if (map_write_head(m, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (empty(m, index[i], 1, e) < 0)
			return -1;
	return map_sync_pages(m, e);
}

int map_drop(struct map *m, const uint64_t *index, size_t n, struct err *e)
{
	int rc;

	pthread_mutex_lock(&m->lock);
	rc = drop(m, index, n, e);
	pthread_mutex_unlock(&m->lock);
	return rc;
}

bool map_born(struct map *m, uint32_t generation, struct map_born *b)
{
	bool known;

	pthread_mutex_lock(&m->lock);
	*b = m->history.born[generation % BORN];
	known = generation && generation <= m->h.generation && b->generation == generation;
	pthread_mutex_unlock(&m->lock);
	return known;
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
	rc = map_sync_pages(m, e);
	if (rc == 0)
		rc = root_of(m, m->h.root, e);
	if (rc == 0) {
		m->h.complete = 1;
		memcpy(root, m->h.root, SHA256_LEN);
		rc = map_write_head(m, e);
	}
	pthread_mutex_unlock(&m->lock);
	return rc;
}
