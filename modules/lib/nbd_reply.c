/* SPDX-License-Identifier: Apache-2.0
 * nbd_reply - a small NBD client: what the server answers. It is not believed: whatever breaks
 * the protocol ends the connection.
 */
#include "modules/lib/nbd_impl.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

enum { REPLY_NONE = 0, REPLY_DATA = 1, REPLY_HOLE = 2, REPLY_STATUS = 5,
	REPLY_ERROR = 0x8001, REPLY_ERROR_AT = 0x8002 };
#define REPLY_LAST 1u
#define MAGIC_SIMPLE 0x67446698u
#define MAGIC_CHUNK 0x668e33efu
#define STATE_ZERO 2u		/* base:allocation: reads as zeros */
#define STATE_DIRTY 1u		/* qemu:dirty-bitmap: was written */
#define STATUS_MAX (1u << 20)	/* bytes of descriptors in one answer; QEMU sends no more */

int nbd_broken(struct nbd *n, const char *why)
{
	pthread_mutex_lock(&n->lock);
	if (!n->dead)
		n->why = why;
	n->dead = true;
	pthread_mutex_unlock(&n->lock);
	return -1;
}

static int take(struct nbd *n, void *p, size_t len)
{
	ssize_t r = len ? io_read_full(n->fd, p, len) : 1;

	return r > 0 ? 0 : nbd_broken(n, "the connection ended");
}

static int skip(struct nbd *n, uint32_t len)
{
	char junk[1024];

	while (len > 0) {
		uint32_t part = len < sizeof(junk) ? len : (uint32_t)sizeof(junk);

		if (take(n, junk, part) < 0)
			return -1;
		len -= part;
	}
	return 0;
}

static struct nbd_req *find(struct nbd *n, uint64_t handle)
{
	struct nbd_req *r;

	pthread_mutex_lock(&n->lock);
	for (r = n->waiting; r && r->handle != handle; r = r->next)
		;
	pthread_mutex_unlock(&n->lock);
	return r;
}

void nbd_finish(struct nbd *n, struct nbd_req *r)
{
	struct nbd_req **p;

	pthread_mutex_lock(&n->lock);
	for (p = &n->waiting; *p && *p != r; p = &(*p)->next)
		;
	if (*p)
		*p = r->next;
	r->done = true;
	pthread_mutex_unlock(&n->lock);
}

static int simple_reply(struct nbd *n)
{
	struct { uint32_t error; uint64_t handle; } __attribute__((packed)) h;
	struct nbd_req *r;

	if (take(n, &h, sizeof(h)) < 0)
		return -1;
	r = find(n, be64toh(h.handle));
	if (!r)
		return nbd_broken(n, "an answer to nothing");
	r->error = be32toh(h.error);
	if (!r->error && r->buf && take(n, r->buf, r->len) < 0)
		return -1;
	nbd_finish(n, r);
	return 0;
}

/* A piece of a read: data, or a hole. */
static int read_piece(struct nbd *n, struct nbd_req *r, uint16_t type, uint32_t len)
{
	uint64_t at;
	uint32_t size, head = type == REPLY_HOLE ? 12 : 8;

	if (!r->buf || len < head || take(n, &at, 8) < 0)
		return nbd_broken(n, "a malformed answer");
	at = be64toh(at);
	size = len - head;
	if (type == REPLY_HOLE) {
		if (len != 12 || take(n, &size, 4) < 0)
			return nbd_broken(n, "a malformed answer");
		size = be32toh(size);
	}
	if (at < r->at || at - r->at > r->len || size > r->len - (at - r->at))
		return nbd_broken(n, "data that was not asked for");
	if (type == REPLY_HOLE) {
		memset((char *)r->buf + (at - r->at), 0, size);
		return 0;
	}
	return take(n, (char *)r->buf + (at - r->at), size);
}

struct extent { uint32_t len, flags; };	/* as they come, big-endian */

/* The first run of equal descriptors. */
static void first_run(struct nbd_req *r, const struct extent *x, size_t count)
{
	r->zero = be32toh(x[0].flags) & STATE_ZERO;
	for (size_t i = 0; i < count; i++) {
		bool zero = be32toh(x[i].flags) & STATE_ZERO;

		if (zero != r->zero)
			break;
		r->run += be32toh(x[i].len);
	}
}

/* All that was written. */
static void dirty_runs(struct nbd_req *r, const struct extent *x, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		uint64_t at = r->at + r->run, left = r->len - r->run;
		uint64_t len = be32toh(x[i].len) < left ? be32toh(x[i].len) : left;

		if (len && be32toh(x[i].flags) & STATE_DIRTY)
			r->each(r->arg, at, len);
		r->run += len;
	}
}

/* Each context that was agreed answers in a piece of its own. */
static int status_piece(struct nbd *n, struct nbd_req *r, uint32_t len)
{
	AUTO_FREE struct extent *x = NULL;
	uint32_t id;

	if (len < 12 || (len - 4) % sizeof(*x) || len - 4 > STATUS_MAX || take(n, &id, 4) < 0)
		return nbd_broken(n, "a malformed answer");
	x = mem_alloc(len - 4);
	if (take(n, x, len - 4) < 0)
		return -1;
	if (!r->dirty && n->status && be32toh(id) == n->status_id && r->run == 0)
		first_run(r, x, (len - 4) / sizeof(*x));
	if (r->dirty && be32toh(id) == n->dirty_id && r->run == 0)
		dirty_runs(r, x, (len - 4) / sizeof(*x));
	return 0;
}

static int error_piece(struct nbd *n, struct nbd_req *r, uint32_t len)
{
	uint32_t error;

	if (len < 6 || len > 65536 || take(n, &error, 4) < 0)
		return nbd_broken(n, "a malformed answer");
	r->error = be32toh(error) ? be32toh(error) : EIO;
	return skip(n, len - 4);
}

static int chunk_reply(struct nbd *n)
{
	struct { uint16_t flags, type; uint64_t handle; uint32_t len; }
		__attribute__((packed)) h;
	struct nbd_req *r;
	uint32_t len;
	int rc;

	if (take(n, &h, sizeof(h)) < 0)
		return -1;
	r = find(n, be64toh(h.handle));
	len = be32toh(h.len);
	if (!r || len > NBD_MAX_REQUEST + 64)
		return nbd_broken(n, "an answer to nothing");
	switch (be16toh(h.type)) {
	case REPLY_NONE:
		rc = skip(n, len);
		break;
	case REPLY_DATA:
	case REPLY_HOLE:
		rc = read_piece(n, r, be16toh(h.type), len);
		break;
	case REPLY_STATUS:
		rc = status_piece(n, r, len);
		break;
	case REPLY_ERROR:
	case REPLY_ERROR_AT:
		rc = error_piece(n, r, len);
		break;
	default:
		rc = nbd_broken(n, "an answer of unknown kind");
	}
	if (rc == 0 && (be16toh(h.flags) & REPLY_LAST))
		nbd_finish(n, r);
	return rc;
}

void nbd_read_reply(struct nbd *n)
{
	uint32_t magic;

	if (take(n, &magic, 4) < 0)
		return;
	magic = be32toh(magic);
	if (magic == MAGIC_SIMPLE)
		simple_reply(n);
	else if (magic == MAGIC_CHUNK && n->structured)
		chunk_reply(n);
	else
		nbd_broken(n, "no NBD answer");
}
