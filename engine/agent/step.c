/* SPDX-License-Identifier: Apache-2.0
 * step - one child per step: its frames, its stream, its end.
 */
#include "engine/agent/child.h"
#include "engine/agent/ctx.h"
#include "engine/agent/epoch.h"
#include "engine/agent/serve.h"
#include "engine/agent/stream.h"
#include "engine/base/io.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct step {
	struct step *next;
	struct agent *agent;
	uint32_t id;
	json_t *run;			/* the RUN's body, held */
	const char *module;		/* in it */
	pid_t pid;			/* 0: waits for its stream */
	int fd;				/* frames to and from the child */
	struct child_pace *pace;	/* shared with the child; NULL without a stream */
	int hold;			/* closed when the step is over: whoever passed the
					   stream waits for that */
	struct loop_fd *handle;
	struct frame_reader *reader;
	struct loop_timer *timer;	/* timeout, or KILL after TERM */
	const char *ended;		/* "cancelled" or "timeout" once we stop it */
	bool told;			/* its RESULT is out */
	bool asking;			/* a person is being asked */
};

static struct step *step_find(struct agent *a, uint32_t id)
{
	struct step *s;

	for (s = a->steps; s && s->id != id; s = s->next)
		;
	return s;
}

static void set_asking(struct step *s, bool asking)
{
	if (s->asking != asking)
		s->agent->asking += asking ? 1u : -1u;
	s->asking = asking;
}

static void step_free(struct step *s)
{
	struct agent *a = s->agent;

	set_asking(s, false);
	for (struct step **at = &a->steps; *at; at = &(*at)->next)
		if (*at == s) {
			*at = s->next;
			break;
		}
	loop_fd_del(s->handle);
	loop_timer_del(s->timer);
	frame_reader_free(s->reader);
	mem_close_fd(&s->fd);
	mem_close_fd(&s->hold);
	child_pace_free(s->pace);
	json_decref(s->run);
	free(s);
	agent_step_over(a);
}

/* Steals. A step that we stopped says so, whatever its own last words were. */
static void tell(struct step *s, json_t *result)
{
	json_t *error = json_object_get(result, "error"), *newer;

	if (s->told) {
		json_decref(result);
		return;
	}
	s->told = true;
	if (s->ended && error && (newer = epoch_lost(jget(s->run, "input.run")))) {
		json_decref(result);
		result = newer;
	} else if (s->ended && error) {
		jset_str(error, "kind", s->ended);
		if (strcmp(s->ended, "timeout") == 0)
			jset_strf(error, "text", "'%s' had no result after %lld ms",
				  s->module, (long long)jint(s->run, "timeout_ms", 0));
		else
			jset_strf(error, "text", "'%s' was stopped", s->module);
	}
	agent_send(s->agent, FRAME_RESULT, s->id, result);
	json_decref(result);
}

/* ---- frames of the child ------------------------------------------------------ */

static void on_child_frame(struct step *s, struct frame *f)
{
	if (f->type == FRAME_RESULT && f->body && !s->told)
		tell(s, json_incref(f->body));
	if (f->type != FRAME_EVENT || !f->body || s->told)
		return;
	if (strcmp(jstr(f->body, "e", ""), "ask") == 0)
		set_asking(s, true);
	agent_send(s->agent, FRAME_EVENT, s->id, f->body);
}

/* 1: there may be more; 0: nothing now, or the end. */
static int read_child(struct step *s)
{
	AUTO_ERR e = { 0 };
	char buf[4096];		/* small: a page used here costs a fault after every fork */
	struct frame f;
	ssize_t n = read(s->fd, buf, sizeof(buf));
	int rc;

	if (n < 0 && errno == EINTR)
		return 1;
	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n <= 0) {
		loop_fd_del(s->handle);
		s->handle = NULL;
		return 0;
	}
	rc = frame_reader_feed(s->reader, buf, (size_t)n, &e);
	while (rc >= 0 && (rc = frame_reader_next(s->reader, &f, &e)) > 0) {
		on_child_frame(s, &f);
		frame_clear(&f);
	}
	if (rc < 0) {
		tell(s, ctx_result_error("failed", e.what, NULL));
		kill(-s->pid, SIGKILL);
		loop_fd_del(s->handle);
		s->handle = NULL;
		return 0;
	}
	return 1;
}

static void on_child(void *arg, short revents)
{
	(void)revents;
	read_child(arg);
}

void step_pause_all(struct agent *a, bool pause)
{
	for (struct step *s = a->steps; s; s = s->next) {
		if (s->pid == 0 || s->told)
			continue;
		if (pause) {
			loop_fd_del(s->handle);
			s->handle = NULL;
		} else if (!s->handle) {
			s->handle = loop_fd_add(a->loop, s->fd, POLLIN, on_child, s);
		}
	}
}

/* ---- start -------------------------------------------------------------------- */

static void stop_step(struct step *s, const char *why);

static void on_timeout(void *arg)
{
	struct step *s = arg;

	s->timer = NULL;
	stop_step(s, "timeout");
}

/* In the child that was forked ahead, or in a new one. */
static int spawn(struct step *s, struct stream_came *came, struct err *e)
{
	struct agent *a = s->agent;
	struct child_spec spec = {
		.module = s->module, .op = jstr(s->run, "op", "probe"),
		.input = json_object_get(s->run, "input"), .step = s->id,
		.stream = came ? came->fd : -1, .pace = s->pace,
	};

	if (strcmp(spec.op, "probe") != 0)
		a->changed = true;
	if (child_ahead_use(came ? &came->child : &a->spare, &spec, &s->pid, &s->fd))
		return 0;
	if (came && came->fd < 0)
		return err_set(e, ERR_STEP, "the stream to the other end is gone");
	s->pid = child_spawn(&spec, &s->fd, e);
	return s->pid < 0 ? -1 : 0;
}

