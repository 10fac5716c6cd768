/* SPDX-License-Identifier: Apache-2.0
 * tunnel - the bytes of one stream over one or more connections.
 *
 * They travel as segments: number u64 | length u32, big-endian, then the bytes; length 0
 * ends that way. A segment goes to whichever connection has room; each connection carries
 * its own in rising order, so the next number is always at the head of one of them, and
 * the receiver need never hold more than one segment of each.
 */
#include "engine/agent/tunnel.h"

#include "engine/base/clock.h"
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/base/pipe.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BODY (64u << 10)		/* of a segment, at most */

struct head {
	uint64_t number;
	uint32_t length;
} __attribute__((packed));

struct segment {
	struct head head;		/* as on the wire */
	uint8_t body[BODY];
} __attribute__((packed));

struct path {
	struct tls *tls;
	struct segment out, in;
	size_t out_at, out_len;		/* of `out` with its head; equal: none is under way */
	size_t in_at;			/* received of `in`, with its head */
	size_t given;			/* of a whole body: passed on to the step */
	short read_wants, write_wants;	/* what poll must see; 0: not waiting */
	bool ended;			/* nothing more comes from it */
};

struct tunnel {
	int local, ctl;
	struct path *path[TUNNEL_PATHS];
	int paths;
	int turn;			/* who is asked first to take a segment */
	uint64_t next_out, next_in;	/* numbers of segments */
	bool out_done;			/* the step has said its last byte */
	bool in_done;			/* the other end has; or the step reads no more */
	bool broken;			/* the other end is gone */
};

static uint32_t body_len(const struct path *p)
{
	return be32toh(p->in.head.length);
}

/* All of a segment has come. */
static bool whole(const struct path *p)
{
	return p->in_at >= sizeof(struct head) && p->in_at == sizeof(struct head) + body_len(p);
}

/* ---- from the other end ----------------------------------------------------------- */

static void receive(struct tunnel *t, struct path *p)
{
	p->read_wants = 0;
	while (!whole(p) && !p->ended) {
		size_t want = p->in_at < sizeof(struct head) ? sizeof(struct head) :
			sizeof(struct head) + body_len(p);
		ssize_t n = tls_read(p->tls, (uint8_t *)&p->in + p->in_at, want - p->in_at);

		if (n == 0) {
			p->read_wants = tls_wants(p->tls);
			return;
		}
		if (n < 0)
			p->ended = true;
		else
			p->in_at += (size_t)n;
		if (p->in_at >= sizeof(struct head) && body_len(p) > BODY)
			p->ended = t->broken = true;
	}
}

/* Pass the segment on whose turn it is. True: it went, or some of it. */
static bool deliver(struct tunnel *t, struct path *p)
{
	size_t len = body_len(p);
	ssize_t n;

	if (len == 0) {
		shutdown(t->local, SHUT_WR);
		t->in_done = true;
	}
	n = t->in_done ? (ssize_t)(len - p->given) :
		send(t->local, p->in.body + p->given, len - p->given,
		     MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n < 0) {
		t->in_done = true;	/* the step is gone: what comes is dropped */
		n = (ssize_t)(len - p->given);
	}
	p->given += (size_t)n;
	if (p->given == len) {
		p->given = p->in_at = 0;
		t->next_in++;
	}
	return true;
}

static struct path *its_turn(struct tunnel *t)
{
	for (int i = 0; i < t->paths; i++)
		if (whole(t->path[i]) && be64toh(t->path[i]->in.head.number) == t->next_in)
			return t->path[i];
	return NULL;
}

/* ---- to the other end --------------------------------------------------------------- */

static bool idle(const struct path *p)
{
	return p->out_at == p->out_len;
}

/* Fill the path's segment with what the step says. False: nothing now. */
static bool fill(struct tunnel *t, struct path *p)
{
	ssize_t n = recv(t->local, p->out.body, BODY, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		n = 0;
		t->out_done = true;
	}
	p->out.head = (struct head){ htobe64(t->next_out++), htobe32((uint32_t)n) };
	p->out_at = 0;
	p->out_len = sizeof(struct head) + (size_t)n;
	return true;
}

