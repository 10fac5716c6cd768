/* SPDX-License-Identifier: Apache-2.0
 * share - max-min fair shares.
 */
#include "engine/base/share.h"

#include "engine/base/mem.h"

#include <stdbool.h>
#include <stdlib.h>

/* What is left of a limit, and how many still grow under it. */
struct rest { uint64_t left; size_t users; };

static bool under(const struct share_user *u, size_t limit)
{
	for (int i = 0; i < SHARE_LIMITS; i++)
		if (u->limit[i] >= 0 && (size_t)u->limit[i] == limit)
			return true;
	return false;
}

static void look(const uint64_t *limits, size_t n, const struct share_user *users,
		 size_t user_count, struct rest *rest)
{
	for (size_t l = 0; l < n; l++) {
		rest[l] = (struct rest){ limits[l], 0 };
		for (size_t u = 0; limits[l] && u < user_count; u++) {
			if (!under(&users[u], l))
				continue;
			rest[l].users += users[u].rate == 0;
			rest[l].left -= users[u].rate < rest[l].left ? users[u].rate :
				rest[l].left;
		}
	}
}

/* The limit that is used up first; `n` when nobody grows under any. */
static size_t tightest(const uint64_t *limits, const struct rest *rest, size_t n)
{
	size_t best = n;

	for (size_t l = 0; l < n; l++)
		if (limits[l] && rest[l].users &&
		    (best == n || rest[l].left / rest[l].users <
				  rest[best].left / rest[best].users))
			best = l;
	return best;
}

void share_out(const uint64_t *limits, size_t limit_count, struct share_user *users,
	       size_t user_count)
{
	AUTO_FREE struct rest *rest = mem_alloc((limit_count + 1) * sizeof(*rest));
	size_t l;

	for (size_t u = 0; u < user_count; u++)
		users[u].rate = 0;
	for (;;) {
		uint64_t share;

		look(limits, limit_count, users, user_count, rest);
		l = tightest(limits, rest, limit_count);
		if (l == limit_count)
			return;
		share = rest[l].left / rest[l].users;
		for (size_t u = 0; u < user_count; u++)
			if (users[u].rate == 0 && under(&users[u], l))
				users[u].rate = share ? share : 1;
	}
}
