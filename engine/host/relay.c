/* SPDX-License-Identifier: Apache-2.0
 * relay - bytes between the two ends of a two-ended step.
 */
#include "engine/host/relay.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/host/direct.h"
#include "engine/host/link.h"
#include "engine/host/shut.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER (128u << 10)	/* in hand for each way; a transport has no more than
				   STREAM_CREDIT beside it */
#define AT_ONCE (1u << 20)	/* moved each way before others get their turn */

/* One end of the pipe, and the way that starts at it. */
struct end {
	struct relay *relay;
	struct relay_party party;
	const struct relay_pipe *pipe;	/* the transport's, once it is open, and ... */
	void *pipe_arg;			/* ... its argument */
	bool joined, broken;
	bool open;		/* its pipe carries bytes */
	/* a descriptor of ours, where the party took the other half */
	int fd;
	struct loop_fd *handle;
	/* the way from this end to the other */
	char *buf;		/* BUFFER bytes once it is open */
	size_t at, len;		/* what of it waits */
	bool read_done;		/* end of file, or nobody would want it */
	bool write_done;	/* finished towards this end, or it is gone */
};

struct relay {
	struct loop *loop;
	struct end ends[2];
	struct loop_timer *again;	/* more to move on the next turn */
	bool started;
	uint64_t bytes;
	enum stream_way way;		/* that is wanted */
	struct direct *direct;		/* tried, or taken */
	bool meeting;			/* it is being tried */
	struct shut *shut;		/* pairs that cannot meet; NULL: nobody notes them */
	void (*told)(void *arg, bool direct, const char *how);	/* NULL: nobody asks */
	void *told_arg;
};

struct relay *relay_new(struct loop *loop)
{
	struct relay *r = mem_alloc(sizeof(*r));

	r->loop = loop;
	r->way = WAY_RELAY;
	for (int i = 0; i < 2; i++)
		r->ends[i] = (struct end){ .relay = r, .fd = -1 };
	return r;
}

void relay_way(struct relay *r, enum stream_way way,
	       void (*told)(void *arg, bool direct, const char *how), void *arg)
{
	r->way = way;
	r->told = told;
	r->told_arg = arg;
}

void relay_knows(struct relay *r, struct shut *s)
{
	r->shut = s;
}

static const char *name_of(const struct relay *r, int end)
{
	return link_host_name(r->ends[end].party.link);
}

static void end_close(struct end *e)
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

void relay_free(struct relay *r)
{
	if (!r)
		return;
	loop_timer_del(r->again);
	direct_free(r->direct);
	for (int i = 0; i < 2; i++) {
		end_close(&r->ends[i]);
		free(r->ends[i].buf);
	}
	free(r);
}

uint64_t relay_bytes(const struct relay *r)
{
	return r->bytes;
}

/* ---- an end that is a descriptor of ours ------------------------------------------- */

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

static void end_finish(struct end *e)
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
		end_finish(to);
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

static void pump(struct relay *r)
{
	struct end *a = &r->ends[0], *b = &r->ends[1];
	bool more;

	if (!a->open || !b->open)
		return;
	more = move(a, b);
	more |= move(b, a);
	/* a reader that is gone leaves its writer without hope: both ways end */
	if (a->read_done && b->read_done && a->at == a->len && b->at == b->len) {
		end_finish(a);
		end_finish(b);
		end_close(a);
		end_close(b);
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
	pump(r);
}

static void on_fd(void *arg, short revents)
{
	struct end *e = arg;

	(void)revents;
	pump(e->relay);
}

/* ---- joining --------------------------------------------------------------------------- */

static void end_open(struct end *e)
{
	e->buf = e->buf ? e->buf : mem_alloc(BUFFER);
	e->open = true;
}

/* Give one half of a new socketpair away, keep the other. */
static void give_half(struct end *e)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
		e->broken = true;
		return;
	}
	e->fd = pair[0];
	end_open(e);
	e->party.give(e->party.arg, e->party.id, pair[1]);
}

static void open_end(struct relay *r, int i)
{
	struct end *e = &r->ends[i];

	if (e->party.give)
		give_half(e);
	else
		e->party.open(e->party.arg, e->party.id, r, i);
}

/* Through the engine. */
static void open_ends(struct relay *r)
{
	open_end(r, 0);
	open_end(r, 1);
	pump(r);
}

static void tell(struct relay *r, bool direct, const char *how)
{
	if (r->told)
		r->told(r->told_arg, direct, how);
}

