/* SPDX-License-Identifier: Apache-2.0
 * link_impl - a link as its two files see it: the life of the connection (link.c) and
 * the calls in flight on it (flight.c).
 */
#ifndef DROVER_LINK_IMPL_H
#define DROVER_LINK_IMPL_H

#include "engine/host/link.h"

#include "engine/base/mem.h"
#include "engine/wire/frame.h"

enum link_state {
	LINK_IDLE,		/* the transport is still connecting */
	LINK_NOISE,		/* the preamble is awaited */
	LINK_HELLO,		/* the agent's hello is awaited */
	LINK_READY,
	LINK_CLOSING,		/* BYE is out */
	LINK_DOWN,
};

/* A call that has been started and has no result yet. */
struct flight {
	struct flight *next;
	struct link *link;
	struct call *call;
	json_t *early;		/* a result to be told on the loop's next turn, or NULL */
	bool sent;		/* RUN is out */
	bool opened;		/* of a call that is ahead: to be told on the next turn */
};

struct link {
	struct host *host;
	const struct link_ops *ops;
	void *transport;
	enum link_state state;
	char preamble[48];
	struct str noise;	/* before the preamble */
	struct str words;	/* the end of stderr */
	struct str quote;	/* what link_noise() and link_last_words() lend out */
	struct frame_reader *reader;
	struct str out;
	size_t out_at;
	struct flight *flights;
	uint32_t last_id;
	unsigned silent;	/* beats since anything was heard */
	struct loop_timer *beat, *soon, *end;
	struct err why;		/* of a link that is about to be told down */
	bool closed_told;
};

/* ---- link.c ---- */

/* Encode and send what goes now. -1 with e (may be NULL): the body is too large. */
int link_send(struct link *l, enum frame_type type, uint32_t step, const json_t *body,
	      struct err *e);
/* Tell what waits to be told on the loop's next turn. */
void link_soon(struct link *l);

/* ---- flight.c ---- */

/* End the calls whose result has come early; end all of them, as lost. */
void flights_tell(struct link *l);
void flights_lose(struct link *l, const char *text);
void flights_free(struct link *l);	/* without a word to their owners */
/* Frames of the agent that belong to a call; unknown ids are of calls long over. */
int flight_on_event(struct link *l, struct frame *f, struct err *e);
int flight_on_result(struct link *l, struct frame *f, struct err *e);
int flight_on_stream(struct link *l, struct frame *f, struct err *e);

#endif
