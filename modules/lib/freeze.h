/* SPDX-License-Identifier: Apache-2.0
 * freeze - hold a running machine's file systems still, and let go of them
 * whatever happens.
 *
 * The freeze belongs to a watchdog: a process of its own, in a session of its
 * own, locked in memory and spared by the OOM killer, that opened every mount
 * before it froze the first one and writes nothing while it holds them. It thaws
 * in reverse order when it is told to, when the deadline passes, or when the
 * agent that asked for it is gone. A freeze is therefore never forgotten; it can
 * end early, and whoever read the disks meanwhile must ask freeze_end() or
 * freeze_held() whether it lasted. A keeper gives a killed watchdog a successor; who
 * kills both at once leaves a freeze that stands in the ledger, and freeze_release()
 * thaws it.
 *
 * File systems that cannot freeze (the ESP) are synced and, where nothing has
 * them open for writing, remounted read-only until the thaw.
 */
#ifndef DROVER_FREEZE_H
#define DROVER_FREEZE_H

#include "modules/module.h"

struct freeze;

/* Freeze all local writable file systems on the disks of fact `machine` for at
 * most deadline_ms: deepest mounts first, root last, or none at all. Kept, and in the
 * ledger, before anything is frozen: the name by which the watchdog is reached ("freeze")
 * and the mounts ("frozen"). A freeze that this step began before is let go of first. 0
 * with *f owned by the caller; -1 (told) with nothing frozen. */
int freeze_begin(struct ctx *c, const json_t *machine, unsigned deadline_ms,
		 struct freeze **f);
/* Thaw and free f. 0 when the freeze lasted until now; -1
 * (told) when the deadline or a fault ended it earlier: what was read since then
 * is not one instant. */
int freeze_end(struct ctx *c, struct freeze *f);

/* The freeze that an earlier step or attempt began: by what this step kept, else
 * by fact `freeze`. *f is NULL when none was, or it is over. Always 0. */
int freeze_attach(struct ctx *c, struct freeze **f);
/* Milliseconds since its first file system was frozen, when freeze_begin() gave it. */
unsigned freeze_age(const struct freeze *f);
/* Still frozen, as the kernel says too, and for how many milliseconds more? One that would
 * end with another agent than c's of freeze_attach() counts as over. */
bool freeze_held(struct freeze *f, unsigned *left_ms);
/* Give it deadline_ms from now. 0, -1 (told) when it is over. */
int freeze_extend(struct ctx *c, struct freeze *f, unsigned deadline_ms);
/* The same, and from now on it lasts that long whatever becomes of the agent: while the
 * source is being switched off nobody can be asked, only the clock. 0, -1 (told). */
int freeze_seal(struct ctx *c, struct freeze *f, unsigned deadline_ms);
/* Cut this machine's power from the frozen state (reboot(2); an orderly poweroff
 * hangs on a frozen root). Returns only when it failed: -1 (told). */
int freeze_power_off(struct ctx *c, struct freeze *f);
/* What fact `freeze` is to hold, so that later steps can attach. Owned. */
json_t *freeze_fact(const struct freeze *f);
/* Let go of the handle; the file systems stay frozen. NULL is harmless. */
void freeze_free(struct freeze *f);

/* What freeze_begin would freeze, as "/var (ext4)" lines, in its order. */
json_t *freeze_list(const json_t *machine);
/* For undo: thaw what this step froze; fine when it is over already. 0, -1 (told). */
int freeze_undo(struct ctx *c);
/* Let go of a freeze by its name in the ledger; `mounts` ([{dir, dev, flags}], may be
 * NULL) are thawed here when no watchdog is left. 0, also when it is over; -1 (told). */
int freeze_release(struct ctx *c, const char *name, const json_t *mounts);

#endif
