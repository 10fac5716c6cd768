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

void task_sleep_ms(unsigned ms)
{
	struct timespec t = { ms / 1000, (long)(ms % 1000) * 1000000 };

	nanosleep(&t, NULL);
}

static _Noreturn void become(const char *program, const char *const *argv, int out,
			     int netns_fd, int failed)
{
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
	io_write_full(failed, &errno, sizeof(errno));
	_exit(127);
}

/* Twice forked: its parent is whoever takes orphans. */
static void detach(const char *program, const char *const *argv, int out, int netns_fd,
		   int failed)
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, 0);
		setsid();
		pid = fork();
		if (pid == 0)
			become(program, argv, out, netns_fd, failed);
		_exit(0);
	}
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

int task_start(const char *const *argv, const char *log, int netns_fd, struct err *e)
{
	AUTO_FREE char *program = proc_which(argv[0]);
	AUTO_FD out = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	int pipes[2], failed = 0;

	if (!program)
		errno = ENOENT;
	if (!program || out < 0 || pipe2(pipes, O_CLOEXEC) < 0)
		return err_sys(e, "cannot start '%s'", argv[0]);
	detach(program, argv, out, netns_fd, pipes[1]);
	mem_close_fd(&pipes[1]);
	if (io_read_full(pipes[0], &failed, sizeof(failed)) <= 0)
		failed = 0;	/* the pipe closed with its exec */
	mem_close_fd(&pipes[0]);
	errno = failed;
	return failed ? err_sys(e, "cannot start '%s'", program) : 0;
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
