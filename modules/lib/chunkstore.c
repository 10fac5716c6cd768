/* SPDX-License-Identifier: Apache-2.0
 * chunkstore - chunks of data by their SHA-256: adding and reading.
 */
#include "modules/lib/chunkstore_impl.h"

#include "engine/base/mem.h"
#include "modules/lib/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#define PACK_MAX (512ull << 20)		/* then the next one is begun */

void chunkstore_pack_name(uint64_t id, pack_name out)
{
	snprintf(out, sizeof(pack_name), "%016" PRIx64 ".pack", id);
}

int chunkstore_damaged(const struct chunkstore *s, const char *what, struct err *e)
{
	err_set(e, ERR_STEP, "the backups at '%s' are damaged: %s", s->place, what);
	return err_hint(e, "drover backups verify PLAN tells which of them are whole");
}

/* ---- opening ------------------------------------------------------------------ */

static int held(const char *place, enum chunkstore_mode mode, struct err *e)
{
	if (mode == CHUNKS_SWEEP) {
		err_set(e, ERR_HELD, "cannot tidy the backups at '%s': they are being written "
			"or read", place);
		return err_hint(e, "once that is over: drover backups prune PLAN --keep COUNT");
	}
	err_set(e, ERR_HELD, "cannot use the backups at '%s': they are being pruned", place);
	return err_hint(e, "once that is over, type it again");
}

/* A sweep that left nothing took the lock's file along: what we hold may be gone. */
static bool is_current(int fd, const char *path)
{
	struct stat is, there;

	return fstat(fd, &is) == 0 && stat(path, &there) == 0 && is.st_ino == there.st_ino &&
		is.st_dev == there.st_dev;
}

/* Take the lock. A place that cannot be written to has nobody who sweeps. */
static int take_lock(struct chunkstore *s, enum chunkstore_mode mode, struct err *e)
{
	AUTO_FREE char *path = mem_printf("%s/lock", s->place);
	int flags = mode == CHUNKS_READ ? O_RDONLY : O_RDWR | O_CREAT;

	s->lock = open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->lock < 0)
		return mode == CHUNKS_READ && errno == ENOENT ? 0 :
			err_sys(e, "cannot open '%s'", path);
	if (flock(s->lock, (mode == CHUNKS_SWEEP ? LOCK_EX : LOCK_SH) | LOCK_NB) == 0) {
		if (is_current(s->lock, path))
			return 0;
		mem_close_fd(&s->lock);
		return take_lock(s, mode, e);
	}
	return errno == EWOULDBLOCK ? held(s->place, mode, e) :
		err_sys(e, "cannot lock '%s'", path);
}

static int make_dirs(const char *place, struct err *e)
{
	static const char *const subs[] = { "packs", "index" };

	for (size_t i = 0; i < ARRAY_LEN(subs); i++) {
		AUTO_FREE char *path = mem_printf("%s/%s", place, subs[i]);

		if (io_mkdirs(path, 0700) < 0)
			return err_sys(e, "cannot make directory '%s'", path);
	}
	return io_sync_dir(place) < 0 ? err_sys(e, "cannot sync '%s'", place) : 0;
}

static int open_sub(const char *place, const char *sub, struct err *e)
{
	AUTO_FREE char *path = mem_printf("%s/%s", place, sub);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? err_sys(e, "cannot open the backups at '%s'", place) : fd;
}

/* A pack may have been lost, cut short or damaged: what was in it is stored again. */
static bool pack_holds(void *store, const struct chunk_entry *en)
{
	const struct chunkstore *s = store;
	pack_name name;
	struct stat st;

	chunkstore_pack_name(en->pack, name);
	return !chunkbad_is(s, en) && fstatat(s->packs, name, &st, 0) == 0 && en->offset <= (uint64_t)st.st_size &&
		en->length <= (uint64_t)st.st_size - en->offset;
}

static int open_all(struct chunkstore *s, enum chunkstore_mode mode, struct err *e)
{
	int index;

	if (mode == CHUNKS_ADD && io_mkdirs(s->place, 0700) < 0)
		return err_sys(e, "cannot make directory '%s'", s->place);
	if (take_lock(s, mode, e) < 0 || (mode == CHUNKS_ADD && make_dirs(s->place, e) < 0))
		return -1;
	s->packs = open_sub(s->place, "packs", e);
	if (s->packs < 0)
		return -1;
	index = open_sub(s->place, "index", e);
	if (index < 0 || chunk_index_open(&s->index, index, e) < 0)
		return -1;
	chunkbad_load(s);
	s->index.there = pack_holds;
	s->index.arg = s;
	return 0;
}

struct chunkstore *chunkstore_open(const char *place, enum chunkstore_mode mode, struct err *e)
{
	struct chunkstore *s = mem_alloc(sizeof(*s));

