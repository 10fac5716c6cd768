/* SPDX-License-Identifier: Apache-2.0
 * stream - descriptors for two-ended steps, passed through an abstract socket.
 */
#include "engine/agent/stream.h"

#include "engine/agent/serve.h"
#include "engine/base/fdpass.h"
#include "engine/base/io.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PENDING_MAX 64		/* streams waiting for their step, or for their greeting */

struct pending {
	struct pending *next;
	struct streams *owner;
	struct loop_fd *handle;	/* until the greeting came */
	bool here;		/* the greeting came, or none was needed */
	uint32_t step;
	int conn;		/* ends with the step */
	int fd;			/* the stream itself */
	struct child_ahead child;	/* or who has it */
};

struct streams {
	struct agent *agent;
	struct loop_fd *handle;
	int fd;			/* listens */
	char name[48];		/* without the leading NUL */
	char secret[STREAM_SECRET + 1];
	struct pending *pending;
	size_t count;
};

static void random_hex(char *out, size_t digits)
{
	uint8_t raw[16];

	io_random(raw, sizeof(raw));
	io_hex(raw, digits / 2, out);
}

static void pending_free(struct pending *p)
{
	for (struct pending **at = &p->owner->pending; *at; at = &(*at)->next)
		if (*at == p) {
			*at = p->next;
			break;
		}
	p->owner->count--;
	loop_fd_del(p->handle);
	mem_close_fd(&p->conn);
	mem_close_fd(&p->fd);
	child_ahead_drop(&p->child);
	free(p);
}

/* Receive the greeting; the descriptor, or -1. */
static int receive(int conn, struct pass_greeting *g)
{
	int fd;
	ssize_t n = fdpass_recv(conn, g, sizeof(*g), &fd);

	if (n != (ssize_t)sizeof(*g))
		mem_close_fd(&fd);
	return n == (ssize_t)sizeof(*g) ? fd : -1;
}

static bool may_speak(int conn)
{
	struct ucred peer;
	socklen_t n = sizeof(peer);

	return getsockopt(conn, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0 &&
	       (peer.uid == geteuid() || peer.uid == 0);
}

static void on_greeting(void *arg, short revents)
{
	struct pending *p = arg;
	struct streams *s = p->owner;
	struct pass_greeting g;

	(void)revents;
	p->fd = receive(p->conn, &g);
	if (p->fd < 0 || memcmp(g.secret, s->secret, STREAM_SECRET) != 0) {
		pending_free(p);
		return;
	}
	loop_fd_del(p->handle);
	p->handle = NULL;
	p->step = g.step;
	p->here = true;
	step_stream_came(s->agent, g.step);
}

static void on_connection(void *arg, short revents)
{
	struct streams *s = arg;
	int conn = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct pending *p;

	(void)revents;
	if (conn < 0)
		return;
	if (s->count >= PENDING_MAX || !may_speak(conn)) {
		close(conn);
		return;
	}
	p = mem_alloc(sizeof(*p));
	*p = (struct pending){ .next = s->pending, .owner = s, .conn = conn, .fd = -1 };
	s->pending = p;
	s->count++;
	p->handle = loop_fd_add(s->agent->loop, conn, POLLIN, on_greeting, p);
}

struct streams *streams_new(struct agent *a)
{
	struct streams *s = mem_alloc(sizeof(*s));
	struct sockaddr_un sun;
	char id[33];

	random_hex(id, 32);
	random_hex(s->secret, STREAM_SECRET);
	snprintf(s->name, sizeof(s->name), "drover-%s", id);
	s->agent = a;
	s->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->fd < 0 ||
	    bind(s->fd, (struct sockaddr *)&sun, pass_address(&sun, s->name)) < 0 ||
	    listen(s->fd, 16) < 0) {
		mem_close_fd(&s->fd);
		free(s);
		return NULL;
	}
	s->handle = loop_fd_add(a->loop, s->fd, POLLIN, on_connection, s);
	return s;
}

void streams_free(struct streams *s)
{
	if (!s)
		return;
	while (s->pending)
		pending_free(s->pending);
	loop_fd_del(s->handle);
	mem_close_fd(&s->fd);
	free(s);
}

const char *streams_name(const struct streams *s)
{
	return s->name;
}

const char *streams_secret(const struct streams *s)
{
	return s->secret;
}

static struct pending *add_here(struct streams *s, uint32_t id)
{
	struct pending *p = mem_alloc(sizeof(*p));

	*p = (struct pending){ .next = s->pending, .owner = s, .here = true, .step = id,
			       .conn = -1, .fd = -1 };
	s->pending = p;
	s->count++;
	return p;
}

void streams_put(struct streams *s, uint32_t id, int fd, int hold)
{
	struct pending *p = add_here(s, id);

	p->fd = fd;
	p->conn = hold;
	step_stream_came(s->agent, id);
}

void streams_put_child(struct streams *s, uint32_t id, struct child_ahead *child)
{
	add_here(s, id)->child = *child;
	*child = (struct child_ahead){ 0 };
	step_stream_came(s->agent, id);
}

static struct pending *find(struct streams *s, uint32_t id)
{
	struct pending *p;

	for (p = s ? s->pending : NULL; p && !(p->here && p->step == id); p = p->next)
		;
	return p;
}

void streams_drop(struct streams *s, uint32_t id)
{
	struct pending *p = find(s, id);

	if (p)
		pending_free(p);
}

bool streams_take(struct streams *s, uint32_t id, struct stream_came *out)
{
	struct pending *p = find(s, id);

	if (!p)
		return false;
	*out = (struct stream_came){ p->fd, p->conn, p->child };
	p->fd = p->conn = -1;
	p->child = (struct child_ahead){ 0 };
	pending_free(p);
	return true;
}
