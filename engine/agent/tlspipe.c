/* SPDX-License-Identifier: Apache-2.0
 * tlspipe - a pipe over one TLS connection.
 *
 * The socket does not block, and nobody waits with the lock held: one thread may read
 * while another writes.
 */
#include "engine/agent/tlspipe.h"

#include "engine/base/clock.h"

#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define LOOK_MS 5		/* between looks whether all has arrived */

/* Until what the last call waits for is there, or a signal came. */
static void wait_for(const struct tlspipe *p, short wants)
{
	struct pollfd f = { .fd = p->pipe.fd, .events = wants };

	poll(&f, 1, -1);
}

static ssize_t tp_read(struct pipe *pipe, void *buf, size_t n)
{
	struct tlspipe *p = (struct tlspipe *)pipe;
	ssize_t got;
	bool ended;
	short wants;

	for (;;) {
		pthread_mutex_lock(&p->lock);
		got = tls_read(p->tls, buf, n);
		wants = tls_wants(p->tls);
		ended = tls_ended(p->tls);
		pthread_mutex_unlock(&p->lock);
		if (got > 0)
			return got;
		if (got < 0)
			break;
		wait_for(p, wants);
	}
	if (ended)
		return 0;
	errno = ECONNRESET;
	return -1;
}

/* What is small goes together with what follows: a record and a call of the kernel for
 * each of a chunk's parts would cost more than copying them. */
static struct iovec first_of(struct tlspipe *p, const struct iovec *v, int n)
{
	size_t at = 0;

	if (v->iov_len >= TLS_RECORD || n == 1)
		return *v;
	for (int i = 0; i < n && at < TLS_RECORD; i++) {
		size_t room = TLS_RECORD - at;
		size_t take = v[i].iov_len < room ? v[i].iov_len : room;

		if (take > 0)
			memcpy(p->small + at, v[i].iov_base, take);
		at += take;
	}
	return (struct iovec){ p->small, at };
}

/* A record or more; -1: the other end is gone. */
static ssize_t put_some(struct tlspipe *p, const void *from, size_t n)
{
	ssize_t put;
	short wants;

	for (;;) {
		pthread_mutex_lock(&p->lock);
		put = tls_write(p->tls, from, n);
		wants = tls_wants(p->tls);
		pthread_mutex_unlock(&p->lock);
		if (put != 0)
			return put;
		wait_for(p, wants);
	}
}

static int flush(struct tlspipe *p)
{
	int rc;

	for (;;) {
		pthread_mutex_lock(&p->lock);
		rc = tls_flush(p->tls);
		pthread_mutex_unlock(&p->lock);
		if (rc != 0)
			return rc;
		wait_for(p, POLLOUT);
	}
}

static ssize_t tp_writev(struct pipe *pipe, const struct iovec *v, int n)
{
	struct tlspipe *p = (struct tlspipe *)pipe;
	struct iovec first = first_of(p, v, n);
	size_t at = 0;

	while (at < first.iov_len && at < TLS_BATCH) {
		ssize_t put = put_some(p, (char *)first.iov_base + at, first.iov_len - at);

		if (put < 0)
			break;
		at += (size_t)put;
	}
	if (at > 0 && flush(p) > 0)
		return (ssize_t)at;
	errno = EPIPE;
	return -1;
}

static bool tp_pending(struct pipe *pipe)
{
	struct tlspipe *p = (struct tlspipe *)pipe;
	bool some;

	pthread_mutex_lock(&p->lock);
	some = tls_pending(p->tls);
	pthread_mutex_unlock(&p->lock);
	return some;
}

static void tp_end(struct pipe *pipe)
{
	struct tlspipe *p = (struct tlspipe *)pipe;

	pthread_mutex_lock(&p->lock);
	tls_finish(p->tls);
	pthread_mutex_unlock(&p->lock);
	shutdown(p->pipe.fd, SHUT_WR);
}

/* A close with bytes unread throws away what is on its way, in either direction: stay until
 * the other end's kernel has all. */
static void tp_finish(struct pipe *pipe)
{
	uint64_t until = clock_real.mono_ms(clock_real.arg) + PIPE_FINISH_MS;
	struct pollfd f = { .fd = pipe->fd, .events = POLLIN };
	char junk[4096];
	int unsent;

	tp_end(pipe);
	while (ioctl(f.fd, SIOCOUTQ, &unsent) == 0 && unsent > 0 &&
	       clock_real.mono_ms(clock_real.arg) < until)
		if (poll(&f, 1, LOOK_MS) > 0 && recv(f.fd, junk, sizeof(junk), MSG_DONTWAIT) == 0)
			return;
}

static const struct pipe_ops ops = {
	.read = tp_read, .writev = tp_writev, .pending = tp_pending, .end = tp_end,
	.finish = tp_finish,
};

void tlspipe_init(struct tlspipe *p, struct tls *t)
{
	p->pipe = (struct pipe){ &ops, tls_fd(t) };
	p->tls = t;
	pthread_mutex_init(&p->lock, NULL);
}
