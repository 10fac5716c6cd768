/* SPDX-License-Identifier: Apache-2.0
 * devname - which partition a guest's name for a device means, and a name for it
 * that stays true when the disks hang on another bus.
 */
#ifndef DROVER_DEVNAME_H
#define DROVER_DEVNAME_H

#include "engine/base/json.h"

/* The partition of fact `machine` that "UUID=x", "LABEL=x", "/dev/disk/by-uuid/x" or
 * "/dev/sda1" means to the guest; NULL when it is none of them. Borrowed. Kernel
 * names are looked up in `kernel_names` of the fact; where the source does not run
 * there are none, and letters count the disks in the plan's order. */
json_t *devname_partition(const json_t *machine, const char *name);
/* The disk that "/dev/sda" (no partition) means; NULL. Borrowed. */
json_t *devname_disk(const json_t *machine, const char *name);

/* A name that depends on the bus or the order of discovery: sd, hd, vd, xvd, nvme,
 * cciss, mmcblk, by-path, by-id. */
bool devname_is_unstable(const char *name);
/* "UUID=..." or, where the file system has none, "PARTUUID=..."; NULL if neither.
 * Caller frees. */
char *devname_stable(const json_t *partition);

#endif
