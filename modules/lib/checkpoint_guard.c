/* SPDX-License-Identifier: Apache-2.0
 * checkpoint_guard - a backup ends when its step does: a process of its own waits for the
 * step's end. As long as a backup runs, what a guest overwrites fills a scratch file.
 */
#include "modules/lib/checkpoint_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define LET_GO 'g'

_Noreturn static void guard(const struct virt *v, const char *socket, int wait)
{
	char said = 0;
	ssize_t n;

	prctl(PR_SET_NAME, "drover-guard");
	/* The step's stream and pipes must end with the step. */
	if (dup2(wait, 0) < 0)
		_exit(1);
	for (int fd = 3; fd < 1024; fd++)
		close(fd);
	wait = open("/dev/null", O_RDWR);
	if (dup2(wait, 1) < 0 || dup2(wait, 2) < 0)
		_exit(1);
	while ((n = read(0, &said, 1)) < 0 && errno == EINTR)
		;
	if (n != 1 || said != LET_GO)
		virt_backup_end(v, socket, NULL);
	_exit(0);
}

int guard_start(const struct virt *v, const char *socket, struct err *e)
{
	int p[2], status = 0;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, "cannot make a pipe");
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, 0);
		setsid();
		pid = fork();
		if (pid == 0)
			guard(v, socket, p[0]);
		_exit(pid < 0);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	close(p[0]);
	if (pid > 0 && status == 0)
		return p[1];
	close(p[1]);
	return err_sys(e, "cannot start a process");
}

void guard_end(int *fd)
{
	char c = LET_GO;

	if (*fd >= 0 && write(*fd, &c, 1) != 1)
		errno = 0;	/* it is gone, and has nothing left to do */
	mem_close_fd(fd);
}
