/* SPDX-License-Identifier: Apache-2.0
 * guestfs - the guest's files, from fact `machine`: the live root of a running
 * source, the file systems in its images, or those of overlays at the target.
 */
#ifndef DROVER_GUESTFS_H
#define DROVER_GUESTFS_H

#include "modules/lib/gtree.h"

#define GUEST_DISKS_MAX 64

struct guestfs {
	struct gtree *tree;		/* as the guest sees it */
	struct disk *disks[GUEST_DISKS_MAX];
	size_t count;
	bool live;			/* the root of this host */
};
#define AUTO_GUESTFS __attribute__((cleanup(guestfs_close_ptr))) struct guestfs

/* At the source, read only. -1 with e. `spec` is the machine as the plan says. */
int guestfs_open(const json_t *spec, const json_t *machine, struct guestfs *g,
		 struct err *e);
/* At the target: {disk name: {path, base}} as overlay.h has them. Disks without one
 * are left out. */
int guestfs_open_overlays(const json_t *machine, const json_t *overlays, bool writable,
			  struct guestfs *g, struct err *e);
/* Flushes what was written; reports the first fault. Safe when zero. */
int guestfs_close(struct guestfs *g, struct err *e);
void guestfs_close_ptr(struct guestfs *g);

/* For images: look into every ext file system of the disks (already open, in the
 * order of machine.disks), find the guest's root, and set `mount` of the partitions
 * by its fstab. Returns how many roots there are (0, 1, more); -1 with e. */
int guestfs_find_mounts(json_t *machine, struct disk *const *disks, struct err *e);
/* The partition of fact `machine` that is mounted at `dir`, and its disk. */
json_t *guestfs_mounted_at(const json_t *machine, const char *dir, json_t **disk);
/* The partition that holds `path`: its mount is the longest prefix. */
json_t *guestfs_holds(const json_t *machine, const char *path, json_t **disk);
bool guestfs_is_ext(const json_t *partition);

#endif
