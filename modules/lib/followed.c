/* SPDX-License-Identifier: Apache-2.0
 * followed - from a backup on, what is written to the disks.
 */
#include "modules/lib/followed.h"

#include "engine/base/mem.h"
#include "modules/lib/checkpoint.h"
#include "modules/lib/copy.h"
#include "modules/lib/disk.h"
#include "modules/lib/snapshot.h"
#include "modules/lib/track.h"

#include <stdio.h>
#include <string.h>

/* What is asked besides the kernel's tracing. */
struct views {
	struct checkpoint_view *domain;
	struct snapshot_view *volumes;
};

static const char *by_snapshot(const struct snapshot_view *v, const char *name, char *since,
			       const char **why)
{
	enum snapshot_way way = snapshot_of(v, name, why);
	AUTO_FREE char *root = way == SNAPSHOT_FOLLOWS ? snapshot_since(v, name) : NULL;

	if (root)
		snprintf(since, SHA256_HEX, "%s", root);
	return way == SNAPSHOT_NONE ? NULL : "snapshot";
}

/* How it is followed, or can be ("bitmap", "trace", "snapshot"); `since` (SHA256_HEX) gets the
 * digest of the copy that this is relative to, or "". NULL: it cannot be, and *why. */
static const char *way_of(struct ctx *c, const struct views *views, const char *name,
			  const json_t *spec, char *since, const char **why)
{
	AUTO_FREE char *path = disk_find(name, spec, NULL);
	const struct checkpoint_view *v = views->domain;
	enum checkpoint_way way = checkpoint_of(v, name, spec, why);
	uint8_t root[SHA256_LEN];

	*since = '\0';
	if (snapshot_knows(views->volumes, name))
		return by_snapshot(views->volumes, name, since, why);
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

static const char *text_of(const char *by)
{
	return strcmp(by, "trace") == 0 ? "traced writes" :
		strcmp(by, "snapshot") == 0 ? "a snapshot of LVM" : "dirty bitmap";
}

/* For who plans with it and has no assess.machine. */
static void tell_size(json_t *row, const char *name, const json_t *spec)
{
	AUTO_FREE char *path = disk_find(name, spec, NULL);
	struct disk_info i;

	if (!path || disk_info(path, jstr(spec, "format", "raw"), &i, NULL) < 0)
		return;
	jset_int(row, "size", (int64_t)i.size);
	jset_int(row, "used", (int64_t)(i.used ? i.used : i.size));
}

static json_t *tell_disk(struct ctx *c, const struct views *v, const char *name,
			 const json_t *spec, bool begins)
{
	const char *why = NULL, *by;
	char since[SHA256_HEX];
	json_t *row = json_object();

	tell_size(row, name, spec);
	by = way_of(c, v, name, spec, since, &why);
	jset_str(row, "by", by);
	jset_str(row, "why", by ? NULL : why);
	jset_str(row, "digest", by && *since ? since : NULL);
	if (begins && by)
		ctx_change(c, '+', "%s: what is written from the backup on is followed (%s), so "
			   "that its copy may be filled from it", name, text_of(by));
	return row;
}

void followed_tell(struct ctx *c, bool begins)
{
	const json_t *disks = jget(ctx_machine(c), "source.disks");
	json_t *loose = json_object(), *spec;
	AUTO_VIEW *domain = checkpoint_view(c);
	AUTO_SNAPSHOTS *volumes = snapshot_view(c);
	const struct views v = { domain, volumes };
	const char *name;

	json_object_foreach((json_t *)(uintptr_t)disks, name, spec)
		if (copy_wants(c, name, spec))
			jset(loose, name, tell_disk(c, &v, name, spec, begins));
	ctx_set_fact(c, "followed", json_object(), loose);
}