/* A segment for each connection that has room, in turn: none is filled up while others
 * have nothing. True: there was something. */
static bool share_out(struct tunnel *t)
{
	bool some = false;

	for (int i = 0; i < t->paths && !t->out_done; i++) {
		struct path *p = t->path[(t->turn + i) % t->paths];

		if (!idle(p))
			continue;
		if (!fill(t, p))
			break;
		some = true;
	}
	t->turn = (t->turn + 1) % t->paths;
	return some;
}

static void flush(struct tunnel *t, struct path *p)
{
	p->write_wants = 0;
	while (!idle(p) && !t->broken) {
		ssize_t n = tls_write(p->tls, (const uint8_t *)&p->out + p->out_at,
				      p->out_len - p->out_at);

		if (n == 0) {
			p->write_wants = tls_wants(p->tls);
			return;
		}
		if (n < 0)
			t->broken = true;
		else
			p->out_at += (size_t)n;
	}
}

/* ---- both ------------------------------------------------------------------------------ */

/* Everything that goes without waiting. */
static void turn(struct tunnel *t)
{
	bool moved = true;

	while (moved && !t->broken) {
		struct path *p;

		moved = false;
		for (int i = 0; i < t->paths; i++)
			receive(t, t->path[i]);
		while ((p = its_turn(t)) && deliver(t, p)) {
			receive(t, p);
			moved = true;
		}
		moved |= share_out(t);
		for (int i = 0; i < t->paths; i++)
			flush(t, t->path[i]);
	}
}

static bool over(struct tunnel *t)
{
	bool said = t->out_done, ended = true;

	for (int i = 0; i < t->paths; i++) {
		said = said && idle(t->path[i]);
		ended = ended && t->path[i]->ended;
	}
	/* nobody is there any more, and nothing is left to pass on */
	if (ended && !its_turn(t))
		t->broken = true;
	return t->broken || (said && (t->in_done || t->ctl < 0));
}

/* Wait until something can move. False: the deadline is past. */
static bool wait_for(struct tunnel *t, uint64_t until)
{
	struct pollfd fds[TUNNEL_PATHS + 2];
	uint64_t now = clock_real.mono_ms(clock_real.arg);
	short local = 0;
	int n;

	for (n = 0; n < t->paths; n++) {
		struct path *p = t->path[n];
		short events = (short)((p->ended ? 0 : p->read_wants) | p->write_wants);

		/* who is not waited for must not wake us by hanging up */
		fds[n] = (struct pollfd){ events ? tls_fd(p->tls) : -1, events, 0 };
		if (idle(p) && !t->out_done)
			local |= POLLIN;
	}
	if (its_turn(t))
		local |= POLLOUT;
	fds[n++] = (struct pollfd){ local ? t->local : -1, local, 0 };
	fds[n++] = (struct pollfd){ t->ctl, POLLIN, 0 };
	if (until && now >= until)
		return false;
	poll(fds, (nfds_t)n, until ? (int)(until - now) : -1);
	if (fds[n - 1].revents)
		t->ctl = -1;
	return true;
}

static void open_paths(struct tunnel *t, const struct met *m)
{
	t->paths = m->paths;
	for (int i = 0; i < m->paths; i++) {
		t->path[i] = mem_alloc(sizeof(*t->path[i]));
		t->path[i]->tls = m->path[i];
	}
}

void tunnel_carry(struct met *m, int local, int ctl)
{
	struct tunnel t = { .local = local, .ctl = ctl };
	uint64_t until = 0;

	io_widen(local);
	open_paths(&t, m);
	do {
		turn(&t);
		if (t.ctl < 0 && !until)
			until = clock_real.mono_ms(clock_real.arg) + PIPE_FINISH_MS;
	} while (!over(&t) && wait_for(&t, until));
	for (int i = 0; i < t.paths; i++) {
		if (!t.broken)
			tls_finish(t.path[i]->tls);
		free(t.path[i]);
	}
	close(local);
}
