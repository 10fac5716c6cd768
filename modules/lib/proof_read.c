/* SPDX-License-Identifier: Apache-2.0
 * proof_read - read a base image back, and find the chunks that are not what was sent.
 */
#include "modules/lib/proof_impl.h"

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/base/text.h"
#include "engine/base/thread.h"
#include "modules/lib/badsectors.h"
#include "modules/lib/tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TICK_US 10000
#define NAP_US 100000		/* so soon a stop is noticed */

static void note(struct proving *x, const struct damage *d)
{
	pthread_mutex_lock(&x->lock);
	x->bad = mem_grow(x->bad, x->bads, &x->bad_cap, sizeof(*x->bad));
	x->bad[x->bads++] = *d;
	x->first_bad = d->index < x->first_bad ? d->index : x->first_bad;
	x->stop = x->stop || x->bads >= DAMAGE_MAX;
	pthread_mutex_unlock(&x->lock);
}

/* A hole of the image reads as zeros; its map of holes is read, not its data. */
static bool is_hole(struct proving *x, uint64_t index, uint32_t len)
{
	uint64_t at = index * map_id(x->m)->chunk, run = 0;
	bool hole = false;

	return x->d->ops->extent(x->d, at, &run, &hole, NULL) == 0 && hole && run >= len;
}

static void count_mended(struct proving *x, uint32_t generation, uint32_t len)
{
	struct map_born b;

	if (!map_born(x->m, generation, &b) || !b.mend)
		return;
	pthread_mutex_lock(&x->lock);
	x->mended += len;
	pthread_mutex_unlock(&x->lock);
}

static void keep_pace(struct proving *x, uint64_t bytes)
{
	uint64_t wait;

	pthread_mutex_lock(&x->lock);
	while (!x->stop && (wait = pace_wait_ns(&x->pace, clock_real.mono_ms(clock_real.arg) *
						1000000, x->rate)) > 0) {
		pthread_mutex_unlock(&x->lock);
		usleep(wait < NAP_US * 1000ull ? (useconds_t)(wait / 1000 + 1) : NAP_US);
		pthread_mutex_lock(&x->lock);
	}
	pace_spend(&x->pace, bytes);
	pthread_mutex_unlock(&x->lock);
}

/* 0, or -1 with e: it cannot be told. */
static int prove_chunk(struct proving *x, uint64_t index, void *buf, struct err *e)
{
	uint8_t want[SHA256_LEN], got[SHA256_LEN];
	struct damage d = { .index = index, .generation = map_get(x->m, index, want) };
	uint32_t len = map_chunk_len(x->m, index);
	AUTO_ERR why = { 0 };

	if (d.generation == 0) {
		note(x, &d);
		return 0;
	}
	if (d.generation <= x->proven)
		return 0;
	count_mended(x, d.generation, len);
	if (memcmp(want, x->zero, SHA256_LEN) == 0 && is_hole(x, index, len))
		return 0;
	keep_pace(x, len);
	if (x->d->ops->read(x->d, buf, len, index * map_id(x->m)->chunk, &why) < 0) {
		d.silent = badsectors_is(&why);
		if (d.silent)
			note(x, &d);
		else
			err_move(e, &why);
		return d.silent ? 0 : -1;
	}
	sha256_of(buf, len, got);
	if (memcmp(want, got, SHA256_LEN) != 0)
		note(x, &d);
	pthread_mutex_lock(&x->lock);
	x->read += len;
	pthread_mutex_unlock(&x->lock);
	return 0;
}

/* One of those that read. */
struct reader { struct proving *x; unsigned i; };

