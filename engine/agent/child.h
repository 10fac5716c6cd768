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

struct pipe;

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

/* A child forked ahead, which gets its call later. It knows what the agent knew when it was
 * made. */
struct child_ahead {
	pid_t pid;		/* 0: there is none */
	int fd;			/* our end of its frame socket; its end ends the child */
	struct child_pace *pace;	/* shared with it; NULL: it has no stream */
};

/* Fork one. 0 in the child, which has nothing open but its frames (CHILD_FRAMES) and the
 * duplicate of `stream` (CHILD_STREAM; -1: none), and all signals blocked that the agent
 * blocks; it goes on with child_ahead_serve(). -1 with errno. */
pid_t child_ahead_fork(struct child_ahead *c, int stream);
/* Wait for the call and run it. `stream` (NULL: none) has CHILD_STREAM for its descriptor;
 * pace as the agent's. */
_Noreturn void child_ahead_serve(struct pipe *stream, const struct child_pace *pace);
/* Fork one that has no stream and waits, unless there is one; that it cannot be done is no
 * error: the next call need not wait for a fork, that is all. */
void child_ahead_make(struct child_ahead *c);
/* Give it its call, by spec's module, op, input and step; the rest is its own. *c is empty
 * afterwards; its pace is the caller's. False: it is not there. */
bool child_ahead_use(struct child_ahead *c, const struct child_spec *spec, pid_t *pid,
		     int *fd);
/* It is not wanted any more: it ends by itself. */
void child_ahead_drop(struct child_ahead *c);

/* No limit yet. NULL with errno. */
struct child_pace *child_pace_new(void);
void child_pace_free(struct child_pace *p);	/* NULL is harmless */

/* Parts that child_ahead.c needs of child.c: a group of its own, gone with its parent,
 * nothing open but its frames and stream; and the call itself, which ends the process. */
#define CHILD_FRAMES 3
#define CHILD_STREAM 4
pid_t child_fork(int *fd, int *its);
void child_confine(int frames, int stream, pid_t parent);
_Noreturn void child_run(const struct child_spec *spec, struct pipe *stream, pid_t parent);

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
