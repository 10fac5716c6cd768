/* SPDX-License-Identifier: Apache-2.0
 * stream_send - the sending end of a pass: its beginning, its end, and what the
 * receiver says meanwhile.
 */
#include "modules/lib/stream_sender.h"

#include "engine/base/mem.h"
#include "engine/base/thread.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NAP_NS 100000000		/* so soon a new rate is seen */
#define FAIL_WAIT_S 1			/* to tell the other end why */

void sender_stop(struct sender *x, struct err *e)
{
	pthread_mutex_lock(&x->lock);
	if (e && !x->stop)
		err_move(&x->err, e);
	x->stop = true;
	pthread_cond_broadcast(&x->cond);
	pthread_mutex_unlock(&x->lock);
}

void sender_nap(struct sender *x, uint64_t ns)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_nsec += ns < NAP_NS ? (long)ns : NAP_NS;
	t.tv_sec += t.tv_nsec / 1000000000;
	t.tv_nsec %= 1000000000;
	pthread_cond_clockwait(&x->cond, &x->lock, CLOCK_MONOTONIC, &t);
}

int sender_record(struct sender *x, const struct record *r, const void *a, size_t an,
		       const void *b, size_t bn)
{
	int rc;

	pthread_mutex_lock(&x->writing);
	rc = record_write(x->s->pipe, r, a, an, b, bn);
	pthread_mutex_unlock(&x->writing);
	if (rc < 0) {
		pthread_mutex_lock(&x->lock);
		x->cut = true;
		pthread_mutex_unlock(&x->lock);
		sender_stop(x, NULL);
	}
	return rc;
}

uint32_t sender_chunk_len(const struct sender *x, uint64_t index)
{
	return tree_chunk_len(x->d->size, x->chunk, index);
}

const uint8_t *sender_zero_digest(const struct sender *x, uint64_t index)
{
	return x->zero[sender_chunk_len(x, index) < x->chunk];
}

/* ---- what the receiver says ---------------------------------------------- */

static int on_have(struct sender *x, const struct record *r, struct err *e)
{
	uint64_t b = r->index / HAVE_MAX;
	uint64_t left = x->chunks - b * HAVE_MAX;
	uint64_t n = left < HAVE_MAX ? left : HAVE_MAX, asked;

	pthread_mutex_lock(&x->lock);
	asked = x->have_asked;
	pthread_mutex_unlock(&x->lock);
	if (b != x->have_loaded || b >= asked || r->count != n ||
	    r->length != n * SHA256_LEN)
		return err_set(e, ERR_STEP, "the other end sent digests that were not "
			       "asked for");
	/* Nobody looks at this slot: it was last used BATCHES batches ago. */
	if (pipe_read_full(x->s->pipe, x->have[b % BATCHES], r->length) <= 0)
		return record_broke(e);
	pthread_mutex_lock(&x->lock);
	x->have_loaded++;
	pthread_cond_broadcast(&x->cond);
	pthread_mutex_unlock(&x->lock);
	return 0;
}

static int on_done(struct sender *x, const struct record *r, struct err *e)
{
	AUTO_JSON *j = record_read_json(x->s->pipe, r, e);

	return j ? record_compare_root(j, "target", x->st.root, "source", e) : -1;
}

static int on_credit(struct sender *x, const struct record *r, struct err *e)
{
	bool ok;

	pthread_mutex_lock(&x->lock);
	ok = !(r->flags & SLOT_FLAG) || (x->slots && slots_give_back(x->slots, r->index));
	x->credit += r->count;
	pthread_cond_broadcast(&x->cond);
	pthread_mutex_unlock(&x->lock);
	return ok ? 0 : err_set(e, ERR_STEP, "the other end gave back what it was not given");
}

