/* SPDX-License-Identifier: Apache-2.0
 * insist - see the header.
 */
#include "modules/lib/insist.h"

#include "modules/lib/checkpoint.h"
#include "modules/lib/copy.h"
#include "modules/lib/disk.h"
#include "modules/lib/snapshot.h"
#include "modules/lib/track.h"

#include "engine/base/mem.h"

#include <string.h>

/* What the plan insists on, and what of the source says whether it can be. */
struct insists {
	enum { ON_BITMAP, ON_TRACE, ON_SNAPSHOT } on;
	struct checkpoint_view *domain;
	struct snapshot_view *volumes;
};

/* Why that cannot follow this disk; NULL: it can. */
static const char *why_not(const struct insists *i, const char *name, const json_t *spec)
{
	AUTO_FREE char *path = i->on == ON_TRACE ? disk_find(name, spec, NULL) : NULL;
	const char *why = NULL;

	if (i->on == ON_BITMAP)
		return checkpoint_of(i->domain, name, spec, &why) == CHECKPOINT_NONE ? why : NULL;
	if (i->on == ON_SNAPSHOT)
		return snapshot_of(i->volumes, name, &why) == SNAPSHOT_NONE ? why : NULL;
	return path ? track_why_not(path) : NULL;
}

#define AUTO_HINT "say changes: auto, and such a disk is compared whole"

/* Does the plan insist on a way? */
static bool insists_on(const struct ctx *c, struct insists *i)
{
	static const char *const ways[] = { "bitmap", "trace", "snapshot" };
	const char *how = jstr(ctx_args(c), "changes", "auto");

	for (unsigned n = 0; n < ARRAY_LEN(ways); n++) {
		i->on = n;
		if (strcmp(how, ways[n]) == 0)
			return true;
	}
	return false;
}

/* What the plan insists on following and cannot be followed: NULL, or the text. Owned. */
static char *unfollowed(struct ctx *c)
{
	static const char *const texts[] = { "cannot follow disk '%s' by a dirty bitmap: %s",
		"cannot trace the writes of disk '%s': %s",
		"cannot follow disk '%s' by snapshots: %s" };
	struct insists i = { 0 };
	bool any = insists_on(c, &i);
	AUTO_VIEW *domain = any && i.on == ON_BITMAP ? checkpoint_view(c) : NULL;
	AUTO_SNAPSHOTS *volumes = any && i.on == ON_SNAPSHOT ? snapshot_view(c) : NULL;
	const char *name;
	json_t *spec;

	i.domain = domain;
	i.volumes = volumes;
	json_object_foreach(jget(ctx_machine(c), "source.disks"), name, spec) {
		const char *why = any && copy_wants(c, name, spec) ? why_not(&i, name, spec) : NULL;

		if (why)
			return mem_printf(texts[i.on], name, why);
	}
	return NULL;
}

void insist_tell(struct ctx *c)
{
	AUTO_FREE char *text = unfollowed(c);

	if (text)
		ctx_finding(c, "blocker", "convert.changes", AUTO_HINT, "%s", text);
}

int insist_heed(struct ctx *c)
{
	AUTO_FREE char *text = unfollowed(c);

	if (!text)
		return 0;
	ctx_hint(c, AUTO_HINT);
	return ctx_fail(c, "%s", text);
}
