/* SPDX-License-Identifier: Apache-2.0
 * gtree_ext - an ext2, ext3 or ext4 file system as a tree, through libext2fs over a
 * disk of ours: a raw image, a device or a format behind qemu-nbd, at any offset.
 */
#include "modules/lib/gtree_ext.h"
#include "engine/base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static struct ext *ext_of(struct gtree *t)
{
	return (struct ext *)t;
}

int gtree_ext_errno(errcode_t r)
{
	switch (r) {
	case 0:
		return 0;
	case EXT2_ET_FILE_NOT_FOUND:
		errno = ENOENT;
		break;
	case EXT2_ET_NO_DIRECTORY:
		errno = ENOTDIR;
		break;
	case EXT2_ET_BLOCK_ALLOC_FAIL: case EXT2_ET_INODE_ALLOC_FAIL:
	case EXT2_ET_DIR_NO_SPACE: case ENOSPC:
		errno = ENOSPC;
		break;
	default:
		errno = r > 0 && r < 4096 ? (int)r : EUCLEAN;
	}
	return -1;
}

int gtree_ext_find(struct ext *x, const char *path, ext2_ino_t *ino)
{
	*ino = EXT2_ROOT_INO;
	while (*path) {
		size_t n = strcspn(path, "/");
		struct ext2_inode in;
		errcode_t r = ext2fs_read_inode(x->fs, *ino, &in);

		if (!r && !LINUX_S_ISDIR(in.i_mode))
			return errno = ENOTDIR, -1;
		if (!r)
			r = ext2fs_lookup(x->fs, *ino, path, (int)n, NULL, ino);
		if (r)
			return gtree_ext_errno(r);
		path += n + (path[n] == '/');
	}
	return 0;
}

static int load(struct ext *x, const char *path, ext2_ino_t *ino,
		struct ext2_inode *in)
{
	if (gtree_ext_find(x, path, ino) < 0)
		return -1;
	return gtree_ext_errno(ext2fs_read_inode(x->fs, *ino, in));
}

static int ext_lstat(struct gtree *t, const char *path, struct gstat *st)
{
	struct ext2_inode in;
	ext2_ino_t ino;

	if (load(ext_of(t), path, &ino, &in) < 0)
		return -1;
	*st = (struct gstat){ .mode = in.i_mode, .size = EXT2_I_SIZE(&in), .ino = ino };
	return 0;
}

static char *read_file(struct ext *x, ext2_ino_t ino, uint64_t size, size_t *len)
{
	AUTO_FREE char *p = mem_alloc(size + 1);
	ext2_file_t f;
	size_t done = 0;
	errcode_t r = ext2fs_file_open(x->fs, ino, 0, &f);

	if (r)
		return gtree_ext_errno(r), NULL;
	while (!r && done < size) {
		unsigned want = size - done > 1 << 20 ? 1 << 20
						      : (unsigned)(size - done);
		unsigned got = 0;

		r = ext2fs_file_read(f, p + done, want, &got);
		if (!r && !got)
			break;
		done += got;
	}
	ext2fs_file_close(f);
	if (r)
		return gtree_ext_errno(r), NULL;
	if (len)
		*len = done;
	char *out = p;
	p = NULL;
	return out;
}

static char *ext_read(struct gtree *t, const char *path, size_t max, size_t *len)
{
	struct ext2_inode in;
	ext2_ino_t ino;

	if (load(ext_of(t), path, &ino, &in) < 0)
		return NULL;
	if (!LINUX_S_ISREG(in.i_mode))
		return errno = LINUX_S_ISDIR(in.i_mode) ? EISDIR : EINVAL, NULL;
	if (EXT2_I_SIZE(&in) > max)
		return errno = EFBIG, NULL;
	return read_file(ext_of(t), ino, EXT2_I_SIZE(&in), len);
}

static char *ext_readlink(struct gtree *t, const char *path)
{
	struct ext *x = ext_of(t);
	struct ext2_inode in;
	ext2_ino_t ino;

	if (load(x, path, &ino, &in) < 0)
		return NULL;
	if (!LINUX_S_ISLNK(in.i_mode) || in.i_size >= 4096)
		return errno = EINVAL, NULL;
	if (ext2fs_is_fast_symlink(&in))
		return mem_strndup((const char *)in.i_block,
				   in.i_size < 60 ? in.i_size : 60);
	return read_file(x, ino, in.i_size, NULL);
}

