/* SPDX-License-Identifier: Apache-2.0
 * obstacles - what stands in the way of moving a machine, or has to be known before, as
 * findings; by its description (fact `machine`), whose mounts are known.
 */
#ifndef DROVER_OBSTACLES_H
#define DROVER_OBSTACLES_H

#include "modules/lib/disk.h"
#include "modules/module.h"

/* Of this host itself; mounts as diskmap_mounts() tells. */
void obstacles_live(struct ctx *c, const json_t *machine, const json_t *mounts);
/* Of a machine that is looked at from outside: `disks` in the order of its description, on
 * which so many root file systems were found. */
void obstacles_still(struct ctx *c, const json_t *machine, struct disk *const *disks, int roots);

/* Of each disk that is another one by a second name, or lies on another one (a volume, a
 * partition, an image) that is copied whole as well. disks: [{name, path, copy}]. */
void obstacles_twice(struct ctx *c, const json_t *disks);

#endif
