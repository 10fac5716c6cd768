/* SPDX-License-Identifier: Apache-2.0
 * child - the process that runs one call: a group of its own, nothing open but
 * its frames and its stream, gone when its parent is gone.
 */
#ifndef DROVER_CHILD_H
#define DROVER_CHILD_H

#include "engine/base/json.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Shared by the agent, who writes, and the child, who reads, at any time. Bytes per
 * second; 0: as many as it can. */
struct child_pace {
	uint64_t send, read;	/* by __atomic only */
};

struct child_spec {
	const char *module;	/* "convert.disks" */
	const char *op;		/* "probe" "apply" "undo" "hold" "mend" */
	const json_t *input;	/* as engine/README.md, "events" says; may be NULL */
	uint32_t step;		/* its number in frames */
	const struct child_pace *pace;	/* NULL: no limit */
	int stream;		/* given to the child; the caller closes its own; -1: none */
};

/* Fork it. The parent's end of its frame socket comes through *fd (close-on-exec,
 * blocking). -1 with e. The child ends itself with status 0 when the call was ok,
 * else 1; whoever waits for it kills what is left of its process group. */
pid_t child_spawn(const struct child_spec *spec, int *fd, struct err *e);

/* A child forked ahead, which waits to be told its call: the next one need not wait for
 * a fork. It knows what the agent knew when it was made. */
struct child_spare {
	pid_t pid;		/* 0: there is none */
	int fd;			/* our end of its frame socket */
};

/* Fork one unless there is one; that it cannot be done is no error. */
void child_spare_make(struct child_spare *s);
/* child_spawn() by the spare one, where there is one and the call needs no stream. False:
 * it is to be forked. */
bool child_spare_use(struct child_spare *s, const struct child_spec *spec, pid_t *pid,
		     int *fd);
/* It has ended by itself, or is not wanted any more. */
void child_spare_drop(struct child_spare *s);

/* Wait for it and kill what is left of its group. The wait status. */
int child_reap(pid_t pid);

/* Run a call here and now, without an engine: what must be durable is acknowledged
 * at once, a question is answered with `yes` (-1: nobody is there). Each event goes
 * to on_event (may be NULL). Returns the RESULT's body; the caller owns it. */
json_t *child_call(const struct child_spec *spec, int yes,
		   void (*on_event)(const json_t *event, void *arg), void *arg);

/* The second half of that: what child_spawn() started is heard to its end and reaped;
 * takes fd over. */
json_t *child_follow(const struct child_spec *spec, pid_t pid, int fd, int yes,
		     void (*on_event)(const json_t *event, void *arg), void *arg);

/* The RESULT for a child that died without one. Caller owns. */
json_t *child_death(const char *module, int status);

#endif
