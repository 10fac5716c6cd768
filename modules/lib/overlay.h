/* SPDX-License-Identifier: Apache-2.0
 * overlay - a thin qcow2 over a base that is not written to: made, given a clean file
 * system, changed as the change set says, and looked at before anything boots from it.
 *
 * Overlays are given as JSON: {disk: {"path": overlay, "base": what it stands on,
 * "base_format": "raw"|"qcow2"}}.
 */
#ifndef DROVER_OVERLAY_H
#define DROVER_OVERLAY_H

#include "modules/module.h"

/* Make the file `path`; EEXIST is an error. The base is named in it by its absolute
 * path and its format. -1, told. */
int overlay_make(struct ctx *c, const char *base, const char *base_format,
		 const char *path);

/* Replay journals that were not (a guest that was paused, or died; not one that was
 * frozen). `fuzzy`: the base was copied while it was written to, so damage is repaired
 * and told as a warning; else damage is a failure. Does nothing, quickly, when all is
 * clean. Only on overlays, never on a base. -1, told. */
int overlay_mend(struct ctx *c, const json_t *machine, const json_t *overlays,
		 bool fuzzy);

/* Apply the change set. Every edit's digest before must match; where one does not, the
 * rules work out all edits again from the overlay's own files, and the difference is
 * told. *applied (may be NULL) is the change set that was written; owned. -1, told. */
int changeset_apply(struct ctx *c, const json_t *changeset, const json_t *machine,
		    const json_t *overlays, json_t **applied);

/* The offline boot proof, read only: each edit is in place, the file systems are clean,
 * every device that fstab names is one of the machine's, the kernel and the initramfs
 * that the boot loader starts are there. -1, told, naming what is not. */
int overlay_check(struct ctx *c, const json_t *changeset, const json_t *machine,
		  const json_t *overlays);

#endif
