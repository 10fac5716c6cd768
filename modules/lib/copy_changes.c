/* SPDX-License-Identifier: Apache-2.0
 * copy_changes - how the next pass of each disk finds what changed, as the source can say
 * before it: a line for each, and what of a last pass would be longer than was foretold.
 */
#include "modules/lib/copy.h"

#include "modules/lib/checkpoint.h"
#include "modules/lib/snapshot.h"
#include "modules/lib/track.h"

#include "engine/base/mem.h"

#include <string.h>

static const char *why_no_trace(const char *path, const json_t *spec)
{
	return strcmp(jstr(spec, "format", "raw"), "raw") != 0 ?
		"it is an image of a format" : track_why_not(path);
}

/* Of a disk that was followed: it is not any more. A blocker also where the source stands
 * still already: then it is brought back. */
static void say_whole(struct ctx *c, const char *name, const char *why)
{
	ctx_finding_now(c, "blocker", COPY_WHOLE, COPY_WHOLE_HINT, COPY_WHOLE_TEXT, name, why);
}

bool copy_was_followed(struct ctx *c, const char *name, const char *by)
{
	const json_t *was = json_object_get(jget(ctx_fact(c, "warm"), "followed"), name);

	return json_is_string(was) && (!by || strcmp(json_string_value(was), by) == 0);
}

bool copy_followed(struct ctx *c, const char *name, const json_t *spec)
{
	AUTO_SNAPSHOTS *volumes = snapshot_view(c);
	enum snapshot_way volume = snapshot_of(volumes, name, NULL);
	AUTO_VIEW *domain = snapshot_knows(volumes, name) ? NULL : checkpoint_view(c);
	enum checkpoint_way bitmap = checkpoint_of(domain, name, spec, NULL);

	return volume == SNAPSHOT_LOST || volume == SNAPSHOT_FOLLOWS ||
		bitmap == CHECKPOINT_LOST || bitmap == CHECKPOINT_FOLLOWS ||
		copy_was_followed(c, name, NULL);
}

/* Where the source is a domain: true when its bitmaps tell, which is said; else *why not. */
static bool say_bitmap(struct ctx *c, const struct checkpoint_view *v, enum copy_changes how,
		       const char *name, const json_t *spec, const char **why)
{
	enum checkpoint_way way = checkpoint_of(v, name, spec, why);
	bool tells = way == CHECKPOINT_FOLLOWS && how != CHANGES_DIGEST;
	bool begins = way == CHECKPOINT_CAN && how == CHANGES_TRACE;

	if (tells)
		ctx_change(c, '=', "%s: its dirty bitmap is kept; a pass reads what was written",
			   name);
	else if (begins)
		ctx_change(c, '+', "%s: a checkpoint of libvirt, later passes read what was "
			   "written since (dirty bitmap)", name);
	if (way == CHECKPOINT_LOST && how == CHANGES_KNOWN)
		say_whole(c, name, *why);
	else if (!tells && how == CHANGES_KNOWN && copy_was_followed(c, name, "bitmap"))
		say_whole(c, name, "its checkpoint is gone");
	return tells || begins;
}

/* Of a logical volume: true when its snapshots tell, which is said; else *why not. */
static bool say_snapshot(struct ctx *c, const struct snapshot_view *v, enum copy_changes how,
			 const char *name, const char **why)
{
	enum snapshot_way way = snapshot_of(v, name, why);

	if (way == SNAPSHOT_FOLLOWS) {
		ctx_change(c, '=', "%s: a snapshot of LVM notes its writes; a pass reads what was "
			   "written", name);
		return true;
	}
	if (how == CHANGES_TRACE && way != SNAPSHOT_NONE) {
		ctx_change(c, '+', "%s: a snapshot of LVM from each pass on, later passes read what "
			   "was written since", name);
		return true;
	}
	if (way == SNAPSHOT_LOST && how == CHANGES_KNOWN)
		say_whole(c, name, *why);
	else if (how == CHANGES_KNOWN && copy_was_followed(c, name, "snapshot"))
		say_whole(c, name, "its snapshot is gone");
	if (way == SNAPSHOT_CAN)
		*why = "no snapshot was made with the last one";
	return false;
}

