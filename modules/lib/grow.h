/* SPDX-License-Identifier: Apache-2.0
 * grow - a disk that is bigger at the target: what its owner then types in the guest.
 */
#ifndef DROVER_GROW_H
#define DROVER_GROW_H

#include "modules/module.h"

/* A finding. `disk` is one of the fact `machine`. */
void grow_tell(struct ctx *c, const char *name, const json_t *disk, uint64_t size);

#endif
