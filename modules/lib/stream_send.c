/* SPDX-License-Identifier: Apache-2.0
 * stream_send - the sending end of a pass.
 *
 * Workers take chunks in order; each reads, digests, compares, compresses and
 * writes its own. Digests enter the tree in the order of the disk: a worker waits
 * for its turn, with the reading and hashing already done. The caller's thread
 * reads what the receiver says.
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

#define BATCHES 4u			/* of digests that the receiver has */
#define EPOCH_BYTES (32u << 20)		/* of data by which a way to send is judged */
#define FAIL_WAIT_S 1			/* to tell the other end why */
#define EPOCHS_BETWEEN 16		/* trials of the other way */

/* Compress or not: both are tried, the faster one stays and is put to the test
 * again from time to time. */
struct choice {
	bool zip;		/* the way now taken */
	bool trial;		/* it is a trial of the other way */
	uint64_t begin, bytes;	/* of this epoch */
	double rate[2];		/* plain bytes per ns: [zip]; 0: never tried */
	unsigned left;		/* epochs until the next trial */
};

struct sender {
	const struct stream *s;
	struct disk *d;
	uint32_t chunk;
	uint64_t chunks;
	uint8_t zero[2][SHA256_LEN];	/* of a whole chunk, of the last one */
	bool known;			/* the receiver has digests */
	pthread_mutex_t writing;	/* held while a record is written */
	pthread_mutex_t lock;		/* guards all below */
	pthread_cond_t cond;
	uint64_t next;			/* the chunk to take */
	uint64_t run_end;		/* in bytes: what is known of the extents */
	bool run_hole;
	uint8_t *have[BATCHES];		/* HAVE_MAX digests each, by batch % BATCHES */
	uint64_t have_loaded;		/* batches that have come */
	uint64_t have_asked;		/* batches that were asked for */
	bool asking;			/* a worker asks: in order */
	struct tree tree;
	uint64_t credit;
	struct choice choice;
	struct stream_stat st;
	unsigned working;		/* threads that have not ended */
	bool stop;			/* something failed */
	bool cut;			/* the pipe broke; the reader finds out why */
	struct err err;			/* the first failure */
};

struct item {
	uint64_t index, count;
	bool hole;			/* known to be zeros, nothing to read */
	bool has;			/* `have` holds what the receiver has */
	uint8_t have[SHA256_LEN];
};

struct worker {
	struct sender *x;
	uint8_t *buf;			/* chunk, aligned */
	uint8_t *zip;			/* ZSTD_compressBound(chunk) */
	size_t zip_cap;
	ZSTD_CCtx *cctx;
	unsigned rest;			/* chunks not to try to compress */
};

static void stop(struct sender *x, struct err *e)
{
	pthread_mutex_lock(&x->lock);
	if (e && !x->stop)
		err_move(&x->err, e);
	x->stop = true;
	pthread_cond_broadcast(&x->cond);
	pthread_mutex_unlock(&x->lock);
}

static int send_record(struct sender *x, const struct record *r, const void *a, size_t an,
		       const void *b, size_t bn)
{
	int rc;

	pthread_mutex_lock(&x->writing);
	rc = record_write(x->s->fd, r, a, an, b, bn);
	pthread_mutex_unlock(&x->writing);
	if (rc < 0) {
		pthread_mutex_lock(&x->lock);
		x->cut = true;
		pthread_mutex_unlock(&x->lock);
		stop(x, NULL);
	}
	return rc;
}

static uint32_t chunk_len(const struct sender *x, uint64_t index)
{
	uint64_t left = x->d->size - index * x->chunk;

	return left < x->chunk ? (uint32_t)left : x->chunk;
}

static const uint8_t *zero_digest(const struct sender *x, uint64_t index)
{
	return x->zero[chunk_len(x, index) < x->chunk];
}

/* ---- what to do next ----------------------------------------------------- */

/* Ask for digests two batches ahead. Called with the lock held, gives it up. */
static int ask_ahead(struct sender *x)
{
	uint64_t batches = (x->chunks + HAVE_MAX - 1) / HAVE_MAX;
	uint64_t want = x->next / HAVE_MAX + 2;

	while (!x->asking && x->have_asked < want && x->have_asked < batches) {
		uint64_t b = x->have_asked++, at = b * HAVE_MAX;
		uint64_t n = x->chunks - at < HAVE_MAX ? x->chunks - at : HAVE_MAX;
		struct record r = { .type = REC_WANT, .index = at, .count = (uint32_t)n };
		int rc;

		x->asking = true;
		pthread_mutex_unlock(&x->lock);
		rc = send_record(x, &r, NULL, 0, NULL, 0);
		pthread_mutex_lock(&x->lock);
		x->asking = false;
		if (rc < 0)
			return -1;
	}
	return 0;
}

