/* SPDX-License-Identifier: Apache-2.0
 * direct - streams that go straight to the agent at the other end. The engine says where
 * and gives the key; a process of its own makes the connection and then carries the
 * bytes, so that none of them passes through the agent.
 */
#include "engine/agent/serve.h"
#include "engine/agent/stream.h"
#include "engine/agent/tunnel.h"
#include "engine/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DIRECTS_MAX 64
#define FD_CTL 3
#define FD_LOCAL 4

/* One that is being made. Once it is up, its descriptors belong to the streams. */
struct direct {
	struct direct *next;
	struct agent *agent;
	uint32_t step;
	int ctl;		/* its words to us; closed: it ends */
	int fd;			/* the step's end of it */
	struct loop_fd *handle;
};

/* ---- the process -------------------------------------------------------------- */

static void say(json_t *body)
{
	frame_write_fd(FD_CTL, FRAME_STREAM, 0, body, NULL);
	json_decref(body);
}

static void told_port(void *arg, int port)
{
	json_t *body = json_object();

	(void)arg;
	jset_int(body, "port", port);
	say(body);
}

static void say_up(const struct met *m)
{
	json_t *body = json_object();

	jset_bool(body, "up", true);
	jset_int(body, "paths", m->paths);
	jset_int(body, "rtt_ms", (int64_t)m->rtt_ms);
	jset_int(body, "strangers", m->strangers);
	say(body);
}

/* Only stderr, the two sockets, and no signal of the agent's. */
static void arrange(int ctl, int local)
{
	sigset_t none;
	int c = fcntl(ctl, F_DUPFD, 16), l = fcntl(local, F_DUPFD, 16);

	dup2(c, FD_CTL);
	dup2(l, FD_LOCAL);
	close(0);
	close(1);
	if (syscall(SYS_close_range, FD_LOCAL + 1, ~0u, 0) < 0)
		for (int fd = FD_LOCAL + 1; fd < (int)sysconf(_SC_OPEN_MAX); fd++)
			close(fd);
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void process(const struct meeting *m, int ctl, int local, pid_t parent)
{
	AUTO_ERR e = { 0 };
	struct met met;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	arrange(ctl, local);
	if (meet(m, FD_CTL, told_port, NULL, &met, &e) < 0) {
		json_t *body = json_object();

		jset(body, "error", jtext(e.what, strlen(e.what)));
		say(body);
		_exit(1);
	}
	say_up(&met);
	tunnel_carry(&met, FD_LOCAL, FD_CTL);
	met_free(&met);
	_exit(0);
}

/* ---- in the agent --------------------------------------------------------------- */

static void direct_free(struct direct *d)
{
	for (struct direct **at = &d->agent->directs; *at; at = &(*at)->next)
		if (*at == d) {
			*at = d->next;
			break;
		}
	loop_fd_del(d->handle);
	mem_close_fd(&d->ctl);
	mem_close_fd(&d->fd);
	free(d);
}

void directs_free(struct agent *a)
{
	while (a->directs)
		direct_free(a->directs);
}

static void refuse(struct agent *a, uint32_t step, const char *why)
{
	AUTO_JSON *body = json_object();

	jset(body, "error", jtext(why, strlen(why)));
	agent_send(a, FRAME_STREAM, step, body);
}

/* A frame of the process goes on to the engine as it is. */
static void on_words(void *arg, short revents)
{
	struct direct *d = arg;
	struct agent *a = d->agent;
	uint32_t step = d->step;
	AUTO_ERR e = { 0 };
	struct frame f;

	(void)revents;
	if (frame_read_fd(d->ctl, &f, &e) <= 0 || f.type != FRAME_STREAM) {
		direct_free(d);
		refuse(a, step, "the process for it ended");
		return;
	}
	agent_send(a, FRAME_STREAM, step, f.body);
	if (jbool(f.body, "up", false)) {
		int fd = d->fd, ctl = d->ctl;

		d->fd = d->ctl = -1;
		direct_free(d);
		streams_put(a->streams, step, fd, ctl);
	} else if (jstr(f.body, "error", NULL)) {
		direct_free(d);
	}
	frame_clear(&f);
}

static int start(struct agent *a, uint32_t step, const struct meeting *m)
{
	int ctl[2], local[2];
	pid_t parent = getpid(), pid;
	struct direct *d;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ctl) < 0)
		return -1;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, local) < 0) {
		close(ctl[0]);
		close(ctl[1]);
		return -1;
	}
	pid = fork();
	if (pid == 0)
		process(m, ctl[1], local[1], parent);
	close(ctl[1]);
	close(local[1]);
	d = mem_alloc(sizeof(*d));
	*d = (struct direct){ a->directs, a, step, ctl[0], local[0], NULL };
	a->directs = d;
	d->handle = loop_fd_add(a->loop, d->ctl, POLLIN, on_words, d);
	return 0;	/* a failed fork is seen as the end of its words */
}

static bool parse(const json_t *spec, struct meeting *m)
{
	const char *address = jstr(spec, "address", "");
	int64_t from = jint(spec, m->listens ? "from" : "port", 0);
	int64_t to = m->listens ? jint(spec, "to", 0) : from;

	m->wait_ms = (uint64_t)jint(spec, "wait_ms", 0);
	if (strlen(address) >= sizeof(m->at.text) || from < 0 || to < from || to > 65535 ||
	    (!m->listens && from == 0) || m->wait_ms < 1 || m->wait_ms > 600000 ||
	    io_unhex(jstr(spec, "key", ""), m->key, TLS_KEY) < 0)
		return false;
	strcpy(m->at.text, address);
	m->at.from = (uint16_t)from;
	m->at.to = (uint16_t)to;
	return true;
}

static void drop(struct agent *a, uint32_t step)
{
	struct direct *next;

	for (struct direct *d = a->directs; d; d = next) {
		next = d->next;
		if (d->step == step)
			direct_free(d);
	}
	streams_drop(a->streams, step);
}

void direct_frame(struct agent *a, const struct frame *f)
{
	const json_t *listen = json_object_get(f->body, "listen");
	const json_t *connect = json_object_get(f->body, "connect");
	struct meeting m = { .listens = listen != NULL };
	size_t count = 0;

	if (!listen && !connect) {
		drop(a, f->step);
		return;
	}
	for (const struct direct *d = a->directs; d; d = d->next)
		count++;
	if (count >= DIRECTS_MAX || !a->streams)
		refuse(a, f->step, "no further stream can be made here");
	else if (!parse(listen ? listen : connect, &m))
		refuse(a, f->step, "what was asked for makes no sense");
	else if (start(a, f->step, &m) < 0)
		refuse(a, f->step, strerror(errno));
	explicit_bzero(m.key, sizeof(m.key));
}
