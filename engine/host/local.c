/* SPDX-License-Identifier: Apache-2.0
 * local - the agent as a child of the engine, over a socketpair.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/host/link.h"
#include "engine/host/relay.h"
#include "engine/wire/pass.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct local {
	struct host *host;
	struct link *link;
	pid_t pid;			/* 0: none */
	int fd, err_fd;
	struct loop_fd *handle, *err_handle;
	struct loop_timer *begin;	/* open() was called, the process comes soon */
	struct addr at;			/* where others can meet it, if the plan says so */
};

/* ---- the executable ---------------------------------------------------------------- */

static int copy_blob(int fd, struct err *e)
{
	size_t n;
	const void *blob = link_agent_blob(&n);

	if (io_write_full(fd, blob, n) < 0)
		return err_sys(e, "cannot put the agent into memory");
	return 0;
}

/* A descriptor of the agent that can be executed: a memfd, or a nameless file in a
 * tmpfs. */
static int open_agent(struct err *e)
{
	static const char *const dirs[] = { "/dev/shm", "/run", "/tmp" };
	int fd = (int)syscall(SYS_memfd_create, "drover-agent", 1u /* MFD_CLOEXEC */);
	char path[64];
	int again;

	if (fd >= 0 && copy_blob(fd, e) == 0)
		return fd;
	mem_close_fd(&fd);
	err_clear(e);
	for (size_t i = 0; i < ARRAY_LEN(dirs) && fd < 0; i++)
		fd = open(dirs[i], O_TMPFILE | O_RDWR | O_CLOEXEC, 0700);
	if (fd < 0)
		return err_sys(e, "cannot put the agent into memory");
	if (copy_blob(fd, e) < 0) {
		close(fd);
		return -1;
	}
	/* what is open for writing cannot be executed */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, O_RDONLY | O_CLOEXEC);
	close(fd);
	return again >= 0 ? again : err_sys(e, "cannot put the agent into memory");
}

static _Noreturn void exec_agent(int exe, int sock, int err_fd, const char *nonce)
{
	char *argv[] = { "drover-agent", "--serve", (char *)nonce, NULL };
	char *envp[] = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
			 "LC_ALL=C", NULL };
	int high = fcntl(exe, F_DUPFD_CLOEXEC, 16);
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	/* Ctrl-C at the terminal is for the engine, which knows what to stop */
	setpgid(0, 0);
	sock = fcntl(sock, F_DUPFD_CLOEXEC, 16);
	err_fd = fcntl(err_fd, F_DUPFD_CLOEXEC, 16);
	dup2(sock, 0);
	dup2(sock, 1);
	dup2(err_fd, 2);
	syscall(SYS_close_range, 3, 15, 0);
	fexecve(high, argv, envp);
	dprintf(2, "cannot execute the agent: %s\n", strerror(errno));
	_exit(126);
}

/* ---- bytes ---------------------------------------------------------------------------- */

/* Wait for the process; its sockets are closed already. */
static void reap(struct local *l, bool kill_it)
{
	if (l->pid <= 0)
		return;
	if (kill_it)
		kill(l->pid, SIGKILL);
	while (waitpid(l->pid, NULL, 0) < 0 && errno == EINTR)
		;
	l->pid = 0;
}

static void drop(void *transport)
{
	struct local *l = transport;

	loop_timer_del(l->begin);
	l->begin = NULL;
	loop_fd_del(l->handle);
	loop_fd_del(l->err_handle);
	l->handle = l->err_handle = NULL;
	mem_close_fd(&l->fd);
	mem_close_fd(&l->err_fd);
}

static void on_stderr(void *arg, short revents)
{
	struct local *l = arg;
	char buf[4096];
	ssize_t n = read(l->err_fd, buf, sizeof(buf));

	(void)revents;
	if (n > 0) {
		link_stderr(l->link, buf, (size_t)n);
	} else if (n == 0) {
		loop_fd_del(l->err_handle);
		l->err_handle = NULL;
	}
}

static void on_end(struct local *l)
{
	AUTO_ERR e = { 0 };

	if (l->err_handle)
		on_stderr(l, POLLIN);
	drop(l);
	/* its end of the socket closes when it ends; it cannot take long */
	reap(l, false);
	link_down(l->link, &e);
}

static void on_socket(void *arg, short revents)
{
	struct local *l = arg;
	char buf[65536];
	ssize_t n;

	if (revents & POLLOUT) {
		loop_fd_events(l->handle, POLLIN);
		link_writable(l->link);
		if (!l->handle)
			return;
	}
	if (!(revents & (POLLIN | POLLHUP | POLLERR)))
		return;
	n = recv(l->fd, buf, sizeof(buf), MSG_DONTWAIT);
	if (n > 0)
		link_feed(l->link, buf, (size_t)n);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		on_end(l);
}