/* The digest that the receiver has of chunk i; NULL: none. Lock held. */
static const uint8_t *have_of(const struct sender *x, uint64_t i)
{
	static const uint8_t none[SHA256_LEN];
	const uint8_t *d;

	if (!x->known)
		return NULL;
	d = x->have[i / HAVE_MAX % BATCHES] + i % HAVE_MAX * SHA256_LEN;
	return memcmp(d, none, SHA256_LEN) ? d : NULL;
}

static bool same_zero(const struct sender *x, uint64_t i)
{
	const uint8_t *have = have_of(x, i);

	return have && memcmp(have, zero_digest(x, i), SHA256_LEN) == 0;
}

/* How many whole chunks from `next` on are a hole, all of them either known to the
 * receiver as zeros or not. Lock held. */
static uint64_t hole_run(struct sender *x)
{
	uint64_t end = x->run_end == x->d->size ? x->chunks : x->run_end / x->chunk;
	uint64_t stop_at = x->known ? (x->next / HAVE_MAX + 1) * HAVE_MAX :
		x->next + ZERO_MAX;
	uint64_t n = 1;
	bool same = same_zero(x, x->next);

	if (!x->run_hole || end <= x->next)
		return 0;
	if (end > stop_at)
		end = stop_at;
	/* A shorter last chunk goes alone. */
	if (end == x->chunks && x->d->size % x->chunk && end > x->next + 1)
		end--;
	while (x->next + n < end && same_zero(x, x->next + n) == same)
		n++;
	return n;
}

static int look(struct sender *x, struct err *e)
{
	uint64_t at = x->next * x->chunk, len = 0;
	bool hole = false;

	if (at < x->run_end && !x->run_hole)
		return 0;	/* inside of data */
	if (at < x->run_end && x->run_hole && x->run_end - at >= x->chunk)
		return 0;
	if (x->d->ops->extent(x->d, at, &len, &hole, e) < 0)
		return -1;
	x->run_end = at + len;
	x->run_hole = hole;
	return 0;
}

/* 1: *it is filled; 0: nothing is left; -1: stopped. */
static int take_item(struct sender *x, struct item *it)
{
	AUTO_ERR e = { 0 };
	int rc = 1;

	pthread_mutex_lock(&x->lock);
	if (x->known && x->next < x->chunks && ask_ahead(x) < 0)
		rc = -1;
	while (x->known && !x->stop && x->next < x->chunks &&
	       x->next / HAVE_MAX >= x->have_loaded)
		pthread_cond_wait(&x->cond, &x->lock);
	if (x->stop || rc < 0) {
		rc = -1;
	} else if (x->next == x->chunks) {
		rc = 0;
	} else if (look(x, &e) < 0) {
		rc = -1;
	} else {
		const uint8_t *have = have_of(x, x->next);

		it->count = hole_run(x);
		it->hole = it->count > 0;
		it->count += !it->hole;
		it->index = x->next;
		it->has = have != NULL;
		if (have)
			memcpy(it->have, have, SHA256_LEN);
		x->next += it->count;
	}
	pthread_mutex_unlock(&x->lock);
	if (err_is(&e))
		stop(x, &e);
	return rc;
}

/* ---- one item ------------------------------------------------------------ */

/* Enter the digest of `it` into the tree, in its turn. */
static int digested(struct sender *x, const struct item *it, const uint8_t *digest)
{
	int rc = -1;

	pthread_mutex_lock(&x->lock);
	while (!x->stop && x->tree.next != it->index)
		pthread_cond_wait(&x->cond, &x->lock);
	if (!x->stop) {
		for (uint64_t i = 0; i < it->count; i++)
			tree_add(&x->tree, digest);
		x->st.scanned += (it->count - 1) * x->chunk +
			chunk_len(x, it->index + it->count - 1);
		pthread_cond_broadcast(&x->cond);
		rc = 0;
	}
	pthread_mutex_unlock(&x->lock);
	return rc;
}

