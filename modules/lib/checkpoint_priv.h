/* SPDX-License-Identifier: Apache-2.0
 * checkpoint_priv - what the files of checkpoint share; nobody else includes it.
 *
 *   checkpoint.c		names, what can be said beforehand, taking away
 *   checkpoint_pass.c		one pass: its beginning and end
 *   checkpoint_read.c		one pass: its disks, and room for what is overwritten
 *   checkpoint_virsh.c		what libvirt is told and says
 *   checkpoint_image.c		bitmaps in images
 *   checkpoint_guard.c		a backup ends when its step does
 */
#ifndef DROVER_CHECKPOINT_PRIV_H
#define DROVER_CHECKPOINT_PRIV_H

#include "engine/base/json.h"
#include "engine/base/mem.h"
#include "modules/lib/checkpoint.h"

#include <stdbool.h>

/* The scratch file beside an image. Owned. */
char *checkpoint_file(const char *image, const char *name);
/* The directory that a file lies in. Owned. */
char *checkpoint_folder(const char *path);
/* The domain that the source is, by name or UUID, if virsh is here; else NULL. Borrowed. */
const char *checkpoint_domain(const struct ctx *c);
/* Of a list of virt_checkpoints() the newest that says of which copy it is. Owned, or NULL. */
json_t *checkpoint_newest(const json_t *list);

/* A domain as it is now. */
struct virt {
	char *which;		/* "--domain=UUID"; owned */
	const char *uuid;	/* in `which` */
	char *dir;		/* QEMU's own, where it may make a socket; NULL: it is off. Owned */
	json_t *targets;	/* {path of a qcow2 image: "vda"}; owned */
	bool backs_up;		/* a backup runs */
	char *socket;		/* that it serves at, or ""; owned */
	char *names;		/* of its checkpoints, a line each; owned */
};
#define AUTO_VIRT __attribute__((cleanup(virt_free))) struct virt
void virt_free(struct virt *v);

/* By its name or UUID. 1; 0: libvirt has no such domain; -1 with e. */
int virt_look(const char *domain, struct virt *v, struct err *e);
/* The path of the image that is this target; NULL: none. Borrowed. */
const char *virt_path(const struct virt *v, const char *target);

/* The target that this disk of the plan is, if it is a qcow2 that stands alone; else NULL.
 * Borrowed from v. */
const char *checkpoint_target(const struct virt *v, const json_t *spec);

/* Its checkpoints named PREFIX-NUMBER, when it was looked at, the oldest first: [{name, number, parent, created,
 * roots: {DISK: hex}, bitmaps: {TARGET: name}}]. Owned; NULL with e. */
json_t *virt_checkpoints(const struct virt *v, const char *prefix, struct err *e);
/* This one, as it is now, without its number. Owned; NULL with e. */
json_t *virt_checkpoint(const struct virt *v, const char *name, struct err *e);
/* Is its bitmap of this disk whole? Of a domain that is on. */
bool virt_whole(const struct virt *v, const json_t *cp, const char *target);
/* Say in its description of which copy it is; in cp too. */
int virt_note(const struct virt *v, json_t *cp, const json_t *roots, struct err *e);
/* Take it away, with its bitmaps; those of a domain that is off are taken out of the
 * images. */
int virt_forget(const struct virt *v, const json_t *cp, struct err *e);

#define CHECKPOINT_BITMAP "written"	/* what a backup exports it as */

struct checkpoint_part {			/* a disk of this pass */
	const char *name;	/* in the plan; borrowed */
	const char *target;	/* in the domain; borrowed from virt */
	char *path, *scratch;	/* owned */
	char *why;		/* all of it is to be read; owned, NULL: not so */
};

struct checkpoint_pass {
	struct ctx *c;
	struct checkpoint_how how;
	struct virt virt;
	char *name;		/* of all that is ours there: drover-KEY; owned */
	char *socket;		/* NULL: the domain is off; owned */
	json_t *ours;		/* checkpoints that were there; owned */
	json_t *since;		/* of these the one that says of which copy it is, or NULL */
	json_t *next;		/* the one that this pass began, or NULL; owned */
	json_t *roots;		/* what `next` will say; owned */
	struct checkpoint_part *parts;	/* owned */
	size_t count;
	int guard;
	uint64_t looked;	/* at the space that is left, ms */
	const struct checkpoint_part *full;	/* it lies where hardly any is; NULL: none does */
	uint64_t left;		/* bytes, there */
};

/* Begin a backup, and a checkpoint with it unless that is NULL. */
int virt_backup(const struct virt *v, const char *backup, const char *checkpoint,
		struct err *e);
/* Does the backup that runs now, if any, serve at a socket of which `part` is a part? With
 * "" any does. */
bool virt_backs_up(const struct virt *v, const char *part);
/* End that backup if so; no other begins meanwhile. */
int virt_backup_end(const struct virt *v, const char *part, struct err *e);
/* While it is held nobody of us begins or ends a backup of this domain. A file
 * descriptor; -1: it is off. */
int virt_lock(const struct virt *v);

/* Of the bitmap in an image that no QEMU has open: NULL when it is whole and notes writes,
 * else why not; a static text. */
const char *virt_bitmap_fault(const char *path, const char *bitmap);
/* Take it out; fine when there is none. -1 with e. */
int virt_bitmap_remove(const char *path, const char *bitmap, struct err *e);

/* A process of its own that ends the backup at this socket once we are gone, however that
 * comes. It is let go by closing the descriptor after writing a byte. -1 with e. */
int guard_start(const struct virt *v, const char *socket, struct err *e);
void guard_end(int *fd);

#endif
