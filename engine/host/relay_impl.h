/* SPDX-License-Identifier: Apache-2.0
 * relay_impl - what a relay is inside: relay.c joins its ends, relay_move.c moves their bytes.
 */
#ifndef DROVER_RELAY_IMPL_H
#define DROVER_RELAY_IMPL_H

#include "engine/host/relay.h"

/* One end of the pipe, and the way that starts at it. */
struct end {
	struct relay *relay;
	struct relay_party party;
	const struct relay_pipe *pipe;	/* the transport's, once it is open, and ... */
	void *pipe_arg;			/* ... its argument */
	bool joined, broken;
	bool open;		/* its pipe carries bytes */
	/* a descriptor of ours, where the party took the other half */
	int fd;
	struct loop_fd *handle;
	/* the way from this end to the other */
	char *buf;		/* there once it is open */
	size_t at, len;		/* what of it waits */
	bool read_done;		/* end of file, or nobody would want it */
	bool write_done;	/* finished towards this end, or it is gone */
};

struct relay {
	struct loop *loop;
	struct end ends[2];
	struct loop_timer *again;	/* more to move on the next turn */
	bool started;
	uint64_t bytes;
	enum stream_way way;		/* that is wanted */
	struct direct *direct;		/* tried, or taken */
	bool meeting;			/* it is being tried */
	struct shut *shut;		/* pairs that cannot meet; NULL: nobody notes them */
	void (*told)(void *arg, bool direct, const char *how);	/* NULL: nobody asks */
	void *told_arg;
};

/* Its pipe, or its descriptor (e->fd), carries bytes from now on. */
void relay_end_open(struct end *e);
/* Nothing comes from it or goes to it any more; harmless when it never was open. */
void relay_end_close(struct end *e);
/* Whoever reads there sees the end of the stream, once. */
void relay_end_finish(struct end *e);
/* Move what can be moved now, if both are open, and wait for more. */
void relay_pump(struct relay *r);

#endif
