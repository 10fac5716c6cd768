/* SPDX-License-Identifier: Apache-2.0
 * guestfs - from a description to a file tree.
 */
#include "modules/lib/guestfs.h"
#include "engine/base/mem.h"
#include "modules/lib/devname.h"
#include "modules/lib/fstab.h"
#include "modules/lib/qemunbd.h"

#include <string.h>

bool guestfs_is_ext(const json_t *part)
{
	const char *fs = jstr(part, "fs", "");

	return strncmp(fs, "ext", 3) == 0 && strlen(fs) == 4;
}

static struct gtree *open_part(struct disk *d, const json_t *part, bool writable,
			       struct err *e)
{
	struct blk whole = blk_of(d), b;

	if (blk_window(&whole, (uint64_t)jint(part, "start", 0),
		       (uint64_t)jint(part, "size", 0), &b, e) < 0)
		return NULL;
	return gtree_ext(&b, writable, e);
}

static int add_disk(struct guestfs *g, struct disk *d, const json_t *disk,
		    bool writable, struct err *e)
{
	size_t i;
	json_t *part;

	json_array_foreach(jget(disk, "partitions"), i, part) {
		const char *mount = jstr(part, "mount", NULL);
		struct gtree *t;

		if (!mount || !guestfs_is_ext(part) || jstr(part, "stack", NULL))
			continue;
		t = open_part(d, part, writable, e);
		if (!t)
			return err_wrap(e, "disk '%s', partition %d",
					jstr(disk, "name", "?"),
					(int)jint(part, "number", 0));
		gtree_union_add(g->tree, mount, t);
	}
	return 0;
}

static int take_disk(struct guestfs *g, struct disk *d, const json_t *disk,
		     bool writable, struct err *e)
{
	if (!d)
		return -1;
	if (g->count >= GUEST_DISKS_MAX) {
		disk_close(&d, NULL);
		return err_set(e, ERR_STEP, "cannot open the guest: more than %d disks",
			       GUEST_DISKS_MAX);
	}
	g->disks[g->count++] = d;
	return add_disk(g, d, disk, writable, e);
}

int guestfs_open(const json_t *spec, const json_t *machine, struct guestfs *g,
		 struct err *e)
{
	size_t i;
	json_t *disk;

	memset(g, 0, sizeof(*g));
	g->live = jbool(machine, "live", false);
	if (g->live) {
		g->tree = gtree_live("/", e);
		return g->tree ? 0 : -1;
	}
	g->tree = gtree_union();
	json_array_foreach(jget(machine, "disks"), i, disk) {
		const char *name = jstr(disk, "name", "");
		json_t *said = json_object_get(jget(spec, "source.disks"), name);
		struct disk *d = disk_open_source(name, said, DISK_LIVE, e);

		if (take_disk(g, d, disk, false, e) < 0)
			return guestfs_close(g, NULL), -1;
	}
	return 0;
}

int guestfs_open_overlays(const json_t *machine, const json_t *overlays, bool writable,
			  struct guestfs *g, struct err *e)
{
	size_t i;
	json_t *disk;

	memset(g, 0, sizeof(*g));
	g->tree = gtree_union();
	json_array_foreach(jget(machine, "disks"), i, disk) {
		json_t *o = json_object_get(overlays, jstr(disk, "name", ""));
		const char *path = jstr(o, "path", NULL);

		if (path && take_disk(g, qemunbd_open_overlay(path, jstr(o, "base", ""),
							      writable ? DISK_WRITE : 0, e),
				      disk, writable, e) < 0)
			return guestfs_close(g, NULL), -1;
	}
	return 0;
}

int guestfs_close(struct guestfs *g, struct err *e)
{
	int r = gtree_close(&g->tree, e);

	for (size_t i = 0; i < g->count; i++)
		if (disk_close(&g->disks[i], r < 0 ? NULL : e) < 0)
			r = -1;
	memset(g, 0, sizeof(*g));
	return r;
}

void guestfs_close_ptr(struct guestfs *g)
{
	guestfs_close(g, NULL);
}

/* ---- finding the root of an image ------------------------------------------ */

static bool is_root(struct gtree *t)
{
	return gtree_is_file(t, "/etc/fstab") &&
	       (gtree_is_file(t, "/etc/os-release") ||
		gtree_is_file(t, "/usr/lib/os-release") ||
		gtree_is_file(t, "/etc/passwd"));
}

static void mount_by_fstab(const json_t *machine, struct gtree *root)
{
	AUTO_FREE char *text = gtree_read(root, "/etc/fstab", GTREE_FILE_MAX, NULL);
	AUTO_JSON *entries = fstab_parse(text ? text : "");
	size_t i;
	json_t *entry;

	json_array_foreach(entries, i, entry) {
		const char *dir = jstr(entry, "dir", "");
		json_t *part = devname_partition(machine, jstr(entry, "spec", ""));

		if (part && dir[0] == '/' && dir[1] && !jstr(part, "mount", NULL))
			jset_str(part, "mount", dir);
	}
}

int guestfs_find_mounts(json_t *machine, struct disk *const *disks, struct err *e)
{
	size_t i, k;
	json_t *disk, *part, *root_part = NULL;
	AUTO_GTREE *root = NULL;
	int roots = 0;

	json_array_foreach(jget(machine, "disks"), i, disk)
		json_array_foreach(jget(disk, "partitions"), k, part) {
			struct gtree *t;

			if (!guestfs_is_ext(part))
				continue;
			t = open_part(disks[i], part, false, e);
			if (!t)
				return err_wrap(e, "disk '%s'", jstr(disk, "name", "?"));
			if (is_root(t) && roots++ == 0) {
				root = t;
				root_part = part;
			} else {
				gtree_close_ptr(&t);
			}
		}
	if (roots == 1) {
		jset_str(root_part, "mount", "/");
		mount_by_fstab(machine, root);
	}
	return roots;
}

static bool holds(const char *mount, const char *path)
{
	size_t n = strlen(mount);

	return strcmp(mount, "/") == 0 ||
	       (strncmp(mount, path, n) == 0 && (path[n] == '/' || !path[n]));
}

json_t *guestfs_holds(const json_t *machine, const char *path, json_t **in)
{
	size_t i, k;
	json_t *disk, *part, *best = NULL;

	json_array_foreach(jget(machine, "disks"), i, disk)
		json_array_foreach(jget(disk, "partitions"), k, part) {
			const char *mount = jstr(part, "mount", NULL);

			if (!mount || !holds(mount, path) ||
			    (best && strlen(mount) <= strlen(jstr(best, "mount", ""))))
				continue;
			best = part;
			if (in)
				*in = disk;
		}
	return best;
}

json_t *guestfs_mounted_at(const json_t *machine, const char *dir, json_t **in)
{
	json_t *part = guestfs_holds(machine, dir, in);

	return part && strcmp(jstr(part, "mount", ""), dir) == 0 ? part : NULL;
}
