/* SPDX-License-Identifier: Apache-2.0
 * nbd - a small NBD client: the transmission phase.
 */
#include "modules/lib/nbd_impl.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CMD_READ, CMD_WRITE, CMD_DISC, CMD_FLUSH, CMD_TRIM, CMD_CACHE, CMD_ZERO, CMD_STATUS };
enum { REPLY_NONE = 0, REPLY_DATA = 1, REPLY_HOLE = 2, REPLY_STATUS = 5,
	REPLY_ERROR = 0x8001, REPLY_ERROR_AT = 0x8002 };
#define REPLY_LAST 1u
#define MAGIC_REQUEST 0x25609513u
#define MAGIC_SIMPLE 0x67446698u
#define MAGIC_CHUNK 0x668e33efu
#define STATE_ZERO 2u		/* base:allocation: reads as zeros */
#define STATE_DIRTY 1u		/* qemu:dirty-bitmap: was written */
#define ZERO_STEP (128u << 20)
#define STATUS_STEP (1u << 30)
#define STATUS_MAX (1u << 20)	/* bytes of descriptors in one answer; QEMU sends no more */

struct req {
	uint64_t handle, at;
	uint32_t len;
	void *buf;		/* where read data goes */
	uint32_t error;		/* the server's errno */
	uint64_t run;		/* block status: length of the first run; of a bitmap, all */
	bool dirty;		/* it asks for the bitmap */
	void (*each)(void *arg, uint64_t at, uint64_t len);	/* of that */
	void *arg;		/* for each */
	bool zero, done;
	struct req *next;
};

/* ---- replies ------------------------------------------------------------- */

static int broken(struct nbd *n, const char *why)
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

	return r > 0 ? 0 : broken(n, "the connection ended");
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

static struct req *find(struct nbd *n, uint64_t handle)
{
	struct req *r;

	pthread_mutex_lock(&n->lock);
	for (r = n->waiting; r && r->handle != handle; r = r->next)
		;
	pthread_mutex_unlock(&n->lock);
	return r;
}

static void finish(struct nbd *n, struct req *r)
{
	struct req **p;

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
	struct req *r;

	if (take(n, &h, sizeof(h)) < 0)
		return -1;
	r = find(n, be64toh(h.handle));
	if (!r)
		return broken(n, "an answer to nothing");
	r->error = be32toh(h.error);
	if (!r->error && r->buf && take(n, r->buf, r->len) < 0)
		return -1;
	finish(n, r);
	return 0;
}

/* A piece of a read: data, or a hole. */
static int read_piece(struct nbd *n, struct req *r, uint16_t type, uint32_t len)
{
	uint64_t at;
	uint32_t size, head = type == REPLY_HOLE ? 12 : 8;

	if (!r->buf || len < head || take(n, &at, 8) < 0)
		return broken(n, "a malformed answer");
	at = be64toh(at);
	size = len - head;
	if (type == REPLY_HOLE) {
		if (len != 12 || take(n, &size, 4) < 0)
			return broken(n, "a malformed answer");
		size = be32toh(size);
	}
	if (at < r->at || at - r->at > r->len || size > r->len - (at - r->at))
		return broken(n, "data that was not asked for");
	if (type == REPLY_HOLE) {
		memset((char *)r->buf + (at - r->at), 0, size);
		return 0;
	}
	return take(n, (char *)r->buf + (at - r->at), size);
}

struct extent { uint32_t len, flags; };	/* as they come, big-endian */

/* The first run of equal descriptors. */
static void first_run(struct req *r, const struct extent *x, size_t count)
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
static void dirty_runs(struct req *r, const struct extent *x, size_t count)
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
static int status_piece(struct nbd *n, struct req *r, uint32_t len)
{
	AUTO_FREE struct extent *x = NULL;
	uint32_t id;

	if (len < 12 || (len - 4) % sizeof(*x) || len - 4 > STATUS_MAX || take(n, &id, 4) < 0)
		return broken(n, "a malformed answer");
	x = mem_alloc(len - 4);
	if (take(n, x, len - 4) < 0)
		return -1;
	if (!r->dirty && n->status && be32toh(id) == n->status_id && r->run == 0)
		first_run(r, x, (len - 4) / sizeof(*x));
	if (r->dirty && be32toh(id) == n->dirty_id && r->run == 0)
		dirty_runs(r, x, (len - 4) / sizeof(*x));
	return 0;
}

