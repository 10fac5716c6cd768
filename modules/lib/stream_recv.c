/* SPDX-License-Identifier: Apache-2.0
 * stream_recv - the receiving end of a pass: its beginning, its end, and what the
 * sender says. The caller's thread reads; stream_store.c has the others.
 */
#include "modules/lib/stream_receiver.h"

#include "engine/base/mem.h"
#include "engine/base/thread.h"
#include "modules/lib/tree.h"

#include <endian.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

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
	rc = record_write(x->s->pipe, &have, d, (size_t)r->count * SHA256_LEN, NULL, 0);
	pthread_mutex_unlock(&x->writing);
	return rc < 0 ? record_broke(e) : 0;
}

static int check_job(struct receiver *x, const struct record *r, struct err *e)
{
	uint64_t max = ZSTD_compressBound(x->chunk) + SHA256_LEN;
	bool data = r->type == REC_DATA, ok;

	ok = r->count >= 1 && r->index < x->chunks && r->count <= x->chunks - r->index;
	if (ok && data && r->flags & SLOT_FLAG)
		ok = x->slots && r->count == 1 && r->plain == receiver_chunk_len(x, r->index) &&
			r->flags == SLOT_FLAG && r->length == SHA256_LEN + SLOT_LEN;
	else if (ok && data)
		ok = r->count == 1 && r->plain == receiver_chunk_len(x, r->index) &&
			r->length > SHA256_LEN && r->length <= max &&
			(r->flags & ZIP_FLAG || r->length - SHA256_LEN == r->plain);
	else if (ok)	/* zeros of unequal length do not share a record */
		ok = r->length == 0 && r->count <= ZERO_MAX &&
			(r->count == 1 || receiver_chunk_len(x, r->index + r->count - 1) == x->chunk);
	if (!ok)
		return err_set(e, ERR_STEP, "the other end sent a malformed record");
	if (receiver_cost(r) > x->window)
		return err_set(e, ERR_STEP, "the other end sent more than it may");
	return 0;
}

/* DATA that lies in a slot, which must be the sender's. */
static int find_slot(struct receiver *x, struct job *j, struct err *e)
{
	uint32_t slot;
	bool ok;

	if (pipe_read_full(x->s->pipe, &slot, SLOT_LEN) <= 0)
		return record_broke(e);
	slot = be32toh(slot);
	pthread_mutex_lock(&x->lock);
	ok = slots_take_this(x->slots, slot);
	pthread_mutex_unlock(&x->lock);
	if (!ok)
		return err_set(e, ERR_STEP, "the other end sent a malformed record");
	j->slot = slot;
	j->payload = slots_at(x->slots, slot);
	return 0;
}

static int read_data(struct receiver *x, struct job *j, struct err *e)
{
	uint32_t n = receiver_data_len(&j->r);

	if (pipe_read_full(x->s->pipe, j->digest, SHA256_LEN) <= 0)
		return record_broke(e);
	if (j->r.flags & SLOT_FLAG)
		return find_slot(x, j, e);
	j->payload = disk_buffer(n);
	return pipe_read_full(x->s->pipe, j->payload, n) <= 0 ? record_broke(e) : 0;
}

static int queue_job(struct receiver *x, const struct record *r, struct err *e)
{
	struct job *j;
	int rc;

	pthread_mutex_lock(&x->lock);
	rc = check_job(x, r, e);
	if (rc == 0)
		x->window -= receiver_cost(r);
	pthread_mutex_unlock(&x->lock);
	if (rc < 0)
		return -1;
	j = mem_alloc(sizeof(*j));
	j->r = *r;
	j->slot = NO_SLOT;
	if (r->type == REC_DATA && read_data(x, j, e) < 0) {
		receiver_job_free(j);
		return -1;
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
	AUTO_JSON *j = record_read_json(x->s->pipe, r, e);
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
	return record_compare_root(j, "source", x->st.root, "target", e);
}

static int on_record(struct receiver *x, struct err *e)
{
	struct record r;

	if (record_read(x->s->pipe, &r) <= 0)
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
		return record_failure(x->s->pipe, &r, e);
	default:
		return err_set(e, ERR_STEP, "the other end sent a record of unknown kind %u",
			       r.type);
	}
}

