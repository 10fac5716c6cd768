/* SPDX-License-Identifier: Apache-2.0
 * proc - run a program by argv, with a deadline and bounded output.
 */
#include "engine/base/proc.h"
#include "engine/base/clock.h"
#include "engine/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATHS "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
static const char *const plain_env[] = { "PATH=" PATHS, "LC_ALL=C", "HOME=/", NULL };

char *proc_which(const char *name)
{
	const char *path = getenv("PATH");
	AUTO_FREE char *all = mem_printf("%s:%s", path ? path : "", PATHS);
	char *save = NULL;

	if (strchr(name, '/'))
		return access(name, X_OK) == 0 ? mem_strdup(name) : NULL;
	for (char *dir = strtok_r(all, ":", &save); dir; dir = strtok_r(NULL, ":", &save)) {
		char *full = mem_printf("%s/%s", dir, name);

		if (access(full, X_OK) == 0)
			return full;
		free(full);
	}
	return NULL;
}

static bool plain_word(const char *s)
{
	if (!*s)
		return false;
	return s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			   "0123456789_-+=.,:/@%^")] == '\0';
}

char *proc_argv_text(const char *const *argv)
{
	AUTO_STR out = {0};

	for (; *argv; argv++) {
		if (out.len)
			str_addc(&out, ' ');
		if (plain_word(*argv)) {
			str_add(&out, *argv);
			continue;
		}
		str_addc(&out, '\'');
		for (const char *p = *argv; *p; p++)
			str_addn(&out, *p == '\'' ? "'\\''" : p, *p == '\'' ? 4 : 1);
		str_addc(&out, '\'');
	}
	return str_take(&out);
}

struct pipes { int in[2], out[2], err[2], fail[2]; };

static void close_pair(int p[2])
{
	mem_close_fd(&p[0]);
	mem_close_fd(&p[1]);
}

static void pipes_close(struct pipes *p)
{
	close_pair(p->in);
	close_pair(p->out);
	close_pair(p->err);
	close_pair(p->fail);
}

static int pipes_open(struct pipes *p, bool input)
{
	*p = (struct pipes){ {-1, -1}, {-1, -1}, {-1, -1}, {-1, -1} };
	if (input ? pipe2(p->in, O_CLOEXEC) < 0 :
		    (p->in[0] = open("/dev/null", O_RDONLY | O_CLOEXEC)) < 0)
		return -1;
	return pipe2(p->out, O_CLOEXEC) < 0 || pipe2(p->err, O_CLOEXEC) < 0 ||
	       pipe2(p->fail, O_CLOEXEC) < 0 ? -1 : 0;
}

/* In the child: only async-signal-safe calls, then exec or tell errno. */
static void child(const struct proc *p, const char *program, const struct pipes *io,
		  pid_t parent)
{
	const char *const *env = p->env ? p->env : plain_env;
	sigset_t none;

	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() == parent &&
	    (p->netns_fd <= 0 || setns(p->netns_fd, CLONE_NEWNET) == 0) &&
	    dup2(io->in[0], 0) >= 0 && dup2(io->out[1], 1) >= 0 &&
	    dup2(io->err[1], 2) >= 0) {
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		signal(SIGPIPE, SIG_DFL);
		execve(program, (char *const *)(uintptr_t)p->argv,
		       (char *const *)(uintptr_t)env);
	}
	io_write_full(io->fail[1], &errno, sizeof(errno));
	_exit(127);
}

/* Take what is there; false at end of file. */
static bool drain(int fd, struct str *to, size_t max)
{
	char buf[16384];
	ssize_t n = read(fd, buf, sizeof(buf));

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n > 0 && to->len < max)
		str_addn(to, buf, (size_t)n < max - to->len ? (size_t)n : max - to->len);
	return n > 0;
}