static void *work(void *arg)
{
	const struct reader *r = arg;
	struct proving *x = r->x;
	AUTO_FREE void *buf = disk_buffer(map_id(x->m)->chunk);
	AUTO_ERR e = { 0 };

	pthread_mutex_lock(&x->lock);
	while (!x->stop && x->next < map_chunks(x->m)) {
		uint64_t index = x->taken[r->i] = x->next++;
		int rc;

		pthread_mutex_unlock(&x->lock);
		rc = prove_chunk(x, index, buf, &e);
		pthread_mutex_lock(&x->lock);
		x->done += map_chunk_len(x->m, index);
		if (rc == 0)	/* else it is never behind us */
			x->taken[r->i] = UINT64_MAX;
		if (rc < 0 && !x->stop)
			err_move(&x->err, &e);
		x->stop = x->stop || rc < 0;
	}
	x->working--;
	pthread_mutex_unlock(&x->lock);
	return NULL;
}

static int by_index(const void *a, const void *b)
{
	const struct damage *p = a, *q = b;

	return p->index < q->index ? -1 : p->index > q->index;
}

/* All before it was read and is right. With the lock held. */
static struct proof_mark so_far(const struct proving *x)
{
	struct proof_mark k = { x->next, x->read, x->mended, x->mark.since };

	for (unsigned i = 0; i < PROOF_THREADS; i++)
		k.next = x->taken[i] < k.next ? x->taken[i] : k.next;
	k.next = x->first_bad < k.next ? x->first_bad : k.next;
	return k;
}

static void put_mark(struct ctx *c, struct proving *x, const struct proof_mark *now)
{
	if (proof_mark_put(x, now) < 0)
		ctx_log(c, "%s: how far it was read back cannot be noted (%s): one that is cut off "
			"starts over", x->name, strerror(errno));
}

/* Until all have ended. */
static void look_on(struct ctx *c, struct proving *x)
{
	unsigned working = PROOF_THREADS;

	while (working > 0) {
		struct proof_mark now;
		bool cut_off;
		uint64_t done;

		usleep(working < PROOF_THREADS ? TICK_US / 10 : TICK_US);
		pthread_mutex_lock(&x->lock);
		working = x->working;
		done = x->done;
		now = so_far(x);
		if (ctx_cancelled(c) && !err_is(&x->err)) {
			x->stop = true;
			err_set(&x->err, ERR_STOPPED, "stopped");
		}
		cut_off = working == 0 && err_is(&x->err);
		pthread_mutex_unlock(&x->lock);
		if (cut_off || proof_mark_due(x, &now))
			put_mark(c, x, &now);
		ctx_progress(c, done, map_id(x->m)->size, "bytes", x->name);
	}
}

static void go_on(struct ctx *c, struct proving *x)
{
	char size[24], at[21];

	proof_mark_begin(x);
	x->next = x->mark.next;
	x->read = x->mark.read;
	x->mended = x->mark.mended;
	x->done = x->next * map_id(x->m)->chunk;
	if (x->next == map_chunks(x->m))
		x->done = map_id(x->m)->size;
	x->first_bad = UINT64_MAX;
	for (unsigned i = 0; i < PROOF_THREADS; i++)
		x->taken[i] = UINT64_MAX;
	if (x->next == 0)
		return;
	text_size(x->done, size);
	clock_iso(x->mark.since, at);
	ctx_log(c, "%s: its first %s are proven since this was begun at %s: goes on from there",
		x->name, size, at);
}

int proof_read(struct ctx *c, struct proving *x, struct err *e)
{
	struct reader r[PROOF_THREADS];
	pthread_t t[PROOF_THREADS];

	pthread_mutex_init(&x->lock, NULL);
	tree_zero_digest(map_id(x->m)->chunk, x->zero);
	go_on(c, x);
	x->working = PROOF_THREADS;
	for (unsigned i = 0; i < PROOF_THREADS; i++) {
		r[i] = (struct reader){ x, i };
		thread_start(&t[i], work, &r[i]);
	}
	look_on(c, x);
	for (unsigned i = 0; i < PROOF_THREADS; i++)
		pthread_join(t[i], NULL);
	if (x->bads > 0)
		qsort(x->bad, x->bads, sizeof(*x->bad), by_index);
	err_move(e, &x->err);
	return err_is(e) ? -1 : 0;
}

void proof_read_free(struct proving *x)
{
	mem_free_ptr(&x->bad);
	err_clear(&x->err);
}
