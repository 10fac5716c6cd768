/* SPDX-License-Identifier: Apache-2.0
 * guestkit - small guests for tests: a directory tree, made into ext4 images and
 * disks with mke2fs -d and sfdisk; nothing is mounted.
 */
#ifndef DROVER_TESTS_GUESTKIT_H
#define DROVER_TESTS_GUESTKIT_H

#include "modules/lib/gtree.h"

struct kit {
	char dir[64];		/* of its own, below /tmp */
	char *tree;		/* the guest's files before they are an image */
	struct disk *disks[8];	/* open until kit_free() */
	int count;
	char *paths[8];		/* of the images */
	int images;
};

struct kit *kit_new(void);
void kit_free(struct kit *k);

/* Paths are relative to the tree; directories are made. */
void kit_file(struct kit *k, const char *path, const char *text);
void kit_bytes(struct kit *k, const char *path, const void *p, size_t n);
void kit_link(struct kit *k, const char *path, const char *target);
void kit_clear(struct kit *k);

/* An ext4 of `mib` at `offset` of a file in k->dir. Its path, owned by k. */
const char *kit_image(struct kit *k, const char *name, unsigned mib, uint64_t offset);
/* Run a program; the test fails when that does. */
void kit_run(const char *const *argv, const char *input);
void kit_fsck(struct kit *k, const char *name, uint64_t offset);
/* The file system at that offset; its disk is closed by kit_free. */
struct gtree *kit_open(struct kit *k, const char *name, uint64_t offset, bool rw);
struct gtree *kit_open_err(struct kit *k, const char *name, uint64_t offset, bool rw,
			   struct err *e);

#endif