	s->place = mem_strdup(place);
	s->packs = s->lock = s->pack = -1;
	pthread_mutex_init(&s->putting, NULL);
	pthread_rwlock_init(&s->looking, NULL);
	pthread_rwlock_init(&s->writing, NULL);
	if (open_all(s, mode, e) == 0)
		return s;
	chunkstore_close(s);
	return NULL;
}

void chunkstore_close(struct chunkstore *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->mark_files; i++)
		free(s->marks[i]);
	free(s->marks);
	chunk_index_close(&s->index);
	mem_close_fd(&s->pack);
	mem_close_fd(&s->packs);
	mem_close_fd(&s->lock);
	pthread_rwlock_destroy(&s->looking);
	pthread_rwlock_destroy(&s->writing);
	pthread_mutex_destroy(&s->putting);
	free(s->pending);
	free(s->bad);
	free(s->place);
	free(s);
}

void chunkstore_close_ptr(struct chunkstore **s)
{
	chunkstore_close(*s);
	*s = NULL;
}

void chunkstore_leave_no_trace(struct chunkstore *s)
{
	AUTO_FREE char *lock = mem_printf("%s/lock", s->place);
	AUTO_FREE char *packs = mem_printf("%s/packs", s->place);
	AUTO_FREE char *index = mem_printf("%s/index", s->place);

	if (rmdir(packs) == 0 && rmdir(index) == 0) {
		chunkbad_forget(s);
		unlink(lock);
	}
}

/* ---- adding --------------------------------------------------------------------- */

bool chunkstore_has(struct chunkstore *s, const uint8_t digest[SHA256_LEN])
{
	const struct chunk_entry *en;
	bool has;

	pthread_rwlock_rdlock(&s->looking);
	en = chunk_index_find(&s->index, digest);
	has = en && pack_holds(s, en);
	pthread_rwlock_unlock(&s->looking);
	return has;
}

/* Written since the last seal? Lock held. */
static bool is_pending(const struct chunkstore *s, const uint8_t *digest)
{
	for (size_t i = 0; i < s->pendings; i++)
		if (memcmp(s->pending[i].digest, digest, SHA256_LEN) == 0)
			return true;
	return false;
}

