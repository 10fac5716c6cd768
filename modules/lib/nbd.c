/* SPDX-License-Identifier: Apache-2.0
 * nbd - a small NBD client: what is asked for.
 */
#include "modules/lib/nbd_impl.h"

#include "engine/base/mem.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CMD_READ, CMD_WRITE, CMD_DISC, CMD_FLUSH, CMD_TRIM, CMD_CACHE, CMD_ZERO, CMD_STATUS };
#define MAGIC_REQUEST 0x25609513u
#define ZERO_STEP (128u << 20)
#define STATUS_STEP (1u << 30)

static int send_request(struct nbd *n, const struct nbd_req *r, uint16_t type, const void *data)
{
	struct { uint32_t magic; uint16_t flags, type; uint64_t handle, at; uint32_t len; }
		__attribute__((packed)) h = { htobe32(MAGIC_REQUEST), 0, htobe16(type),
		htobe64(r->handle), htobe64(r->at), htobe32(r->len) };
	struct iovec iov[2] = { { &h, sizeof(h) }, { (void *)data, data ? r->len : 0 } };
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = data ? 2 : 1 };
	size_t left = iov[0].iov_len + iov[1].iov_len;

	while (left > 0) {
		ssize_t put = sendmsg(n->fd, &m, MSG_NOSIGNAL);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return nbd_broken(n, "the connection ended");
		left -= (size_t)put;
		for (size_t i = 0; i < m.msg_iovlen; i++) {
			size_t part = (size_t)put < iov[i].iov_len ? (size_t)put : iov[i].iov_len;

			iov[i].iov_base = (char *)iov[i].iov_base + part;
			iov[i].iov_len -= part;
			put -= (ssize_t)part;
		}
	}
	return 0;
}

/* Wait until it is answered; whoever finds nobody reading reads for all. */
static void await(struct nbd *n, struct nbd_req *r)
{
	pthread_mutex_lock(&n->lock);
	while (!r->done && !n->dead) {
		if (n->reading) {
			pthread_cond_wait(&n->turn, &n->lock);
			continue;
		}
		n->reading = true;
		pthread_mutex_unlock(&n->lock);
		nbd_read_reply(n);
		pthread_mutex_lock(&n->lock);
		n->reading = false;
		pthread_cond_broadcast(&n->turn);
	}
	/* Nobody may write to the caller's buffer once it has gone away. */
	while (!r->done && n->reading)
		pthread_cond_wait(&n->turn, &n->lock);
	pthread_mutex_unlock(&n->lock);
}

static int call(struct nbd *n, struct nbd_req *r, uint16_t type, const void *data,
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
		nbd_finish(n, r);
	else if (!r->error)
		return 0;
	err_set(e, ERR_STEP, "%s", r->error ? strerror((int)r->error) : n->why);
	if (type == CMD_FLUSH)
		err_wrap(e, "cannot %s", verb);
	else
		err_wrap(e, "cannot %s at byte %llu, length %u", verb, (unsigned long long)r->at,
			 r->len);
	if (e)
		e->sys = r->error ? (int)r->error : ECONNRESET;
	return -1;
}

int nbd_read(struct nbd *n, void *buf, uint32_t len, uint64_t at, struct err *e)
{
	struct nbd_req r = { .at = at, .len = len, .buf = buf };

	return call(n, &r, CMD_READ, NULL, "read", e);
}

int nbd_write(struct nbd *n, const void *buf, uint32_t len, uint64_t at, struct err *e)
{
	struct nbd_req r = { .at = at, .len = len };

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
		struct nbd_req r = { .at = at, .len = len < ZERO_STEP ? (uint32_t)len : ZERO_STEP };

		if (call(n, &r, CMD_ZERO, NULL, "write zeros", e) < 0)
			return -1;
		at += r.len;
		len -= r.len;
	}
	return 0;
}

int nbd_flush(struct nbd *n, struct err *e)
{
	struct nbd_req r = { 0 };

	if (!(n->flags & NBD_SEND_FLUSH))
		return 0;
	return call(n, &r, CMD_FLUSH, NULL, "sync", e);
}

int nbd_extent(struct nbd *n, uint64_t at, uint64_t *len, bool *zero, struct err *e)
{
	uint64_t left = n->size - at;
	struct nbd_req r = { .at = at, .len = left < STATUS_STEP ? (uint32_t)left : STATUS_STEP };

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
	struct nbd_req r = { .at = at, .len = left < STATUS_STEP ? (uint32_t)left : STATUS_STEP,
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
	struct nbd_req bye = { 0 };

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
