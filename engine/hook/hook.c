/* SPDX-License-Identifier: Apache-2.0
 * hook - the engine's side of a check: its process, its deadline, its calls.
 */
#include "engine/hook/hook_priv.h"
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/base/text.h"
#include "engine/hook/child.h"
#include "engine/hook/source.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define GRACE_MS 3000		/* the child ends itself first, with a better message */
#define RETRY_MS 1000
#define LOGS_MAX 1000

struct hook_pool {
	unsigned running;
	struct hook *first, **last;	/* waiting */
};

static void start_child(struct hook *h);

/* ---- the pool ------------------------------------------------------------ */

struct hook_pool *hook_pool_new(void)
{
	struct hook_pool *p = mem_alloc(sizeof(*p));

	p->last = &p->first;
	return p;
}

void hook_pool_free(struct hook_pool *p)
{
	free(p);
}

static void pool_enter(struct hook *h)
{
	struct hook_pool *p = h->env.pool;

	if (p && p->running >= HOOK_CHILDREN) {
		*p->last = h;
		p->last = &h->next;
		return;
	}
	if (p)
		p->running++;
	h->in_pool = p != NULL;
	start_child(h);
}

static void pool_leave(struct hook *h)
{
	struct hook_pool *p = h->env.pool;

	if (!p)
		return;
	if (!h->in_pool) {
		for (struct hook **at = &p->first; *at; at = &(*at)->next)
			if (*at == h) {
				*at = h->next;
				if (!*at)
					p->last = at;
				return;
			}
		return;
	}
	p->running--;
	h->in_pool = false;
	if (p->first) {
		struct hook *n = p->first;

		p->first = n->next;
		if (!p->first)
			p->last = &p->first;
		n->next = NULL;
		p->running++;
		n->in_pool = true;
		start_child(n);
	}
}

/* ---- the end ------------------------------------------------------------- */

static void end_child(struct hook *h, int *status)
{
	int st = 0;

	loop_fd_del(h->watch);
	h->watch = NULL;
	if (h->fd >= 0)
		close(h->fd);
	h->fd = -1;
	if (h->pid > 0) {
		kill(h->pid, SIGKILL);
		while (waitpid(h->pid, &st, 0) < 0 && errno == EINTR)
			;
	}
	h->pid = 0;
	frame_reader_free(h->in);
	h->in = NULL;
	str_free(&h->out);
	calls_forget(h);
	if (status)
		*status = st;
}

static void deliver(void *arg)
{
	struct hook *h = arg;
	struct call *c = h->c;
	json_t *result = h->result;

	h->timer = NULL;
	c->impl = NULL;
	pool_leave(h);
	json_decref(h->job);
	free(h->name);
	free(h);
	c->on_result(c, result, c->arg);
	json_decref(result);
}

void hook_finish(struct hook *h, json_t *result)
{
	end_child(h, NULL);
	loop_timer_del(h->timer);
	json_decref(h->result);
	h->result = result;
	h->timer = loop_timer_add(h->env.loop, 0, deliver, h);
}

json_t *hook_failure(const char *kind, const char *hint, const char *fmt, ...)
{
	AUTO_FREE char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	text = mem_vprintf(fmt, ap);
	va_end(ap);
	return frame_failure(kind, text, hint);
}

static void on_retry(void *arg)
{
	struct hook *h = arg;

	h->timer = NULL;
	start_child(h);
}

/* The check's own word. One that is not ok is asked again while `retry` lasts. */
static void on_outcome(struct hook *h, json_t *result)
{
	uint64_t now = loop_now(h->env.loop);
	bool again = !jbool(result, "ok", false) && !jbool(result, "final", false);

	json_object_del(result, "final");
	if (!again || now + RETRY_MS > h->retry_until) {
		hook_finish(h, result);
		return;
	}
	json_decref(result);
	end_child(h, NULL);
	loop_timer_del(h->timer);
	h->timer = loop_timer_add(h->env.loop, RETRY_MS, on_retry, h);
}

static void on_deadline(void *arg)
{
	struct hook *h = arg;
	char text[24];

	h->timer = NULL;
	text_duration(h->timeout_ms, text);
	hook_finish(h, hook_failure("timeout", "it was killed; `timeout:` in the plan allows more",
			  "%s: did not end within %s", h->name, text));
}