/* 1: the receiver is done; 0: go on; -1 with e. */
static int on_record(struct sender *x, struct err *e)
{
	struct record r;
	int n = record_read(x->s->pipe, &r);

	if (n <= 0)
		return record_broke(e);
	switch (r.type) {
	case REC_CREDIT:
		return on_credit(x, &r, e);
	case REC_HAVE:
		return on_have(x, &r, e);
	case REC_DONE:
		return on_done(x, &r, e);
	case REC_FAIL:
		return record_failure(x->s->pipe, &r, e);
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
		int n = record_wait(x->s->pipe), rc = 0;
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

/* The receiver's memory. Where something lies between, its descriptor does not come. */
static int take_slots(struct sender *x, struct err *e)
{
	struct record r;
	int fd;

	if (record_read_fd(x->s->pipe, &r, &fd) <= 0)
		return record_broke(e);
	if (r.type != REC_SLOTS || r.length || r.count < 2 * THREADS_MAX) {
		mem_close_fd(&fd);
		return err_set(e, ERR_STEP, "the other end offers memory that cannot be used");
	}
	if (fd < 0)
		return 0;
	x->slots = slots_of(fd, x->chunk, r.count, e);
	return x->slots ? 0 : -1;
}

static int greet(struct sender *x, const struct stream_open *o, struct err *e)
{
	AUTO_JSON *j = json_object(), *answer = NULL;
	char base[SHA256_HEX];
	struct record r;
	int n;

	jset_str(j, "disk", o->disk);
	jset_int(j, "size", (int64_t)x->d->size);
	jset_int(j, "chunk", o->chunk);
	if (o->changes) {
		io_hex(o->changes->base, SHA256_LEN, base);
		jset_str(j, "base", base);
	}
	if (record_write_json(x->s->pipe, REC_OPEN, j) < 0)
		return record_broke(e);
	while ((n = record_wait(x->s->pipe)) == 0)
		if (x->s->cancelled && x->s->cancelled(x->s->arg))
			return err_set(e, ERR_STOPPED, "stopped");
	n = record_read(x->s->pipe, &r);
	if (n <= 0)
		return record_broke(e);
	if (r.type == REC_FAIL)
		return record_failure(x->s->pipe, &r, e);
	if (r.type != REC_READY || !(answer = record_read_json(x->s->pipe, &r, e)))
		return err_set(e, ERR_STEP, "the other end did not say that it is ready");
	x->credit = (uint64_t)jint(answer, "window", 0);
	x->known = jbool(answer, "known", false);
	x->st.pass = (uint32_t)jint(answer, "pass", 0);
	if (io_unhex(jstr(answer, "since", ""), x->st.since, SHA256_LEN) < 0)
		memset(x->st.since, 0, SHA256_LEN);
	if (x->known && jbool(answer, "same", false))
		x->changes = o->changes;
	x->st.partly = x->changes != NULL;
	x->st.due = x->changes ? x->changes->bytes : disk_due(x->d, x->chunk);
	if (x->credit < x->chunk + RECORD_COST)
		return err_set(e, ERR_STEP, "the other end offers a window of %llu bytes",
			       (unsigned long long)x->credit);
	return jbool(answer, "slots", false) ? take_slots(x, e) : 0;
}

/* Our own reason goes first, and to the other end too, if the pipe takes it. */
static void give_up(struct sender *x, struct err *e)
{
	struct timespec until;
	bool cut;

	pthread_mutex_lock(&x->lock);
	cut = x->cut;
	if (err_is(&x->err)) {
		err_clear(e);
		err_move(e, &x->err);
	}
	pthread_mutex_unlock(&x->lock);
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += FAIL_WAIT_S;
	if (!cut && pthread_mutex_clocklock(&x->writing, CLOCK_MONOTONIC, &until) == 0) {
		record_fail(x->s->pipe, e);
		pthread_mutex_unlock(&x->writing);
	}
	record_linger(x->s->pipe);
}

static int run_workers(struct sender *x, struct err *e)
{
	struct worker w[THREADS_MAX] = { 0 };
	pthread_t t[THREADS_MAX];
	unsigned n = record_threads();
	int rc;

	x->working = n;
	zip_begin(&x->zip, n, record_now_ns());
	for (unsigned i = 0; i < n; i++) {
		worker_init(&w[i], x);
		thread_start(&t[i], sender_work, &w[i]);
	}
	rc = listen_to(x, e);
	sender_stop(x, NULL);
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
	x.chunks = tree_chunks(d->size, o->chunk);
	tree_zeros(d->size, o->chunk, x.zero);
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
	slots_free(x.slots);
	tree_free(&x.tree);
	err_clear(&x.err);
	x.st.ms = (record_now_ns() - begin) / 1000000;
	*st = x.st;
	return rc;
}