static int take_credit(struct sender *x, uint64_t cost)
{
	pthread_mutex_lock(&x->lock);
	while (!x->stop && x->credit < cost)
		pthread_cond_wait(&x->cond, &x->lock);
	if (!x->stop)
		x->credit -= cost;
	pthread_mutex_unlock(&x->lock);
	return x->stop ? -1 : 0;
}

static void count(struct sender *x, uint64_t *what, uint64_t n, uint64_t wire)
{
	pthread_mutex_lock(&x->lock);
	*what += n;
	x->st.wire += wire;
	pthread_mutex_unlock(&x->lock);
}

static uint64_t bytes_of(const struct sender *x, const struct item *it)
{
	return (it->count - 1) * x->chunk + chunk_len(x, it->index + it->count - 1);
}

static int send_zero(struct sender *x, const struct item *it)
{
	struct record r = { .type = REC_ZERO, .index = it->index,
		.count = (uint32_t)it->count };

	if (take_credit(x, RECORD_COST) < 0 || send_record(x, &r, NULL, 0, NULL, 0) < 0)
		return -1;
	count(x, &x->st.zero, bytes_of(x, it), RECORD_HEAD);
	return 0;
}

/* Is it time to judge the way that is taken? Lock held. */
static void judge(struct choice *c, uint64_t bytes)
{
	uint64_t now = record_now_ns();

	c->bytes += bytes;
	if (c->bytes < EPOCH_BYTES)
		return;
	c->rate[c->zip] = (double)c->bytes / (double)(now - c->begin + 1);
	if (c->rate[!c->zip] == 0 || (!c->trial && c->left == 0)) {
		c->zip = !c->zip;
		c->trial = true;
	} else if (c->trial) {
		/* At nearly equal speed the fewer bytes are better. */
		c->zip = c->rate[1] > c->rate[0] * 0.95;
		c->trial = false;
		c->left = EPOCHS_BETWEEN;
	} else {
		c->left--;
	}
	c->begin = now;
	c->bytes = 0;
}

/* The chunk as a frame; 0: it stays plain. */
static size_t compress(struct worker *w, size_t len)
{
	struct sender *x = w->x;
	bool zip;
	size_t n;

	pthread_mutex_lock(&x->lock);
	zip = x->s->zip == ZIP_AUTO ? x->choice.zip : x->s->zip == ZIP_ZSTD;
	pthread_mutex_unlock(&x->lock);
	if (!zip)
		return 0;
	if (w->rest) {
		w->rest--;
		return 0;
	}
	n = ZSTD_compressCCtx(w->cctx, w->zip, w->zip_cap, w->buf, len, ZIP_LEVEL);
	if (!ZSTD_isError(n) && n < len - len / 16)
		return n;
	if (x->s->zip == ZIP_AUTO)
		w->rest = 3;	/* what does not shrink has neighbours that do not */
	return 0;
}

static int send_data(struct worker *w, const struct item *it, const uint8_t *digest)
{
	struct sender *x = w->x;
	uint32_t len = chunk_len(x, it->index);
	size_t zipped = compress(w, len), n = zipped ? zipped : len;
	struct record r = { .type = REC_DATA, .flags = zipped ? ZIP_FLAG : 0,
		.index = it->index, .count = 1, .plain = len };

	if (take_credit(x, n + RECORD_COST) < 0 ||
	    send_record(x, &r, digest, SHA256_LEN, zipped ? w->zip : w->buf, n) < 0)
		return -1;
	pthread_mutex_lock(&x->lock);
	judge(&x->choice, len);
	pthread_mutex_unlock(&x->lock);
	count(x, &x->st.data, len, RECORD_HEAD + SHA256_LEN + n);
	return 0;
}

