/* SPDX-License-Identifier: Apache-2.0
 * copy_home - where a machine's copy was begun, which the plan may say otherwise since then:
 * nobody would go on with what lies there, or take it away.
 *
 * On the same host that is found out. Another host of the plan may be this one by another name, or
 * may stand in for one that is gone: there it is only said.
 */
#include "modules/lib/copy.h"

#include "engine/base/mem.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define HOMES_MAX 100u		/* each one after the one before was cleared by hand */

enum where { HERE, CLEARED, OTHER_HOST, ELSEWHERE };

/* HOST:DIRECTORY; a host's name has no colon. */
static char *home_now(struct ctx *c, const struct layout *l)
{
	return mem_printf("%s:%s", jstr(ctx_run(c), "host", ""), l->dir);
}

/* Borrowed; NULL: none was kept. *n: how many were. */
static const char *newest(struct ctx *c, unsigned *n)
{
	const char *kept = NULL, *next;

	for (*n = 0; *n < HOMES_MAX; (*n)++, kept = next) {
		AUTO_FREE char *name = mem_printf("home.%u", *n + 1);

		next = ctx_kept(c, name, NULL);
		if (!next)
			break;
	}
	return kept;
}

/* Where a marker cannot be looked at, it was not. */
static bool was_cleared(const char *dir)
{
	AUTO_FREE char *marker = mem_printf("%s/.drover", dir);

	return access(marker, F_OK) < 0 && (errno == ENOENT || errno == ENOTDIR);
}

static enum where where_is(struct ctx *c, const struct layout *l, const char *kept,
			   const char *now)
{
	const char *dir = kept ? strchr(kept, ':') : NULL;

	if (!dir || strcmp(kept, now) == 0)
		return HERE;
	if (strncmp(kept, now, (size_t)(dir - kept) + 1) == 0)
		return was_cleared(dir + 1) ? CLEARED : ELSEWHERE;
	return strcmp(dir + 1, l->dir) == 0 &&
		layout_owner(l, ctx_machine(c), ctx_run(c), NULL) == LAYOUT_OURS ? HERE : OTHER_HOST;
}

int copy_home_check(struct ctx *c, const struct layout *l, struct err *e)
{
	unsigned n;
	const char *kept = newest(c, &n);
	AUTO_FREE char *now = home_now(c, l);

	if (where_is(c, l, kept, now) != ELSEWHERE)
		return 0;
	err_set(e, ERR_STEP, "cannot go on with the copy: it was begun in '%s', the plan has '%s' "
		"now", kept, now);
	return err_hint(e, COPY_MOVED_HINT);
}

char *copy_home_left(struct ctx *c, const struct layout *l)
{
	unsigned n;
	const char *kept = newest(c, &n);
	AUTO_FREE char *now = home_now(c, l);

	return where_is(c, l, kept, now) != OTHER_HOST ? NULL :
		mem_printf("the copy that was begun in '%s' stays there, the plan has '%s' now", kept,
			   now);
}

int copy_home_keep(struct ctx *c, const struct layout *l, struct err *e)
{
	unsigned n;
	const char *kept = newest(c, &n);
	AUTO_FREE char *now = home_now(c, l), *name = mem_printf("home.%u", n + 1);

	if (copy_home_check(c, l, e) < 0)
		return -1;
	if (kept && (n == HOMES_MAX || where_is(c, l, kept, now) == HERE))
		return 0;
	return ctx_keep(c, name, now, strlen(now)) < 0 ?
		err_set(e, ERR_SYSTEM, "cannot keep where the copy is begun") : 0;
}
