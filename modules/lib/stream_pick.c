/* SPDX-License-Identifier: Apache-2.0
 * stream_pick - the sending end of a pass: which chunk is next.
 */
#include "modules/lib/stream_sender.h"

#include <string.h>

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
		rc = sender_record(x, &r, NULL, 0, NULL, 0);
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

	return have && memcmp(have, sender_zero_digest(x, i), SHA256_LEN) == 0;
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
int sender_take(struct sender *x, struct item *it)
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
		it->clean = have && !it->hole && x->changes &&
			!track_changed(x->changes, it->index * x->chunk,
				       sender_chunk_len(x, it->index));
		if (have)
			memcpy(it->have, have, SHA256_LEN);
		x->next += it->count;
	}
	pthread_mutex_unlock(&x->lock);
	if (err_is(&e))
		sender_stop(x, &e);
	return rc;
}
