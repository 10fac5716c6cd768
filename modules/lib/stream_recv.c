/* SPDX-License-Identifier: Apache-2.0
 * stream_recv - the receiving end of a pass.
 *
 * The caller's thread reads records; workers unpack, check and write; one thread
 * makes what was written durable, at least every SYNC_BYTES and SYNC_MS, and
 * enters it in the map only then.
 */
#include "modules/lib/stream_impl.h"

#include "engine/base/mem.h"
#include "modules/lib/tree.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zstd.h>

#define SYNC_BYTES (48u << 20)
#define SYNC_MS 1500

struct job {
	struct record r;
	uint8_t *payload;	/* aligned data; DATA only */
	uint8_t digest[SHA256_LEN];
	struct job *next;
};

struct receiver {
	const struct stream *s;
	struct sink *k;
	uint64_t size, chunks;
	uint32_t chunk;
	uint8_t zero[2][SHA256_LEN];
	pthread_mutex_t writing;	/* held while a record is written */
	pthread_mutex_t lock;		/* guards all below */
	pthread_cond_t cond;
	struct job *first, **last;	/* waiting for a worker */
	unsigned busy;			/* jobs in a worker's hands */
	uint64_t window;		/* what the sender may still send */
	struct map_update *done;	/* written, not yet durable; owned */
	size_t dones, done_cap;
	uint64_t done_bytes;
	bool syncing;			/* a commit is under way */
	bool flush;			/* commit now, whatever there is */
	bool end;			/* threads are to end */
	bool stop;			/* something failed */
	struct stream_stat st;
	struct err err;
};

static void stop(struct receiver *x, struct err *e)
{
	pthread_mutex_lock(&x->lock);
	if (e && !x->stop)
		err_move(&x->err, e);
	x->stop = true;
	pthread_cond_broadcast(&x->cond);
	pthread_mutex_unlock(&x->lock);
}

static uint32_t chunk_len(const struct receiver *x, uint64_t index)
{
	uint64_t left = x->size - index * x->chunk;

	return left < x->chunk ? (uint32_t)left : x->chunk;
}

static uint64_t cost_of(const struct record *r)
{
	return RECORD_COST + (r->type == REC_DATA ? r->length - SHA256_LEN : 0);
}

/* ---- one record ---------------------------------------------------------- */

static int unpack(struct receiver *x, const struct job *j, void *plain, ZSTD_DCtx *z,
		  struct err *e)
{
	uint32_t n = j->r.length - SHA256_LEN, want = chunk_len(x, j->r.index);
	size_t got = ZSTD_decompressDCtx(z, plain, x->chunk, j->payload, n);

	if (ZSTD_isError(got) || got != want)
		return err_set(e, ERR_STEP, "a damaged chunk arrived for byte %llu",
			       (unsigned long long)(j->r.index * x->chunk));
	return 0;
}

static int do_data(struct receiver *x, const struct job *j, void *buf, ZSTD_DCtx *z,
		   struct err *e)
{
	bool zip = j->r.flags & ZIP_FLAG;
	struct stream_chunk c = { .index = j->r.index, .digest = j->digest,
		.plain = zip ? buf : j->payload, .plain_len = chunk_len(x, j->r.index),
		.frame = zip ? j->payload : NULL,
		.frame_len = zip ? j->r.length - SHA256_LEN : 0 };
	uint8_t digest[SHA256_LEN];

	if (zip && unpack(x, j, buf, z, e) < 0)
		return -1;
	sha256_of(c.plain, c.plain_len, digest);
	if (memcmp(digest, j->digest, SHA256_LEN) != 0)
		return err_set(e, ERR_STEP, "a damaged chunk arrived for byte %llu, length "
			       "%u: its digest does not fit",
			       (unsigned long long)(j->r.index * x->chunk), c.plain_len);
	return x->k->data(x->k, &c, e);
}