/* The pack under way. Lock held. */
static int begin_pack(struct chunkstore *s, struct err *e)
{
	pack_name name;

	io_random(&s->pack_id, sizeof(s->pack_id));
	chunkstore_pack_name(s->pack_id, name);
	s->pack = openat(s->packs, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	s->end = PACK_HEAD;
	if (s->pack < 0 || io_pwrite_full(s->pack, PACK_MAGIC, PACK_HEAD, 0) < 0 ||
	    fsync(s->packs) < 0)
		return err_sys(e, "cannot begin a pack of backups at '%s'", s->place);
	return 0;
}

/* Room for n bytes in the pack. */
static int reserve(struct chunkstore *s, uint32_t n, struct chunk_entry *en, struct err *e)
{
	int rc = 0;

	pthread_mutex_lock(&s->putting);
	if (s->pack < 0)
		rc = begin_pack(s, e);
	en->pack = s->pack_id;
	en->offset = s->end;
	s->end += n;
	pthread_mutex_unlock(&s->putting);
	return rc;
}

static int write_one(struct chunkstore *s, const struct chunk_bytes *b, struct chunk_entry *en,
		     struct err *e)
{
	if (reserve(s, b->n, en, e) < 0)
		return -1;
	if (io_pwrite_full(s->pack, b->p, b->n, en->offset) < 0)
		return err_sys(e, "cannot write to the backups at '%s'", s->place);
	sync_file_range(s->pack, (off_t)en->offset, b->n, SYNC_FILE_RANGE_WRITE);
	pthread_mutex_lock(&s->putting);
	s->pending = mem_grow(s->pending, s->pendings, &s->pending_cap, sizeof(*en));
	s->pending[s->pendings++] = *en;
	pthread_mutex_unlock(&s->putting);
	return 0;
}

int chunkstore_append(struct chunkstore *s, const uint8_t digest[SHA256_LEN],
		      const struct chunk_bytes *b, struct err *e)
{
	struct chunk_entry en = { .length = b->n, .plain = b->plain,
		.flags = b->zip ? CHUNK_ZIP : 0 };
	int rc;

	memcpy(en.digest, digest, SHA256_LEN);
	pthread_rwlock_rdlock(&s->writing);
	rc = write_one(s, b, &en, e);
	pthread_rwlock_unlock(&s->writing);
	return rc;
}

void chunkstore_abandon(struct chunkstore *s)
{
	pack_name name;

	chunkstore_pack_name(s->pack_id, name);
	if (s->pack >= 0)
		unlinkat(s->packs, name, 0);
	mem_close_fd(&s->pack);
	s->pendings = 0;
}

int chunkstore_put(struct chunkstore *s, const uint8_t digest[SHA256_LEN],
		   const struct chunk_bytes *b, uint64_t *added, struct err *e)
{
	bool there;

	pthread_mutex_lock(&s->putting);
	there = is_pending(s, digest);
	pthread_mutex_unlock(&s->putting);
	if (there || chunkstore_has(s, digest))
		return 0;
	__atomic_fetch_add(added, b->n, __ATOMIC_RELAXED);
	return chunkstore_append(s, digest, b, e);
}

/* Sync the pack; one that has grown large is ended, when nobody writes to it. What was
 * written to it and is not in the index yet is moved to `v`. */
static int sync_pack(struct chunkstore *s, struct chunk_entry **v, size_t *n, struct err *e)
{
	int rc;

	pthread_rwlock_wrlock(&s->writing);
	pthread_mutex_lock(&s->putting);	/* is_pending() looks without the other */
	*v = s->pending;
	*n = s->pendings;
	s->pending = NULL;
	s->pendings = s->pending_cap = 0;
	pthread_mutex_unlock(&s->putting);
	if (*n == 0 || s->end < PACK_MAX) {
		pthread_rwlock_unlock(&s->writing);
		rc = *n ? fdatasync(s->pack) : 0;
	} else {
		rc = fdatasync(s->pack);
		mem_close_fd(&s->pack);
		pthread_rwlock_unlock(&s->writing);
	}
	return rc < 0 ? err_sys(e, "cannot write to the backups at '%s'", s->place) : 0;
}

int chunkstore_seal(struct chunkstore *s, struct err *e)
{
	AUTO_FREE struct chunk_entry *v = NULL;
	size_t n;
	int rc;

	if (sync_pack(s, &v, &n, e) < 0)
		return -1;
	pthread_rwlock_wrlock(&s->looking);
	rc = chunk_index_add(&s->index, v, n, e);
	if (rc == 0 && !s->marks)	/* marks know files by their place */
		rc = chunk_index_tidy(&s->index, e);
	pthread_rwlock_unlock(&s->looking);
	return rc;
}

/* ---- reading ---------------------------------------------------------------------- */

void *chunkstore_raw(struct chunkstore *s, const struct chunk_entry *en, struct err *e)
{
	AUTO_FREE void *raw = NULL;
	pack_name name;
	void *out;

	chunkstore_pack_name(en->pack, name);
	AUTO_FD fd = openat(s->packs, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno == ENOENT) {
		chunkstore_damaged(s, "a pack is missing", e);
		return NULL;
	}
	if (en->plain > STREAM_CHUNK_MAX || en->length > ZSTD_compressBound(STREAM_CHUNK_MAX)) {
		chunkstore_damaged(s, "the index names a chunk that cannot be", e);
		return NULL;
	}
	raw = mem_alloc(en->length + 1);
	if (fd < 0 || io_pread_full(fd, raw, en->length, en->offset) < 0) {
		if (fd >= 0 && (errno == ENODATA || errno == EPIPE))
			chunkstore_damaged(s, "a pack ends too early", e);
		else
			err_sys(e, "cannot read the backups at '%s'", s->place);
		return NULL;
	}
	out = raw;
	raw = NULL;
	return out;
}

int chunkstore_unpack(const struct chunkstore *s, const struct chunk_entry *en,
		      const void *raw, void *buf, uint32_t len, struct err *e)
{
	uint8_t digest[SHA256_LEN];
	size_t got = len;

	if (en->flags & CHUNK_ZIP)
		got = ZSTD_decompress(buf, len, raw, en->length);
	else if (en->length == len)
		memcpy(buf, raw, len);
	else
		got = 0;
	if (got == len)
		sha256_of(buf, len, digest);
	if (got != len || memcmp(digest, en->digest, SHA256_LEN) != 0)
		return chunkstore_damaged(s, "a chunk has not the digest that it is known by", e);
	return 0;
}

int chunkstore_get(struct chunkstore *s, const uint8_t digest[SHA256_LEN], void *buf,
		   uint32_t len, struct err *e)
{
	const struct chunk_entry *found;
	struct chunk_entry en;

	pthread_rwlock_rdlock(&s->looking);
	found = chunk_index_find(&s->index, digest);
	if (found)
		en = *found;
	pthread_rwlock_unlock(&s->looking);
	if (!found)
		return chunkstore_damaged(s, "a chunk is missing", e);
	AUTO_FREE void *raw = chunkstore_raw(s, &en, e);
	if (raw && chunkstore_unpack(s, &en, raw, buf, len, e) == 0)
		return 0;
	if (raw)
		chunkbad_note(s, &en);
	return -1;
}
