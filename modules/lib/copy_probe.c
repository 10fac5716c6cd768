/* SPDX-License-Identifier: Apache-2.0
 * copy_probe - passes of a machine's disks: what the plan asks for, and what can be
 * said at the source before anything is read.
 */
#include "modules/lib/copy.h"

#include "engine/base/mem.h"
#include "modules/lib/checkpoint.h"
#include "modules/lib/freespace.h"
#include "modules/lib/imgcheck.h"
#include "modules/lib/obstacles.h"
#include "modules/lib/snapshot.h"

#include <fcntl.h>
#include <string.h>

#define SEEDED_MS 1000	/* a pass that reads what was written since a backup */

/* ---- arguments ------------------------------------------------------------- */

bool copy_wants(const struct ctx *c, const char *disk, const json_t *source_disk)
{
	const json_t *only = json_object_get(ctx_args(c), "disks"), *name;
	size_t i;

	if (!layout_copies(source_disk))
		return false;
	if (!json_is_array(only) || json_array_size(only) == 0)
		return true;
	json_array_foreach(only, i, name)
		if (json_is_string(name) && strcmp(json_string_value(name), disk) == 0)
			return true;
	return false;
}

static int check_names(struct ctx *c)
{
	const json_t *only = json_object_get(ctx_args(c), "disks"), *name;
	const json_t *disks = jget(ctx_machine(c), "source.disks");
	size_t i;

	json_array_foreach(only, i, name) {
		const char *s = json_string_value(name);

		if (s && json_object_get(disks, s))
			continue;
		ctx_hint(c, "the machine's disks are the keys of source.disks");
		return ctx_fail(c, "cannot copy disk '%s': the machine has none of that name",
				s ? s : "?");
	}
	return 0;
}

int copy_args(struct ctx *c, struct copy_how *h)
{
	const char *zip = jstr(ctx_args(c), "compress", "auto");
	int64_t chunk = jint(ctx_args(c), "chunk", 1 << 20);

	h->zip = strcmp(zip, "none") == 0 ? ZIP_NONE :
		strcmp(zip, "zstd") == 0 ? ZIP_ZSTD : ZIP_AUTO;
	h->chunk = (uint32_t)chunk;
	if (chunk < STREAM_CHUNK_MIN || chunk > STREAM_CHUNK_MAX || chunk % DISK_ALIGN) {
		ctx_hint(c, "from 64KiB to 4MiB");
		return ctx_fail(c, "cannot copy in chunks of %lld bytes: it is no multiple of "
				"4096 that is allowed", (long long)chunk);
	}
	return check_names(c);
}

bool copy_may_snapshot(const struct ctx *c)
{
	const char *how = jstr(ctx_args(c), "changes", "auto");

	return strcmp(how, "auto") == 0 || strcmp(how, "snapshot") == 0;
}
/* ---- what is known --------------------------------------------------------- */

const json_t *copy_seen(const struct ctx *c, const char *name)
{
	return jfind(jget(ctx_fact(c, "machine"), "disks"), "name", name);
}

bool copy_seeded(const struct ctx *c, const char *disk)
{
	return jbool(json_object_get(ctx_fact(c, "seed"), disk), "fills", false);
}

/* ---- probe --------------------------------------------------------------- */

/* Does nothing use it, in any mount namespace? The kernel lends a device in use to nobody. */
static bool is_quiet(const char *name, const json_t *spec)
{
	AUTO_FREE char *path = disk_find(name, spec, NULL);
	struct disk_info info;

	if (!path || disk_info(path, jstr(spec, "format", "raw"), &info, NULL) < 0)
		return false;
	AUTO_FD fd = info.block ? open(path, O_RDONLY | O_EXCL | O_CLOEXEC) : -1;

	return info.block ? fd >= 0 : !info.busy;
}

static bool skips_free(const struct ctx *c)
{
	return strcmp(jstr(ctx_args(c), "free", "skip"), "skip") == 0;
}

/* Of which file systems what is free is read all the same. */
static void tell_whole(struct ctx *c, const char *name, const struct freespace *f)
{
	for (const char *s = f->whole.s; s && *s; s += strspn(s, "\n")) {
		size_t n = strcspn(s, "\n");

		ctx_change(c, '.', "%s: %.*s", name, (int)n, s);
		s += n;
	}
}