static void finished(struct receiver *x, const struct job *j)
{
	struct map_update u = { .index = j->r.index, .count = j->r.count };
	struct record credit = { .type = REC_CREDIT, .count = (uint32_t)cost_of(&j->r) };
	bool data = j->r.type == REC_DATA;
	uint32_t last = chunk_len(x, u.index + u.count - 1);

	memcpy(u.digest, data ? j->digest : x->zero[last < x->chunk], SHA256_LEN);
	pthread_mutex_lock(&x->lock);
	x->done = mem_grow(x->done, x->dones, &x->done_cap, sizeof(*x->done));
	x->done[x->dones++] = u;
	x->done_bytes += data ? last : RECORD_COST;
	*(data ? &x->st.data : &x->st.zero) += (u.count - 1) * x->chunk + last;
	x->st.wire += RECORD_HEAD + j->r.length;
	x->st.scanned = (u.index + u.count - 1) * x->chunk + last;
	x->window += credit.count;
	pthread_cond_broadcast(&x->cond);
	pthread_mutex_unlock(&x->lock);
	pthread_mutex_lock(&x->writing);
	/* A broken pipe is noticed where it is read. */
	record_write(x->s->fd, &credit, NULL, 0, NULL, 0);
	pthread_mutex_unlock(&x->writing);
}

static struct job *take_job(struct receiver *x)
{
	struct job *j;

	pthread_mutex_lock(&x->lock);
	while (!x->first && !x->stop && !x->end)
		pthread_cond_wait(&x->cond, &x->lock);
	j = x->stop ? NULL : x->first;
	if (j) {
		x->first = j->next;
		if (!x->first)
			x->last = &x->first;
		x->busy++;
	}
	pthread_mutex_unlock(&x->lock);
	return j;
}

static void job_free(struct job *j)
{
	free(j->payload);
	free(j);
}

static void *work(void *arg)
{
	struct receiver *x = arg;
	AUTO_FREE void *buf = disk_buffer(x->chunk);
	ZSTD_DCtx *z = ZSTD_createDCtx();
	struct job *j;

	while ((j = take_job(x))) {
		AUTO_ERR e = { 0 };
		int rc = j->r.type == REC_DATA ? do_data(x, j, buf, z, &e) :
			x->k->zero(x->k, j->r.index, j->r.count, &e);

		if (rc < 0)
			stop(x, &e);
		else
			finished(x, j);
		job_free(j);
		pthread_mutex_lock(&x->lock);
		x->busy--;
		pthread_cond_broadcast(&x->cond);
		pthread_mutex_unlock(&x->lock);
	}
	ZSTD_freeDCtx(z);
	return NULL;
}

/* ---- making it durable --------------------------------------------------- */

/* Wait until there is enough to commit. Lock held. */
static bool due(struct receiver *x, uint64_t since)
{
	struct timespec t;

	while (!x->stop) {
		uint64_t waited = (record_now_ns() - since) / 1000000;

		if (x->dones && (x->flush || x->done_bytes >= SYNC_BYTES || waited >= SYNC_MS))
			return true;
		if (x->end)
			return false;
		clock_gettime(CLOCK_REALTIME, &t);
		t.tv_nsec += 100 * 1000000;
		t.tv_sec += t.tv_nsec / 1000000000;
		t.tv_nsec %= 1000000000;
		pthread_cond_timedwait(&x->cond, &x->lock, &t);
	}
	return false;
}

static int by_index(const void *a, const void *b)
{
	const struct map_update *p = a, *q = b;

	return p->index < q->index ? -1 : p->index > q->index;
}

