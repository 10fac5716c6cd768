/* SPDX-License-Identifier: Apache-2.0
 * gtree_ext - shared by the files that make an ext file system a tree: gtree_ext.c
 * reads, gtree_extw.c writes, gtree_extio.c brings the blocks.
 */
#ifndef DROVER_GTREE_EXT_H
#define DROVER_GTREE_EXT_H

#include "modules/lib/gtree.h"

#include <ext2fs/ext2_fs.h>
#include <ext2fs/ext2fs.h>

struct ext {
	struct gtree t;		/* first: a tree is cast to it */
	struct blk part;	/* where the file system lies */
	ext2_filsys fs;
	bool writable;
};

/* libext2fs hands its I/O only a name: this one leads back to x->part. */
extern const io_manager gtree_ext_io;
void gtree_ext_io_name(struct ext *x, char out[64]);

int gtree_ext_errno(errcode_t r);	/* 0, or -1 with errno */
int gtree_ext_find(struct ext *x, const char *path, ext2_ino_t *ino);

int gtree_ext_write(struct gtree *t, const char *path, const void *p, size_t n,
		    mode_t mode);
int gtree_ext_mkdir(struct gtree *t, const char *path, mode_t mode);
int gtree_ext_unlink(struct gtree *t, const char *path);

#endif