static void child_died(struct hook *h)
{
	int status = 0;

	end_child(h, &status);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		hook_finish(h, hook_failure("failed", NULL, "%s: it asked the system for something that a "
				  "check may not do", h->name));
	else if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)
		hook_finish(h, hook_failure("failed", NULL, "%s: its process was ended by signal %d (%s)",
				  h->name, WTERMSIG(status), strsignal(WTERMSIG(status))));
	else
		hook_finish(h, hook_failure("failed", NULL, "%s: its process ended without an answer",
				  h->name));
}

/* ---- frames to the child ------------------------------------------------- */

static void flush(struct hook *h)
{
	size_t at = 0;

	while (at < h->out.len) {
		ssize_t n = send(h->fd, h->out.s + at, h->out.len - at, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;	/* full: later; gone: seen when reading */
		at += (size_t)n;
	}
	if (at) {
		memmove(h->out.s, h->out.s + at, h->out.len - at);
		h->out.len -= at;
	}
	loop_fd_events(h->watch, (short)(POLLIN | (h->out.len ? POLLOUT : 0)));
}

void hook_send(struct hook *h, enum frame_type type, const json_t *body)
{
	AUTO_ERR e = {0};

	if (frame_encode(&h->out, type, 1, body, &e) < 0) {
		hook_finish(h, hook_failure("failed", NULL, "%s: %s", h->name, e.what));
		return;
	}
	flush(h);
}

/* ---- frames from the child ----------------------------------------------- */

static void on_event(struct hook *h, const json_t *ev)
{
	const char *e = jstr(ev, "e", "");

	if (strcmp(e, "call") == 0)
		calls_start(h, ev);
	else if (strcmp(e, "keep") == 0 ||
		 (strcmp(e, "log") == 0 && ++h->logs <= LOGS_MAX))
		h->c->on_event(h->c, ev, h->c->arg);
}

/* Take what is complete. The hook may be over after each frame: fd tells. */
static void take_frames(struct hook *h)
{
	AUTO_ERR e = {0};
	int rc = 0;

	while (h->fd >= 0 && h->in) {
		struct frame f = {0};

		rc = frame_reader_next(h->in, &f, &e);
		if (rc <= 0)
			break;
		if (f.type == FRAME_RESULT)
			on_outcome(h, json_incref(f.body));
		else if (f.type == FRAME_EVENT)
			on_event(h, f.body);
		frame_clear(&f);
	}
	if (rc < 0)
		hook_finish(h, hook_failure("failed", NULL, "%s: %s", h->name, e.what));
}

static void on_ready(void *arg, short revents)
{
	struct hook *h = arg;
	char buf[65536];
	ssize_t n;

	if ((revents & POLLOUT) && h->out.len)
		flush(h);
	if (!(revents & (POLLIN | POLLHUP | POLLERR)))
		return;
	n = recv(h->fd, buf, sizeof(buf), 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		child_died(h);
		return;
	}
	if (frame_reader_feed(h->in, buf, (size_t)n, NULL) < 0) {
		hook_finish(h, hook_failure("failed", NULL, "%s: its process says nonsense", h->name));
		return;
	}
	take_frames(h);
}

/* ---- the start ----------------------------------------------------------- */

static int spawn_self(int sock, pid_t *pid)
{
	char self[] = "/proc/self/exe", arg0[] = "drover-check", arg1[] = HOOK_CHILD_ARG;
	char *argv[] = { arg0, arg1, NULL }, *envp[] = { NULL };
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	sigset_t none;
	int rc;

	sigemptyset(&none);
	posix_spawn_file_actions_init(&fa);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setpgroup(&attr, 0);	/* Ctrl-C is the engine's to judge */
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
	posix_spawn_file_actions_adddup2(&fa, sock, 0);
	posix_spawn_file_actions_addopen(&fa, 1, "/dev/null", 1 /* O_WRONLY */, 0);
	posix_spawn_file_actions_addopen(&fa, 2, "/dev/null", 1, 0);
	rc = posix_spawn(pid, self, &fa, &attr, argv, envp);
	posix_spawn_file_actions_destroy(&fa);
	posix_spawnattr_destroy(&attr);
	return rc;
}

static void start_child(struct hook *h)
{
	int sv[2], rc;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0) {
		hook_finish(h, hook_failure("failed", NULL, "%s: cannot start its process: %s", h->name,
				  strerror(errno)));
		return;
	}
	rc = spawn_self(sv[1], &h->pid);
	close(sv[1]);
	h->fd = sv[0];
	if (rc != 0 || io_set_nonblock(h->fd) < 0) {
		if (rc != 0)
			h->pid = 0;
		hook_finish(h, hook_failure("failed", NULL, "%s: cannot start its process: %s", h->name,
				  strerror(rc ? rc : errno)));
		return;
	}
	h->in = frame_reader_new();
	h->watch = loop_fd_add(h->env.loop, h->fd, POLLIN, on_ready, h);
	h->timer = loop_timer_add(h->env.loop, h->timeout_ms + GRACE_MS, on_deadline, h);
	hook_send(h, FRAME_RUN, h->job);
}