enum say { NOTHING, LOG, ALL };
static struct disk *leave_out(struct ctx *c, const char *name, struct disk *d, enum say say)
{
	AUTO_FREESPACE f = { 0 };

	freespace_find(d, &f);
	if (f.said.len && say != NOTHING)
		ctx_log(c, "%s: %s", name, f.said.s);
	if (say == ALL)
		tell_whole(c, name, &f);
	return f.count > 0 ? freespace_skip(d, &f) : d;
}

/* Of one that something uses free space may be taken into use while we read. */
struct disk *copy_without_free(struct ctx *c, const char *name, const json_t *spec, bool still,
			       struct disk *d)
{
	return skips_free(c) && (still || is_quiet(name, spec)) ? leave_out(c, name, d, LOG) : d;
}

static void look_at_use(struct ctx *c, const char *name, const char *path,
			const struct disk_info *i)
{
	const char *like = i->block ? NULL : imgcheck_looks_like(path);

	if (i->busy && !ctx_fact(c, "machine"))		/* else assess told it: disk.busy */
		ctx_finding(c, "info", "disk.serving", "the cutover stops the machine, then "
			    "copies once more what changed", "disk '%s' is in use by a "
			    "running machine: '%s'", name, path);
	if (like)
		ctx_finding(c, "warning", "disk.format", "say the image's format in the plan",
			    "disk '%s' is copied as raw but looks like %s: '%s'", name, like,
			    path);
}

/* Of a disk in use the numbers have its free space. */
static void tell_counted(struct ctx *c, const char *name, bool snapped)
{
	if (snapped)
		ctx_change(c, '.', "%s: free blocks are counted: only the snapshot will show which "
			   "they are", name);
	else
		ctx_change(c, '.', "%s: free blocks are read too: the disk is in use", name);
}

/* An image that is not raw is not opened for it: what its file takes is near enough. */
static uint64_t to_read(struct ctx *c, const char *name, const json_t *spec,
			const struct disk_info *i, enum say say)
{
	bool raw = strcmp(jstr(spec, "format", "raw"), "raw") == 0;
	AUTO_DISK *d = raw ? disk_open_source(name, spec, 0, NULL) : NULL;

	if (!d)
		return i->used ? i->used : i->size;
	if (skips_free(c) && is_quiet(name, spec))
		d = leave_out(c, name, d, say);
	return disk_due(d, (uint32_t)jint(ctx_args(c), "chunk", 1 << 20));
}

uint64_t copy_to_read(struct ctx *c, const char *name, const json_t *spec)
{
	AUTO_FREE char *path = disk_find(name, spec, NULL);
	struct disk_info i;

	if (!path || disk_info(path, jstr(spec, "format", "raw"), &i, NULL) < 0)
		return 0;	/* who opens it says why */
	return to_read(c, name, spec, &i, NOTHING);
}

/* The engine drops the cost of what the far end has: that is not known here for certain. */
static void tell_reading(struct ctx *c, const char *name, const json_t *spec,
			 const struct disk_info *i, bool snapped, enum say say)
{
	uint64_t used;

	if (say == ALL && skips_free(c) && !is_quiet(name, spec))
		tell_counted(c, name, snapped);
	used = to_read(c, name, spec, i, say);
	ctx_cost(c, used, used, 0, 0);
}

static int probe_disk(struct ctx *c, const char *name, const json_t *spec, bool snapped,
		      bool goes_on)
{
	AUTO_ERR e = { 0 };
	AUTO_FREE char *path = disk_find(name, spec, &e);
	const char *format = jstr(spec, "format", "raw");
	const json_t *was = goes_on ? json_object_get(ctx_fact(c, "disks"), name) : NULL;
	const json_t *row = json_object_get(jget(ctx_machine(c), "target.disks"), name);
	struct disk_info info;

	if (!path || disk_info(path, format, &info, &e) < 0)
		return ctx_fail_err(c, &e);
	if (was && (uint64_t)jint(was, "size", 0) != info.size) {
		ctx_hint(c, "drover rollback PLAN --to convert, then drover run PLAN");
		return ctx_fail(c, "cannot go on with disk '%s': it has %llu bytes now, the "
				"copy was begun with %lld", name,
				(unsigned long long)info.size,
				(long long)jint(was, "size", 0));
	}
	if (copy_check_size(name, (uint64_t)jint(row, "size", 0), info.size, &e) < 0)
		return ctx_fail_err(c, &e);
	if (strcmp(format, "raw") == 0)
		look_at_use(c, name, path, &info);
	if (goes_on && !was && copy_seeded(c, name))
		ctx_cost(c, 0, 0, 0, SEEDED_MS);
	else if (!was)
		tell_reading(c, name, spec, &info, snapped,
			     !goes_on && jget(ctx_fact(c, "backup"), "disks") ? NOTHING : ALL);
	return 0;
}

