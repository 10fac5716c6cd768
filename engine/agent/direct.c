/* SPDX-License-Identifier: Apache-2.0
 * direct - streams that go straight to the agent at the other end. The engine says where
 * and gives the key; a process of its own makes the connection. Is it one, that process
 * then runs the step itself; are they several, it carries the bytes to the step.
 */
#include "engine/agent/serve.h"
#include "engine/agent/stream.h"
#include "engine/agent/tlspipe.h"
#include "engine/agent/tunnel.h"
#include "engine/base/io.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DIRECTS_MAX 64

/* One that is being made. Once it is up, the streams have it. */
struct direct {
	struct direct *next;
	struct agent *agent;
	uint32_t step;
	struct child_ahead child;	/* its words to us come through its frame socket */
	int fd;				/* the step's end, should it take several connections */
	struct loop_fd *handle;
};

/* ---- the process -------------------------------------------------------------- */

static void say(json_t *body)
{
	frame_write_fd(CHILD_FRAMES, FRAME_STREAM, 0, body, NULL);
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

/* Nothing of a step is there to be stopped: whatever comes ends it. */
static void plain_signals(void)
{
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* One connection is the step's own: it will run here, and nothing lies between. */
static _Noreturn void be_the_step(struct met *met, const struct child_pace *pace)
{
	struct tlspipe p;

	if (tls_widen(met->path[0], CHILD_STREAM) < 0)
		_exit(1);
	tlspipe_init(&p, met->path[0]);
	child_ahead_serve(&p.pipe, pace);
}

static _Noreturn void process(const struct meeting *m, const struct child_pace *pace)
{
	AUTO_ERR e = { 0 };
	struct met met;

	if (meet(m, CHILD_FRAMES, told_port, NULL, &met, &e) < 0) {
		json_t *body = json_object();

		jset(body, "error", jtext(e.what, strlen(e.what)));
		say(body);
		_exit(1);
	}
	say_up(&met);
	if (met.paths == 1)
		be_the_step(&met, pace);
	plain_signals();
	tunnel_carry(&met, CHILD_STREAM, CHILD_FRAMES);
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
	child_ahead_drop(&d->child);
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

/* It is for the step now. */
static void hand_over(struct direct *d, bool one_path)
{
	struct streams *streams = d->agent->streams;
	struct child_ahead child = d->child;
	uint32_t step = d->step;
	int fd = d->fd;

	d->child = (struct child_ahead){ 0 };
	d->fd = -1;
	direct_free(d);
	if (one_path) {
		close(fd);
		streams_put_child(streams, step, &child);
	} else {
		child_pace_free(child.pace);
		streams_put(streams, step, fd, child.fd);
	}
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
	if (frame_read_fd(d->child.fd, &f, &e) <= 0 || f.type != FRAME_STREAM) {
		direct_free(d);
		refuse(a, step, "the process for it ended");
		return;
	}
	agent_send(a, FRAME_STREAM, step, f.body);
	if (jbool(f.body, "up", false))
		hand_over(d, jint(f.body, "paths", 0) == 1);
	else if (jstr(f.body, "error", NULL))
		direct_free(d);
	frame_clear(&f);
}

/* -1 with errno. */
static int start(struct agent *a, uint32_t step, const struct meeting *m)
{
	struct child_ahead child = { .pace = child_pace_new() };
	struct direct *d;
	int local[2];

	if (!child.pace)
		return -1;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, local) < 0) {
		child_pace_free(child.pace);
		return -1;
	}
	if (child_ahead_fork(&child, local[1]) == 0)
		process(m, child.pace);
	close(local[1]);
	if (child.pid < 0) {
		close(local[0]);
		child_pace_free(child.pace);
		return -1;
	}
	d = mem_alloc(sizeof(*d));
	*d = (struct direct){ a->directs, a, step, child, local[0], NULL };
	a->directs = d;
	d->handle = loop_fd_add(a->loop, d->child.fd, POLLIN, on_words, d);
	return 0;
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

/* Both ends are steps of ours: nothing but a socket is between them. */
static void join(struct agent *a, uint32_t step, int64_t other)
{
	AUTO_JSON *body = json_object();
	int pair[2];

	if (other < 0 || other > UINT32_MAX || other == step) {
		refuse(a, step, "what was asked for makes no sense");
	} else if (!a->streams || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
		refuse(a, step, "no further stream can be made here");
	} else {
		streams_put(a->streams, step, pair[0], -1);
		streams_put(a->streams, (uint32_t)other, pair[1], -1);
		jset_bool(body, "up", true);
		agent_send(a, FRAME_STREAM, step, body);
	}
}

void direct_frame(struct agent *a, const struct frame *f)
{
	const json_t *listen = json_object_get(f->body, "listen");
	const json_t *connect = json_object_get(f->body, "connect");
	const json_t *other = json_object_get(f->body, "join");
	struct meeting m = { .listens = listen != NULL };
	size_t count = 0;

	if (other) {
		join(a, f->step, json_integer_value(other));
		return;
	}
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
