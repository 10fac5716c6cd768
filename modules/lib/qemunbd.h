/* SPDX-License-Identifier: Apache-2.0
 * qemunbd - a formatted image as a disk, by way of a confined qemu-nbd (nbdserver.h).
 */
#ifndef DROVER_QEMUNBD_H
#define DROVER_QEMUNBD_H

#include "modules/lib/disk.h"
#include "modules/lib/imgforeign.h"
#include "modules/lib/nbd.h"

/* The header must have been checked (imgcheck.h). flags as disk_open(); DISK_DIRECT
 * gives cache=none. disk->sandbox says how it is confined. disk_close() flushes
 * nothing: call flush first; it waits for the program's end. */
struct disk *qemunbd_open(const char *path, const char *format, unsigned flags,
			  struct err *e);

/* The same of a qcow2 that a QEMU writes to meanwhile: what is read may be torn. Good for
 * looking at a machine, never for copying one. Read only. */
struct disk *qemunbd_open_live(const char *path, struct err *e);
/* A qcow2 that nothing writes to, with a dirty bitmap in it: *nbd, borrowed, answers
 * nbd_dirty(). Read only. NULL with e also when it has no such bitmap, or when that is not
 * whole, as after a crash. */
struct disk *qemunbd_open_dirty(const char *path, const char *bitmap, struct nbd **nbd,
				struct err *e);
/* A connection as a disk, of which messages speak as `name`; takes n over. */
struct disk *qemunbd_of(struct nbd *n, const char *name);

/* The same of an image whose extents `beside` lie in its folder: these are within reach
 * too, and nothing else of it. Read only. */
struct disk *qemunbd_open_split(const char *path, const char *format,
				const struct img_files *beside, unsigned flags,
				struct err *e);

/* An overlay that we made on a base of ours (overlay.h): both are within reach, the
 * base read only. */
struct disk *qemunbd_open_overlay(const char *path, const char *base, unsigned flags,
				  struct err *e);

#endif