static int error_piece(struct nbd *n, struct req *r, uint32_t len)
{
	uint32_t error;

	if (len < 6 || len > 65536 || take(n, &error, 4) < 0)
		return broken(n, "a malformed answer");
	r->error = be32toh(error) ? be32toh(error) : EIO;
	return skip(n, len - 4);
}

static int chunk_reply(struct nbd *n)
{
	struct { uint16_t flags, type; uint64_t handle; uint32_t len; }
		__attribute__((packed)) h;
	struct req *r;
	uint32_t len;
	int rc;

	if (take(n, &h, sizeof(h)) < 0)
		return -1;
	r = find(n, be64toh(h.handle));
	len = be32toh(h.len);
	if (!r || len > NBD_MAX_REQUEST + 64)
		return broken(n, "an answer to nothing");
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
		rc = broken(n, "an answer of unknown kind");
	}
	if (rc == 0 && (be16toh(h.flags) & REPLY_LAST))
		finish(n, r);
	return rc;
}

static void read_one_reply(struct nbd *n)
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
		broken(n, "no NBD answer");
}

/* ---- requests ------------------------------------------------------------ */

static int send_request(struct nbd *n, const struct req *r, uint16_t type, const void *data)
{
	struct { uint32_t magic; uint16_t flags, type; uint64_t handle, at; uint32_t len; }
		__attribute__((packed)) h = { htobe32(MAGIC_REQUEST), 0, htobe16(type),
		htobe64(r->handle), htobe64(r->at), htobe32(r->len) };
	struct iovec iov[2] = { { &h, sizeof(h) }, { (void *)data, data ? r->len : 0 } };
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = 2 };
	size_t left = iov[0].iov_len + iov[1].iov_len;

	while (left > 0) {
		ssize_t put = sendmsg(n->fd, &m, MSG_NOSIGNAL);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return broken(n, "the connection ended");
		left -= (size_t)put;
		for (int i = 0; i < 2; i++) {
			size_t part = (size_t)put < iov[i].iov_len ? (size_t)put : iov[i].iov_len;

			iov[i].iov_base = (char *)iov[i].iov_base + part;
			iov[i].iov_len -= part;
			put -= (ssize_t)part;
		}
	}
	return 0;
}

/* Wait until it is answered; whoever finds nobody reading reads for all. */
static void await(struct nbd *n, struct req *r)
{
	pthread_mutex_lock(&n->lock);
	while (!r->done && !n->dead) {
		if (n->reading) {
			pthread_cond_wait(&n->turn, &n->lock);
			continue;
		}
		n->reading = true;
		pthread_mutex_unlock(&n->lock);
		read_one_reply(n);
		pthread_mutex_lock(&n->lock);
		n->reading = false;
		pthread_cond_broadcast(&n->turn);
	}
	/* Nobody may write to the caller's buffer once it has gone away. */
	while (!r->done && n->reading)
		pthread_cond_wait(&n->turn, &n->lock);
	pthread_mutex_unlock(&n->lock);
}

static int call(struct nbd *n, struct req *r, uint16_t type, const void *data,
		const char *verb, struct err *e)
{
	bool dead;

	pthread_mutex_lock(&n->lock);
	r->handle = ++n->handles;
	dead = n->dead;
	if (!dead) {
		r->next = n->waiting;
		n->waiting = r;
	}
	pthread_mutex_unlock(&n->lock);
	if (!dead) {
		pthread_mutex_lock(&n->sending);
		send_request(n, r, type, data);
		pthread_mutex_unlock(&n->sending);
		await(n, r);
	}
	if (!r->done)
		finish(n, r);
	else if (!r->error)
		return 0;
	err_set(e, ERR_STEP, "%s", r->error ? strerror((int)r->error) : n->why);
	if (type == CMD_FLUSH)
		err_wrap(e, "cannot %s", verb);
	else
		err_wrap(e, "cannot %s at byte %llu, length %u", verb, (unsigned long long)r->at,
			 r->len);
	if (e)
		e->sys = r->error ? (int)r->error : EPIPE;
	return -1;
}

