/* SPDX-License-Identifier: Apache-2.0
 * dm - what the kernel's device mapper says of its devices.
 */
#ifndef DROVER_DM_H
#define DROVER_DM_H

#include "engine/base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* The UUID by which the device mapper knows what stands at this path: "LVM-..." of a volume.
 * NULL: it is none of its devices. Owned. */
char *dm_uuid(const char *path);
/* The node of the device with this UUID; NULL: there is none. Owned. */
char *dm_node(const char *uuid);

/* The device mapper itself, to be asked; -1 with e. A file descriptor. */
int dm_open(struct err *e);
/* What the target of a device that has just one says of itself, as the kernel has it in
 * memory now: "16/32768 16". May be called by several threads. Owned; NULL with e. */
char *dm_status(int dm, const char *uuid, struct err *e);

/* How full a snapshot is, by its status, in sectors. */
struct dm_fill {
	uint64_t used, total;
};
/* False: it is lost ("Invalid"): it ran full, or its store cannot be read or written. What
 * was read from it before this status was asked is right if it is whole. */
bool dm_fill_of(const char *status, struct dm_fill *f);

#endif
