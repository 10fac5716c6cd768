/* SPDX-License-Identifier: Apache-2.0
 * gtree_extw - changing files of an ext file system. A file that is there keeps its
 * inode, and with it owner, mode and labels; a new one takes the SELinux label of its
 * directory, which is what nearly every policy would give it.
 */
#include "modules/lib/gtree_ext.h"
#include "engine/base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define LABEL "security.selinux"

/* The directory and the name in it. *name points into path. */
static int find_parent(struct ext *x, const char *path, ext2_ino_t *dir,
		       const char **name)
{
	const char *slash = strrchr(path, '/');
	AUTO_FREE char *up = slash ? mem_strndup(path, (size_t)(slash - path))
				   : mem_strdup("");

	*name = slash ? slash + 1 : path;
	if (!**name || strlen(*name) > EXT2_NAME_LEN)
		return errno = EINVAL, -1;
	return gtree_ext_find(x, up, dir);
}

static errcode_t link_name(ext2_filsys fs, ext2_ino_t dir, const char *name,
			   ext2_ino_t ino, int type)
{
	errcode_t r = ext2fs_link(fs, dir, name, ino, type);

	if (r != EXT2_ET_DIR_NO_SPACE)
		return r;
	r = ext2fs_expand_dir(fs, dir);
	return r ? r : ext2fs_link(fs, dir, name, ino, type);
}

static void copy_label(ext2_filsys fs, ext2_ino_t from, ext2_ino_t to)
{
	struct ext2_xattr_handle *h = NULL;
	void *value = NULL;
	size_t n = 0;

	if (ext2fs_xattrs_open(fs, from, &h))
		return;
	if (ext2fs_xattrs_read(h) || ext2fs_xattr_get(h, LABEL, &value, &n))
		value = NULL;
	ext2fs_xattrs_close(&h);
	if (!value)
		return;
	if (!ext2fs_xattrs_open(fs, to, &h)) {
		if (!ext2fs_xattrs_read(h))
			ext2fs_xattr_set(h, LABEL, value, n);
		ext2fs_xattrs_close(&h);
	}
	ext2fs_free_mem(&value);
}

static errcode_t init_extents(ext2_filsys fs, ext2_ino_t ino,
			      struct ext2_inode *in)
{
	ext2_extent_handle_t h;
	errcode_t r;

	if (!ext2fs_has_feature_extents(fs->super))
		return 0;
	in->i_flags |= EXT4_EXTENTS_FL;
	r = ext2fs_extent_open2(fs, ino, in, &h);
	if (!r)
		ext2fs_extent_free(h);
	return r;
}

static errcode_t create(struct ext *x, ext2_ino_t dir, const char *name,
			mode_t mode, ext2_ino_t *ino)
{
	struct ext2_inode in = { 0 };
	uint32_t now = (uint32_t)time(NULL);
	errcode_t r = ext2fs_new_inode(x->fs, dir, LINUX_S_IFREG | (int)mode, NULL, ino);

	if (r)
		return r;
	in.i_mode = (uint16_t)(LINUX_S_IFREG | (mode & 07777));
	in.i_atime = in.i_ctime = in.i_mtime = now;
	in.i_links_count = 1;
	r = init_extents(x->fs, *ino, &in);
	if (!r)
		r = ext2fs_write_new_inode(x->fs, *ino, &in);
	if (!r)
		r = link_name(x->fs, dir, name, *ino, EXT2_FT_REG_FILE);
	if (r)
		return r;
	ext2fs_inode_alloc_stats2(x->fs, *ino, +1, 0);
	copy_label(x->fs, dir, *ino);
	return 0;
}

