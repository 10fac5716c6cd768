/* SPDX-License-Identifier: Apache-2.0
 * volume - LVM logical volumes, by LVM's own programs. Ours carry a tag that names
 * state, machine and disk: one without it is a stranger's.
 */
#ifndef DROVER_VOLUME_H
#define DROVER_VOLUME_H

#include "engine/base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct volume {
	const char *vg, *name;	/* borrowed */
	const char *tag;	/* of ours; borrowed */
	/* what volume_look() saw */
	bool exists, ours;
	uint64_t size;		/* bytes */
	char *path;		/* of its device; owned: volume_free() */
};
#define AUTO_VOLUME __attribute__((cleanup(volume_free))) struct volume
void volume_free(struct volume *v);

/* -1 with e: LVM is missing there, or knows no such group. */
int volume_look(struct volume *v, struct err *e);
/* Make it, with our tag, its old signatures wiped; LVM rounds the size up to whole
 * extents. It must not exist. */
int volume_make(const struct volume *v, uint64_t size, struct err *e);
/* Make it at least `size` bytes long. */
int volume_grow(const struct volume *v, uint64_t size, struct err *e);
/* Put our tag on one that exists. */
int volume_adopt(const struct volume *v, struct err *e);
/* Remove it, whoever's it is: look first. */
int volume_remove(const struct volume *v, struct err *e);

/* Bytes that are free in a group. */
int volume_group_free(const char *vg, uint64_t *bytes, struct err *e);

#endif