static void *sync_work(void *arg)
{
	struct receiver *x = arg;
	uint64_t since = record_now_ns();

	pthread_mutex_lock(&x->lock);
	while (due(x, since)) {
		AUTO_FREE struct map_update *u = x->done;
		size_t n = x->dones;
		AUTO_ERR e = { 0 };

		x->done = NULL;
		x->dones = x->done_cap = 0;
		x->done_bytes = 0;
		x->syncing = true;
		pthread_mutex_unlock(&x->lock);
		qsort(u, n, sizeof(*u), by_index);
		since = record_now_ns();
		if (x->k->commit(x->k, u, n, &e) < 0)
			stop(x, &e);
		pthread_mutex_lock(&x->lock);
		x->syncing = false;
		pthread_cond_broadcast(&x->cond);
	}
	pthread_mutex_unlock(&x->lock);
	return NULL;
}

/* ---- what the sender says ------------------------------------------------ */

static int answer_want(struct receiver *x, const struct record *r, struct err *e)
{
	AUTO_FREE uint8_t *d = NULL;
	struct record have = { .type = REC_HAVE, .index = r->index, .count = r->count };
	int rc;

	if (r->length || r->count > HAVE_MAX || r->index > x->chunks ||
	    r->count > x->chunks - r->index)
		return err_set(e, ERR_STEP, "the other end asked for digests beyond the disk");
	d = mem_alloc((size_t)r->count * SHA256_LEN + 1);
	for (uint32_t i = 0; i < r->count; i++)
		if (!x->k->have(x->k, r->index + i, d + (size_t)i * SHA256_LEN))
			memset(d + (size_t)i * SHA256_LEN, 0, SHA256_LEN);
	pthread_mutex_lock(&x->writing);
	rc = record_write(x->s->fd, &have, d, (size_t)r->count * SHA256_LEN, NULL, 0);
	pthread_mutex_unlock(&x->writing);
	return rc < 0 ? record_broke(e) : 0;
}

static int check_job(struct receiver *x, const struct record *r, struct err *e)
{
	uint64_t max = ZSTD_compressBound(x->chunk) + SHA256_LEN;
	bool data = r->type == REC_DATA, ok;

	ok = r->count >= 1 && r->index < x->chunks && r->count <= x->chunks - r->index;
	if (ok && data)
		ok = r->count == 1 && r->plain == chunk_len(x, r->index) &&
			r->length > SHA256_LEN && r->length <= max &&
			(r->flags & ZIP_FLAG || r->length - SHA256_LEN == r->plain);
	else if (ok)	/* zeros of unequal length do not share a record */
		ok = r->length == 0 && r->count <= ZERO_MAX &&
			(r->count == 1 || chunk_len(x, r->index + r->count - 1) == x->chunk);
	if (!ok)
		return err_set(e, ERR_STEP, "the other end sent a malformed record");
	if (cost_of(r) > x->window)
		return err_set(e, ERR_STEP, "the other end sent more than it may");
	return 0;
}

static int queue_job(struct receiver *x, const struct record *r, struct err *e)
{
	struct job *j;
	int rc;

	pthread_mutex_lock(&x->lock);
	rc = check_job(x, r, e);
	if (rc == 0)
		x->window -= cost_of(r);
	pthread_mutex_unlock(&x->lock);
	if (rc < 0)
		return -1;
	j = mem_alloc(sizeof(*j));
	j->r = *r;
	if (r->type == REC_DATA) {
		j->payload = disk_buffer(r->length - SHA256_LEN);
		if (io_read_full(x->s->fd, j->digest, SHA256_LEN) <= 0 ||
		    io_read_full(x->s->fd, j->payload, r->length - SHA256_LEN) <= 0) {
			job_free(j);
			return record_broke(e);
		}
	}
	pthread_mutex_lock(&x->lock);
	*x->last = j;
	x->last = &j->next;
	pthread_cond_broadcast(&x->cond);
	pthread_mutex_unlock(&x->lock);
	return 0;
}

