/* SPDX-License-Identifier: Apache-2.0
 * relay_move - bytes from one open end to the other, both ways, until both are done.
 */
#include "engine/host/relay_impl.h"

#include "engine/base/mem.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER (128u << 10)	/* in hand for each way; a transport has no more than
				   STREAM_CREDIT beside it */
#define AT_ONCE (1u << 20)	/* moved each way before others get their turn */

/* ---- ends ------------------------------------------------------------------------ */

void relay_end_open(struct end *e)
{
	e->buf = e->buf ? e->buf : mem_alloc(BUFFER);
	e->open = true;
}

void relay_end_close(struct end *e)
{
	bool was_open = e->open;

	e->open = false;
	loop_fd_del(e->handle);
	e->handle = NULL;
	if (e->fd >= 0)
		mem_close_fd(&e->fd);
	else if (was_open)
		e->pipe->close(e->pipe_arg);
}

static ssize_t fd_result(ssize_t n)
{
	if (n >= 0)
		return n;
	return errno == EAGAIN || errno == EINTR ? 0 : -1;
}

static ssize_t end_read(struct end *e, void *buf, size_t n)
{
	ssize_t got;

	if (e->fd < 0)
		return e->pipe->read(e->pipe_arg, buf, n);
	got = recv(e->fd, buf, n, MSG_DONTWAIT);
	return got == 0 ? -1 : fd_result(got);
}

static ssize_t end_write(struct end *e, const void *p, size_t n)
{
	if (e->fd < 0)
		return e->pipe->write(e->pipe_arg, p, n);
	return fd_result(send(e->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL));
}

void relay_end_finish(struct end *e)
{
	if (e->write_done)
		return;
	e->write_done = true;
	if (e->fd >= 0)
		shutdown(e->fd, SHUT_WR);
	else if (e->open)
		e->pipe->finish(e->pipe_arg);
}

/* ---- moving ------------------------------------------------------------------------ */

/* Bytes from one end to the other until either has no more to say. True when the
 * allowance is used up and there may be more. */
static bool move(struct end *from, struct end *to)
{
	size_t moved = 0;

	while (moved < AT_ONCE) {
		ssize_t n;

		if (from->len == from->at) {
			from->at = from->len = 0;
			if (from->read_done)
				break;
			n = end_read(from, from->buf, BUFFER);
			if (n == 0)
				return false;
			if (n < 0) {
				from->read_done = true;
				break;
			}
			from->len = (size_t)n;
		}
		n = to->write_done ? -1 : end_write(to, from->buf + from->at,
						    from->len - from->at);
		if (n < 0) {
			/* the reader is gone: let the writer know by its pipe */
			from->at = from->len = 0;
			from->read_done = to->write_done = true;
			return false;
		}
		if (n == 0)
			return false;
		from->at += (size_t)n;
		moved += (size_t)n;
		from->relay->bytes += (size_t)n;
	}
	if (from->read_done)
		relay_end_finish(to);
	return moved >= AT_ONCE;
}

static void on_fd(void *arg, short revents);

/* What is waited for at a descriptor: nothing at all must not spin on a hang-up. */
static void watch(struct end *e, const struct end *other)
{
	short events = 0;

	if (e->fd < 0)
		return;
	if (!e->read_done && e->len == e->at)
		events |= POLLIN;
	if (other->len > other->at && !e->write_done)
		events |= POLLOUT;
	if (!events) {
		loop_fd_del(e->handle);
		e->handle = NULL;
	} else if (e->handle) {
		loop_fd_events(e->handle, events);
	} else {
		e->handle = loop_fd_add(e->relay->loop, e->fd, events, on_fd, e);
	}
}

static void on_again(void *arg);

void relay_pump(struct relay *r)
{
	struct end *a = &r->ends[0], *b = &r->ends[1];
	bool more;

	if (!a->open || !b->open)
		return;
	more = move(a, b);
	more |= move(b, a);
	/* a reader that is gone leaves its writer without hope: both ways end */
	if (a->read_done && b->read_done && a->at == a->len && b->at == b->len) {
		relay_end_finish(a);
		relay_end_finish(b);
		relay_end_close(a);
		relay_end_close(b);
		return;
	}
	watch(a, b);
	watch(b, a);
	if (more && !r->again)
		r->again = loop_timer_add(r->loop, 0, on_again, r);
}

static void on_again(void *arg)
{
	struct relay *r = arg;

	r->again = NULL;
	relay_pump(r);
}

static void on_fd(void *arg, short revents)
{
	struct end *e = arg;

	(void)revents;
	relay_pump(e->relay);
}
