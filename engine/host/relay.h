/* SPDX-License-Identifier: Apache-2.0
 * relay - join the two ends of a two-ended step. Ends on this machine get
 * descriptors of one socketpair and the engine moves nothing; else the agents may be
 * joined to each other (direct.h); else the engine moves bytes between what each host
 * opened, with little in hand, so that a slow end slows the other.
 */
#ifndef DROVER_RELAY_H
#define DROVER_RELAY_H

#include "engine/base/addr.h"
#include "engine/host/host.h"

#include <stddef.h>
#include <sys/types.h>

/* What is told of a stream that `auto` did not get across directly; why follows. */
#define RELAY_INSTEAD "through the engine, as it cannot go directly"

/* A byte pipe of a transport's own. */
struct relay_pipe {
	/* Bytes read; 0: none now; -1: end of file. */
	ssize_t (*read)(void *arg, void *buf, size_t n);
	/* Bytes taken, maybe 0; -1: nobody reads any more. */
	ssize_t (*write)(void *arg, const void *p, size_t n);
	/* Nothing more will be written. */
	void (*finish)(void *arg);
	/* Done with it: close it; arg is not used again. */
	void (*close)(void *arg);
};

/* How a host takes part. One of give and open is set. */
struct relay_party {
	/* Take a descriptor as the stream of call `id` (takes fd over). */
	void (*give)(void *arg, uint32_t id, int fd);
	/* Begin to open a pipe of the host's own for call `id`: relay_opened() or
	 * relay_broken() follows, unless relay_free() came before. */
	void (*open)(void *arg, uint32_t id, struct relay *r, int end);
	void *arg;
	uint32_t id;
	/* For a direct stream; `link` is their first argument. */
	struct link *link;
	struct addr at;		/* where this host can be met; "": nowhere that is known */
};

/* The call at `end` has been started. Once both have, both are opened. */
void relay_join(struct relay *r, int end, const struct relay_party *p);
/* The pipe of this end carries bytes now; it is the relay's until its close(). */
void relay_opened(struct relay *r, int end, const struct relay_pipe *pipe, void *arg);
/* It can be read or written again. */
void relay_ready(struct relay *r, int end);
/* The agent at this end said something about its direct stream: a STREAM frame. */
void relay_heard(struct relay *r, int end, const json_t *body);
/* This end is gone, joined or not; the other end sees the end of file. */
void relay_broken(struct relay *r, int end);

#endif