static size_t local_write(void *transport, const void *p, size_t n)
{
	struct local *l = transport;
	ssize_t put = l->fd < 0 ? 0 : send(l->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (put < 0)
		put = 0;	/* a dead one is seen by reading */
	if ((size_t)put < n && l->handle)
		loop_fd_events(l->handle, POLLIN | POLLOUT);
	return (size_t)put;
}

/* ---- streams ---------------------------------------------------------------------------- */

static void give(void *arg, uint32_t id, int fd)
{
	struct local *l = arg;
	const json_t *hello = l->host->hello;
	AUTO_FD stream = fd;
	AUTO_ERR e = { 0 };
	int conn;

	link_run(l->link, id);
	conn = stream_pass(jstr(hello, "attach", ""), jstr(hello, "secret", ""), id,
			   stream, &e);
	if (conn < 0)
		link_stream_failed(l->link, id, &e);
	else
		link_opened(l->link, id);
	mem_close_fd(&conn);
}

static void party(void *transport, struct call *c, struct relay_party *out)
{
	struct local *l = transport;

	*out = (struct relay_party){ .give = give, .arg = l, .id = c->id, .at = l->at };
}

static const struct link_ops local_link_ops = {
	.write = local_write, .party = party, .drop = drop,
};

/* ---- host_ops ----------------------------------------------------------------------------- */

static int spawn(struct local *l, struct err *e)
{
	uint8_t raw[16];
	char nonce[33];
	AUTO_FD exe = open_agent(e);
	int sock[2], err_pipe[2];

	if (exe < 0)
		return -1;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock) < 0)
		return err_sys(e, "cannot start the agent");
	if (pipe2(err_pipe, O_CLOEXEC | O_NONBLOCK) < 0) {
		close(sock[0]);
		close(sock[1]);
		return err_sys(e, "cannot start the agent");
	}
	io_random(raw, sizeof(raw));
	io_hex(raw, sizeof(raw), nonce);
	l->pid = fork();
	if (l->pid == 0)
		exec_agent(exe, sock[1], err_pipe[1], nonce);
	close(sock[1]);
	close(err_pipe[1]);
	l->fd = sock[0];
	l->err_fd = err_pipe[0];
	if (l->pid < 0) {
		drop(l);
		return err_sys(e, "cannot start the agent");
	}
	l->handle = loop_fd_add(l->host->loop, l->fd, POLLIN, on_socket, l);
	l->err_handle = loop_fd_add(l->host->loop, l->err_fd, POLLIN, on_stderr, l);
	link_begin(l->link, nonce);
	return 0;
}

static void on_open(void *arg)
{
	struct local *l = arg;
	AUTO_ERR e = { 0 };

	l->begin = NULL;
	if (spawn(l, &e) < 0)
		link_down(l->link, &e);
}

static void local_open(struct host *h)
{
	struct local *l = h->impl;

	l->begin = loop_timer_add(h->loop, 0, on_open, l);
}

static void local_start(struct host *h, struct call *c)
{
	link_op_start(((struct local *)h->impl)->link, c);
}

static void local_ack(struct host *h, struct call *c, int64_t ack)
{
	link_op_ack(((struct local *)h->impl)->link, c, ack);
}

static void local_stop(struct host *h, struct call *c)
{
	link_op_stop(((struct local *)h->impl)->link, c);
}

static void local_go(struct host *h, struct call *c)
{
	link_op_go(((struct local *)h->impl)->link, c);
}

static void local_pace(struct host *h, struct call *c)
{
	link_op_pace(((struct local *)h->impl)->link, c);
}

static void local_close(struct host *h)
{
	link_op_close(((struct local *)h->impl)->link);
}

static void local_free(struct host *h)
{
	struct local *l = h->impl;

	drop(l);
	link_free(l->link);
	/* after an orderly close there is none; else it ends by itself, but nobody
	 * would wait for it: end of file is enough for its steps, not for us */
	reap(l, true);
	free(l);
}

static const struct host_ops local_ops = {
	.open = local_open, .start = local_start, .ack = local_ack,
	.stop = local_stop, .go = local_go, .pace = local_pace, .close = local_close, .free = local_free,
};

struct host *host_local_new(struct loop *loop, const char *name, const json_t *spec)
{
	struct host *h = mem_alloc(sizeof(*h));
	struct local *l = mem_alloc(sizeof(*l));

	addr_parse(jstr(spec, "data", ""), &l->at);
	h->name = mem_strdup(name);
	h->ops = &local_ops;
	h->loop = loop;
	h->impl = l;
	l->host = h;
	l->fd = l->err_fd = -1;
	l->link = link_new(h, &local_link_ops, l);
	return h;
}
