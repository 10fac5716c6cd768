/* SPDX-License-Identifier: Apache-2.0
 * checkpoint_guard - a backup ends when its step does: a process of its own waits for the
 * step's end. As long as a backup runs, what a guest overwrites fills a scratch file.
 */
#include "modules/lib/checkpoint_priv.h"
#include "modules/lib/task.h"

#include <errno.h>
#include <sys/prctl.h>
#include <unistd.h>

#define LET_GO 'g'

struct guarded { const struct virt *v; const char *socket; };

static void guard(void *arg)
{
	const struct guarded *g = arg;
	char said = 0;
	ssize_t n;

	prctl(PR_SET_NAME, "drover-guard");
	while ((n = read(0, &said, 1)) < 0 && errno == EINTR)
		;
	if (n != 1 || said != LET_GO)
		virt_backup_end(g->v, g->socket, NULL);
}

int guard_start(const struct virt *v, const char *socket, struct err *e)
{
	struct guarded g = { v, socket };

	return task_fork(guard, &g, true, e);
}

void guard_end(int *fd)
{
	char c = LET_GO;

	if (*fd >= 0 && write(*fd, &c, 1) != 1)
		errno = 0;	/* it is gone, and has nothing left to do */
	mem_close_fd(fd);
}
