/* SPDX-License-Identifier: Apache-2.0
 * copy_home - where a machine's copy was begun, which the plan may say otherwise since then:
 * nobody would go on with what lies there, or take it away.
 */
#include "modules/lib/copy.h"

#include "engine/base/mem.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define KEPT "home"	/* HOST:DIRECTORY; a host's name has no colon */

static char *home_now(struct ctx *c, const struct layout *l)
{
	return mem_printf("%s:%s", jstr(ctx_run(c), "host", ""), l->dir);
}

/* By hand, perhaps; where a marker is damaged or cannot be looked at, it was not. */
static bool taken_away(const char *dir)
{
	AUTO_FREE char *marker = mem_printf("%s/.drover", dir);

	return access(marker, F_OK) < 0 && (errno == ENOENT || errno == ENOTDIR);
}

/* Is it the same place in other words? */
static bool is_same(struct ctx *c, const struct layout *l, const char *kept, const char *now)
{
	const char *dir = strchr(kept, ':');
	bool same_host;

	if (!dir || strcmp(kept, now) == 0)
		return true;
	same_host = strncmp(kept, now, (size_t)(dir - kept) + 1) == 0;
	if (strcmp(dir + 1, l->dir) == 0)	/* a host may have another name in the plan now */
		return layout_owner(l, ctx_machine(c), ctx_run(c), NULL) == LAYOUT_OURS;
	return same_host && taken_away(dir + 1);
}

int copy_home_check(struct ctx *c, const struct layout *l, struct err *e)
{
	const char *kept = ctx_kept(c, KEPT, NULL);
	AUTO_FREE char *now = home_now(c, l);

	if (!kept || is_same(c, l, kept, now))
		return 0;
	err_set(e, ERR_STEP, "cannot go on with the copy: it was begun in '%s', the plan has '%s' "
		"now", kept, now);
	return err_hint(e, COPY_MOVED_HINT);
}

int copy_home_keep(struct ctx *c, const struct layout *l, struct err *e)
{
	const char *kept = ctx_kept(c, KEPT, NULL);
	AUTO_FREE char *now = home_now(c, l);

	if (copy_home_check(c, l, e) < 0)
		return -1;
	if (kept && strcmp(kept, now) == 0)
		return 0;
	return ctx_keep(c, KEPT, now, strlen(now)) < 0 ?
		err_set(e, ERR_SYSTEM, "cannot keep where the copy is begun") : 0;
}