/* What can tell what changed, besides the kernel's tracing; and of what is told. */
struct views {
	struct checkpoint_view *domain;
	struct snapshot_view *volumes;
	json_t *since;		/* disk -> digest of the copy that it is relative to */
};

/* True: it is said that one of them does; else *why not, of a disk that is theirs. */
static bool say_views(struct ctx *c, const struct views *v, enum copy_changes how,
		      const char *name, const json_t *spec, const char **why)
{
	if (snapshot_knows(v->volumes, name))
		return say_snapshot(c, v->volumes, how, name, why);
	return v->domain && say_bitmap(c, v->domain, how, name, spec, why);
}

/* Of a disk that a bitmap or a snapshot follows. */
static void note_view(const struct views *v, const char *name)
{
	AUTO_FREE char *root = snapshot_knows(v->volumes, name) ?
		snapshot_since(v->volumes, name) : mem_strdup(checkpoint_since(v->domain, name));

	jset_str(v->since, name, root);
}

/* Of one that a tracker follows: is all known that was written since that copy? */
static bool note_traced(struct ctx *c, const struct views *v, const char *name, const char *path)
{
	uint8_t root[SHA256_LEN];
	char hex[SHA256_HEX];

	if (!track_since(c, name, path, root))
		return false;
	io_hex(root, sizeof(root), hex);
	jset_str(v->since, name, hex);
	return true;
}

static void say_changes(struct ctx *c, const struct views *v, enum copy_changes how,
			const char *name, const json_t *spec)
{
	AUTO_FREE char *path = disk_find(name, spec, NULL);
	const char *why = "it is out of sight", *fault = NULL;

	if (say_views(c, v, how, name, spec, &fault)) {
		if (how == CHANGES_KNOWN)
			note_view(v, name);
		return;
	}
	if (path && how != CHANGES_DIGEST && track_follows(c, name, path)) {
		ctx_change(c, '=', "%s: its writes are traced; a pass reads what was written",
			   name);
		if (how == CHANGES_KNOWN && !note_traced(c, v, name, path))
			say_whole(c, name, "events of its tracing were lost");
		return;
	}
	if (copy_seeded(c, name)) {
		ctx_change(c, '=', "%s: filled from its backup; a pass reads what was written since",
			   name);
		return;
	}
	if (how == CHANGES_KNOWN && copy_was_followed(c, name, "trace"))
		say_whole(c, name, "its tracker is gone");
	if (how == CHANGES_DIGEST)
		why = "the plan says so";
	else if (fault)
		why = fault;
	else if (path)
		why = why_no_trace(path, spec);
	if (!why && (how == CHANGES_KNOWN || json_object_get(ctx_fact(c, "disks"), name)))
		why = "its writes were not traced since the last one";
	if (why)
		ctx_change(c, '.', "%s: the next pass reads all of it and compares digests: %s",
			   name, why);
	else
		ctx_change(c, '+', "%s: its writes are traced, later passes read what was "
			   "written", name);
}

struct copy_ahead copy_probe_changes(struct ctx *c, enum copy_changes how)
{
	const json_t *disks = jget(ctx_machine(c), "source.disks");
	AUTO_VIEW *domain = checkpoint_view(c);
	AUTO_SNAPSHOTS *volumes = copy_may_snapshot(c) ? snapshot_view(c) : NULL;
	const struct views v = { domain, volumes, json_object() };
	const char *name;
	struct copy_ahead ahead = { .as_before = true };
	uint64_t whole;
	json_t *spec;

	json_object_foreach((json_t *)disks, name, spec) {
		if (!copy_wants(c, name, spec))
			continue;
		say_changes(c, &v, how, name, spec);
		if (how != CHANGES_KNOWN)
			continue;
		if (json_object_get(v.since, name)) {
			ahead.all += (uint64_t)jint(json_object_get(ctx_fact(c, "disks"), name),
						    "size", 0);
			continue;
		}
		whole = copy_to_read(c, name, spec);
		ahead.all += whole;
		ahead.whole += whole;
		ahead.as_before = ahead.as_before && !copy_was_followed(c, name, NULL);
	}
	ctx_volatile(c, COPY_SINCE, v.since);
	return ahead;
}
