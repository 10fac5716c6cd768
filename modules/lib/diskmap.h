/* SPDX-License-Identifier: Apache-2.0
 * diskmap - what the disks of a machine hold, as its description says it: tables,
 * partitions, file systems, and where a running system has them mounted.
 */
#ifndef DROVER_DISKMAP_H
#define DROVER_DISKMAP_H

#include "modules/lib/disk.h"

/* Put table, table_id, grub, backup_table, sector (a GPT's, of an image file) and
 * partitions[{number, start, size, type, name, fs, uuid, partuuid, label, mount}] into `disk`,
 * mount null. A file system without a table is partition 0; where there is no table it says
 * whether the disk is blank. -1 with e when it cannot be read. */
int diskmap_read(struct disk *d, json_t *disk, struct err *e);

/* The mounts of this host: [{dev: "8:1", dir, fs, rw}], of block devices only, what
 * is mounted twice once. Owned. */
json_t *diskmap_mounts(void);
/* Set `mount` of the partitions of a disk that hangs on this host at `path`, also of
 * those found through what lies on them (LVM, LUKS, md): these get `stack` with its
 * kind. Sets disk.mounted. Returns its kernel name ("sda"), or NULL when it is none
 * (an image file). Caller frees. */
char *diskmap_place(json_t *disk, const char *path, const json_t *mounts);

#endif
