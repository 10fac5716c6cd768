/* SPDX-License-Identifier: Apache-2.0
 * space - is there room at the target for what will be written?
 *
 * A file takes what its disk uses, and may grow to the disk's size; a volume takes all
 * of it at once. Directories on one file system share its room.
 */
#include "modules/lib/space.h"

#include "engine/base/mem.h"
#include "engine/base/text.h"
#include "modules/lib/base.h"
#include "modules/lib/volume.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

struct room {
	char *place;		/* a directory, or "vg NAME"; owned */
	char *words;		/* the same for people; owned */
	dev_t dev;		/* of a directory's file system; 0: a volume group */
	uint64_t free;
	uint64_t needed;	/* bytes that will be written */
	uint64_t full;		/* bytes that the disks there may grow to */
};

struct look {
	struct ctx *c;
	const json_t *machine;	/* the fact, or NULL */
	struct room *rooms;
	size_t count, cap;
};

/* ---- places -------------------------------------------------------------------- */

static struct room *find_room(struct look *l, const char *place, dev_t dev)
{
	for (size_t i = 0; i < l->count; i++)
		if (l->rooms[i].dev == dev && (dev || strcmp(l->rooms[i].place, place) == 0))
			return &l->rooms[i];
	return NULL;
}

static struct room *add_room(struct look *l, char *place, char *words, dev_t dev,
			     uint64_t bytes)
{
	l->rooms = mem_grow(l->rooms, l->count, &l->cap, sizeof(*l->rooms));
	l->rooms[l->count] = (struct room){ place, words, dev, bytes, 0, 0 };
	return &l->rooms[l->count++];
}

/* Where `dir` is, or would be: the nearest directory that exists. */
static char *nearest(const char *dir)
{
	char *p = mem_strdup(dir);

	while (access(p, F_OK) < 0 && errno == ENOENT && p[1]) {
		char *slash = strrchr(p, '/');

		slash[slash == p] = '\0';
	}
	return p;
}

static struct room *room_of_dir(struct look *l, const char *dir)
{
	AUTO_FREE char *there = nearest(dir);
	struct statvfs v;
	struct stat st;
	struct room *r;

	if (statvfs(there, &v) < 0 || stat(there, &st) < 0) {
		ctx_finding(l->c, "blocker", "host.target-dir", "name another under target.dir",
			    "cannot reach '%s' on the target", dir);
		return NULL;
	}
	r = find_room(l, dir, st.st_dev);
	return r ? r : add_room(l, mem_strdup(dir), mem_printf("'%s'", there), st.st_dev,
				(uint64_t)v.f_bavail * v.f_frsize);
}

static struct room *room_of_group(struct look *l, const char *vg)
{
	char *place = mem_printf("vg %s", vg);
	struct room *r = find_room(l, place, 0);
	AUTO_ERR e = { 0 };
	uint64_t bytes = 0;

	if (!r && volume_group_free(vg, &bytes, &e) == 0)
		return add_room(l, place, mem_printf("volume group '%s'", vg), 0, bytes);
	mem_free_ptr(&place);
	if (!r)
		ctx_finding(l->c, "blocker", "target.place", e.hint, "%s", e.what);
	return r;
}

/* ---- disks ---------------------------------------------------------------------- */

static void look_at_disk(struct look *l, const char *name)
{
	uint64_t size = (uint64_t)jint(jfind(jget(l->machine, "disks"), "name", name),
					  "size", 0);
	const json_t *seen = json_object_get(jget(l->machine, "used"), name);
	uint64_t used = seen ? (uint64_t)json_integer_value(seen) : size;
	AUTO_LAYOUT_DISK d = { 0 };
	AUTO_FREE char *dir = NULL;
	AUTO_ERR e = { 0 };
	struct room *r;

	if (layout_of_disk(ctx_machine(l->c), name, &d, &e) < 0) {
		ctx_finding(l->c, "blocker", "target.place", e.hint, "%s", e.what);
		return;
	}
	if (d.kind == AT_DEVICE)
		return;
	dir = mem_strndup(d.base, (size_t)(strrchr(d.base, '/') - d.base));
	r = d.kind == AT_VOLUME ? room_of_group(l, d.vg) : room_of_dir(l, d.kind == AT_HOME ?
		jstr(ctx_machine(l->c), "target.dir", "/") : dir);
	if (!r || access(d.map, F_OK) == 0)
		return;
	r->full += base_size(&d, size);
	r->needed += d.kind == AT_VOLUME ? base_size(&d, size) : used;
}

/* ---- what comes of it ------------------------------------------------------------ */

static void judge(struct look *l, const struct room *r)
{
	char need[24], full[24], have[24];

	text_size(r->needed, need);
	text_size(r->full, full);
	text_size(r->free, have);
	if (r->needed > r->free)
		ctx_finding(l->c, "blocker", "target.space", "free space there, or choose another "
			    "target.dir", "the disks need %s, %s has %s free", need, r->words, have);
	else if (r->full > r->free)
		/* no more than info: what others write there would change the record */
		ctx_finding(l->c, "info", "target.space-thin", "watch it there, or choose "
			    "another place", "the disks may grow to %s, %s has %s free", full,
			    r->words, have);
}

static json_t *tell(const struct look *l)
{
	json_t *bytes = json_object(), *needed = json_object();

	for (size_t i = 0; i < l->count; i++) {
		jset_int(bytes, l->rooms[i].place, (int64_t)l->rooms[i].free);
		if (l->machine)
			jset_int(needed, l->rooms[i].place, (int64_t)l->rooms[i].needed);
	}
	return json_pack("{s:o,s:o}", "free", bytes, "needed", needed);
}

void space_check(struct ctx *c, const json_t *machine, json_t **told)
{
	const json_t *disks = jget(ctx_machine(c), "source.disks");
	const char *dir = jstr(ctx_machine(c), "target.dir", NULL), *name;
	struct look l = { .c = c, .machine = machine };
	json_t *disk;

	/* where maps, overlays and definitions go, whatever becomes of the disks */
	if (dir && *dir == '/')
		room_of_dir(&l, dir);
	json_object_foreach((json_t *)(uintptr_t)disks, name, disk)
		if (layout_copies(disk))
			look_at_disk(&l, name);
	for (size_t i = 0; i < l.count; i++)
		judge(&l, &l.rooms[i]);
	if (told)
		*told = tell(&l);
	for (size_t i = 0; i < l.count; i++) {
		mem_free_ptr(&l.rooms[i].place);
		mem_free_ptr(&l.rooms[i].words);
	}
	mem_free_ptr(&l.rooms);
}
