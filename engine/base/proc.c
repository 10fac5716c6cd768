/* SPDX-License-Identifier: Apache-2.0
 * proc - run a program by argv, with a deadline and bounded output.
 */
#include "engine/base/proc.h"
#include "engine/base/clock.h"
#include "engine/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATHS "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define LOOK_MS 100		/* how soon a stop is seen */
#define READ_MAX 2048		/* at once; a page more would be one that a fork left shared */
#define LAST_READS 64		/* more than a pipe holds: what comes then is a daemon's */

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

struct pipes { int in[2], out[2], err[2]; };

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
}

static int pipes_open(struct pipes *p, bool input)
{
	*p = (struct pipes){ {-1, -1}, {-1, -1}, {-1, -1} };
	if (input ? pipe2(p->in, O_CLOEXEC) < 0 :
		    (p->in[0] = open("/dev/null", O_RDONLY | O_CLOEXEC)) < 0)
		return -1;
	return pipe2(p->out, O_CLOEXEC) < 0 || pipe2(p->err, O_CLOEXEC) < 0 ? -1 : 0;
}

/* ---- start ------------------------------------------------------------------- */

/* What this process handles the program must not: until it is executed its handlers
 * would run here, in memory that both share. */
static void drop_handlers(void)
{
	for (int sig = 1; sig < NSIG; sig++) {
		struct sigaction act;

		if (sigaction(sig, NULL, &act) == 0 && act.sa_handler != SIG_DFL &&
		    act.sa_handler != SIG_IGN)
			signal(sig, SIG_DFL);
	}
	signal(SIGPIPE, SIG_DFL);
}

/* In the child of vfork(2): nothing but system calls, then exec or the reason. */
static _Noreturn void child(const struct proc *p, const char *program,
			    const struct pipes *io, pid_t parent, volatile int *failed)
{
	const char *const *env = p->env ? p->env : plain_env;
	sigset_t none;

	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() == parent &&
	    (p->netns_fd <= 0 || setns(p->netns_fd, CLONE_NEWNET) == 0) &&
	    dup2(io->in[0], 0) >= 0 && dup2(io->out[1], 1) >= 0 &&
	    dup2(io->err[1], 2) >= 0) {
		drop_handlers();
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		execve(program, (char *const *)(uintptr_t)p->argv,
		       (char *const *)(uintptr_t)env);
	}
	*failed = errno;
	_exit(127);
}

/* vfork, not fork: the memory of an agent or an engine is not copied, page by page, for
 * a program that throws it away at once; and its errno needs no pipe to come back. 0,
 * or -1 with errno. */
static int start(const struct proc *p, const char *program, const struct pipes *io,
		 pid_t *pid)
{
	pid_t self = getpid();
	volatile int failed = 0;
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	*pid = vfork();
	if (*pid == 0)
		child(p, program, io, self, &failed);
	if (*pid < 0)
		failed = errno;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!failed)
		return 0;
	while (*pid > 0 && waitpid(*pid, NULL, 0) < 0 && errno == EINTR)
		;
	errno = failed;
	return -1;
}

/* ---- while it runs ------------------------------------------------------------ */

/* Take what is there; false at end of file. */
static bool drain(int fd, struct str *to, size_t max)
{
	char buf[READ_MAX];
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

/* Readable once the program has exited; -1 before Linux 5.3. */
static int exit_fd(pid_t pid)
{
#ifdef SYS_pidfd_open
	return (int)syscall(SYS_pidfd_open, pid, 0);
#else
	(void)pid;
	return -1;
#endif
}

/* How long to wait for news: not beyond the deadline, nor so long that a stop goes
 * unseen; and where the end of the program is no news, looking more and more seldom. */
static int nap(const struct pipes *io, int fd, uint64_t left, unsigned *looks)
{
	uint64_t ms = LOOK_MS;

	if (fd < 0 && io->out[0] < 0 && io->err[0] < 0 && *looks < 7)
		ms = 1u << (*looks)++;
	return (int)(left < ms ? left : ms);
}

static void feed(struct proc *p, struct pipes *io, size_t *put)
{
	ssize_t n = write(io->in[1], p->input + *put, p->input_len - *put);

	if (n > 0)
		*put += (size_t)n;
	if (*put == p->input_len || (n < 0 && errno != EAGAIN && errno != EINTR))
		mem_close_fd(&io->in[1]);
}

/* Feed stdin and take both outputs until the program has exited or time is up. One that
 * leaves a daemon behind with our pipes open must not hold us: once it has exited, what
 * is in the pipes is taken and that is all. Nor one that closes them and stays. */
static void exchange(struct proc *p, struct pipes *io, pid_t pid)
{
	uint64_t now = clock_real.mono_ms(NULL);
	uint64_t deadline = p->timeout_ms ? now + p->timeout_ms : UINT64_MAX;
	size_t max = p->max_output ? p->max_output : 1u << 20, put = 0;
	AUTO_FD end = exit_fd(pid);
	bool over = false, told = false;
	unsigned looks = 0, last = 0;

	while (!over || io->out[0] >= 0 || io->err[0] >= 0) {
		struct pollfd f[4] = { { io->out[0], POLLIN, 0 }, { io->err[0], POLLIN, 0 },
				       { io->in[1], POLLOUT, 0 }, { over ? -1 : end, POLLIN, 0 } };

		now = clock_real.mono_ms(NULL);
		p->timed_out = !over && now >= deadline;
		if (p->timed_out)
			return;
		if (!told && p->stopped && p->stopped(p->arg)) {
			told = true;
			kill(-pid, SIGTERM);
		}
		if (poll(f, 4, over ? 0 : nap(io, end, deadline - now, &looks)) <= 0) {
			if (over)
				return;
			over = has_exited(pid);
			continue;
		}
		if (f[0].revents && !drain(io->out[0], &p->out, max))
			mem_close_fd(&io->out[0]);
		if (f[1].revents && !drain(io->err[0], &p->err, max))
			mem_close_fd(&io->err[0]);
		if (f[2].revents)
			feed(p, io, &put);
		if (over && ++last > LAST_READS)
			return;
		over = over || f[3].revents;
	}
}

/* ---- how it ended -------------------------------------------------------------- */

static const char *last_lines(const struct str *s)
{
	const char *p = s->s + s->len;
	int lines = 0;

	while (p > s->s && lines < 4 && s->s + s->len - p < 600)
		if (*--p == '\n' && p + 1 < s->s + s->len)
			lines++;
	return *p == '\n' ? p + 1 : p;
}

const char *proc_last_line(const struct proc *p)
{
	const char *at = p->err.s ? strrchr(p->err.s, '\n') : NULL;

	at = at ? at : p->err.s ? p->err.s : "";
	return at + strspn(at, " \t\n");
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
	struct pipes io;
	pid_t pid;
	int st = 0;

	p->out = p->err = (struct str){0};
	p->status = -1;
	p->timed_out = false;
	if (!program) {
		errno = ENOENT;
		return err_sys(e, "cannot run '%s'", p->argv[0]);
	}
	if (pipes_open(&io, p->input != NULL) < 0 || start(p, program, &io, &pid) < 0) {
		err_sys(e, "cannot run '%s'", program);
		pipes_close(&io);
		return -1;
	}
	mem_close_fd(&io.in[0]);
	mem_close_fd(&io.out[1]);
	mem_close_fd(&io.err[1]);
	io_set_nonblock(io.out[0]);
	io_set_nonblock(io.err[0]);
	if (io.in[1] >= 0)
		io_set_nonblock(io.in[1]);
	exchange(p, &io, pid);
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
