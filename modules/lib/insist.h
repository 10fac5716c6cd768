/* SPDX-License-Identifier: Apache-2.0
 * insist - a plan whose copy says `changes: bitmap`, `trace` or `snapshot` insists on that way
 * to know what was written: it is told of every disk that cannot be followed so.
 */
#ifndef DROVER_INSIST_H
#define DROVER_INSIST_H

#include "modules/module.h"

/* Of a probe at the source: a blocker, no failure, for a rollback asks too. */
void insist_tell(struct ctx *c);
/* Before anything is copied: -1 when the plan insists on what cannot be, and c says so. */
int insist_heed(struct ctx *c);

#endif