/* With `auto` the way between two hosts is not known before it was tried. */
static void tell_way(struct ctx *c)
{
	const char *way = jstr(ctx_machine(c), "stream", "auto");
	const char *from = jstr(ctx_machine(c), "source.host", "");

	if (strcmp(way, "relay") != 0 &&
	    strcmp(from, jstr(ctx_machine(c), "target.host", "")) == 0)
		ctx_change(c, '=', "the data goes directly on '%s', from process to process", from);
	else if (strcmp(way, "direct") == 0)
		ctx_change(c, '=', "the data goes straight from host to host, or not at all");
	else if (strcmp(way, "relay") == 0)
		ctx_change(c, '=', "the data goes through drover");
}

/* Of a running domain. */
static void tell_instant(struct ctx *c, const struct checkpoint_view *v, const char *name,
			 const json_t *spec)
{
	AUTO_FREE char *dir = checkpoint_scratch(v, spec);

	if (dir)
		ctx_change(c, '=', "%s: read at one instant, a backup that libvirt keeps for the "
			   "pass; what the guest overwrites meanwhile lies in '%s' until its end",
			   name, dir);
}

/* Of a logical volume. Who finds changes by it too says elsewhere why none is made. */
static void tell_snapshot(struct ctx *c, const struct snapshot_view *v, const char *name)
{
	const char *why = NULL, *vg;

	if (!snapshot_knows(v, name))
		return;
	vg = snapshot_place(v, name, &why);
	if (vg)		/* how much of what is free there changes, and with it the size */
		ctx_change(c, '=', "%s: read at one instant, a snapshot that LVM keeps in volume "
			   "group '%s' for the pass", name, vg);
	else if (!jstr(ctx_args(c), "changes", NULL) ||
		 snapshot_of(v, name, NULL) == SNAPSHOT_FOLLOWS)
		ctx_change(c, '.', "%s: read while it is written to: %s", name, why);
}

/* Where a plan has no assess.machine, which tells it otherwise. */
static void tell_twice(struct ctx *c)
{
	AUTO_JSON *disks = json_array();
	const char *name;
	json_t *spec;

	if (ctx_fact(c, "machine"))
		return;
	json_object_foreach(jget(ctx_machine(c), "source.disks"), name, spec) {
		AUTO_FREE char *path = layout_copies(spec) ? disk_find(name, spec, NULL) : NULL;

		if (path)
			jadd(disks, json_pack("{s:s, s:s}", "name", name, "path", path));
	}
	obstacles_twice(c, disks);
}

int copy_probe_source(struct ctx *c, bool goes_on)
{
	const json_t *disks = jget(ctx_machine(c), "source.disks");
	AUTO_SNAPSHOTS *snaps = copy_may_snapshot(c) ? snapshot_view(c) : NULL;
	AUTO_VIEW *v = checkpoint_view(c);
	struct copy_how h = { 0 };
	const char *name;
	json_t *spec;
	size_t n = 0;

	if (copy_args(c, &h) < 0)
		return -1;
	json_object_foreach((json_t *)disks, name, spec) {
		const char *why;

		if (!copy_wants(c, name, spec))
			continue;
		n++;
		if (probe_disk(c, name, spec, snapshot_knows(snaps, name) &&
			       snapshot_place(snaps, name, &why), goes_on) < 0)
			return -1;
		tell_instant(c, v, name, spec);
		tell_snapshot(c, snaps, name);
	}
	if (n > 0) {
		tell_twice(c);
		tell_way(c);
		return 0;
	}
	ctx_hint(c, "name its disks in the plan: source: { disks: { root: ... } }");
	return ctx_fail(c, "cannot copy '%s': it has no disk to copy", ctx_machine_name(c));
}
