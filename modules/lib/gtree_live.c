/* SPDX-License-Identifier: Apache-2.0
 * gtree_live - the tree below a directory of this host, read only. Each component
 * is opened from the one before it with O_NOFOLLOW, so nothing that changes while we
 * walk can lead out of the root, on kernels of any age.
 */
#include "modules/lib/gtree.h"
#include "engine/base/io.h"
#include "engine/base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

struct live {
	struct gtree t;
	int root;		/* O_PATH */
};

/* The directory that holds the last component; *name points into `path`. */
static int open_parent(struct gtree *t, const char *path, const char **name)
{
	int fd = fcntl(((struct live *)t)->root, F_DUPFD_CLOEXEC, 0);

	for (const char *slash; fd >= 0 && (slash = strchr(path, '/'));
	     path = slash + 1) {
		AUTO_FREE char *dir = mem_strndup(path, (size_t)(slash - path));
		int next = openat(fd, dir, O_PATH | O_DIRECTORY | O_NOFOLLOW |
				  O_CLOEXEC);
		int saved = errno;

		close(fd);
		errno = saved;
		fd = next;
	}
	*name = *path ? path : ".";
	return fd;
}

static int open_at(struct gtree *t, const char *path, int flags)
{
	const char *name;
	AUTO_FD dir = open_parent(t, path, &name);

	return dir < 0 ? -1 : openat(dir, name, flags | O_NOFOLLOW | O_CLOEXEC);
}

static int live_lstat(struct gtree *t, const char *path, struct gstat *out)
{
	const char *name;
	AUTO_FD dir = open_parent(t, path, &name);
	struct stat st;

	if (dir < 0 || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -1;
	*out = (struct gstat){ .mode = st.st_mode, .size = (uint64_t)st.st_size,
			       .dev = st.st_dev, .ino = st.st_ino };
	return 0;
}

static char *live_readlink(struct gtree *t, const char *path)
{
	const char *name;
	AUTO_FD dir = open_parent(t, path, &name);
	char buf[PATH_MAX];
	ssize_t n = dir < 0 ? -1 : readlinkat(dir, name, buf, sizeof(buf));

	return n < 0 ? NULL : mem_strndup(buf, (size_t)n);
}

/* Files of /proc and /sys say size 0: read on until the end or the bound. */
static char *read_fd(int fd, size_t max, size_t *len)
{
	AUTO_STR b = { 0 };
	char buf[16384];
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0 || (n < 0 && errno == EINTR)) {
		if (n > 0)
			str_addn(&b, buf, (size_t)n);
		if (b.len > max)
			return errno = EFBIG, NULL;
	}
	if (n < 0)
		return NULL;
	if (len)
		*len = b.len;
	return str_take(&b);
}

static char *live_read(struct gtree *t, const char *path, size_t max, size_t *len)
{
	AUTO_FD fd = open_at(t, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return NULL;
	if (!S_ISREG(st.st_mode))
		return errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL, NULL;
	return read_fd(fd, max, len);
}

static int live_list(struct gtree *t, const char *path,
		     void (*fn)(void *arg, const char *name), void *arg)
{
	int fd = open_at(t, path, O_RDONLY | O_DIRECTORY);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d) {
		mem_close_fd(&fd);
		return -1;
	}
	for (struct dirent *de; (de = readdir(d)); )
		fn(arg, de->d_name);
	closedir(d);
	return 0;
}

static int live_space(struct gtree *t, const char *path, struct gspace *s)
{
	AUTO_FD fd = open_at(t, path, O_RDONLY | O_NONBLOCK);
	struct statvfs v;

	if (fd < 0 || fstatvfs(fd, &v) < 0)
		return -1;
	*s = (struct gspace){ .size = v.f_blocks * v.f_frsize,
			      .free = v.f_bavail * v.f_frsize,
			      .inodes_free = v.f_files ? v.f_favail : UINT64_MAX };
	return 0;
}

static int live_close(struct gtree *t, struct err *e)
{
	struct live *l = (struct live *)t;

	(void)e;
	mem_close_fd(&l->root);
	free(l);
	return 0;
}

static const struct gtree_ops live_ops = {
	.lstat = live_lstat,
	.readlink = live_readlink,
	.read = live_read,
	.list = live_list,
	.space = live_space,
	.close = live_close,
};

struct gtree *gtree_live(const char *root, struct err *e)
{
	struct live *l;
	int fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0) {
		err_sys(e, "cannot open '%s'", root);
		return NULL;
	}
	l = mem_alloc(sizeof(*l));
	l->t.ops = &live_ops;
	l->root = fd;
	return &l->t;
}
