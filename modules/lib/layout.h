/* SPDX-License-Identifier: Apache-2.0
 * layout - where things of a machine lie at the target.
 *
 *   <target.dir>/<machine>/            made by convert, mode 0700
 *     .drover                          whose it is: {"lineage", "machine", "plan"}
 *     <disk>.base.raw|qcow2            the copied passes; nothing else writes here
 *     <disk>.map                       digests of its chunks (map.h)
 *     <disk>.place                     where its base is, and what the plan said then
 *     <disk>.readback                  how far a read-back came that was cut off
 *     <disk>.qcow2                     the overlay that the target will serve from
 *
 * A row of target.disks may put the base elsewhere, map and overlay stay:
 *
 *     path: /dev/x     that device, which is there already
 *     dir: /d          /d/<machine>-<disk>.raw|qcow2
 *     pool: p          the same in the pool's directory; one of volumes: as vg
 *     vg: g            the logical volume g/<machine>-<disk>
 *
 * What is not ours is never written to, unless the plan says target.replace.
 */
#ifndef DROVER_LAYOUT_H
#define DROVER_LAYOUT_H

#include "engine/base/err.h"
#include "engine/base/json.h"

#include <stdbool.h>
#include <stdint.h>

struct layout {
	char *dir;		/* <target.dir>/<machine> */
	char *marker;		/* <dir>/.drover */
};

enum layout_kind {
	AT_HOME,	/* a file in the machine's directory */
	AT_FOLDER,	/* a file in a directory that others share */
	AT_DEVICE,	/* a block device that was there before */
	AT_VOLUME,	/* a logical volume that we make */
};

struct layout_disk {
	enum layout_kind kind;
	char *base;		/* the image file or the device */
	char *map;
	char *overlay;
	char *record;		/* <disk>.place */
	char *readback;		/* <disk>.readback */
	char *vg, *volume;	/* AT_VOLUME: group and name; else NULL */
	char *device;		/* AT_DEVICE, recorded: which one (disk_device()), or NULL */
	char *tag;		/* recorded: whose base it is (base.h), or NULL */
	char *pool;		/* the libvirt pool that it came from, or NULL */
	json_t *said;		/* {path, dir, vg, pool, format} as the plan has it now */
	const char *format;	/* one of imgkind.h; static */
	uint64_t size;		/* the least that the plan wants; 0: the source's size */
	bool recorded;		/* all of this was read from the record */
	bool moved;		/* and the plan says another place now */
	uint64_t room;		/* recorded of a format that cannot grow: its bytes; else 0 */
	char *boot;		/* recorded of a format that a power cut may damage: the boot of
				   this host in which it was opened for writing, and not
				   closed; else NULL */
};

#define AUTO_LAYOUT __attribute__((cleanup(layout_free))) struct layout
#define AUTO_LAYOUT_DISK __attribute__((cleanup(layout_disk_free))) struct layout_disk

/* `machine` is the spec (ctx_machine). -1 with e when the plan gives no usable
 * place; on success the caller frees. */
int layout_of(const json_t *machine, struct layout *l, struct err *e);
/* Where it was put, by its record; without one, where the plan puts it (a pool is asked
 * for at this host). */
int layout_of_disk(const json_t *machine, const char *disk,
		   struct layout_disk *d, struct err *e);
/* The same of one that was begun; 0 when none was, 1 when it was, -1 with e. */
int layout_of_begun(const json_t *machine, const char *disk,
		    struct layout_disk *d, struct err *e);
/* Durably note where it is put: before anything is made there. */
int layout_record(const struct layout_disk *d, struct err *e);
/* Its base holds nothing but raw content of a block device. */
bool layout_is_block(const struct layout_disk *d);
void layout_free(struct layout *l);
void layout_disk_free(struct layout_disk *d);

enum layout_whose {
	LAYOUT_NOBODYS,	/* nothing there, or nothing but what a claim that was cut off left */
	LAYOUT_OURS,	/* same lineage, plan and machine */
	LAYOUT_OTHERS,	/* another's, or without a marker: not to be written to or taken away */
};

/* Whose directory is it? LAYOUT_OTHERS with e, which says why it cannot be written to; -1 with e:
 * it cannot be told, as of a damaged marker. `run` is ctx_run(). */
int layout_owner(const struct layout *l, const json_t *machine,
		 const json_t *run, struct err *e);
/* Make the directory and the marker, if they are not there. With target.replace a
 * stranger's marker is replaced, and a damaged one. */
int layout_claim(const struct layout *l, const json_t *machine,
		 const json_t *run, struct err *e);
/* Names of disks that were put in this directory, which is ours, and that the plan has no
 * more: an array, the caller's. */
json_t *layout_left(const struct layout *l, const json_t *machine);
/* Take away the marker and the directory, once nothing else is in it; what is mounted there
 * stays. */
int layout_release(const struct layout *l, struct err *e);

/* True when the disk is to be copied (source.disks.NAME.copy is not false). */
bool layout_copies(const json_t *source_disk);

#endif
