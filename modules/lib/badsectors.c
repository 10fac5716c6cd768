/* SPDX-License-Identifier: Apache-2.0
 * badsectors - a disk that cannot be read everywhere.
 */
#include "modules/lib/badsectors.h"

#include "engine/base/mem.h"
#include "modules/lib/disk_over.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct tolerant {
	struct disk_over over;
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

/* Past the page cache Linux says ENODATA of a medium error, through it EIO; some drivers
 * say more exactly. */
bool badsectors_is(const struct err *e)
{
	return e->sys == EIO || e->sys == ENODATA || e->sys == EILSEQ || e->sys == EREMOTEIO;
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
		if (disk_over_read(&t->over.d, buf + done, part, at + done, &one) == 0)
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

	if (disk_over_read(d, buf, n, at, &first) == 0)
		return 0;
	if (badsectors_is(&first))
		return read_pieces(t, buf, n, at, e);
	if (e)
		err_move(e, &first);
	return -1;
}

static int t_close(struct disk *d, struct err *e)
{
	pthread_mutex_destroy(&of(d)->lock);
	return disk_over_close(d, e);
}

static const struct disk_ops ops = {
	.read = t_read, .write = disk_over_write, .zero = disk_over_zero,
	.flush = disk_over_flush, .extent = disk_over_extent, .close = t_close,
};

struct disk *badsectors_zero(struct disk *d, struct badsectors *b)
{
	struct tolerant *t = mem_alloc(sizeof(*t));

	disk_over_init(&t->over, &ops, d);
	t->bad = b;
	pthread_mutex_init(&t->lock, NULL);
	return &t->over.d;
}
