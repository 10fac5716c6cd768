/* SPDX-License-Identifier: Apache-2.0
 * imgkind - the formats in which drover makes images, and what each of them bears.
 */
#ifndef DROVER_IMGKIND_H
#define DROVER_IMGKIND_H

#include "engine/base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct img_kind {
	const char *name;	/* as a plan and QEMU say it */
	const char *options;	/* for qemu-img create; NULL: a plain file */
	uint64_t max;		/* bytes that a disk in it may have; 0: no bound of its own */
	bool grows;		/* it can be made longer later */
	bool torn;		/* a failed write, or a power cut while it is written to, may
				   damage it elsewhere: its tables have no journal */
	bool libvirt;		/* libvirt knows it; else it takes a base for raw, silently */
};

/* NULL: drover makes none of that format. */
const struct img_kind *img_kind(const char *format);
#define IMG_KINDS "raw, qcow2, vmdk, vhdx, vpc, vdi"

/* Make an image file for a disk of that size; EEXIST is an error. */
int img_create(const char *path, const char *format, uint64_t size, struct err *e);

#endif
