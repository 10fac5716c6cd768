/* SPDX-License-Identifier: Apache-2.0
 * run/back - backward: undo, the trees that are compared, what is taken away.
 */
#ifndef DROVER_RUN_BACK_H
#define DROVER_RUN_BACK_H

#include "engine/run/priv.h"

/* Bring the machine to before `phase`. `backout`: because a cutover step failed. */
void undo_start(struct run *r, struct mach *m, int phase, bool backout);
/* Say what that would undo, what stays and what would be lost. */
void undo_preview(struct run *r, struct mach *m);
/* How much the target wrote since it serves, asked of its host; then then(arg). */
void lost_ask(struct run *r, struct mach *m, void (*then)(void *arg), void *arg);

/* The machine's tree as it must be before `phase`, built from what the probes say
 * now: asks them, writes it down, compares. Then then(arg, equal). `whole`: earlier
 * phases are asked again too. */
void rebuild_start(struct run *r, struct mach *m, int phase, bool whole,
		   void (*then)(void *arg, bool equal), void *arg);
void rollback_begin(struct run *r);	/* all machines, in the order of `after` */
void rollback_machine_over(struct run *r, struct mach *m, bool ok);

void cleanup_begin(struct run *r);
/* Before a run: end what follows a source for a step that the plan no longer has. A preview
 * says so. */
void cleanup_strays(struct run *r);
void cleanup_preview_strays(struct run *r);
void finalize_begin(struct run *r);

#endif
