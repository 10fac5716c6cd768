/* SPDX-License-Identifier: Apache-2.0
 * fakecall - the inside of fakehost.h: a host's calls, which go on by a timer, and what they
 * share of the world.
 */
#ifndef DROVER_TEST_FAKECALL_H
#define DROVER_TEST_FAKECALL_H

#include "tests/unit/fakehost.h"

struct fake_call {
	struct fake *f;
	struct host *h;
	struct call *c;
	const struct fake_rule *rule;
	struct loop_timer *timer;	/* until it goes on; NULL: it waits for the engine */
	int stage;			/* how far its op came */
	int64_t awaits;			/* an acknowledgement; 0: none */
	bool open;			/* its end of a stream stands ahead of it */
	bool stop;
	uint64_t sent;			/* bytes, of a rule that takes some */
	int sent_ms;
	struct fake_call *next;
};

struct fake_host {
	struct fake *f;
	struct fake_call *calls;	/* under way, owned */
};

/* It goes on a little later. */
void fakecall_again(struct fake_call *k);
/* It ends so, and is freed. */
void fakecall_fail(struct fake_call *k, const char *kind, const char *text);

/* Whether the fault strikes here. */
bool fakecall_boundary(struct fake *f);
/* An invariant of the world does not hold: the first one is noted. */
void fakecall_broken(struct fake_world *w, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
struct fake_seen *fakecall_seen(struct fake_world *w, const char *module, const char *role);

#endif
