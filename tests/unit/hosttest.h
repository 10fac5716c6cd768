/* SPDX-License-Identifier: Apache-2.0
 * hosttest - drive one or two hosts from a test: open, call, close.
 */
#ifndef DROVER_HOSTTEST_H
#define DROVER_HOSTTEST_H

#include "engine/host/host.h"

struct hosttest {
	struct loop *loop;
	struct host *host;
	bool ready, down, closed;
	struct err why;		/* of being down */
};

/* Make and open it (on `loop`, which may be shared); wait until it is up or down. */
void hosttest_open(struct hosttest *t, struct loop *loop, const json_t *spec);
void hosttest_begin(struct hosttest *t, struct loop *loop, const json_t *spec);
/* Say goodbye, wait, free. */
void hosttest_close(struct hosttest *t);

struct calltest {
	json_t *result;		/* NULL while it runs */
	struct call call;
	json_t *events;
	struct hosttest *host;
	bool answers;		/* acks are sent at once */
};
/* Start a call; args is stolen (NULL: none). */
void calltest_start(struct calltest *c, struct hosttest *t, const char *module,
		    const char *op, const char *role, json_t *args);
void calltest_wait(struct calltest *c);
void calltest_clear(struct calltest *c);
/* Start, wait, return the result (caller owns). */
json_t *hosttest_call(struct hosttest *t, const char *module, const char *op,
		      json_t *args);
/* "what | hint" of why it is down; caller frees. */
char *hosttest_why(const struct hosttest *t);

#endif
