/* SPDX-License-Identifier: Apache-2.0
 * stream - how the stream of a two-ended step reaches its child: never through the
 * control channel. Whoever has it connects to an abstract UNIX socket, proves with
 * the agent's secret (told in HELLO) that the engine sent him, and passes the
 * descriptor. For SSH that is a second exec channel running `--attach`, so that no
 * byte passes through the agent.
 */
#ifndef DROVER_STREAM_H
#define DROVER_STREAM_H

#include "engine/agent/child.h"
#include "engine/wire/pass.h"

#include <stddef.h>
#include <stdint.h>

struct agent;
struct streams;

/* Listen. NULL: streams are not possible here (told in HELLO). */
struct streams *streams_new(struct agent *a);
void streams_free(struct streams *s);			/* NULL is harmless */
const char *streams_name(const struct streams *s);	/* the socket's name */
const char *streams_secret(const struct streams *s);
/* `fd` is the stream of step `id`, which may come later; `hold` as below. Both are taken. */
void streams_put(struct streams *s, uint32_t id, int fd, int hold);
/* The same of a child that has its stream in itself; *child is taken. */
void streams_put_child(struct streams *s, uint32_t id, struct child_ahead *child);
/* Nobody will come for it. */
void streams_drop(struct streams *s, uint32_t id);

/* What came for a step; all of it the caller's. */
struct stream_came {
	int fd;			/* the stream; -1: the child has it */
	int hold;		/* closed when the step is over; or -1 */
	struct child_ahead child;	/* that is to run the step; or none */
};

/* False: it is not here yet. */
bool streams_take(struct streams *s, uint32_t id, struct stream_came *out);

#endif