struct listing {
	void (*fn)(void *arg, const char *name);
	void *arg;
};

static int list_entry(struct ext2_dir_entry *de, int off, int blocksize, char *buf,
		      void *arg)
{
	struct listing *l = arg;
	AUTO_FREE char *name = mem_strndup(de->name, (size_t)ext2fs_dirent_name_len(de));

	(void)off; (void)blocksize; (void)buf;
	if (!strchr(name, '/'))
		l->fn(l->arg, name);
	return 0;
}

static int ext_list(struct gtree *t, const char *path,
		    void (*fn)(void *arg, const char *name), void *arg)
{
	struct listing l = { .fn = fn, .arg = arg };
	ext2_ino_t ino;

	if (gtree_ext_find(ext_of(t), path, &ino) < 0)
		return -1;
	return gtree_ext_errno(ext2fs_dir_iterate(ext_of(t)->fs, ino, 0, NULL,
						  list_entry, &l));
}

static int ext_space(struct gtree *t, const char *path, struct gspace *s)
{
	ext2_filsys fs = ext_of(t)->fs;
	uint64_t free = ext2fs_free_blocks_count(fs->super);
	uint64_t kept = ext2fs_r_blocks_count(fs->super);

	(void)path;
	*s = (struct gspace){ .size = ext2fs_blocks_count(fs->super) * fs->blocksize,
			      .free = (free > kept ? free - kept : 0) * fs->blocksize,
			      .inodes_free = fs->super->s_free_inodes_count };
	return 0;
}

static int ext_close(struct gtree *t, struct err *e)
{
	struct ext *x = ext_of(t);
	errcode_t r = ext2fs_close_free(&x->fs);
	int sys = 0;

	if (!r && x->writable && x->part.disk->ops->flush(x->part.disk, e) < 0)
		sys = -1;
	if (r)
		sys = err_set(e, ERR_STEP, "cannot write the file system on '%s': %s",
			      x->part.disk->path, error_message(r));
	free(x);
	return sys;
}

static const struct gtree_ops ext_read_ops = {
	.lstat = ext_lstat, .readlink = ext_readlink, .read = ext_read,
	.list = ext_list, .space = ext_space, .close = ext_close,
};

static const struct gtree_ops ext_write_ops = {
	.lstat = ext_lstat, .readlink = ext_readlink, .read = ext_read,
	.list = ext_list, .space = ext_space, .close = ext_close,
	.write = gtree_ext_write, .mkdir = gtree_ext_mkdir,
	.unlink = gtree_ext_unlink,
};

static int check_open(struct ext *x, struct err *e)
{
	const char *path = x->part.disk->path;
	errcode_t r;

	if (!x->writable)
		return 0;
	if (ext2fs_has_feature_journal_needs_recovery(x->fs->super))
		return err_set(e, ERR_STEP, "cannot write the file system on '%s': "
			       "its journal was not replayed", path);
	if (x->fs->super->s_state & EXT2_ERROR_FS)
		return err_set(e, ERR_STEP, "cannot write the file system on '%s': "
			       "it is marked as damaged", path);
	r = ext2fs_read_bitmaps(x->fs);
	return r ? err_set(e, ERR_STEP, "cannot read the file system on '%s': %s",
			   path, error_message(r)) : 0;
}

struct gtree *gtree_ext(const struct blk *part, bool writable, struct err *e)
{
	struct ext *x = mem_alloc(sizeof(*x));
	int flags = EXT2_FLAG_64BITS | (writable ? EXT2_FLAG_RW : 0);
	char name[64];
	errcode_t r;

	x->t.ops = writable ? &ext_write_ops : &ext_read_ops;
	x->part = *part;
	x->writable = writable;
	gtree_ext_io_name(x, name);
	initialize_ext2_error_table();
	r = ext2fs_open2(name, NULL, flags, 0, 0, gtree_ext_io, &x->fs);
	if (!r && check_open(x, e) == 0)
		return &x->t;
	if (r)
		err_set(e, ERR_STEP, "cannot read the file system on '%s': %s",
			part->disk->path, error_message(r));
	else
		ext2fs_free(x->fs);
	free(x);
	return NULL;
}
