/* SPDX-License-Identifier: Apache-2.0
 * stream - descriptors for two-ended steps, passed through an abstract socket.
 */
#include "engine/agent/stream.h"

#include "engine/agent/serve.h"
#include "engine/base/fdpass.h"
#include "engine/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
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

/* ---- the other side ------------------------------------------------------------ */

static bool same_socket(int a, int b)
{
	struct stat sa, sb;

	return fstat(a, &sa) == 0 && fstat(b, &sb) == 0 && S_ISSOCK(sa.st_mode) &&
	       sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

/* Bytes from a pipe to a socket or back. Not by splice(2): it waits for one of them with
 * the pipe's lock held, and sshd, which only wants to look whether there is something to
 * read, then sleeps with it, and all its channels do. */
static uint64_t copy_until_end(int from, int to)
{
	static char buf[256 << 10];
	uint64_t total = 0;
	ssize_t n;

	for (;;) {
		n = read(from, buf, sizeof(buf));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || io_write_full(to, buf, (size_t)n) < 0)
			return total;
		total += (uint64_t)n;
	}
}

static void wait_for_end(int conn)
{
	char end;

	while (read(conn, &end, 1) < 0 && errno == EINTR)
		;
}

/* sshd gave us two pipes: join them to one socket until the step is over. That the
 * step has said its last byte is told on stderr: a sudo above us holds our stdout, and
 * sshd's end of file would come only when all is over. */
static void join_pipes(int sock, int conn, const char *nonce)
{
	uint64_t total;
	pid_t pid;

	signal(SIGPIPE, SIG_IGN);
	/* wide pipes: fewer turns for sshd */
	fcntl(0, F_SETPIPE_SZ, 1 << 20);
	fcntl(1, F_SETPIPE_SZ, 1 << 20);
	pid = fork();
	if (pid == 0) {
		close(1);
		close(conn);
		copy_until_end(0, sock);
		shutdown(sock, SHUT_WR);
		_exit(0);
	}
	close(0);
	total = copy_until_end(sock, 1);
	dprintf(2, STREAM_END "%s %llu\n", nonce, (unsigned long long)total);
	close(1);
	wait_for_end(conn);
	if (pid > 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
}

int stream_attach(const char *name, const char *step, const char *nonce)
{
	AUTO_FREE char *hello = mem_printf(FRAME_PREAMBLE "%s\n", nonce);
	char secret[STREAM_SECRET + 1];
	int pair[2] = { -1, -1 }, conn, given = 0;
	AUTO_ERR e = { 0 };

	/* only now may the secret come: sudo would have taken it for a password */
	if (io_write_full(1, hello, strlen(hello)) < 0 ||
	    io_read_full(0, secret, sizeof(secret)) <= 0)
		return 1;
	secret[STREAM_SECRET] = '\0';
	if (!same_socket(0, 1)) {
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
			return 1;
		given = pair[1];
	}
	conn = stream_pass(name, secret, (uint32_t)strtoul(step, NULL, 10), given, &e);
	if (conn < 0) {
		err_print(stderr, &e);
		return 1;
	}
	if (pair[0] >= 0) {
		close(pair[1]);
		join_pipes(pair[0], conn, nonce);
		return 0;
	}
	/* the step has it; sshd must only see us end when the step does */
	close(0);
	close(1);
	wait_for_end(conn);
	return 0;
}