/* All is there: write it, sync it, compare the roots, say so. */
static int on_done(struct receiver *x, const struct record *r, struct err *e)
{
	AUTO_JSON *j = record_read_json(x->s->fd, r, e);
	char hex[SHA256_HEX];
	bool failed;

	if (!j)
		return -1;
	pthread_mutex_lock(&x->lock);
	x->flush = true;
	pthread_cond_broadcast(&x->cond);
	while (!x->stop && (x->first || x->busy || x->dones || x->syncing))
		pthread_cond_wait(&x->cond, &x->lock);
	failed = x->stop;
	pthread_mutex_unlock(&x->lock);
	if (failed || x->k->finish(x->k, x->st.root, e) < 0)
		return -1;
	io_hex(x->st.root, SHA256_LEN, hex);
	if (strcmp(jstr(j, "root", ""), hex) != 0)
		return err_set(e, ERR_STEP, "the source's digest %.12s is not the "
			       "target's %.12s", jstr(j, "root", ""), hex);
	return 1;
}

static int on_record(struct receiver *x, struct err *e)
{
	struct record r;

	if (record_read(x->s->fd, &r) <= 0)
		return record_broke(e);
	switch (r.type) {
	case REC_WANT:
		return answer_want(x, &r, e);
	case REC_DATA:
	case REC_ZERO:
		return queue_job(x, &r, e);
	case REC_DONE:
		return on_done(x, &r, e);
	case REC_FAIL:
		return record_failure(x->s->fd, &r, e);
	default:
		return err_set(e, ERR_STEP, "the other end sent a record of unknown kind %u",
			       r.type);
	}
}

static int listen_to(struct receiver *x, struct err *e)
{
	for (;;) {
		struct stream_stat st;
		int n = record_wait(x->s->fd), rc = 0;
		bool failed;

		pthread_mutex_lock(&x->lock);
		st = x->st;
		failed = x->stop;
		pthread_mutex_unlock(&x->lock);
		if (failed)
			return -1;
		if (x->s->tick)
			x->s->tick(x->s->arg, &st);
		if (x->s->cancelled && x->s->cancelled(x->s->arg))
			return err_set(e, ERR_STOPPED, "stopped");
		if (n != 0)
			rc = on_record(x, e);
		if (rc != 0)
			return rc < 0 ? -1 : 0;
	}
}

/* ---- a pass -------------------------------------------------------------- */

/* Whatever happened, what was written may be kept: commit it before the end. */
static void end_threads(struct receiver *x, pthread_t *t, unsigned n, bool failed)
{
	struct job *j;

	pthread_mutex_lock(&x->lock);
	x->flush = true;
	pthread_cond_broadcast(&x->cond);
	/* A cut stream is no fault of the disk: let the threads finish their work. */
	while (failed && !x->stop && (x->first || x->busy || x->dones || x->syncing))
		pthread_cond_wait(&x->cond, &x->lock);
	x->end = true;
	pthread_cond_broadcast(&x->cond);
	pthread_mutex_unlock(&x->lock);
	for (unsigned i = 0; i < n; i++)
		pthread_join(t[i], NULL);
	while ((j = x->first)) {
		x->first = j->next;
		job_free(j);
	}
	free(x->done);
}

static int receive(struct receiver *x, struct err *e)
{
	pthread_t t[THREADS_MAX + 1];
	unsigned n = record_threads();
	int rc;

	for (unsigned i = 0; i < n; i++)
		if (pthread_create(&t[i], NULL, work, x) != 0)
			abort();	/* no thread is like no memory */
	if (pthread_create(&t[n], NULL, sync_work, x) != 0)
		abort();
	rc = listen_to(x, e);
	end_threads(x, t, n + 1, rc < 0);
	if (err_is(&x->err)) {
		err_clear(e);
		err_move(e, &x->err);
		rc = -1;
	}
	return rc;
}

