/* SPDX-License-Identifier: Apache-2.0
 * share - max-min fair shares.
 */
#include "engine/base/share.h"

#include "engine/base/mem.h"

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

/* Who wants least of those that grow under any limit, if that is no more than `most`; or
 * user_count. */
static size_t content(const uint64_t *limits, size_t n, const struct share_user *users,
		      size_t user_count, uint64_t most)
{
	size_t best = user_count;

	for (size_t u = 0; u < user_count; u++) {
		bool limited = false;

		for (size_t l = 0; l < n; l++)
			limited |= limits[l] && under(&users[u], l);
		if (limited && !users[u].rate && users[u].want && users[u].want <= most &&
		    (best == user_count || users[u].want < users[best].want))
			best = u;
	}
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
		size_t who;

		look(limits, limit_count, users, user_count, rest);
		l = tightest(limits, rest, limit_count);
		if (l == limit_count)
			return;
		share = rest[l].left / rest[l].users;
		who = content(limits, limit_count, users, user_count, share);
		if (who < user_count) {
			users[who].rate = users[who].want;
			continue;
		}
		for (size_t u = 0; u < user_count; u++)
			if (users[u].rate == 0 && under(&users[u], l))
				users[u].rate = share ? share : 1;
	}
}

#define LOOK_MS 1000u			/* so long is it watched before it is judged */
#define SPARE (64u << 10)		/* bytes a second beyond what it takes: it may grow */

bool demand_learn(struct demand *d, uint64_t now_ms, uint64_t used, uint64_t rate)
{
	uint64_t before = d->want, took, more;

	if (!d->at_ms || used < d->used) {	/* the first look, or it began anew */
		*d = (struct demand){ now_ms, used, 0 };
		return before != 0;
	}
	if (now_ms - d->at_ms < LOOK_MS)
		return false;
	took = (uint64_t)((double)(used - d->used) * 1000 / (double)(now_ms - d->at_ms));
	more = took + took / 4 + SPARE;
	d->at_ms = now_ms;
	d->used = used;
	if (took >= rate - rate / 10)
		d->want = 0;
	else if (took < rate - rate / 5 && more < rate)
		d->want = more;
	return d->want != before;
}
