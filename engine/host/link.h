/* SPDX-License-Identifier: Apache-2.0
 * link - the engine's side of the protocol, over any byte transport: finds the
 * preamble in the noise, says hello, keeps the heartbeat, and looks after the calls
 * in flight. When it dies every call gets a result of kind "lost".
 *
 * A transport owns one link and fills host_ops with the link_op_* functions that do
 * not depend on it.
 */
#ifndef DROVER_LINK_H
#define DROVER_LINK_H

#include "engine/host/host.h"

#include <stddef.h>
#include <sys/types.h>

#define LINK_BEAT_MS 5000
#define LINK_BEATS_MAX 6		/* so many unanswered: the agent is lost */
#define LINK_NOISE_MAX (64u << 10)	/* bytes before the preamble */
#define LINK_CLOSE_MS 15000	/* how long an agent may take to end after BYE */

struct link;
struct relay_party;

struct link_ops {
	/* Take what goes now: bytes taken, maybe 0 (link_writable() follows when there
	 * is room). Errors come through link_down(). */
	size_t (*write)(void *transport, const void *p, size_t n);
	/* The transport's way to open the stream of a call: fills *party. */
	void (*party)(void *transport, struct call *c, struct relay_party *party);
	/* The transport's own things are let go: drop the connection, now and without a word. No callback follows. */
	void (*drop)(void *transport);
};

struct link *link_new(struct host *h, const struct link_ops *ops, void *transport);
void link_free(struct link *l);				/* NULL is harmless */

/* ---- from the transport ------------------------------------------------------- */

/* The agent has been started with this nonce; its preamble is awaited. */
void link_begin(struct link *l, const char nonce[33]);
void link_feed(struct link *l, const void *p, size_t n);
void link_writable(struct link *l);
/* What the far side said on stderr; the end of it is quoted in errors. */
void link_stderr(struct link *l, const void *p, size_t n);
/* The connection ended. `why` is taken; empty: a plain end of file. Ends calls and
 * tells the owner; the transport must be dropped already. Not for use in host_ops. */
void link_down(struct link *l, struct err *why);
/* Both ends of the stream are known (party.give or party.open was called): send the
 * RUN. */
void link_run(struct link *l, uint32_t call_id);
/* This end of its stream stands: whoever opens it ahead is told. */
void link_opened(struct link *l, uint32_t call_id);
/* The stream of a call cannot be opened: the call fails with `why` (taken). */
void link_stream_failed(struct link *l, uint32_t call_id, struct err *why);
/* Say something about a call's direct stream to the agent. */
void link_stream(struct link *l, uint32_t call_id, const json_t *body);
const char *link_host_name(const struct link *l);

/* What was said before the preamble, and on stderr: for a transport's own errors.
 * "" when nothing was. Printable, cut to the last few lines. */
const char *link_last_words(struct link *l);
const char *link_noise(struct link *l);

/* ---- for host_ops ------------------------------------------------------------- */

void link_op_start(struct link *l, struct call *c);
void link_op_ack(struct link *l, struct call *c, int64_t ack);
void link_op_stop(struct link *l, struct call *c);
void link_op_go(struct link *l, struct call *c);
void link_op_pace(struct link *l, struct call *c);
void link_op_close(struct link *l);

/* The agent's bytes inside the engine, and their SHA-256. */
const void *link_agent_blob(size_t *n);
const char *link_agent_build(void);
/* The same bytes as a zstd frame; *n is 0 where the engine was built without. */
const void *link_agent_packed(size_t *n);

#endif