int nbd_read(struct nbd *n, void *buf, uint32_t len, uint64_t at, struct err *e)
{
	struct req r = { .at = at, .len = len, .buf = buf };

	return call(n, &r, CMD_READ, NULL, "read", e);
}

int nbd_write(struct nbd *n, const void *buf, uint32_t len, uint64_t at, struct err *e)
{
	struct req r = { .at = at, .len = len };

	return call(n, &r, CMD_WRITE, buf, "write", e);
}

static int zero_by_writing(struct nbd *n, uint64_t at, uint64_t len, struct err *e)
{
	AUTO_FREE char *zeros = mem_alloc(1 << 20);

	while (len > 0) {
		uint32_t part = len < 1 << 20 ? (uint32_t)len : 1 << 20;

		if (nbd_write(n, zeros, part, at, e) < 0)
			return -1;
		at += part;
		len -= part;
	}
	return 0;
}

int nbd_zero(struct nbd *n, uint64_t at, uint64_t len, struct err *e)
{
	if (!(n->flags & NBD_SEND_ZEROES))
		return zero_by_writing(n, at, len, e);
	while (len > 0) {
		struct req r = { .at = at, .len = len < ZERO_STEP ? (uint32_t)len : ZERO_STEP };

		if (call(n, &r, CMD_ZERO, NULL, "write zeros", e) < 0)
			return -1;
		at += r.len;
		len -= r.len;
	}
	return 0;
}

int nbd_flush(struct nbd *n, struct err *e)
{
	struct req r = { 0 };

	if (!(n->flags & NBD_SEND_FLUSH))
		return 0;
	return call(n, &r, CMD_FLUSH, NULL, "sync", e);
}

int nbd_extent(struct nbd *n, uint64_t at, uint64_t *len, bool *zero, struct err *e)
{
	uint64_t left = n->size - at;
	struct req r = { .at = at, .len = left < STATUS_STEP ? (uint32_t)left : STATUS_STEP };

	*len = left;
	*zero = false;
	if (!n->status || left == 0)
		return 0;
	if (call(n, &r, CMD_STATUS, NULL, "ask for the extents", e) < 0)
		return -1;
	if (r.run == 0)
		return err_set(e, ERR_STEP, "cannot ask for the extents at byte %llu: an "
			       "empty answer", (unsigned long long)at);
	*len = r.run < left ? r.run : left;
	*zero = r.zero;
	return 0;
}

uint64_t nbd_dirty(struct nbd *n, uint64_t at,
		   void (*each)(void *arg, uint64_t at, uint64_t len), void *arg,
		   struct err *e)
{
	uint64_t left = n->size - at;
	struct req r = { .at = at, .len = left < STATUS_STEP ? (uint32_t)left : STATUS_STEP,
		.dirty = true, .each = each, .arg = arg };

	if (call(n, &r, CMD_STATUS, NULL, "ask for what was written", e) < 0)
		return 0;
	if (r.run == 0)
		err_set(e, ERR_STEP, "cannot ask for what was written at byte %llu: an empty "
			"answer", (unsigned long long)at);
	return r.run;
}

uint64_t nbd_size(const struct nbd *n)
{
	return n->size;
}

bool nbd_read_only(const struct nbd *n)
{
	return n->flags & NBD_READ_ONLY;
}

void nbd_free(struct nbd *n)
{
	struct req bye = { 0 };

	if (!n)
		return;
	if (!n->dead && n->go)
		send_request(n, &bye, CMD_DISC, NULL);
	close(n->fd);
	pthread_mutex_destroy(&n->lock);
	pthread_mutex_destroy(&n->sending);
	pthread_cond_destroy(&n->turn);
	free(n);
}
