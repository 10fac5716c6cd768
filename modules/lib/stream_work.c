/* SPDX-License-Identifier: Apache-2.0
 * stream_work - the sending end of a pass: what is done with a chunk.
 *
 * Workers take chunks in order; each reads, digests, compares, compresses and
 * writes its own. Digests enter the tree in the order of the disk: a worker waits
 * for its turn, with the reading and hashing already done.
 */
#include "modules/lib/stream_sender.h"

#include "engine/base/mem.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#define REST_MAX 15			/* chunks not tried to compress after one that did not shrink */

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
			sender_chunk_len(x, it->index + it->count - 1);
		pthread_cond_broadcast(&x->cond);
		rc = 0;
	}
	pthread_mutex_unlock(&x->lock);
	return rc;
}

static int take_credit(struct sender *x, uint64_t cost)
{
	int rc;

	pthread_mutex_lock(&x->lock);
	while (!x->stop && x->credit < cost)
		pthread_cond_wait(&x->cond, &x->lock);
	rc = x->stop ? -1 : 0;
	if (rc == 0)
		x->credit -= cost;
	pthread_mutex_unlock(&x->lock);
	return rc;
}

/* Wait until `bytes` more may go by `rate`, which may change meanwhile. */
static int keep_pace(struct sender *x, struct pace *p, uint64_t (*rate)(void *arg),
		     uint64_t bytes)
{
	uint64_t wait = 0;
	int rc;

	if (!rate)
		return 0;
	pthread_mutex_lock(&x->lock);
	while (!x->stop && (wait = pace_wait_ns(p, record_now_ns(), rate(x->s->arg))) > 0)
		sender_nap(x, wait);
	rc = x->stop ? -1 : 0;
	pace_spend(p, bytes);
	pthread_mutex_unlock(&x->lock);
	return rc;
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
	return (it->count - 1) * x->chunk + sender_chunk_len(x, it->index + it->count - 1);
}

static int send_zero(struct sender *x, const struct item *it)
{
	struct record r = { .type = REC_ZERO, .index = it->index,
		.count = (uint32_t)it->count };

	if (keep_pace(x, &x->sending, x->s->send_rate, RECORD_HEAD) < 0 ||
	    take_credit(x, RECORD_COST) < 0 || sender_record(x, &r, NULL, 0, NULL, 0) < 0)
		return -1;
	count(x, &x->st.zero, bytes_of(x, it), RECORD_HEAD);
	return 0;
}

/* The level to compress with; 0: not at all. */
static int level_now(struct sender *x)
{
	int level;

	if (x->s->zip != ZIP_AUTO)
		return x->s->zip == ZIP_ZSTD ? ZIP_LEVEL : 0;
	pthread_mutex_lock(&x->lock);
	level = zip_level(&x->zip);
	pthread_mutex_unlock(&x->lock);
	return level;
}

/* The chunk as a frame; 0: it stays plain. */
static size_t compress(struct worker *w, size_t len)
{
	int level = w->x->slots ? 0 : level_now(w->x);
	size_t n;

	if (level == 0)
		return 0;
	if (w->rest) {
		w->rest--;
		return 0;
	}
	n = ZSTD_compressCCtx(w->cctx, w->zip, w->zip_cap, w->buf, len, level);
	if (!ZSTD_isError(n) && n < len - len / 16) {
		w->dull = 0;
		return n;
	}
	/* what does not shrink has neighbours that do not: the more of them, the longer */
	if (w->x->s->zip == ZIP_AUTO)
		w->rest = w->dull = w->dull < REST_MAX ? 2 * w->dull + 1 : REST_MAX;
	return 0;
}

static int send_data(struct worker *w, const struct item *it, const uint8_t *digest)
{
	struct sender *x = w->x;
	uint32_t len = sender_chunk_len(x, it->index);
	size_t zipped = compress(w, len), n = zipped ? zipped : len;
	uint64_t cost = RECORD_HEAD + SHA256_LEN + n, began = record_now_ns();
	struct record r = { .type = REC_DATA, .flags = zipped ? ZIP_FLAG : 0,
		.index = it->index, .count = 1, .plain = len };
	const void *data = zipped ? w->zip : w->buf;
	uint32_t slot = htobe32(w->slot);

	if (keep_pace(x, &x->sending, x->s->send_rate, cost) < 0 ||
	    take_credit(x, n + RECORD_COST) < 0)
		return -1;
	if (x->slots) {		/* the receiver's, from here on */
		r.flags = SLOT_FLAG;
		data = &slot;
		n = SLOT_LEN;
		w->buf = NULL;
	}
	if (sender_record(x, &r, digest, SHA256_LEN, data, n) < 0)
		return -1;
	pthread_mutex_lock(&x->lock);
	zip_note(&x->zip, record_now_ns(), len, cost, record_now_ns() - began);
	pthread_mutex_unlock(&x->lock);
	count(x, &x->st.data, len, cost);
	return 0;
}

static bool all_zero(const uint8_t *p, size_t n)
{
	return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

/* Where a chunk is read to. A slot is kept until what is in it is sent. */
static int have_room(struct worker *w)
{
	struct sender *x = w->x;

	if (w->buf)
		return 0;
	w->slot = NO_SLOT;
	pthread_mutex_lock(&x->lock);
	while (!x->stop && (w->slot = slots_take(x->slots)) == NO_SLOT)
		pthread_cond_wait(&x->cond, &x->lock);
	pthread_mutex_unlock(&x->lock);
	if (w->slot == NO_SLOT)
		return -1;
	w->buf = slots_at(x->slots, w->slot);
	return 0;
}

static int do_item(struct worker *w, const struct item *it)
{
	struct sender *x = w->x;
	uint32_t len = sender_chunk_len(x, it->index);
	uint8_t digest[SHA256_LEN];
	AUTO_ERR e = { 0 };
	bool zero = it->hole;

	if (it->clean) {
		if (digested(x, it, it->have) < 0)
			return -1;
		count(x, &x->st.same, len, 0);
		return 0;
	}
	if (!it->hole) {
		if (have_room(w) < 0 || keep_pace(x, &x->reading, x->s->read_rate, len) < 0)
			return -1;
		if (x->d->ops->read(x->d, w->buf, len, it->index * x->chunk, &e) < 0) {
			sender_stop(x, &e);
			return -1;
		}
		count(x, &x->st.read, len, 0);
		zero = all_zero(w->buf, len);
	}
	if (zero)
		memcpy(digest, sender_zero_digest(x, it->index), SHA256_LEN);
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
	sender_record(x, &r, text, strlen(text), NULL, 0);
}

void *sender_work(void *arg)
{
	struct worker *w = arg;
	struct sender *x = w->x;
	struct item it = { 0 };
	bool last;

	while (sender_take(x, &it) == 1 && do_item(w, &it) == 0)
		;
	pthread_mutex_lock(&x->lock);
	last = --x->working == 0 && !x->stop;
	pthread_mutex_unlock(&x->lock);
	if (last)
		send_done(x);
	return NULL;
}

void worker_init(struct worker *w, struct sender *x)
{
	w->x = x;
	if (x->slots)
		return;
	w->buf = disk_buffer(x->chunk);
	w->zip_cap = ZSTD_compressBound(x->chunk);
	w->zip = mem_alloc(w->zip_cap);
	w->cctx = ZSTD_createCCtx();
}

void worker_free(struct worker *w)
{
	if (!w->x->slots)
		free(w->buf);
	mem_free_ptr(&w->zip);
	ZSTD_freeCCtx(w->cctx);
}
