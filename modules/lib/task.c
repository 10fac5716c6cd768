/* SPDX-License-Identifier: Apache-2.0
 * task - a program that outlives the step that started it.
 */
#include "modules/lib/task.h"

#include "engine/base/clock.h"
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/base/proc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CMDLINE_MAX (1u << 20)
#define EXEC_MS 5000

/* What comes back of a start; one field of each word is set. */
struct word { pid_t pid; int failed; };

void task_sleep_ms(unsigned ms)
{
	struct timespec t = { ms / 1000, (long)(ms % 1000) * 1000000 };

	nanosleep(&t, NULL);
}

static _Noreturn void become(const char *program, const char *const *argv, int out,
			     int netns_fd, int told)
{
	struct word w = { 0 };
	static const char *const env[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C",
					   "HOME=/", NULL };
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	if (null >= 0 && dup2(null, 0) >= 0 && dup2(out, 1) >= 0 && dup2(out, 2) >= 0 &&
	    (netns_fd < 0 || setns(netns_fd, CLONE_NEWNET) == 0) && chdir("/") == 0)
		execve(program, (char *const *)(uintptr_t)argv,
		       (char *const *)(uintptr_t)env);
	w.failed = errno;
	io_write_full(told, &w, sizeof(w));
	_exit(127);
}

/* What the step has open must end with the step. */
static _Noreturn void work_apart(void (*work)(void *arg), void *arg, int end)
{
	if (dup2(end, 0) < 0)
		_exit(1);
	for (int fd = 1; fd < 1024; fd++)
		close(fd);
	if (open("/dev/null", O_RDWR) != 1 || dup(1) != 2)
		_exit(1);
	work(arg);
	_exit(0);
}

int task_fork(void (*work)(void *arg), void *arg, bool listens, struct err *e)
{
	int p[2], status = 0, its, ours;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, "cannot make a pipe");
	its = p[listens ? 0 : 1];
	ours = p[listens ? 1 : 0];
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, 0);
		setsid();
		pid = fork();
		if (pid == 0)
			work_apart(work, arg, its);
		_exit(pid < 0);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	close(its);
	if (pid > 0 && status == 0)
		return ours;
	close(ours);
	return err_sys(e, "cannot start a process");
}

/* Twice forked: its parent is whoever takes orphans. */
static void detach(const char *program, const char *const *argv, int out, int netns_fd,
		   int told)
{
	pid_t pid = fork();

	if (pid == 0) {
		struct word w = { 0 };

		prctl(PR_SET_PDEATHSIG, 0);
		setsid();
		w.pid = fork();
		if (w.pid == 0)
			become(program, argv, out, netns_fd, told);
		if (w.pid < 0)
			w = (struct word){ .failed = errno };
		io_write_full(told, &w, sizeof(w));
		_exit(0);
	}
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

/* In the midst of its exec a process has no arguments yet, and is not found by any. */
static void await_arguments(pid_t pid)
{
	AUTO_FREE char *path = mem_printf("/proc/%d/cmdline", (int)pid);
	uint64_t until = clock_real.mono_ms(NULL) + EXEC_MS;

	while (clock_real.mono_ms(NULL) < until) {
		size_t n = 0;
		AUTO_FREE char *line = io_read_file(AT_FDCWD, path, CMDLINE_MAX, &n);

		if (!line || n > 0)
			return;		/* it is gone again, or all there */
		task_sleep_ms(1);
	}
}

int task_start(const char *const *argv, const char *log, int netns_fd, struct err *e)
{
	AUTO_FREE char *program = proc_which(argv[0]);
	AUTO_FD out = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct word w, all = { 0 };
	int pipes[2];

	if (!program)
		errno = ENOENT;
	if (!program || out < 0 || pipe2(pipes, O_CLOEXEC) < 0)
		return err_sys(e, "cannot start '%s'", argv[0]);
	detach(program, argv, out, netns_fd, pipes[1]);
	mem_close_fd(&pipes[1]);
	while (io_read_full(pipes[0], &w, sizeof(w)) > 0) {	/* it closes with the exec */
		all.pid += w.pid;
		all.failed += w.failed;
	}
	mem_close_fd(&pipes[0]);
	if (all.pid > 0 && !all.failed)
		await_arguments(all.pid);
	errno = all.failed;
	return all.failed ? err_sys(e, "cannot start '%s'", program) : 0;
}

static bool has_argument(int proc, const char *pid, const char *marker)
{
	AUTO_FREE char *path = mem_printf("%s/cmdline", pid), *line = NULL;
	size_t len = 0, want = strlen(marker) + 1;

	line = io_read_file(proc, path, CMDLINE_MAX, &len);
	for (char *p = line; p && p < line + len; p += strlen(p) + 1)
		if (strlen(p) + 1 == want && memcmp(p, marker, want) == 0)
			return true;
	return false;
}

pid_t task_find(const char *marker)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	pid_t found = 0;

	while (proc && !found && (entry = readdir(proc))) {
		pid_t pid = (pid_t)atoi(entry->d_name);

		if (pid > 0 && pid != getpid() &&
		    has_argument(dirfd(proc), entry->d_name, marker))
			found = pid;
	}
	if (proc)
		closedir(proc);
	return found;
}

bool task_end(const char *marker, unsigned grace_ms)
{
	uint64_t start = clock_real.mono_ms(NULL), now;
	bool asked = false;
	pid_t pid;

	while ((pid = task_find(marker)) > 0) {
		now = clock_real.mono_ms(NULL);
		if (now > start + grace_ms + 10000)
			return false;	/* not even SIGKILL ends it */
		if (!asked || now > start + grace_ms)
			kill(pid, asked ? SIGKILL : SIGTERM);
		asked = true;
		task_sleep_ms(20);
	}
	return true;
}
