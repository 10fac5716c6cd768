/* SPDX-License-Identifier: Apache-2.0
 * disk - a disk to read from or to write to: an image file, a block device, or a
 * formatted image behind qemu-nbd. All are one seam of a few functions.
 *
 * All functions may be called by several threads at once, except disk_close().
 * Buffers are aligned to DISK_ALIGN and have room up to the next multiple of it.
 */
#ifndef DROVER_DISK_H
#define DROVER_DISK_H

#include "engine/base/err.h"
#include "engine/base/json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DISK_ALIGN 4096u

struct disk;

struct disk_ops {
	/* n bytes at `at`, all of them inside the disk. Errors name both. */
	int (*read)(struct disk *d, void *buf, size_t n, uint64_t at, struct err *e);
	int (*write)(struct disk *d, const void *buf, size_t n, uint64_t at,
		     struct err *e);
	/* Make n bytes read as zeros; gives the space back where that is possible. */
	int (*zero)(struct disk *d, uint64_t at, uint64_t n, struct err *e);
	/* All that was written is on stable storage on return. */
	int (*flush)(struct disk *d, struct err *e);
	/* The run that begins at `at`: its length (>= 1, not beyond the end), and
	 * whether it is known to read as zeros. */
	int (*extent)(struct disk *d, uint64_t at, uint64_t *len, bool *hole,
		      struct err *e);
	/* Ends and frees; reports what only closing can tell. */
	int (*close)(struct disk *d, struct err *e);
};

struct disk {
	const struct disk_ops *ops;
	char *path;		/* owned; for messages */
	uint64_t size;		/* bytes, fixed while it is open */
	unsigned sector;	/* logical sector size */
	bool block;		/* a block device */
	bool direct;		/* reads go past the page cache */
	bool blank;		/* made just now: reads as zeros where nothing was written */
	const char *sandbox;	/* how the program behind it is confined; NULL: none behind it */
};

enum {
	DISK_WRITE = 1,		/* for writing; a block device exclusively */
	DISK_DIRECT = 2,	/* past the page cache, as far as the file system has such a thing:
				   reads (of a block device always), or, for writing, whole blocks */
	DISK_LIVE = 4,		/* for looking only: also a qcow2 that a QEMU writes to, of which
				   what is read may be torn */
};

/* A raw file or a block device. */
struct disk *disk_open(const char *path, unsigned flags, struct err *e);
/* As a plan names it: {id | path | serial | image, format}. Images other than raw
 * have their header checked and come through a confined qemu-nbd. */
struct disk *disk_open_source(const char *name, const json_t *spec, unsigned flags,
			      struct err *e);
/* An image of any format (imgkind.h) that is there already; a vmdk of several files only
 * to be read. */
struct disk *disk_open_image(const char *path, const char *format, unsigned flags,
			     struct err *e);
/* Close and forget; safe on NULL. Without an error to fill faults are dropped. */
int disk_close(struct disk **d, struct err *e);
void disk_close_ptr(struct disk **d);
#define AUTO_DISK __attribute__((cleanup(disk_close_ptr))) struct disk

/* What stands where a plan points: the path of the device or image. Caller frees;
 * NULL with e: nothing there, or several. */
char *disk_find(const char *name, const json_t *spec, struct err *e);
/* "/dev/sda" of "sda", "/dev/cciss/c0d0" of "cciss!c0d0", as sysfs writes it. Caller frees. */
char *disk_node(const char *kernel_name);
/* Which device stands there, whatever the kernel calls it since its last boot: by its own
 * serial number, UUID or file. NULL: no device, or it has none of these. Caller frees. */
char *disk_device(const char *path);
/* A block device's directory in sysfs, "/sys/devices/.../sda/sda1". Owned; NULL: it is none. */
char *disk_sys(const char *path);
/* What can be said without opening it for work; used: what a file takes, busy: a QEMU writes
 * to it. Read only; a qcow2's size is read from its header, of other images a confined qemu-nbd is
 * asked. */
struct disk_info { uint64_t size, used; unsigned sector; bool block, busy; };
int disk_info(const char *path, const char *format, struct disk_info *i,
	      struct err *e);

/* Bytes that are read of it in such chunks: of those that are not known to be all zeros. Where
 * the extents cannot be told, its size. */
uint64_t disk_due(struct disk *d, uint32_t chunk);

void *disk_buffer(size_t n);	/* aligned, n rounded up to DISK_ALIGN; free() */

#endif