static int listen_to(struct receiver *x, struct err *e)
{
	for (;;) {
		struct stream_stat st;
		int n = record_wait(x->s->pipe), rc = 0;
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
		receiver_job_free(j);
	}
	free(x->done);
}

static int receive(struct receiver *x, struct err *e)
{
	pthread_t t[THREADS_MAX + 1];
	unsigned n = record_threads();
	int rc;

	for (unsigned i = 0; i < n; i++)
		thread_start(&t[i], receiver_work, x);
	thread_start(&t[n], receiver_sync, x);
	rc = listen_to(x, e);
	end_threads(x, t, n + 1, rc < 0);
	if (err_is(&x->err)) {
		err_clear(e);
		err_move(e, &x->err);
		rc = -1;
	}
	return rc;
}

/* They are the sender's to fill, if the descriptor gets there. */
static int offer_slots(const struct receiver *x)
{
	struct record r = { .type = REC_SLOTS, .count = x->slots->count };

	return record_write_fd(x->s->pipe, &r, x->slots->fd);
}

static int answer_open(struct receiver *x, struct err *e)
{
	static const uint8_t none[SHA256_LEN];
	AUTO_JSON *j = json_object();
	char since[SHA256_HEX];

	jset_int(j, "window", STREAM_WINDOW);
	jset_bool(j, "known", x->k->known);
	jset_int(j, "pass", x->k->pass);
	jset_bool(j, "same", x->k->same);
	io_hex(x->k->since, SHA256_LEN, since);
	if (memcmp(x->k->since, none, SHA256_LEN) != 0)
		jset_str(j, "since", since);
	x->st.pass = x->k->pass;
	if (!x->k->frames && pipe_is_socket(x->s->pipe))
		x->slots = slots_new(x->chunk, STREAM_WINDOW / x->chunk + 2 * THREADS_MAX);
	jset_bool(j, "slots", x->slots != NULL);
	if (record_write_json(x->s->pipe, REC_READY, j) < 0 ||
	    (x->slots && offer_slots(x) < 0))
		return record_broke(e);
	return 0;
}

static int take_offer(struct receiver *x, const json_t *j, struct stream_offer *o,
		      struct err *e)
{
	int64_t size = jint(j, "size", 0), chunk = jint(j, "chunk", 0);

	if (!jstr(j, "disk", NULL) || size <= 0 || chunk < STREAM_CHUNK_MIN ||
	    chunk > STREAM_CHUNK_MAX || chunk % 4096)
		return err_set(e, ERR_STEP, "the other end offers no disk that can be taken");
	*o = (struct stream_offer){ .disk = jstr(j, "disk", NULL), .size = (uint64_t)size,
		.base = jstr(j, "base", NULL), .chunk = (uint32_t)chunk };
	x->size = x->st.size = (uint64_t)size;
	x->chunk = (uint32_t)chunk;
	x->chunks = tree_chunks(x->size, x->chunk);
	tree_zeros(x->size, x->chunk, x->zero);
	return 0;
}

static int send_root(struct receiver *x, struct err *e)
{
	AUTO_JSON *j = json_object();
	char hex[SHA256_HEX];

	io_hex(x->st.root, SHA256_LEN, hex);
	jset_str(j, "root", hex);
	return record_write_json(x->s->pipe, REC_DONE, j) < 0 ?
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

	while ((n = record_wait(s->pipe)) == 0)
		if (s->cancelled && s->cancelled(s->arg))
			return err_set(e, ERR_STOPPED, "stopped");
	if (n < 0 || record_read(s->pipe, r) <= 0)
		return record_broke(e);
	if (r->type == REC_FAIL)
		return record_failure(s->pipe, r, e);
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
	hello = record_read_json(s->pipe, &rec, e);
	rc = hello ? one_pass(&x, r, hello, e) : -1;
	if (rc < 0)
		stream_fail(s, e);
	slots_free(x.slots);
	err_clear(&x.err);
	return rc < 0 ? -1 : 1;
}
