/* SPDX-License-Identifier: Apache-2.0
 * host - the seam to a host. run/ knows only this; behind it stand the local
 * agent, SSH through libssh, and in tests an in-process fake.
 *
 * All functions are for the loop's thread and never block. Callbacks come from
 * the loop, never from inside the call that asked for them.
 */
#ifndef DROVER_HOST_H
#define DROVER_HOST_H

#include "engine/base/err.h"
#include "engine/base/json.h"
#include "engine/base/loop.h"

#include <stdbool.h>
#include <stdint.h>

struct host;
struct call;
struct relay;

/* Bytes per second; 0: as many as it can. */
struct pace_rates {
	uint64_t send;			/* through the stream */
	uint64_t read;			/* from the disks of the source */
};

/* What a transport or a fake provides. One instance per host. */
struct host_ops {
	/* Begin to connect and start the agent; answers through on_ready. */
	void (*open)(struct host *h);
	/* Start a call; events and the result come through the call's functions. */
	void (*start)(struct host *h, struct call *c);
	/* An event with "ack" is durable, or answered: c->answer. */
	void (*ack)(struct host *h, struct call *c, int64_t ack);
	void (*stop)(struct host *h, struct call *c);
	/* Off with a call that was started ahead, by the input it has now. */
	void (*go)(struct host *h, struct call *c);
	/* c->pace is another one now; also for a call that is not under way. */
	void (*pace)(struct host *h, struct call *c);
	/* Say BYE and end; on_closed follows. */
	void (*close)(struct host *h);
	void (*free)(struct host *h);
};

struct host {
	const char *name;		/* the plan's name for it */
	const struct host_ops *ops;
	struct loop *loop;
	void *impl;			/* the transport's own */
	bool ready;			/* the agent has said hello */
	bool met;			/* who is there has proven to be it: long before that */
	json_t *notes;			/* lines for people of what the way there does not
					   do that they asked for; array or NULL */
	json_t *hello;			/* {version, build, uname{}, pid, uid, memfd, ...} */
	/* set by the owner (run/), called by the transport */
	void (*on_ready)(struct host *h, void *arg);
	/* Lost, or never came up; e says why. All calls in flight have already
	 * got a result of kind "lost". May come before on_ready. */
	void (*on_down)(struct host *h, struct err *e, void *arg);
	void (*on_closed)(struct host *h, void *arg);
	void *arg;
	/* What a "secret:NAME" of the spec stands for; borrowed, and outlives the host.
	 * NULL with e when it cannot be had. */
	const char *(*secret)(const void *secrets, const char *ref, struct err *e);
	const void *secrets;		/* for it */
};

/* One call of a module on one host. */
struct call {
	/* filled by the owner */
	const char *module;		/* "convert.disks" */
	const char *op;			/* "probe" "apply" "undo" "hold" "mend" */
	json_t *input;			/* {args, machine, facts, kept, role, run}; owned */
	struct relay *relay;		/* the stream it is an end of, or NULL */
	int relay_end;			/* 0 source, 1 target */
	bool ahead;			/* only its stream is opened; ops->go() follows */
	uint64_t timeout_ms;		/* 0: none */
	struct pace_rates pace;		/* for the sending end of a stream */
	/* Of one that is ahead: its end of the stream stands. Once at most. */
	void (*on_open)(struct call *c, void *arg);
	/* an EVENT frame's body, borrowed: see engine/README.md, "events" */
	void (*on_event)(struct call *c, const json_t *event, void *arg);
	/* the RESULT, borrowed; the call is over. Always comes exactly once:
	 * {ok, state, changes, cost, stable, volatile, findings, facts,
	 *  error{text, hint, errno, kind: failed|lost|refused|cancelled|timeout}} */
	void (*on_result)(struct call *c, const json_t *result, void *arg);
	void *arg;
	/* set by the owner before ops->ack() of an "ask": FRAME_ACK's answer */
	bool answer;
	/* the transport's own */
	uint32_t id;
	void *impl;
};

/* How the bytes of a two-ended step go from host to host. */
enum stream_way {
	WAY_AUTO,		/* directly if that can be had within two seconds, else ... */
	WAY_DIRECT,		/* from agent to agent, or not at all */
	WAY_RELAY,		/* through the engine */
};

/* A byte pipe between two calls on two hosts (or one). Ends are joined when both
 * calls have been started; the engine never buffers more than 1 MiB each way. */
struct relay *relay_new(struct loop *loop);
void relay_free(struct relay *r);
/* Which way is wanted; WAY_RELAY unless this was called. told() is called once, when it is
 * known which was taken and why; never when both ends are on this machine. */
void relay_way(struct relay *r, enum stream_way way,
	       void (*told)(void *arg, bool direct, const char *how), void *arg);
/* What is known of pairs that cannot meet directly, and where to note it; borrowed. A way
 * that is WAY_AUTO does not try those again. */
struct shut;
void relay_knows(struct relay *r, struct shut *s);
uint64_t relay_bytes(const struct relay *r);	/* moved by the engine so far, both ways */

/* Constructors. `spec` is the plan's host: {name, local: true} or {name, ssh:
 * {user, host, port}, identity, become{...}, ...}, secrets as references.
 * They never fail: faults come through on_down. */
struct host *host_local_new(struct loop *loop, const char *name,
			    const json_t *spec);
struct host *host_ssh_new(struct loop *loop, const char *name,
			  const json_t *spec);
struct host *host_new(struct loop *loop, const char *name, const json_t *spec);
void host_free(struct host *h);		/* NULL is harmless */

#endif