static errcode_t fill(struct ext *x, ext2_ino_t ino, const char *p, size_t n)
{
	ext2_file_t f;
	unsigned wrote;
	errcode_t r = ext2fs_file_open(x->fs, ino, EXT2_FILE_WRITE, &f);

	if (r)
		return r;
	r = ext2fs_file_set_size2(f, 0);
	while (!r && n) {
		unsigned k = n > 1 << 20 ? 1 << 20 : (unsigned)n;

		r = ext2fs_file_write(f, p, k, &wrote);
		if (!r && !wrote)
			r = EXT2_ET_SHORT_WRITE;
		p += wrote;
		n -= wrote;
	}
	errcode_t closed = ext2fs_file_close(f);
	return r ? r : closed;
}

static errcode_t touch(struct ext *x, ext2_ino_t ino)
{
	struct ext2_inode in;
	errcode_t r = ext2fs_read_inode(x->fs, ino, &in);

	if (r)
		return r;
	in.i_mtime = in.i_ctime = (uint32_t)time(NULL);
	return ext2fs_write_inode(x->fs, ino, &in);
}

int gtree_ext_write(struct gtree *t, const char *path, const void *p, size_t n,
		    mode_t mode)
{
	struct ext *x = (struct ext *)t;
	struct gstat st;
	ext2_ino_t dir, ino;
	const char *name;
	errcode_t r = 0;

	if (find_parent(x, path, &dir, &name) < 0)
		return -1;
	if (t->ops->lstat(t, path, &st) == 0) {
		if (!S_ISREG(st.mode))
			return errno = EINVAL, -1;
		ino = (ext2_ino_t)st.ino;
	} else if (errno != ENOENT) {
		return -1;
	} else {
		r = create(x, dir, name, mode, &ino);
	}
	if (!r)
		r = fill(x, ino, p, n);
	if (!r)
		r = touch(x, ino);
	return gtree_ext_errno(r);
}

int gtree_ext_mkdir(struct gtree *t, const char *path, mode_t mode)
{
	struct ext *x = (struct ext *)t;
	struct ext2_inode in;
	ext2_ino_t dir, ino;
	const char *name;
	errcode_t r;

	if (find_parent(x, path, &dir, &name) < 0)
		return -1;
	r = ext2fs_mkdir(x->fs, dir, 0, name);
	if (r == EXT2_ET_DIR_NO_SPACE && !ext2fs_expand_dir(x->fs, dir))
		r = ext2fs_mkdir(x->fs, dir, 0, name);
	if (r)
		return gtree_ext_errno(r);
	r = ext2fs_lookup(x->fs, dir, name, (int)strlen(name), NULL, &ino);
	if (!r)
		r = ext2fs_read_inode(x->fs, ino, &in);
	if (r)
		return gtree_ext_errno(r);
	in.i_mode = (uint16_t)(LINUX_S_IFDIR | (mode & 07777));
	r = ext2fs_write_inode(x->fs, ino, &in);
	if (!r)
		copy_label(x->fs, dir, ino);
	return gtree_ext_errno(r);
}

int gtree_ext_unlink(struct gtree *t, const char *path)
{
	struct ext *x = (struct ext *)t;
	struct ext2_inode in;
	ext2_ino_t dir, ino;
	const char *name;
	errcode_t r;

	if (find_parent(x, path, &dir, &name) < 0 ||
	    gtree_ext_find(x, path, &ino) < 0)
		return -1;
	r = ext2fs_read_inode(x->fs, ino, &in);
	if (!r && LINUX_S_ISDIR(in.i_mode))
		return errno = EISDIR, -1;
	if (!r)
		r = ext2fs_unlink(x->fs, dir, name, ino, 0);
	if (r || (in.i_links_count && --in.i_links_count))
		return gtree_ext_errno(r ? r : ext2fs_write_inode(x->fs, ino, &in));
	in.i_dtime = (uint32_t)time(NULL);
	r = ext2fs_write_inode(x->fs, ino, &in);
	if (!r && ext2fs_inode_has_valid_blocks2(x->fs, &in))
		r = ext2fs_punch(x->fs, ino, NULL, NULL, 0, ~0ULL);
	if (!r)
		ext2fs_inode_alloc_stats2(x->fs, ino, -1, 0);
	return gtree_ext_errno(r);
}
