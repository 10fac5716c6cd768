/* SPDX-License-Identifier: Apache-2.0
 * serve - the agent's frame loop with the engine.
 */
#include "engine/agent/serve.h"

#include "engine/agent/stream.h"
#include "engine/base/io.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define READ_AT_ONCE 4096	/* more of the stack would be pages that every fork makes cost */

static void end_now(struct agent *a)
{
	if (a->phase != AGENT_ENDING) {
		a->phase = AGENT_ENDING;
		step_stop_all(a);
	}
	agent_step_over(a);
}

void agent_step_over(struct agent *a)
{
	if (a->phase == AGENT_ENDING && !a->steps)
		loop_stop(a->loop);
}

/* ---- to the engine ----------------------------------------------------------- */

static void on_writable(void *arg, short revents);

static void flush(struct agent *a)
{
	while (a->out_at < a->out.len) {
		ssize_t n = write(1, a->out.s + a->out_at, a->out.len - a->out_at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			end_now(a);
			a->out_at = a->out.len;
			break;
		}
		a->out_at += (size_t)n;
	}
	if (a->out_at == a->out.len) {
		a->out.len = a->out_at = 0;
		loop_fd_del(a->out_fd);
		a->out_fd = NULL;
	} else if (!a->out_fd) {
		a->out_fd = loop_fd_add(a->loop, 1, POLLOUT, on_writable, a);
	}
	if (a->paused != (a->out.len - a->out_at > AGENT_OUT_MAX)) {
		a->paused = !a->paused;
		step_pause_all(a, a->paused);
	}
}

static void on_writable(void *arg, short revents)
{
	(void)revents;
	flush(arg);
}

void agent_send(struct agent *a, enum frame_type type, uint32_t step,
		const json_t *body)
{
	if (frame_encode(&a->out, type, step, body, NULL) == 0)
		flush(a);
}

/* ---- from the engine --------------------------------------------------------- */

static void on_hello(struct agent *a, const struct frame *f)
{
	AUTO_JSON *hello = self_hello(a);

	(void)f;
	a->phase = AGENT_READY;
	agent_send(a, FRAME_HELLO, 0, hello);
}

static void on_ping(struct agent *a, const struct frame *f)
{
	agent_send(a, FRAME_PONG, 0, f->body);
}

static void on_pong(struct agent *a, const struct frame *f)
{
	(void)a;
	(void)f;
}

static void on_stream(struct agent *a, const struct frame *f)
{
	if (json_object_get(f->body, "pace"))
		step_pace(a, f);
	else
		direct_frame(a, f);
}

static void on_bye(struct agent *a, const struct frame *f)
{
	(void)f;
	end_now(a);
}

/* What the engine may say, and when. */
static const struct {
	enum frame_type type;
	unsigned phases;
	void (*fn)(struct agent *a, const struct frame *f);
} permitted[] = {
	{ FRAME_HELLO, AGENT_NEW, on_hello },
	{ FRAME_PING, AGENT_READY | AGENT_ENDING, on_ping },
	{ FRAME_PONG, AGENT_READY | AGENT_ENDING, on_pong },
	{ FRAME_RUN, AGENT_READY, step_run },
	{ FRAME_ACK, AGENT_READY | AGENT_ENDING, step_ack },
	{ FRAME_STOP, AGENT_READY | AGENT_ENDING, step_stop },
	{ FRAME_STREAM, AGENT_READY, on_stream },
	{ FRAME_BYE, AGENT_NEW | AGENT_READY | AGENT_ENDING, on_bye },
};

static void dispatch(struct agent *a, const struct frame *f)
{
	for (size_t i = 0; i < ARRAY_LEN(permitted); i++)
		if (permitted[i].type == f->type && (permitted[i].phases & a->phase)) {
			permitted[i].fn(a, f);
			return;
		}
	if (a->phase == AGENT_ENDING)
		return;
	fprintf(stderr, "drover-agent: a frame of type %d is not permitted now\n",
		(int)f->type);
	end_now(a);
}

static void on_readable(void *arg, short revents)
{
	struct agent *a = arg;
	AUTO_ERR e = { 0 };
	char buf[READ_AT_ONCE];
	struct frame f;
	ssize_t n = read(0, buf, sizeof(buf));
	int rc;

	(void)revents;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		loop_fd_del(a->in_fd);
		a->in_fd = NULL;
		end_now(a);
		return;
	}
	a->silent = 0;
	rc = frame_reader_feed(a->reader, buf, (size_t)n, &e);
	while (rc >= 0 && (rc = frame_reader_next(a->reader, &f, &e)) > 0) {
		dispatch(a, &f);
		frame_clear(&f);
	}
	if (rc < 0) {
		fprintf(stderr, "drover-agent: %s\n", e.what);
		loop_fd_del(a->in_fd);
		a->in_fd = NULL;
		end_now(a);
	}
}

/* ---- time and signals -------------------------------------------------------- */

static void on_beat(void *arg)
{
	struct agent *a = arg;

	a->beat = loop_timer_add(a->loop, AGENT_BEAT_MS, on_beat, a);
	/* an engine that waits for a person is allowed to be silent */
	if (a->asking == 0 && ++a->silent > AGENT_BEATS_MAX)
		end_now(a);
}

struct signals {
	struct agent *agent;
	int fd;
};

static void on_signal(void *arg, short revents)
{
	struct signals *s = arg;
	struct signalfd_siginfo info;

	(void)revents;
	while (read(s->fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			step_reap(s->agent);
		else
			end_now(s->agent);
	}
}

static int open_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

int serve(const struct serve_options *o)
{
	struct agent a = { .phase = AGENT_NEW, .options = o };
	struct signals signals = { &a, -1 };

	if (self_check(&a) < 0)
		return 1;
	self_confine(&a);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	a.loop = loop_new(&clock_real);
	a.reader = frame_reader_new();
	a.streams = streams_new(&a);
	io_set_nonblock(0);
	io_set_nonblock(1);
	signals.fd = open_signals();
	loop_fd_add(a.loop, signals.fd, POLLIN, on_signal, &signals);
	a.in_fd = loop_fd_add(a.loop, 0, POLLIN, on_readable, &a);
	a.beat = loop_timer_add(a.loop, AGENT_BEAT_MS, on_beat, &a);
	str_addf(&a.out, FRAME_PREAMBLE "%s\n", o->nonce);
	flush(&a);
	loop_run(a.loop);
	child_ahead_drop(&a.spare);
	if (a.changed)
		self_sync();
	directs_free(&a);
	streams_free(a.streams);
	frame_reader_free(a.reader);
	str_free(&a.out);
	loop_free(a.loop);
	close(signals.fd);
	return 0;
}
