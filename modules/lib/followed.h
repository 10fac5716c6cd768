/* SPDX-License-Identifier: Apache-2.0
 * followed - from a backup on, what is written to the disks: fact `followed`, by which
 * convert.seed knows whether a copy that is filled from that backup is worth it.
 *
 * All of it is volatile: {DISK: {by: "bitmap"|"trace"|"snapshot", digest} | {why}}, with size
 * and used: bytes of the disk, and those that its file takes. digest: of the copy since which
 * all writes are known; without it following would begin with the backup. why: it cannot be
 * followed.
 */
#ifndef DROVER_FOLLOWED_H
#define DROVER_FOLLOWED_H

#include "modules/module.h"

/* probe at the source: tell the fact; `begins` (the backup is yet to be made): a line for
 * each disk that is followed from it on. */
void followed_tell(struct ctx *c, bool begins);

#endif
