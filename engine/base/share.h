/* SPDX-License-Identifier: Apache-2.0
 * share - how those who use some limited things together share them: max-min fair. All
 * grow alike until one of their limits is used up; those it holds stay there, the others
 * grow on.
 */
#ifndef DROVER_SHARE_H
#define DROVER_SHARE_H

#include <stddef.h>
#include <stdint.h>

#define SHARE_LIMITS 4		/* of one user at most */

struct share_user {
	int limit[SHARE_LIMITS];	/* indices; < 0: none */
	uint64_t rate;			/* the answer; 0: nothing limits it */
};

/* `limits`: units per second; 0: unlimited. */
void share_out(const uint64_t *limits, size_t limit_count, struct share_user *users,
	       size_t user_count);

#endif
