/* SPDX-License-Identifier: Apache-2.0
 * gtree - a guest's file tree: the live root of a running source, or the file
 * systems in an image, read (and on overlays written) by code of our own. No kernel
 * mounts a guest's file system, no appliance is started.
 *
 * Links are followed here, inside the tree: "/" is the guest's root, ".." never
 * leads out of it. The ways in below never follow one.
 */
#ifndef DROVER_GTREE_H
#define DROVER_GTREE_H

#include "modules/lib/blkio.h"

#include <sys/types.h>

#define GTREE_FILE_MAX (8u << 20)	/* configuration is never larger */
#define GTREE_LIST_MAX 65536		/* names in one directory */

struct gstat {
	mode_t mode;		/* type and permissions */
	uint64_t size;		/* bytes */
	uint64_t dev, ino;	/* which file it is; dev 0 in images */
};

struct gspace { uint64_t size, free, inodes_free; };

struct gtree;

/* A way in. Paths are relative, without links but for the last component; ""
 * is the root. All fail with errno. */
struct gtree_ops {
	int (*lstat)(struct gtree *t, const char *path, struct gstat *st);
	char *(*readlink)(struct gtree *t, const char *path);
	/* A regular file of at most max bytes (EFBIG), NUL-terminated. */
	char *(*read)(struct gtree *t, const char *path, size_t max, size_t *len);
	int (*list)(struct gtree *t, const char *path,
		    void (*fn)(void *arg, const char *name), void *arg);
	int (*space)(struct gtree *t, const char *path, struct gspace *s);
	/* NULL where the tree is read only. `write` keeps owner, mode and labels
	 * of a file that is there; a new one gets `mode` and root as owner. */
	int (*write)(struct gtree *t, const char *path, const void *p, size_t n,
		     mode_t mode);
	int (*mkdir)(struct gtree *t, const char *path, mode_t mode);
	int (*unlink)(struct gtree *t, const char *path);
	int (*close)(struct gtree *t, struct err *e);	/* flushes; frees t */
};

struct gtree { const struct gtree_ops *ops; };

/* The tree below a directory of this host. NULL with e. */
struct gtree *gtree_live(const char *root, struct err *e);
/* An ext2, ext3 or ext4 file system. `part` is copied; its disk must outlive the
 * tree. Writing asks for a clean journal: a dirty one is refused. NULL with e. */
struct gtree *gtree_ext(const struct blk *part, bool writable, struct err *e);
/* Several file systems as one tree, by mount points. The trees are taken over. */
struct gtree *gtree_union(void);
void gtree_union_add(struct gtree *u, const char *mount, struct gtree *t);

int gtree_close(struct gtree **t, struct err *e);	/* NULL inside is harmless */
void gtree_close_ptr(struct gtree **t);
#define AUTO_GTREE __attribute__((cleanup(gtree_close_ptr))) struct gtree

/* Paths are absolute. Errors are errno; ENOENT where nothing is there. */
int gtree_stat(struct gtree *t, const char *path, struct gstat *st);
int gtree_lstat(struct gtree *t, const char *path, struct gstat *st);
bool gtree_is_file(struct gtree *t, const char *path);
bool gtree_is_dir(struct gtree *t, const char *path);
/* Where a path leads to, links resolved: absolute. Caller frees. */
char *gtree_resolve(struct gtree *t, const char *path);
char *gtree_read(struct gtree *t, const char *path, size_t max, size_t *len);
/* Names sorted, "." and ".." left out; NULL-terminated, freed by gtree_names_free. */
char **gtree_list(struct gtree *t, const char *path);
void gtree_names_free(char ***names);
#define AUTO_NAMES __attribute__((cleanup(gtree_names_free))) char
int gtree_space(struct gtree *t, const char *path, struct gspace *s);
/* Missing directories are made. EROFS on a tree that is read only. */
int gtree_write(struct gtree *t, const char *path, const void *p, size_t n,
		mode_t mode);
int gtree_unlink(struct gtree *t, const char *path);

#endif
