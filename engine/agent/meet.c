/* SPDX-License-Identifier: Apache-2.0
 * meet - how the two ends of a direct stream find each other: one listens while the
 * stream is being made and no longer, the other connects. Anybody may knock; only who
 * has the key is let in, and none of the others can keep those out.
 *
 * Each connection, once its handshake is done, begins with a greeting of the one who
 * connected: "DRV1" | which of them u8 | how many u8 | zero u16.
 */
#include "engine/agent/tunnel.h"

#include "engine/base/clock.h"
#include "engine/base/io.h"
#include "engine/base/mem.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define GUESTS 32		/* handshakes at once; beyond it the oldest goes */
#define SHAKE_MS 5000		/* for the handshake and greeting of one who knocked */
#define DEAD_MS 30000		/* so long unanswered: the other end is gone */
#define UNSENT (256 << 10)	/* bytes that may wait in the kernel for their turn */
#define SHORT_RTT_MS 10		/* up to here one connection fills a link */
#define RTT_PER_PATH_MS 15	/* beyond it, one more for each of these */

struct greeting {
	char magic[4];
	uint8_t index, count;
	uint16_t zero;
};

/* A connection that is being made. */
struct guest {
	struct tls *tls;		/* NULL: the place is free */
	uint64_t until;			/* mono ms */
	bool connected;			/* TCP is; the connecting end asks */
	bool shaken;			/* the handshake is done */
	struct greeting said;
	size_t at;			/* of the greeting, received */
};

struct meeting_now {
	const struct meeting *m;
	int ctl, listener;		/* listener -1: we connect */
	uint64_t until;
	struct guest guest[GUESTS];
	struct met *met;
};

static uint64_t now_ms(void)
{
	return clock_real.mono_ms(clock_real.arg);
}

/* A link that is cut in silence must be noticed in half a minute. */
static void set_options(int fd)
{
	int on = 1, idle = DEAD_MS / 2000, each = 5, times = 3, dead = DEAD_MS;
	int unsent = UNSENT;

	setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &each, sizeof(each));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &times, sizeof(times));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &dead, sizeof(dead));
}