/* came: NULL for a call without a stream; taken. */
static void start_child(struct step *s, struct stream_came *came)
{
	struct agent *a = s->agent;
	int64_t timeout = jint(s->run, "timeout_ms", 0);
	AUTO_ERR e = { 0 };
	int rc = spawn(s, came, &e);

	if (came)
		mem_close_fd(&came->fd);
	loop_timer_del(s->timer);
	s->timer = NULL;
	if (rc < 0) {
		tell(s, ctx_result_error("failed", e.what, NULL));
		step_free(s);
		return;
	}
	io_set_nonblock(s->fd);
	s->reader = frame_reader_new();
	if (!a->paused)
		s->handle = loop_fd_add(a->loop, s->fd, POLLIN, on_child, s);
	if (timeout > 0)
		s->timer = loop_timer_add(a->loop, (uint64_t)timeout, on_timeout, s);
}

static void on_no_stream(void *arg)
{
	struct step *s = arg;

	s->timer = NULL;
	tell(s, ctx_result_error("failed", "the stream to the other end did not come",
				 "look at MaxSessions in sshd_config: a second session is needed"));
	step_free(s);
}

static void set_pace(struct step *s, const json_t *pace)
{
	int64_t out = jint(pace, "send", 0), in = jint(pace, "read", 0);

	__atomic_store_n(&s->pace->send, out > 0 ? (uint64_t)out : 0, __ATOMIC_RELAXED);
	__atomic_store_n(&s->pace->read, in > 0 ? (uint64_t)in : 0, __ATOMIC_RELAXED);
}

void step_pace(struct agent *a, const struct frame *f)
{
	struct step *s = step_find(a, f->step);

	if (s && s->pace)
		set_pace(s, json_object_get(f->body, "pace"));
}

/* A child that has the stream shares a pace already. */
void step_stream_came(struct agent *a, uint32_t id)
{
	struct step *s = step_find(a, id);
	struct stream_came came;

	if (!s || s->pid != 0 || !streams_take(a->streams, id, &came))
		return;
	s->hold = came.hold;
	if (came.child.pace) {
		*came.child.pace = *s->pace;
		child_pace_free(s->pace);
		s->pace = came.child.pace;
		came.child.pace = NULL;
	}
	start_child(s, &came);
}

void step_run(struct agent *a, const struct frame *f)
{
	struct step *s;

	if (!f->body || step_find(a, f->step))
		return;
	s = mem_alloc(sizeof(*s));
	*s = (struct step){ .next = a->steps, .agent = a, .id = f->step,
			    .run = json_incref(f->body), .fd = -1, .hold = -1 };
	s->module = jstr(s->run, "module", "");
	a->steps = s;
	if (!jbool(s->run, "stream", false)) {
		start_child(s, NULL);
		return;
	}
	s->pace = child_pace_new();
	if (!s->pace) {		/* a stream that could not be held back is not begun */
		tell(s, ctx_result_error("failed", strerror(errno), NULL));
		step_free(s);
		return;
	}
	set_pace(s, json_object_get(s->run, "pace"));
	s->timer = loop_timer_add(a->loop, AGENT_ATTACH_MS, on_no_stream, s);
	step_stream_came(a, f->step);
}

/* ---- stop and end ---------------------------------------------------------------- */

static void on_kill(void *arg)
{
	struct step *s = arg;

	s->timer = NULL;
	kill(-s->pid, SIGKILL);
}

static void stop_step(struct step *s, const char *why)
{
	if (s->ended || s->told)
		return;
	s->ended = why;
	if (s->pid == 0) {
		tell(s, ctx_result_error(why, "", NULL));
		step_free(s);
		return;
	}
	loop_timer_del(s->timer);
	kill(-s->pid, SIGTERM);
	s->timer = loop_timer_add(s->agent->loop, AGENT_KILL_MS, on_kill, s);
}

void step_stop(struct agent *a, const struct frame *f)
{
	struct step *s = step_find(a, f->step);

	if (s)
		stop_step(s, "cancelled");
}

void step_stop_all(struct agent *a)
{
	struct step *next;

	for (struct step *s = a->steps; s; s = next) {
		next = s->next;
		stop_step(s, "cancelled");
	}
}

void step_ack(struct agent *a, const struct frame *f)
{
	struct step *s = step_find(a, f->step);

	/* the child waits for it with an empty socket: this never blocks */
	if (!s || s->fd < 0 || !f->body)
		return;
	set_asking(s, false);
	frame_write_fd(s->fd, FRAME_ACK, s->id, f->body, NULL);
}

static struct step *find_pid(struct agent *a, pid_t pid)
{
	struct step *s;

	for (s = a->steps; s && s->pid != pid; s = s->next)
		;
	return s;
}

void step_reap(struct agent *a)
{
	siginfo_t info;

	for (;;) {
		struct step *s;
		int status;

		memset(&info, 0, sizeof(info));
		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 ||
		    info.si_pid == 0)
			break;
		s = find_pid(a, info.si_pid);
		status = s ? child_reap(info.si_pid) : 0;
		if (!s) {
			if (info.si_pid == a->spare.pid)
				child_ahead_drop(&a->spare);
			waitpid(info.si_pid, NULL, WNOHANG);
			continue;
		}
		while (read_child(s))
			;
		if (!s->told)
			tell(s, child_death(s->module, status));
		step_free(s);
	}
	/* Now the engine has its answer and thinks: time for what the next call needs. */
	if (!a->steps && a->phase == AGENT_READY)
		child_ahead_make(&a->spare);
}