static bool all_zero(const uint8_t *p, size_t n)
{
	return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

static int do_item(struct worker *w, const struct item *it)
{
	struct sender *x = w->x;
	uint32_t len = chunk_len(x, it->index);
	uint8_t digest[SHA256_LEN];
	AUTO_ERR e = { 0 };
	bool zero = it->hole;

	if (!it->hole) {
		if (x->d->ops->read(x->d, w->buf, len, it->index * x->chunk, &e) < 0) {
			stop(x, &e);
			return -1;
		}
		zero = all_zero(w->buf, len);
	}
	if (zero)
		memcpy(digest, zero_digest(x, it->index), SHA256_LEN);
	else
		sha256_of(w->buf, len, digest);
	if (digested(x, it, digest) < 0)
		return -1;
	if (it->has && memcmp(digest, it->have, SHA256_LEN) == 0) {
		count(x, &x->st.same, bytes_of(x, it), 0);
		return 0;
	}
	return zero ? send_zero(x, it) : send_data(w, it, digest);
}

/* ---- threads ------------------------------------------------------------- */

static void send_done(struct sender *x)
{
	AUTO_JSON *j = json_object();
	AUTO_FREE char *text = NULL;
	struct record r = { .type = REC_DONE };
	char hex[SHA256_HEX];

	tree_end(&x->tree, x->d->size, x->chunk, x->st.root);
	io_hex(x->st.root, SHA256_LEN, hex);
	jset_str(j, "root", hex);
	text = json_canonical(j);
	send_record(x, &r, text, strlen(text), NULL, 0);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct sender *x = w->x;
	struct item it = { 0 };
	bool last;

	while (take_item(x, &it) == 1 && do_item(w, &it) == 0)
		;
	pthread_mutex_lock(&x->lock);
	last = --x->working == 0 && !x->stop;
	pthread_mutex_unlock(&x->lock);
	if (last)
		send_done(x);
	return NULL;
}

/* ---- what the receiver says ---------------------------------------------- */

static int on_have(struct sender *x, const struct record *r, struct err *e)
{
	uint64_t b = r->index / HAVE_MAX;
	uint64_t left = x->chunks - b * HAVE_MAX;
	uint64_t n = left < HAVE_MAX ? left : HAVE_MAX;

	if (b != x->have_loaded || b >= x->have_asked || r->count != n ||
	    r->length != n * SHA256_LEN)
		return err_set(e, ERR_STEP, "the other end sent digests that were not "
			       "asked for");
	/* Nobody looks at this slot: it was last used BATCHES batches ago. */
	if (io_read_full(x->s->fd, x->have[b % BATCHES], r->length) <= 0)
		return record_broke(e);
	pthread_mutex_lock(&x->lock);
	x->have_loaded++;
	pthread_cond_broadcast(&x->cond);
	pthread_mutex_unlock(&x->lock);
	return 0;
}

static int on_done(struct sender *x, const struct record *r, struct err *e)
{
	AUTO_JSON *j = record_read_json(x->s->fd, r, e);
	char hex[SHA256_HEX];

	if (!j)
		return -1;
	io_hex(x->st.root, SHA256_LEN, hex);
	if (strcmp(jstr(j, "root", ""), hex) != 0)
		return err_set(e, ERR_STEP, "the target's digest %.12s is not the "
			       "source's %.12s", jstr(j, "root", ""), hex);
	return 1;
}

/* 1: the receiver is done; 0: go on; -1 with e. */
static int on_record(struct sender *x, struct err *e)
{
	struct record r;
	int n = record_read(x->s->fd, &r);

	if (n <= 0)
		return record_broke(e);
	switch (r.type) {
	case REC_CREDIT:
		pthread_mutex_lock(&x->lock);
		x->credit += r.count;
		pthread_cond_broadcast(&x->cond);
		pthread_mutex_unlock(&x->lock);
		return 0;
	case REC_HAVE:
		return on_have(x, &r, e);
	case REC_DONE:
		return on_done(x, &r, e);
	case REC_FAIL:
		return record_failure(x->s->fd, &r, e);
	default:
		return err_set(e, ERR_STEP, "the other end sent a record of unknown kind %u",
			       r.type);
	}
}

static void tick(struct sender *x)
{
	struct stream_stat st;

	pthread_mutex_lock(&x->lock);
	st = x->st;
	pthread_mutex_unlock(&x->lock);
	if (x->s->tick)
		x->s->tick(x->s->arg, &st);
}

static int listen_to(struct sender *x, struct err *e)
{
	for (;;) {
		int n = record_wait(x->s->fd), rc = 0;
		bool failed;

		tick(x);
		if (x->s->cancelled && x->s->cancelled(x->s->arg))
			return err_set(e, ERR_STOPPED, "stopped");
		if (n != 0)
			rc = on_record(x, e);
		if (rc != 0)
			return rc < 0 ? -1 : 0;
		pthread_mutex_lock(&x->lock);
		failed = x->stop && !x->cut;
		pthread_mutex_unlock(&x->lock);
		if (failed)
			return -1;
	}
}

/* ---- a pass -------------------------------------------------------------- */

static int greet(struct sender *x, const struct stream_open *o, struct err *e)
{
	AUTO_JSON *j = json_object(), *answer = NULL;
	struct record r;
	int n;

	jset_str(j, "disk", o->disk);
	jset_int(j, "size", (int64_t)x->d->size);
	jset_int(j, "chunk", o->chunk);
	if (record_write_json(x->s->fd, REC_OPEN, j) < 0)
		return record_broke(e);
	while ((n = record_wait(x->s->fd)) == 0)
		if (x->s->cancelled && x->s->cancelled(x->s->arg))
			return err_set(e, ERR_STOPPED, "stopped");
	n = record_read(x->s->fd, &r);
	if (n <= 0)
		return record_broke(e);
	if (r.type == REC_FAIL)
		return record_failure(x->s->fd, &r, e);
	if (r.type != REC_READY || !(answer = record_read_json(x->s->fd, &r, e)))
		return err_set(e, ERR_STEP, "the other end did not say that it is ready");
	x->credit = (uint64_t)jint(answer, "window", 0);
	x->known = jbool(answer, "known", false);
	x->st.pass = (uint32_t)jint(answer, "pass", 0);
	if (x->credit < x->chunk + RECORD_COST)
		return err_set(e, ERR_STEP, "the other end offers a window of %llu bytes",
			       (unsigned long long)x->credit);
	return 0;
}

static void worker_init(struct worker *w, struct sender *x)
{
	w->x = x;
	w->buf = disk_buffer(x->chunk);
	w->zip_cap = ZSTD_compressBound(x->chunk);
	w->zip = mem_alloc(w->zip_cap);
	w->cctx = ZSTD_createCCtx();
}

static void worker_free(struct worker *w)
{
	free(w->buf);
	mem_free_ptr(&w->zip);
	ZSTD_freeCCtx(w->cctx);
}

/* Our own reason goes first, and to the other end too, if the pipe takes it. */
static void give_up(struct sender *x, struct err *e)
{
	struct timespec until;

	pthread_mutex_lock(&x->lock);
	if (err_is(&x->err)) {
		err_clear(e);
		err_move(e, &x->err);
	}
	pthread_mutex_unlock(&x->lock);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += FAIL_WAIT_S;
	if (!x->cut && pthread_mutex_timedlock(&x->writing, &until) == 0) {
		stream_fail(x->s, e);
		pthread_mutex_unlock(&x->writing);
	}
	record_linger(x->s->fd);
}

static int run_workers(struct sender *x, struct err *e)
{
	struct worker w[THREADS_MAX] = { 0 };
	pthread_t t[THREADS_MAX];
	unsigned n = record_threads();
	int rc;

	x->working = n;
	x->choice.begin = record_now_ns();
	for (unsigned i = 0; i < n; i++) {
		worker_init(&w[i], x);
		if (pthread_create(&t[i], NULL, work, &w[i]) != 0)
			abort();	/* no thread is like no memory */
	}
	rc = listen_to(x, e);
	stop(x, NULL);
	if (rc < 0)
		give_up(x, e);
	for (unsigned i = 0; i < n; i++) {
		pthread_join(t[i], NULL);
		worker_free(&w[i]);
	}
	return rc;
}

int stream_send(const struct stream *s, struct disk *d, const struct stream_open *o,
		struct stream_stat *st, struct err *e)
{
	struct sender x = { .s = s, .d = d, .chunk = o->chunk, .st.size = d->size };
	uint64_t begin = record_now_ns();
	int rc;

	signal(SIGPIPE, SIG_IGN);
	x.chunks = (d->size + o->chunk - 1) / o->chunk;
	tree_zero_digest(o->chunk, x.zero[0]);
	tree_zero_digest((size_t)(d->size % o->chunk), x.zero[1]);
	pthread_mutex_init(&x.writing, NULL);
	pthread_mutex_init(&x.lock, NULL);
	pthread_cond_init(&x.cond, NULL);
	rc = greet(&x, o, e);
	for (unsigned i = 0; i < BATCHES && x.known; i++)
		x.have[i] = mem_alloc((size_t)HAVE_MAX * SHA256_LEN);
	if (rc == 0)
		rc = run_workers(&x, e);
	for (unsigned i = 0; i < BATCHES; i++)
		mem_free_ptr(&x.have[i]);
	tree_free(&x.tree);
	err_clear(&x.err);
	x.st.ms = (record_now_ns() - begin) / 1000000;
	*st = x.st;
	return rc;
}
