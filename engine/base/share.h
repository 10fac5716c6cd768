/* SPDX-License-Identifier: Apache-2.0
 * share - how those who use some limited things together share them: max-min fair. All
 * grow alike until one of their limits is used up, or they have what they want; those stay
 * there, the others grow on.
 */
#ifndef DROVER_SHARE_H
#define DROVER_SHARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHARE_LIMITS 4		/* of one user at most */

struct share_user {
	int limit[SHARE_LIMITS];	/* indices; < 0: none */
	uint64_t want;			/* it takes no more than that; 0: all that it gets */
	uint64_t rate;			/* the answer; 0: nothing limits it */
};

/* `limits`: units per second; 0: unlimited. */
void share_out(const uint64_t *limits, size_t limit_count, struct share_user *users,
	       size_t user_count);

/* What a stream wants is learnt from what it takes: one that leaves much of its share is
 * given a little more than it takes, one that takes all of it is given all it gets. */
struct demand {
	uint64_t at_ms, used;	/* when was it looked at last, and what had it taken by then */
	uint64_t want;		/* as in share_user */
};
/* It has taken `used` in all by now, of a share of `rate` a second. True when `want` is
 * another one now: share out again. */
bool demand_learn(struct demand *d, uint64_t now_ms, uint64_t used, uint64_t rate);

#endif
