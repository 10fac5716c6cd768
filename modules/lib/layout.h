/* SPDX-License-Identifier: Apache-2.0
 * layout - where things of a machine lie at the target.
 *
 *   <target.dir>/<machine>/            made by convert, mode 0700
 *     .drover                          whose it is: {"lineage", "machine", "plan"}
 *     <disk>.base.raw|qcow2            the copied passes; nothing else writes here
 *     <disk>.map                       digests of its chunks (map.h)
 *     <disk>.qcow2                     the overlay that the target will serve from
 *
 * With `path` in target.disks the base is that device; map and overlay stay in the
 * directory. A directory or file that is not ours is never written to, unless the
 * plan says target.replace.
 */
#ifndef DROVER_LAYOUT_H
#define DROVER_LAYOUT_H

#include "engine/base/err.h"
#include "engine/base/json.h"

#include <stdbool.h>

struct layout {
	char *dir;		/* <target.dir>/<machine> */
	char *marker;		/* <dir>/.drover */
};

struct layout_disk {
	char *base;		/* the image file or the device */
	char *map;
	char *overlay;
	const char *format;	/* "raw" or "qcow2"; static */
	bool device;		/* base is a block device that was there before */
};

#define AUTO_LAYOUT __attribute__((cleanup(layout_free))) struct layout
#define AUTO_LAYOUT_DISK __attribute__((cleanup(layout_disk_free))) struct layout_disk

/* `machine` is the spec (ctx_machine). -1 with e when the plan gives no usable
 * place; on success the caller frees. */
int layout_of(const json_t *machine, struct layout *l, struct err *e);
int layout_of_disk(const json_t *machine, const char *disk,
		   struct layout_disk *d, struct err *e);
void layout_free(struct layout *l);
void layout_disk_free(struct layout_disk *d);

/* Whose directory is it? 1: ours (same lineage and machine), 0: nothing there or
 * an empty directory, -1 with e: somebody else's, or it cannot be told. `run` is
 * ctx_run(). */
int layout_owner(const struct layout *l, const json_t *machine,
		 const json_t *run, struct err *e);
/* Make the directory and the marker, if they are not there. With target.replace a
 * stranger's marker is replaced. */
int layout_claim(const struct layout *l, const json_t *machine,
		 const json_t *run, struct err *e);
/* Take away the marker and the directory, once nothing else is in it. */
int layout_release(const struct layout *l, struct err *e);

/* True when the disk is to be copied (source.disks.NAME.copy is not false). */
bool layout_copies(const json_t *source_disk);

#endif