/* What the child is told; NULL with e when the file cannot be had. */
static void set_asked(json_t *job, const char *args_hash, const char *text)
{
	AUTO_FREE char *both = mem_printf("%s %s", args_hash, text);
	char hash[SHA256_HEX];

	sha256_hex(both, strlen(both), hash);
	hash[16] = '\0';
	jset_str(job, "asked", hash);
}

static json_t *make_job(struct hook *h, struct err *e)
{
	const json_t *in = h->c->input, *args = jget(in, "args");
	AUTO_FREE char *text = source_load(args, jstr(in, "run.plan_dir", "."), &h->name, e);
	json_t *job;

	if (!text)
		return NULL;
	job = json_object();
	jset_str(job, "op", h->c->op);
	set_asked(job, jstr(in, "run.asked", ""), text);
	jset_str(job, "name", h->name);
	jset_str(job, "label", jstr(args, "use", h->name));
	jset(job, "text", json_string(text));
	jset_str(job, "role", jstr(in, "role", "source"));
	jset_str(job, "step", jstr(in, "run.step", ""));
	jset_int(job, "memory", jint(args, "memory", 64 << 20));
	jset_int(job, "timeout_ms", (int64_t)h->timeout_ms);
	json_object_set(job, "with", jget(args, "with"));
	json_object_set(job, "facts", jget(in, "facts"));
	json_object_set(job, "machine", jget(in, "machine"));
	json_object_set(job, "kept", jget(in, "kept"));
	if (json_string_value(json_object_get(job, "text")))
		return job;
	err_set(e, ERR_PLAN, "cannot read '%s': it is not UTF-8 text", h->name);
	json_decref(job);
	return NULL;
}

static struct hook *hook_new(const struct hook_env *env, struct call *c)
{
	struct hook *h = mem_alloc(sizeof(*h));

	h->env = *env;
	h->c = c;
	h->fd = -1;
	c->impl = h;
	h->timeout_ms = (uint64_t)jint(c->input, "args.timeout", 30000);
	return h;
}

void hook_fetch(struct hook *parent, struct call *c)
{
	struct hook *h = hook_new(&parent->env, c);

	h->env.pool = NULL;	/* its check holds a place already */
	h->name = mem_strdup(parent->name);
	h->job = json_deep_copy(jget(c->input, "args"));
	jset_str(h->job, "op", "fetch");
	jset_int(h->job, "timeout_ms", (int64_t)h->timeout_ms);
	pool_enter(h);
}

void hook_start(const struct hook_env *env, struct call *c)
{
	struct hook *h = hook_new(env, c);
	int64_t retry = jint(c->input, "args.retry", 0);
	AUTO_ERR e = {0};

	h->retry_until = retry > 0 && strcmp(c->op, "apply") == 0 ?
		loop_clock(env->loop)->mono_ms(loop_clock(env->loop)->arg) + (uint64_t)retry : 0;
	h->job = make_job(h, &e);
	if (!h->job)
		hook_finish(h, hook_failure("failed", e.hint, "%s", e.what));
	else
		pool_enter(h);
}

void hook_stop(struct call *c)
{
	struct hook *h = c->impl;

	if (h && !h->result)
		hook_finish(h, hook_failure("cancelled", NULL, "%s: stopped", h->name ? h->name : "check"));
}
