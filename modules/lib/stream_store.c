/* SPDX-License-Identifier: Apache-2.0
 * stream_store - the receiving end of a pass: the threads that unpack, check and
 * write what came, and the one that makes it durable, at least every SYNC_BYTES and
 * SYNC_MS, and only then has it entered.
 */
#include "modules/lib/stream_receiver.h"

#include "engine/base/mem.h"
#include "modules/lib/tree.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zstd.h>

#define SYNC_BYTES (32u << 20)		/* the other half is written while they are synced */
#define SYNC_MS 1500

void receiver_stop(struct receiver *x, struct err *e)
{
	pthread_mutex_lock(&x->lock);
	if (e && !x->stop)
		err_move(&x->err, e);
	x->stop = true;
	pthread_cond_broadcast(&x->cond);
	pthread_mutex_unlock(&x->lock);
}

uint32_t receiver_chunk_len(const struct receiver *x, uint64_t index)
{
	return tree_chunk_len(x->size, x->chunk, index);
}

uint32_t receiver_data_len(const struct record *r)
{
	return r->flags & SLOT_FLAG ? r->plain : r->length - SHA256_LEN;
}

uint64_t receiver_cost(const struct record *r)
{
	return RECORD_COST + (r->type == REC_DATA ? receiver_data_len(r) : 0);
}

/* ---- one record ---------------------------------------------------------- */

static int unpack(struct receiver *x, const struct job *j, void *plain, ZSTD_DCtx *z,
		  struct err *e)
{
	uint32_t n = j->r.length - SHA256_LEN, want = receiver_chunk_len(x, j->r.index);
	size_t got = ZSTD_decompressDCtx(z, plain, x->chunk, j->payload, n);

	if (!ZSTD_isError(got) && got == want)
		return 0;
	err_set(e, ERR_STEP, "a damaged chunk arrived for byte %llu",
		(unsigned long long)(j->r.index * x->chunk));
	return err_hint(e, DAMAGED_HINT);
}

/* Of what travelled: what lies in a slot is the very bytes that were digested. */
static int check_digest(struct receiver *x, const struct job *j, const struct stream_chunk *c,
			struct err *e)
{
	uint8_t digest[SHA256_LEN];

	sha256_of(c->plain, c->plain_len, digest);
	if (memcmp(digest, j->digest, SHA256_LEN) == 0)
		return 0;
	err_set(e, ERR_STEP, "a damaged chunk arrived for byte %llu, length %u: its "
		"digest does not fit", (unsigned long long)(j->r.index * x->chunk), c->plain_len);
	return err_hint(e, DAMAGED_HINT);
}

static int do_data(struct receiver *x, const struct job *j, void *buf, ZSTD_DCtx *z,
		   struct err *e)
{
	bool zip = j->r.flags & ZIP_FLAG;
	struct stream_chunk c = { .index = j->r.index, .digest = j->digest,
		.plain = zip ? buf : j->payload, .plain_len = receiver_chunk_len(x, j->r.index),
		.frame = zip ? j->payload : NULL,
		.frame_len = zip ? j->r.length - SHA256_LEN : 0 };

	if (zip && unpack(x, j, buf, z, e) < 0)
		return -1;
	if (j->slot == NO_SLOT && check_digest(x, j, &c, e) < 0)
		return -1;
	return x->k->data(x->k, &c, e);
}

/* What a kill would have done again. Zeros are as good as nothing. */
static uint64_t work_in(const struct record *r)
{
	return r->type == REC_DATA ? r->plain : RECORD_COST;
}

/* Lock held. */
static void written(struct receiver *x, const struct job *j)
{
	x->writing_in[j->round & 1]--;
	pthread_cond_broadcast(&x->cond);
}