static bool has_exited(pid_t pid)
{
	siginfo_t si = {0};

	return waitid(P_PID, (id_t)pid, &si, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	       si.si_pid == pid;
}

/* Feed stdin and take both outputs until they end or time is up. A program that
 * leaves a daemon behind with our pipes open must not hold us: once it has
 * exited, what is in the pipes is taken and that is all. */
static void exchange(struct proc *p, struct pipes *io, pid_t pid, uint64_t deadline)
{
	size_t max = p->max_output ? p->max_output : 1u << 20, put = 0;
	bool over = false, told = false;

	while (io->out[0] >= 0 || io->err[0] >= 0) {
		struct pollfd f[3] = { { io->out[0], POLLIN, 0 }, { io->err[0], POLLIN, 0 },
				       { io->in[1], POLLOUT, 0 } };
		uint64_t now = clock_real.mono_ms(NULL);

		if (deadline && now >= deadline) {
			p->timed_out = true;
			return;
		}
		if (!told && p->stopped && p->stopped(p->arg)) {
			told = true;
			kill(-pid, SIGTERM);
		}
		if (poll(f, 3, over ? 0 : 100) <= 0) {
			if (over)
				return;
			over = has_exited(pid);
			continue;
		}
		if (f[0].revents && !drain(io->out[0], &p->out, max))
			mem_close_fd(&io->out[0]);
		if (f[1].revents && !drain(io->err[0], &p->err, max))
			mem_close_fd(&io->err[0]);
		if (f[2].revents) {
			ssize_t n = write(io->in[1], p->input + put, p->input_len - put);

			if (n > 0)
				put += (size_t)n;
			if (put == p->input_len || (n < 0 && errno != EAGAIN && errno != EINTR))
				mem_close_fd(&io->in[1]);
		}
	}
}

static const char *last_lines(const struct str *s)
{
	const char *p = s->s + s->len;
	int lines = 0;

	while (p > s->s && lines < 4 && s->s + s->len - p < 600)
		if (*--p == '\n' && p + 1 < s->s + s->len)
			lines++;
	return *p == '\n' ? p + 1 : p;
}

static int verdict(struct proc *p, struct err *e)
{
	AUTO_FREE char *text = NULL;

	if (p->status == 0 && !p->timed_out)
		return 0;
	text = proc_argv_text(p->argv);
	while (p->err.len && p->err.s[p->err.len - 1] == '\n')
		p->err.s[--p->err.len] = '\0';
	if (p->timed_out)
		err_set(e, ERR_STEP, "'%s' did not end within %u s", text,
			p->timeout_ms / 1000);
	else if (p->status > 128)
		err_set(e, ERR_STEP, "'%s' was ended by signal %d (%s)", text,
			p->status - 128, strsignal(p->status - 128));
	else
		err_set(e, ERR_STEP, "'%s' exited with status %d%s%s", text, p->status,
			p->err.len ? ": " : "", p->err.len ? last_lines(&p->err) : "");
	return -1;
}

int proc_run(struct proc *p, struct err *e)
{
	AUTO_FREE char *program = proc_which(p->argv[0]);
	uint64_t deadline = p->timeout_ms ? clock_real.mono_ms(NULL) + p->timeout_ms : 0;
	struct pipes io;
	pid_t pid, self = getpid();
	int failed = 0, st = 0;

	p->out = p->err = (struct str){0};
	p->status = -1;
	p->timed_out = false;
	if (!program) {
		errno = ENOENT;
		return err_sys(e, "cannot run '%s'", p->argv[0]);
	}
	if (pipes_open(&io, p->input != NULL) < 0 || (pid = fork()) < 0) {
		err_sys(e, "cannot start '%s'", p->argv[0]);
		pipes_close(&io);
		return -1;
	}
	if (pid == 0)
		child(p, program, &io, self);
	mem_close_fd(&io.in[0]);
	mem_close_fd(&io.out[1]);
	mem_close_fd(&io.err[1]);
	mem_close_fd(&io.fail[1]);
	if (io_read_full(io.fail[0], &failed, sizeof(failed)) > 0) {
		waitpid(pid, NULL, 0);
		pipes_close(&io);
		errno = failed;
		return err_sys(e, "cannot run '%s'", program);
	}
	io_set_nonblock(io.out[0]);
	io_set_nonblock(io.err[0]);
	if (io.in[1] >= 0)
		io_set_nonblock(io.in[1]);
	exchange(p, &io, pid, deadline);
	if (p->timed_out)
		kill(-pid, SIGKILL);
	while (waitpid(pid, &st, 0) < 0 && errno == EINTR)
		;
	pipes_close(&io);
	p->status = WIFEXITED(st) ? WEXITSTATUS(st) : 128 + WTERMSIG(st);
	return verdict(p, e);
}

void proc_free(struct proc *p)
{
	str_free(&p->out);
	str_free(&p->err);
}
