/* SPDX-License-Identifier: Apache-2.0
 * base_claim - whose a base is, for the files of base alone.
 *
 * Beside an image file in a directory which others share is a small one, `.<name>.drover`,
 * that says for which state, plan, machine and disk it was made. It goes with the file. Without
 * the file it says nothing. A damaged one is an error: it may be ours. A file without one is ours
 * if the disk's record says so: older copies have none.
 */
#ifndef DROVER_BASE_CLAIM_H
#define DROVER_BASE_CLAIM_H

#include "engine/base/err.h"
#include "modules/lib/layout.h"
#include "modules/lib/volume.h"
#include "modules/module.h"

enum base_owner { BASE_NOBODYS, BASE_OURS, BASE_OTHERS };

/* What the claim of d->base says; `tag` is ours. -1 with e: it cannot be told. */
int base_claimed(const struct layout_disk *d, const char *tag, struct err *e);
/* Until the descriptor is closed nobody else claims a file in the directory of d->base, where
 * the file system has locks. -1 with e. */
int base_claim_hold(const struct layout_disk *d, struct err *e);
/* Durably say that it is ours, held, before it is made; or no more, after it is gone. -1 with e. */
int base_claim(const struct layout_disk *d, const char *tag, struct err *e);
int base_unclaim(const struct layout_disk *d, struct err *e);

/* target.replace */
bool base_may_replace(struct ctx *c);
/* By what a volume of ours is known, or a file's claim. Owned. */
char *base_tag(struct ctx *c, const char *disk);
/* `tag` stays the caller's as long as *v is used. -1 with e. */
int base_look_volume(const struct layout_disk *d, const char *tag, struct volume *v, struct err *e);

#endif
