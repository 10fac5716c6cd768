/* SPDX-License-Identifier: Apache-2.0
 * space - is there room at the target for what will be written? Asked of file systems
 * and volume groups.
 */
#ifndef DROVER_SPACE_H
#define DROVER_SPACE_H

#include "modules/module.h"

/* Look at every place that disks of the machine go to. Findings where a place cannot be
 * used or has too little room. `machine` is that fact; NULL: sizes are not known, only
 * the places are looked at. What is copied already needs nothing.
 * *told (may be NULL) is {"free": {PLACE: bytes}, "needed": {PLACE: bytes}}; owned. */
void space_check(struct ctx *c, const json_t *machine, json_t **told);

#endif
