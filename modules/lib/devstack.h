/* SPDX-License-Identifier: Apache-2.0
 * devstack - what lies on which disk: on the disk itself, on its partitions, on what device
 * mapper or md made of them, on a loop whose file lies there.
 */
#ifndef DROVER_DEVSTACK_H
#define DROVER_DEVSTACK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* A disk: a block device, or a file. */
struct devstack_id {
	dev_t dev;
	ino_t ino;		/* 0: a block device */
};

/* What stands at this path; -1 with errno. */
int devstack_id(const char *path, struct devstack_id *id);
/* Does this block device lie on any of these disks, or is it one? *level (may be NULL) grows
 * by the loops that lie between. */
bool devstack_on(const struct devstack_id *disk, size_t n, dev_t dev, int *level);
/* "8:1" as sysfs writes it; 0: it is none. */
dev_t devstack_parse(const char *text);

#endif
