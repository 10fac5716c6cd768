/* SPDX-License-Identifier: Apache-2.0
 * child - fork, confine, run, reap.
 */
#include "engine/agent/child.h"

#include "engine/agent/ctx.h"
#include "engine/base/io.h"
#include "engine/base/pipe.h"
#include "engine/base/mem.h"
#include "engine/wire/frame.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void close_from(int first)
{
#ifdef SYS_close_range
	if (syscall(SYS_close_range, first, ~0u, 0) == 0)
		return;
#endif
	for (int fd = first; fd < (int)sysconf(_SC_OPEN_MAX); fd++)
		close(fd);
}

/* A descriptor out of the way of the low numbers. */
static int high(int fd)
{
	return fd < 0 ? -1 : fcntl(fd, F_DUPFD, 16);
}

/* 0 reads nothing, 1 and 2 go where the agent's stderr goes: what a module prints
 * by accident can never be taken for a frame. */
static int arrange_fds(int frames, int stream)
{
	int f = high(frames), s = high(stream), null = open("/dev/null", O_RDONLY);

	if (f < 0 || null < 0 || (stream >= 0 && s < 0))
		return -1;
	dup2(null, 0);
	dup2(2, 1);
	dup2(f, CHILD_FRAMES);
	if (s >= 0) {
		dup2(s, CHILD_STREAM);
		fcntl(CHILD_STREAM, F_SETFL, fcntl(CHILD_STREAM, F_GETFL) & ~O_NONBLOCK);
	}
	close_from(s >= 0 ? CHILD_STREAM + 1 : CHILD_FRAMES + 1);
	fcntl(CHILD_FRAMES, F_SETFD, FD_CLOEXEC);
	if (s >= 0)
		fcntl(CHILD_STREAM, F_SETFD, FD_CLOEXEC);
	return 0;
}

static void stop_reading(int sig)
{
	int saved = errno;

	ctx_on_term(sig);
	/* a read that waits for the other end returns now */
	shutdown(CHILD_STREAM, SHUT_RDWR);
	errno = saved;
}

/* Last of all: a stop that came before it waits, blocked, until there is a step to stop
 * and CHILD_STREAM is its own. */
static void arrange_signals(bool stream)
{
	struct sigaction act = { .sa_handler = stream ? stop_reading : ctx_on_term };
	sigset_t none;

	sigaction(SIGTERM, &act, NULL);
	act.sa_handler = SIG_DFL;
	sigaction(SIGINT, &act, NULL);
	sigaction(SIGCHLD, &act, NULL);
	act.sa_handler = SIG_IGN;
	sigaction(SIGPIPE, &act, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* A group of its own, gone with its parent, nothing open but its frames and stream. */
void child_confine(int frames, int stream, pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	setpgid(0, 0);
	if (arrange_fds(frames, stream) < 0)
		_exit(1);
}

/* A stream's buffers are chunks of a MiB, taken and given back for each: mapped anew each
 * time, zeroing their pages costs as much as hashing them. */
static void keep_buffers(void)
{
	mallopt(M_MMAP_THRESHOLD, 16 << 20);
	mallopt(M_TRIM_THRESHOLD, 32 << 20);
}

void child_run(const struct child_spec *spec, struct pipe *stream, pid_t parent)
{
	struct ctx *c = ctx_new(CHILD_FRAMES, spec->step, spec->input, stream);
	int rc;

	c->agent = parent;
	c->pace = spec->pace;
	if (stream)
		keep_buffers();
	arrange_signals(stream != NULL);
	rc = ctx_call(c, spec->module, spec->op);
	if (stream)
		pipe_finish(stream);
	_exit(rc < 0 ? 1 : 0);
}

/* Fork a child with a frame socket; 0 in the child. -1 with errno. */
pid_t child_fork(int *fd, int *its)
{
	pid_t pid;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	pid = fork();
	*its = pair[1];
	*fd = pair[0];
	if (pid == 0)
		return 0;
	close(pair[1]);
	if (pid < 0)
		close(pair[0]);
	else
		setpgid(pid, pid);
	return pid;
}

pid_t child_spawn(const struct child_spec *spec, int *fd, struct err *e)
{
	pid_t parent = getpid(), pid;
	struct pipe stream;
	int its;

	pid = child_fork(fd, &its);
	if (pid < 0)
		return err_sys(e, "cannot start '%s'", spec->module);
	if (pid == 0) {
		child_confine(its, spec->stream, parent);
		if (spec->stream >= 0)
			pipe_of_socket(&stream, CHILD_STREAM);
		child_run(spec, spec->stream >= 0 ? &stream : NULL, parent);
	}
	return pid;
}

/* ---- what became of it ---------------------------------------------------------------- */

int child_reap(pid_t pid)
{
	siginfo_t info;
	int status = 0;

	/* its number names its group only until it is reaped */
	while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) < 0 &&
	       errno == EINTR)
		;
	kill(-pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

json_t *child_death(const char *module, int status)
{
	AUTO_FREE char *text = NULL;
	const char *hint = NULL;

	if (WIFSIGNALED(status)) {
		text = mem_printf("'%s' was ended by signal %d (%s)", module,
				  WTERMSIG(status), strsignal(WTERMSIG(status)));
	} else if (WEXITSTATUS(status) == MEM_NONE) {
		text = mem_printf("'%s' ended: the host gave it no memory, or no thread", module);
		hint = "free memory there, or allow it more tasks; then run the same command again";
	} else {
		text = mem_printf("'%s' ended with status %d and without a result",
				  module, WEXITSTATUS(status));
	}
	return ctx_result_error("failed", text, hint);
}

/* What the engine would answer. NULL: the event wants no answer. */
static json_t *answer_to(const json_t *event, int yes)
{
	int64_t ack = jint(event, "ack", 0);
	json_t *answer;

	if (ack == 0)
		return NULL;
	answer = json_object();
	jset_int(answer, "ack", ack);
	if (strcmp(jstr(event, "e", ""), "ask") == 0 && yes >= 0)
		jset_bool(answer, "answer", yes);
	return answer;
}

json_t *child_call(const struct child_spec *spec, int yes,
		   void (*on_event)(const json_t *event, void *arg), void *arg)
{
	AUTO_ERR e = { 0 };
	int fd = -1;
	pid_t pid = child_spawn(spec, &fd, &e);

	if (pid < 0)
		return ctx_result_error("failed", e.what, NULL);
	return child_follow(spec, pid, fd, yes, on_event, arg);
}

json_t *child_follow(const struct child_spec *spec, pid_t pid, int taken, int yes,
		     void (*on_event)(const json_t *event, void *arg), void *arg)
{
	AUTO_FD fd = taken;
	AUTO_ERR e = { 0 };
	struct frame f;
	json_t *result = NULL;
	int status;

	while (!result && frame_read_fd(fd, &f, &e) > 0) {
		if (f.type == FRAME_RESULT) {
			result = json_incref(f.body);
		} else if (f.type == FRAME_EVENT) {
			AUTO_JSON *answer = answer_to(f.body, yes);

			if (on_event)
				on_event(f.body, arg);
			if (answer)
				frame_write_fd(fd, FRAME_ACK, f.step, answer, NULL);
		}
		frame_clear(&f);
	}
	status = child_reap(pid);
	return result ? result : child_death(spec->module, status);
}
