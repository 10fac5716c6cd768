/* SPDX-License-Identifier: Apache-2.0
 * badsectors - a disk that cannot be read everywhere.
 */
#include "modules/lib/badsectors.h"

#include "engine/base/mem.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct tolerant {
	struct disk d;
	struct disk *under;	/* owned */
	pthread_mutex_t lock;	/* guards what `bad` points to */
	struct badsectors *bad;
};

static struct tolerant *of(struct disk *d)
{
	return (struct tolerant *)d;
}

void badsectors_free(struct badsectors *b)
{
	mem_free_ptr(&b->v);
	*b = (struct badsectors){ 0 };
}

/* EIO is what Linux says of a medium error; some drivers say more exactly. */
bool badsectors_is(const struct err *e)
{
	return e->sys == EIO || e->sys == EILSEQ || e->sys == EREMOTEIO;
}

static void note(struct tolerant *t, uint64_t at, uint64_t len)
{
	struct badsectors *b = t->bad;
	struct bad_run *last;

	pthread_mutex_lock(&t->lock);
	last = b->count ? &b->v[b->count - 1] : NULL;
	b->bytes += len;
	if (last && last->at + last->len == at) {
		last->len += len;
	} else if (b->count < BAD_RUNS) {
		b->v = mem_grow(b->v, b->count, &b->cap, sizeof(*b->v));
		b->v[b->count++] = (struct bad_run){ at, len };
	}
	pthread_mutex_unlock(&t->lock);
}

/* Piece by piece: what cannot be read is zeros. */
static int read_pieces(struct tolerant *t, char *buf, size_t n, uint64_t at, struct err *e)
{
	for (size_t done = 0, part; done < n; done += part) {
		AUTO_ERR one = { 0 };

		part = DISK_ALIGN - (at + done) % DISK_ALIGN;
		part = part < n - done ? part : n - done;
		if (t->under->ops->read(t->under, buf + done, part, at + done, &one) == 0)
			continue;
		if (!badsectors_is(&one)) {
			if (e)
				err_move(e, &one);
			return -1;
		}
		memset(buf + done, 0, part);
		note(t, at + done, part);
	}
	return 0;
}

static int t_read(struct disk *d, void *buf, size_t n, uint64_t at, struct err *e)
{
	struct tolerant *t = of(d);
	AUTO_ERR first = { 0 };

	if (t->under->ops->read(t->under, buf, n, at, &first) == 0)
		return 0;
	if (badsectors_is(&first))
		return read_pieces(t, buf, n, at, e);
	if (e)
		err_move(e, &first);
	return -1;
}

static int t_write(struct disk *d, const void *buf, size_t n, uint64_t at, struct err *e)
{
	return of(d)->under->ops->write(of(d)->under, buf, n, at, e);
}

static int t_zero(struct disk *d, uint64_t at, uint64_t n, struct err *e)
{
	return of(d)->under->ops->zero(of(d)->under, at, n, e);
}

static int t_flush(struct disk *d, struct err *e)
{
	return of(d)->under->ops->flush(of(d)->under, e);
}

static int t_extent(struct disk *d, uint64_t at, uint64_t *len, bool *hole, struct err *e)
{
	return of(d)->under->ops->extent(of(d)->under, at, len, hole, e);
}

static int t_close(struct disk *d, struct err *e)
{
	struct tolerant *t = of(d);
	int rc = disk_close(&t->under, e);

	pthread_mutex_destroy(&t->lock);
	free(t);
	return rc;
}

static const struct disk_ops ops = {
	.read = t_read, .write = t_write, .zero = t_zero,
	.flush = t_flush, .extent = t_extent, .close = t_close,
};

struct disk *badsectors_zero(struct disk *d, struct badsectors *b)
{
	struct tolerant *t = mem_alloc(sizeof(*t));

	t->d = *d;		/* the path is borrowed from the one below */
	t->d.ops = &ops;
	t->under = d;
	t->bad = b;
	pthread_mutex_init(&t->lock, NULL);
	return &t->d;
}