static int open_socket(const char *text, uint16_t port, struct sockaddr_storage *ss,
		       socklen_t *len, struct err *e)
{
	int fd;

	*len = addr_socket(text, port, ss);
	if (!*len)
		return err_set(e, ERR_SYSTEM, "'%s' is not an address", text);
	fd = socket(ss->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(e, "cannot open a socket");
	set_options(fd);
	return fd;
}

static void turn_away(struct guest *g)
{
	tls_free(g->tls);
	*g = (struct guest){ 0 };
}

/* ---- listening ------------------------------------------------------------------ */

/* A listener on the first free port of the range; its port through *port. */
static int listen_at(const struct addr *at, int *port, struct err *e)
{
	uint32_t span = (uint32_t)(at->to - at->from) + 1, first;
	struct sockaddr_storage ss;
	socklen_t len;
	int on = 1, fd = -1;

	io_random(&first, sizeof(first));
	for (uint32_t i = 0; i < span; i++) {
		uint16_t p = (uint16_t)(at->from + (first + i) % span);

		mem_close_fd(&fd);
		fd = open_socket(at->text, p, &ss, &len, e);
		if (fd < 0)
			return -1;
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		if (bind(fd, (struct sockaddr *)&ss, len) == 0 && listen(fd, GUESTS) == 0) {
			getsockname(fd, (struct sockaddr *)&ss, &len);
			/* at the same place in both families */
			*port = ntohs(((struct sockaddr_in *)&ss)->sin_port);
			return fd;
		}
		if (errno != EADDRINUSE)
			break;
	}
	err_sys(e, at->to ? "cannot listen on %s, ports %u to %u" : "cannot listen on %s",
		at->text, at->from, at->to);
	close(fd);
	return -1;
}

static struct guest *place_for_guest(struct meeting_now *n)
{
	struct guest *oldest = &n->guest[0];

	for (int i = 0; i < GUESTS; i++) {
		if (!n->guest[i].tls)
			return &n->guest[i];
		if (n->guest[i].until < oldest->until)
			oldest = &n->guest[i];
	}
	turn_away(oldest);
	n->met->strangers++;
	return oldest;
}

static void let_knock(struct meeting_now *n)
{
	int fd = accept4(n->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct guest *g;

	if (fd < 0)
		return;
	set_options(fd);
	g = place_for_guest(n);
	g->tls = tls_new(n->met->context, fd, NULL);
	g->until = now_ms() + SHAKE_MS;
	g->connected = true;
}

/* The greeting is whole: it is one of ours. False: it makes no sense. */
static bool take_in(struct meeting_now *n, struct guest *g)
{
	const struct greeting *s = &g->said;
	struct met *met = n->met;

	if (memcmp(s->magic, "DRV1", 4) != 0 || s->count < 1 || s->count > TUNNEL_PATHS ||
	    s->index >= s->count || (met->paths && s->count != met->paths) ||
	    met->path[s->index])
		return false;
	met->paths = s->count;
	met->path[s->index] = g->tls;
	*g = (struct guest){ 0 };
	return true;
}

static bool step_in(struct meeting_now *n, struct guest *g)
{
	AUTO_ERR e = { 0 };
	int rc = g->shaken ? 1 : tls_shake(g->tls, &e);

	if (rc <= 0)
		return rc == 0;
	g->shaken = true;
	while (g->at < sizeof(g->said)) {
		ssize_t got = tls_read(g->tls, (char *)&g->said + g->at,
				       sizeof(g->said) - g->at);

		if (got <= 0)
			return got == 0;
		g->at += (size_t)got;
	}
	return take_in(n, g);
}

static bool all_in(const struct met *met)
{
	for (int i = 0; i < met->paths; i++)
		if (!met->path[i])
			return false;
	return met->paths > 0;
}

/* ---- waiting ---------------------------------------------------------------------- */

/* Until something happens at any of them. -1 with e: it is of no use any more. */
static int wait_for_any(struct meeting_now *n, struct err *e)
{
	struct pollfd fds[GUESTS + 2];
	uint64_t now = now_ms(), until = n->until;

	for (int i = 0; i < GUESTS; i++) {
		struct guest *g = &n->guest[i];

		fds[i] = (struct pollfd){ .fd = -1 };
		if (!g->tls)
			continue;
		fds[i].fd = tls_fd(g->tls);
		fds[i].events = g->connected ? tls_wants(g->tls) : POLLOUT;
		if (g->until < until)
			until = g->until;
	}
	fds[GUESTS] = (struct pollfd){ n->listener, POLLIN, 0 };
	fds[GUESTS + 1] = (struct pollfd){ n->ctl, POLLIN, 0 };
	if (now < n->until)
		poll(fds, ARRAY_LEN(fds), until > now ? (int)(until - now) : 0);
	if (fds[GUESTS + 1].revents)
		return err_set(e, ERR_STOPPED, "it is not wanted any more");
	if (now >= n->until)
		return err_set(e, ERR_SYSTEM, "no answer within %llu s",
			       (unsigned long long)(n->m->wait_ms / 1000));
	if (fds[GUESTS].revents)
		let_knock(n);
	return 0;
}

static int meet_listening(struct meeting_now *n, void (*told_port)(void *arg, int port),
			  void *arg, struct err *e)
{
	int port, rc = 0;

	n->listener = listen_at(&n->m->at, &port, e);
	if (n->listener < 0)
		return -1;
	told_port(arg, port);
	while (!all_in(n->met) && (rc = wait_for_any(n, e)) == 0)
		for (int i = 0; i < GUESTS; i++) {
			struct guest *g = &n->guest[i];

			if (g->tls && (!step_in(n, g) || (g->tls && g->until <= now_ms()))) {
				turn_away(g);
				n->met->strangers++;
			}
		}
	close(n->listener);
	return rc;
}

/* ---- connecting --------------------------------------------------------------------- */

static int begin_connect(struct meeting_now *n, struct guest *g, struct err *e)
{
	struct sockaddr_storage ss;
	socklen_t len;
	int fd = open_socket(n->m->at.text, n->m->at.from, &ss, &len, e);

	if (fd < 0)
		return -1;
	if (connect(fd, (struct sockaddr *)&ss, len) < 0 && errno != EINPROGRESS) {
		err_sys(e, "cannot connect");
		close(fd);
		return -1;
	}
	g->until = n->until;
	g->tls = tls_new(n->met->context, fd, e);
	return g->tls ? 0 : -1;
}

/* 1: the other end has the key; 0: not yet; -1 with e. */
static int step_out(struct guest *g, struct err *e)
{
	struct pollfd p = { tls_fd(g->tls), POLLOUT, 0 };
	int error = 0, rc;
	socklen_t len = sizeof(error);

	if (g->shaken)
		return 1;
	if (!g->connected) {
		if (poll(&p, 1, 0) <= 0)
			return 0;
		getsockopt(p.fd, SOL_SOCKET, SO_ERROR, &error, &len);
		if (error) {
			errno = error;
			return err_sys(e, "cannot connect");
		}
		g->connected = true;
	}
	rc = tls_shake(g->tls, e);
	g->shaken = rc == 1;
	return rc;
}

/* How many connections fill a link of this round trip, given what one may have under way
 * (the kernel's buffers). */
static int paths_for(uint64_t rtt_ms)
{
	uint64_t n = rtt_ms <= SHORT_RTT_MS ? 1 : 2 + rtt_ms / RTT_PER_PATH_MS;

	return n < TUNNEL_PATHS ? (int)n : TUNNEL_PATHS;
}

static int shake_first(struct meeting_now *n, struct err *e)
{
	struct guest *g = &n->guest[0];
	uint64_t began = 0;
	int rc = begin_connect(n, g, e);

	while (rc == 0) {
		rc = step_out(g, e);
		if (g->connected && !began)
			began = now_ms();
		if (rc == 0 && wait_for_any(n, e) < 0)
			rc = -1;
	}
	n->met->rtt_ms = now_ms() - began;
	return rc < 0 ? -1 : 0;
}

/* As many more as could be had; it goes on without those that cannot. */
static void shake_others(struct meeting_now *n, int count)
{
	AUTO_ERR e = { 0 };
	bool waits = true;

	for (int i = 1; i < count; i++)
		if (begin_connect(n, &n->guest[i], &e) < 0)
			turn_away(&n->guest[i]);
	while (waits) {
		waits = false;
		for (int i = 1; i < count; i++) {
			int rc = n->guest[i].tls ? step_out(&n->guest[i], &e) : 1;

			if (rc < 0)
				turn_away(&n->guest[i]);
			waits |= rc == 0;
		}
		if (waits && wait_for_any(n, &e) < 0)
			waits = false;
	}
}

/* The handshake left room for these few bytes in any socket. */
static int greet_all(struct meeting_now *n, struct err *e)
{
	struct met *met = n->met;

	for (int i = 0; i < TUNNEL_PATHS; i++)
		if (n->guest[i].shaken) {
			met->path[met->paths++] = n->guest[i].tls;
			n->guest[i] = (struct guest){ 0 };
		}
	for (int i = 0; i < met->paths; i++) {
		struct greeting s = { .magic = { 'D', 'R', 'V', '1' }, .index = (uint8_t)i,
				      .count = (uint8_t)met->paths };

		if (tls_write(met->path[i], &s, sizeof(s)) != (ssize_t)sizeof(s))
			return err_set(e, ERR_SYSTEM, "the connection broke at once");
	}
	return 0;
}

static int meet_connecting(struct meeting_now *n, struct err *e)
{
	if (shake_first(n, e) < 0)
		return -1;
	shake_others(n, paths_for(n->met->rtt_ms));
	return greet_all(n, e);
}

/* ---- either ------------------------------------------------------------------------- */

int meet(const struct meeting *m, int ctl, void (*told_port)(void *arg, int port), void *arg,
	 struct met *out, struct err *e)
{
	struct meeting_now n = { .m = m, .ctl = ctl, .listener = -1, .met = out,
				 .until = now_ms() + m->wait_ms };
	int rc;

	*out = (struct met){ 0 };
	out->context = tls_context_new(m->listens, m->key, e);
	if (!out->context)
		return -1;
	rc = m->listens ? meet_listening(&n, told_port, arg, e) : meet_connecting(&n, e);
	for (int i = 0; i < GUESTS; i++)
		turn_away(&n.guest[i]);
	return rc;
}

void met_free(struct met *m)
{
	for (int i = 0; i < TUNNEL_PATHS; i++)
		tls_free(m->path[i]);
	tls_context_free(m->context);
}
