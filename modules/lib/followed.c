/* SPDX-License-Identifier: Apache-2.0
 * followed - from a backup on, what is written to the disks.
 */
#include "modules/lib/followed.h"

#include "engine/base/mem.h"
#include "modules/lib/checkpoint.h"
#include "modules/lib/copy.h"
#include "modules/lib/disk.h"
#include "modules/lib/track.h"

#include <stdio.h>
#include <string.h>

/* How it is followed, or can be ("bitmap", "trace"); `since` (SHA256_HEX) gets the digest of
 * the copy that this is relative to, or "". NULL: it cannot be, and *why. */
static const char *way_of(struct ctx *c, const struct checkpoint_view *v, const char *name,
			  const json_t *spec, char *since, const char **why)
{
	AUTO_FREE char *path = disk_find(name, spec, NULL);
	enum checkpoint_way way = checkpoint_of(v, name, spec, why);
	uint8_t root[SHA256_LEN];

	*since = '\0';
	if (way == CHECKPOINT_FOLLOWS)
		snprintf(since, SHA256_HEX, "%s", checkpoint_since(v, name));
	if (way != CHECKPOINT_NONE)
		return "bitmap";
	if (strcmp(jstr(spec, "format", "raw"), "raw") != 0) {
		*why = v ? *why : "it is an image of a format";
		return NULL;
	}
	*why = path ? track_why_not(path) : "it is out of sight";
	if (*why)
		return NULL;
	if (track_since(c, name, path, root))
		io_hex(root, sizeof(root), since);
	return "trace";
}

static json_t *tell_disk(struct ctx *c, const struct checkpoint_view *v, const char *name,
			 const json_t *spec, bool begins)
{
	const char *why = NULL, *by;
	char since[SHA256_HEX];
	json_t *row = json_object();

	by = way_of(c, v, name, spec, since, &why);
	jset_str(row, "by", by);
	jset_str(row, "why", by ? NULL : why);
	jset_str(row, "digest", by && *since ? since : NULL);
	if (begins && by)
		ctx_change(c, '+', "%s: what is written from the backup on is followed (%s), so "
			   "that its copy may be filled from it", name,
			   strcmp(by, "trace") == 0 ? "traced writes" : "dirty bitmap");
	return row;
}

void followed_tell(struct ctx *c, bool begins)
{
	const json_t *disks = jget(ctx_machine(c), "source.disks");
	json_t *loose = json_object(), *spec;
	AUTO_VIEW *v = checkpoint_view(c);
	const char *name;

	json_object_foreach((json_t *)(uintptr_t)disks, name, spec)
		if (copy_wants(c, name, spec))
			jset(loose, name, tell_disk(c, v, name, spec, begins));
	ctx_set_fact(c, "followed", json_object(), loose);
}