static int answer_open(struct receiver *x, struct err *e)
{
	AUTO_JSON *j = json_object();

	jset_int(j, "window", STREAM_WINDOW);
	jset_bool(j, "known", x->k->known);
	jset_int(j, "pass", x->k->pass);
	x->st.pass = x->k->pass;
	return record_write_json(x->s->fd, REC_READY, j) < 0 ?
		record_broke(e) : 0;
}

static int take_offer(struct receiver *x, const json_t *j, struct stream_offer *o,
		      struct err *e)
{
	int64_t size = jint(j, "size", 0), chunk = jint(j, "chunk", 0);

	if (!jstr(j, "disk", NULL) || size <= 0 || chunk < STREAM_CHUNK_MIN ||
	    chunk > STREAM_CHUNK_MAX || chunk % 4096)
		return err_set(e, ERR_STEP, "the other end offers no disk that can be taken");
	*o = (struct stream_offer){ jstr(j, "disk", NULL), (uint64_t)size,
		(uint32_t)chunk };
	x->size = x->st.size = (uint64_t)size;
	x->chunk = (uint32_t)chunk;
	x->chunks = (x->size + x->chunk - 1) / x->chunk;
	tree_zero_digest(x->chunk, x->zero[0]);
	tree_zero_digest((size_t)(x->size % x->chunk), x->zero[1]);
	return 0;
}

static int send_root(struct receiver *x, struct err *e)
{
	AUTO_JSON *j = json_object();
	char hex[SHA256_HEX];

	io_hex(x->st.root, SHA256_LEN, hex);
	jset_str(j, "root", hex);
	return record_write_json(x->s->fd, REC_DONE, j) < 0 ?
		record_broke(e) : 0;
}

static int one_pass(struct receiver *x, const struct stream_receiver *how,
		    const json_t *hello, struct err *e)
{
	AUTO_ERR late = { 0 };
	struct stream_offer o;
	uint64_t begin = record_now_ns();
	int rc;

	if (take_offer(x, hello, &o, e) < 0)
		return -1;
	x->k = how->open(how->arg, &o, e);
	if (!x->k)
		return -1;
	rc = answer_open(x, e);
	if (rc == 0)
		rc = receive(x, e);
	x->st.ms = (record_now_ns() - begin) / 1000000;
	if (how->close(how->arg, x->k, &x->st, rc == 0, rc == 0 ? e : &late) < 0)
		rc = -1;
	return rc == 0 ? send_root(x, e) : -1;
}

/* The next record that begins something: OPEN, BYE, or the end. */
static int next_offer(const struct stream *s, struct record *r, struct err *e)
{
	int n;

	while ((n = record_wait(s->fd)) == 0)
		if (s->cancelled && s->cancelled(s->arg))
			return err_set(e, ERR_STOPPED, "stopped");
	if (n < 0 || record_read(s->fd, r) <= 0)
		return record_broke(e);
	if (r->type == REC_FAIL)
		return record_failure(s->fd, r, e);
	if (r->type != REC_OPEN && r->type != REC_BYE)
		return err_set(e, ERR_STEP, "the other end sent a record of unknown kind %u",
			       r->type);
	return r->type == REC_OPEN;
}

int stream_recv(const struct stream *s, const struct stream_receiver *r, struct err *e)
{
	struct receiver x = { .s = s, .window = STREAM_WINDOW };
	AUTO_JSON *hello = NULL;
	struct record rec;
	int rc;

	signal(SIGPIPE, SIG_IGN);
	rc = next_offer(s, &rec, e);
	if (rc <= 0)
		return rc;
	pthread_mutex_init(&x.writing, NULL);
	pthread_mutex_init(&x.lock, NULL);
	pthread_cond_init(&x.cond, NULL);
	x.last = &x.first;
	hello = record_read_json(s->fd, &rec, e);
	rc = hello ? one_pass(&x, r, hello, e) : -1;
	if (rc < 0) {
		stream_fail(s, e);
		record_linger(s->fd);
	}
	err_clear(&x.err);
	return rc < 0 ? -1 : 1;
}