/* There is no other way: both calls end. */
static void give_up(struct relay *r, const char *how)
{
	for (int i = 0; i < 2; i++) {
		struct relay_party *p = &r->ends[i].party;
		AUTO_ERR e = { 0 };

		err_set(&e, ERR_SYSTEM, "cannot open a direct stream: %s", how);
		err_hint(&e, "open TCP between the two hosts (hosts: data names address and "
			 "ports), or say stream: auto");
		link_stream_failed(p->link, p->id, &e);
	}
}

/* Not directly. */
static void go_through(struct relay *r, const char *why, const char *when)
{
	AUTO_FREE char *how = mem_printf(RELAY_INSTEAD ": %s%s", why, when);

	tell(r, false, how);
	open_ends(r);
}

static void on_met(void *arg, bool up, const char *how)
{
	struct relay *r = arg;

	r->meeting = false;
	if (up) {
		tell(r, true, how);
		for (int i = 0; i < 2; i++) {
			link_run(r->ends[i].party.link, r->ends[i].party.id);
			link_opened(r->ends[i].party.link, r->ends[i].party.id);
		}
	} else if (r->way == WAY_DIRECT) {
		give_up(r, how);
	} else {
		if (r->shut)
			shut_add(r->shut, name_of(r, 0), name_of(r, 1), how, loop_now(r->loop));
		go_through(r, how, "");
	}
}

/* Both halves are for this machine. */
static bool join_here(struct relay *r)
{
	struct end *a = &r->ends[0], *b = &r->ends[1];
	AUTO_FREE char *how = NULL;
	int pair[2];

	if (!a->party.give || !b->party.give ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return false;
	a->party.give(a->party.arg, a->party.id, pair[0]);
	b->party.give(b->party.arg, b->party.id, pair[1]);
	how = a->party.link == b->party.link ?
		mem_printf("directly on '%s', from process to process", name_of(r, 0)) :
		mem_printf("directly from '%s' to '%s', from process to process", name_of(r, 0),
			   name_of(r, 1));
	tell(r, true, how);
	return true;
}

static void start(struct relay *r)
{
	struct end *a = &r->ends[0], *b = &r->ends[1];
	struct relay_party party[2] = { a->party, b->party };
	const char *why;

	r->started = true;
	if (join_here(r))
		return;
	if (r->way == WAY_RELAY) {
		tell(r, false, "through the engine, as the plan says");
		open_ends(r);
		return;
	}
	why = r->way == WAY_AUTO && r->shut ?
		shut_why(r->shut, name_of(r, 0), name_of(r, 1), loop_now(r->loop)) : NULL;
	if (why) {
		go_through(r, why, " (tried before)");
		return;
	}
	r->meeting = true;
	r->direct = direct_begin(r->loop, party, r->way == WAY_AUTO ? DIRECT_AUTO_MS :
				 DIRECT_ONLY_MS, on_met, r);
}

/* The other end is gone for good: this one sees the end of its stream. */
static void end_alone(struct end *e)
{
	end_finish(e);
	end_close(e);
}

void relay_join(struct relay *r, int end, const struct relay_party *p)
{
	struct end *e = &r->ends[end & 1], *other = &r->ends[!(end & 1)];

	e->party = *p;
	e->joined = true;
	if (other->joined)
		start(r);
	else if (other->broken)
		relay_broken(r, !(end & 1));
}

void relay_opened(struct relay *r, int end, const struct relay_pipe *pipe, void *arg)
{
	struct end *e = &r->ends[end & 1];

	e->pipe = pipe;
	e->pipe_arg = arg;
	end_open(e);
	if (r->ends[!(end & 1)].broken)
		end_alone(e);
	else
		pump(r);
}

void relay_ready(struct relay *r, int end)
{
	(void)end;
	pump(r);
}

void relay_heard(struct relay *r, int end, const json_t *body)
{
	if (r->meeting)
		direct_heard(r->direct, end, body);
}

void relay_broken(struct relay *r, int end)
{
	struct end *e = &r->ends[end & 1], *other = &r->ends[!(end & 1)];
	bool waits = other->joined && (!r->started || r->meeting);

	e->broken = true;
	if (r->meeting) {
		r->meeting = false;
		direct_cancel(r->direct);
		r->direct = NULL;
	}
	end_close(e);
	if (waits) {
		r->started = true;
		open_end(r, !(end & 1));
	}
	if (other->open)
		end_alone(other);
}
