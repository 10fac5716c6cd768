/* SPDX-License-Identifier: Apache-2.0
 * loop - the one event loop that serves all hosts: poll(2), timers, and work
 * posted by other threads. Nothing that runs on it may block.
 */
#ifndef DROVER_LOOP_H
#define DROVER_LOOP_H

#include "engine/base/clock.h"

struct loop;
struct loop_fd;
struct loop_timer;

struct loop *loop_new(const struct clock *clock);
void loop_free(struct loop *l);			/* NULL is harmless */
const struct clock *loop_clock(const struct loop *l);
uint64_t loop_now(const struct loop *l);	/* mono ms at this turn */

/* events and revents are poll(2)'s. The handle may be deleted in a callback,
 * its own included. The fd stays the caller's. */
struct loop_fd *loop_fd_add(struct loop *l, int fd, short events,
			    void (*fn)(void *arg, short revents), void *arg);
void loop_fd_events(struct loop_fd *h, short events);
void loop_fd_del(struct loop_fd *h);		/* NULL is harmless */

/* Fires once after `ms`, then is gone (the handle is dead once fn runs). */
struct loop_timer *loop_timer_add(struct loop *l, uint64_t ms,
				  void (*fn)(void *arg), void *arg);
void loop_timer_del(struct loop_timer *t);	/* NULL is harmless */

/* From any thread: run fn on the loop's next turn. */
void loop_post(struct loop *l, void (*fn)(void *arg), void *arg);

/* One turn, waiting at most max_ms (-1: as long as it takes). With a virtual
 * clock and no ready fd the clock jumps to the next timer. Returns 0 when
 * nothing at all is left to wait for, else 1. */
int loop_turn(struct loop *l, int max_ms);
void loop_run(struct loop *l);			/* until loop_stop() */
void loop_stop(struct loop *l);

#endif
