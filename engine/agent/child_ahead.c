/* SPDX-License-Identifier: Apache-2.0
 * child_ahead - children that are forked before there is a call for them.
 */
#include "engine/agent/child.h"

#include "engine/base/mem.h"
#include "engine/wire/frame.h"

#include <sys/mman.h>
#include <unistd.h>

pid_t child_ahead_fork(struct child_ahead *c, int stream)
{
	pid_t parent = getpid();
	int its;

	c->pid = child_fork(&c->fd, &its);
	if (c->pid == 0)
		child_confine(its, stream, parent);
	return c->pid;
}

/* Signals stay blocked until there is a call to stop. */
void child_ahead_serve(struct pipe *stream, const struct child_pace *pace)
{
	struct child_spec spec = { .stream = stream ? CHILD_STREAM : -1, .pace = pace };
	struct frame f;

	if (frame_read_fd(CHILD_FRAMES, &f, NULL) <= 0 || f.type != FRAME_RUN)
		_exit(0);
	spec.module = jstr(f.body, "module", "");
	spec.op = jstr(f.body, "op", "");
	spec.input = json_object_get(f.body, "input");
	spec.step = f.step;
	child_run(&spec, stream, getppid());
}

void child_ahead_make(struct child_ahead *c)
{
	if (c->pid > 0)
		return;
	if (child_ahead_fork(c, -1) == 0)
		child_ahead_serve(NULL, NULL);
	if (c->pid < 0)
		c->pid = 0;
}

bool child_ahead_use(struct child_ahead *c, const struct child_spec *spec, pid_t *pid,
		     int *fd)
{
	AUTO_JSON *run = NULL;

	if (c->pid == 0)
		return false;
	run = json_pack("{s:s, s:s, s:O*}", "module", spec->module, "op", spec->op,
			"input", spec->input);
	if (frame_write_fd(c->fd, FRAME_RUN, spec->step, run, NULL) < 0) {
		child_ahead_drop(c);
		return false;
	}
	*pid = c->pid;
	*fd = c->fd;
	*c = (struct child_ahead){ 0 };
	return true;
}

void child_ahead_drop(struct child_ahead *c)
{
	if (c->pid == 0)
		return;
	close(c->fd);
	child_pace_free(c->pace);
	*c = (struct child_ahead){ 0 };
}

struct child_pace *child_pace_new(void)
{
	void *p = mmap(NULL, sizeof(struct child_pace), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

void child_pace_free(struct child_pace *p)
{
	if (p)
		munmap(p, sizeof(*p));
}