static void finished(struct receiver *x, const struct job *j)
{
	struct map_update u = { .index = j->r.index, .count = j->r.count };
	struct record credit = { .type = REC_CREDIT, .count = (uint32_t)receiver_cost(&j->r) };
	bool data = j->r.type == REC_DATA;
	uint32_t last = receiver_chunk_len(x, u.index + u.count - 1);

	memcpy(u.digest, data ? j->digest : x->zero[last < x->chunk], SHA256_LEN);
	pthread_mutex_lock(&x->lock);
	x->done = mem_grow(x->done, x->dones, &x->done_cap, sizeof(*x->done));
	x->done[x->dones++] = u;
	x->done_bytes += work_in(&j->r);
	*(data ? &x->st.data : &x->st.zero) += (u.count - 1) * x->chunk + last;
	x->st.wire += RECORD_HEAD + (data ? SHA256_LEN + receiver_data_len(&j->r) : 0);
	x->st.scanned = (u.index + u.count - 1) * x->chunk + last;
	x->window += credit.count;
	if (j->slot != NO_SLOT) {
		credit.flags = SLOT_FLAG;
		credit.index = j->slot;
		slots_give_back(x->slots, j->slot);
	}
	written(x, j);
	pthread_mutex_unlock(&x->lock);
	pthread_mutex_lock(&x->writing);
	/* A broken pipe is noticed where it is read. */
	record_write(x->s->pipe, &credit, NULL, 0, NULL, 0);
	pthread_mutex_unlock(&x->writing);
}

/* A sync that takes long is waited for: no more than STREAM_TWICE is ever done twice. */
static bool may_take(const struct receiver *x)
{
	return x->first && x->unsynced + work_in(&x->first->r) <= STREAM_TWICE;
}

static struct job *take_job(struct receiver *x)
{
	struct job *j;

	pthread_mutex_lock(&x->lock);
	while (!may_take(x) && !x->stop && !x->end)
		pthread_cond_wait(&x->cond, &x->lock);
	j = x->stop ? NULL : x->first;
	if (j) {
		x->first = j->next;
		if (!x->first)
			x->last = &x->first;
		x->busy++;
		j->round = x->round;
		x->writing_in[j->round & 1]++;
		x->unsynced += work_in(&j->r);
	}
	pthread_mutex_unlock(&x->lock);
	return j;
}

void receiver_job_free(struct job *j)
{
	if (j->slot == NO_SLOT)
		free(j->payload);
	free(j);
}

void *receiver_work(void *arg)
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
			receiver_stop(x, &e);
		else
			finished(x, j);
		receiver_job_free(j);
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
		clock_gettime(CLOCK_MONOTONIC, &t);
		t.tv_nsec += 100 * 1000000;
		t.tv_sec += t.tv_nsec / 1000000000;
		t.tv_nsec %= 1000000000;
		pthread_cond_clockwait(&x->cond, &x->lock, CLOCK_MONOTONIC, &t);
	}
	return false;
}

static int by_index(const void *a, const void *b)
{
	const struct map_update *p = a, *q = b;

	return p->index < q->index ? -1 : p->index > q->index;
}

/* Whether no write failed until the sync ended: a writeback that one of them saw fail may
 * have had the data of others, of which a sync beside it knows nothing. Those that were under
 * way at its end have yet to tell. */
static bool no_write_failed(struct receiver *x)
{
	unsigned before;
	bool good;

	pthread_mutex_lock(&x->lock);
	before = x->round++ & 1;
	while (!x->stop && x->writing_in[before])
		pthread_cond_wait(&x->cond, &x->lock);
	good = !x->stop;
	pthread_mutex_unlock(&x->lock);
	return good;
}

static void make_durable(struct receiver *x, struct map_update *u, size_t n)
{
	AUTO_ERR e = { 0 };

	qsort(u, n, sizeof(*u), by_index);
	if (x->k->sync(x->k, &e) < 0 ||
	    (no_write_failed(x) && x->k->enter(x->k, u, n, &e) < 0))
		receiver_stop(x, &e);
}

void *receiver_sync(void *arg)
{
	struct receiver *x = arg;
	uint64_t since = record_now_ns();

	pthread_mutex_lock(&x->lock);
	while (due(x, since)) {
		AUTO_FREE struct map_update *u = x->done;
		uint64_t bytes = x->done_bytes;
		size_t n = x->dones;

		x->done = NULL;
		x->dones = x->done_cap = 0;
		x->done_bytes = 0;
		x->syncing = true;
		pthread_mutex_unlock(&x->lock);
		since = record_now_ns();
		make_durable(x, u, n);
		pthread_mutex_lock(&x->lock);
		x->syncing = false;
		x->unsynced -= bytes;
		pthread_cond_broadcast(&x->cond);
	}
	pthread_mutex_unlock(&x->lock);
	return NULL;
}
