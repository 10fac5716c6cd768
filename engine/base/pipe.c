/* SPDX-License-Identifier: Apache-2.0
 * pipe - a socket as it is, and what is the same over any.
 */
#include "engine/base/pipe.h"

#include "engine/base/io.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- a socket ---------------------------------------------------------------- */

static ssize_t socket_read(struct pipe *p, void *buf, size_t n)
{
	return read(p->fd, buf, n);
}

static ssize_t socket_writev(struct pipe *p, const struct iovec *v, int n)
{
	return writev(p->fd, v, n);
}

static bool socket_pending(struct pipe *p)
{
	(void)p;
	return false;
}

static void socket_end(struct pipe *p)
{
	shutdown(p->fd, SHUT_WR);
}

static const struct pipe_ops socket_ops = {
	.read = socket_read, .writev = socket_writev, .pending = socket_pending,
	.end = socket_end, .finish = socket_end,
};

void pipe_of_socket(struct pipe *p, int fd)
{
	*p = (struct pipe){ &socket_ops, fd };
	io_widen(fd);
}

bool pipe_is_socket(const struct pipe *p)
{
	return p->ops == &socket_ops;
}

/* ---- any --------------------------------------------------------------------- */

ssize_t pipe_read(struct pipe *p, void *buf, size_t n)
{
	ssize_t got;

	do {
		got = p->ops->read(p, buf, n);
	} while (got < 0 && errno == EINTR);
	return got;
}

int pipe_read_full(struct pipe *p, void *buf, size_t n)
{
	size_t at = 0;

	while (at < n) {
		ssize_t got = pipe_read(p, (char *)buf + at, n - at);

		if (got == 0 && at > 0)
			errno = EPIPE;
		if (got <= 0)
			return at > 0 ? -1 : (int)got;
		at += (size_t)got;
	}
	return 1;
}

int pipe_write_full(struct pipe *p, const void *buf, size_t n)
{
	struct iovec v = { (void *)buf, n };

	return pipe_writev_full(p, &v, 1);
}

/* The first of `v` that has anything left, `put` bytes on. */
static struct iovec *advance(struct iovec *v, struct iovec *end, size_t put)
{
	while (v < end && put >= v->iov_len) {
		put -= v->iov_len;
		v++;
	}
	if (v < end) {
		v->iov_base = (char *)v->iov_base + put;
		v->iov_len -= put;
	}
	return v;
}

int pipe_writev_full(struct pipe *p, const struct iovec *parts, int n)
{
	struct iovec copy[PIPE_PARTS], *v = copy, *end = copy + n;

	if (n > PIPE_PARTS) {
		errno = EINVAL;
		return -1;
	}
	memcpy(copy, parts, (size_t)n * sizeof(*parts));
	v = advance(v, end, 0);
	while (v < end) {
		ssize_t put = p->ops->writev(p, v, (int)(end - v));

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -1;
		v = advance(v, end, (size_t)put);
	}
	return 0;
}

int pipe_wait(struct pipe *p, int ms)
{
	struct pollfd f = { .fd = p->fd, .events = POLLIN };
	int n;

	if (p->ops->pending(p))
		return 1;
	n = poll(&f, 1, ms);
	if (n < 0)
		return errno == EINTR ? 0 : -1;
	if (n == 0)
		return 0;
	return f.revents & (POLLIN | POLLHUP) ? 1 : -1;
}

void pipe_end(struct pipe *p)
{
	p->ops->end(p);
}

void pipe_finish(struct pipe *p)
{
	p->ops->finish(p);
}
