/* SPDX-License-Identifier: Apache-2.0
 * gtree_union - the file systems of an image as the guest sees them: one tree, each
 * path served by the file system whose mount point is the longest prefix.
 */
#include "modules/lib/gtree.h"
#include "engine/base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct member {
	char *prefix;		/* "boot/efi"; "" is the root */
	struct gtree *t;
};

struct joined {
	struct gtree t;
	struct member *v;
	size_t count, cap;
};

static const char *below(const char *prefix, const char *path)
{
	size_t n = strlen(prefix);

	if (n == 0)
		return path;
	if (strncmp(path, prefix, n) != 0 || (path[n] && path[n] != '/'))
		return NULL;
	return path[n] ? path + n + 1 : path + n;
}

static struct gtree *serve(struct gtree *t, const char **path)
{
	struct joined *j = (struct joined *)t;
	struct member *best = NULL;

	for (size_t i = 0; i < j->count; i++)
		if (below(j->v[i].prefix, *path) &&
		    (!best || strlen(j->v[i].prefix) > strlen(best->prefix)))
			best = &j->v[i];
	if (!best)
		return errno = ENOENT, NULL;
	*path = below(best->prefix, *path);
	return best->t;
}

static int joined_lstat(struct gtree *t, const char *path, struct gstat *st)
{
	struct gtree *m = serve(t, &path);

	return m ? m->ops->lstat(m, path, st) : -1;
}

static char *joined_readlink(struct gtree *t, const char *path)
{
	struct gtree *m = serve(t, &path);

	return m ? m->ops->readlink(m, path) : NULL;
}

static char *joined_read(struct gtree *t, const char *path, size_t max, size_t *len)
{
	struct gtree *m = serve(t, &path);

	return m ? m->ops->read(m, path, max, len) : NULL;
}

static int joined_list(struct gtree *t, const char *path,
		       void (*fn)(void *arg, const char *name), void *arg)
{
	struct gtree *m = serve(t, &path);

	return m ? m->ops->list(m, path, fn, arg) : -1;
}

static int joined_space(struct gtree *t, const char *path, struct gspace *s)
{
	struct gtree *m = serve(t, &path);

	return m ? m->ops->space(m, path, s) : -1;
}

static int joined_write(struct gtree *t, const char *path, const void *p, size_t n,
			mode_t mode)
{
	struct gtree *m = serve(t, &path);

	if (m && !m->ops->write)
		return errno = EROFS, -1;
	return m ? m->ops->write(m, path, p, n, mode) : -1;
}

static int joined_mkdir(struct gtree *t, const char *path, mode_t mode)
{
	struct gtree *m = serve(t, &path);

	if (m && !m->ops->mkdir)
		return errno = EROFS, -1;
	return m ? m->ops->mkdir(m, path, mode) : -1;
}

static int joined_unlink(struct gtree *t, const char *path)
{
	struct gtree *m = serve(t, &path);

	if (m && !m->ops->unlink)
		return errno = EROFS, -1;
	return m ? m->ops->unlink(m, path) : -1;
}

static int joined_close(struct gtree *t, struct err *e)
{
	struct joined *j = (struct joined *)t;
	int r = 0;

	for (size_t i = 0; i < j->count; i++) {
		if (gtree_close(&j->v[i].t, r < 0 ? NULL : e) < 0)
			r = -1;
		free(j->v[i].prefix);
	}
	free(j->v);
	free(j);
	return r;
}

static const struct gtree_ops joined_ops = {
	.lstat = joined_lstat,
	.readlink = joined_readlink,
	.read = joined_read,
	.list = joined_list,
	.space = joined_space,
	.write = joined_write,
	.mkdir = joined_mkdir,
	.unlink = joined_unlink,
	.close = joined_close,
};

struct gtree *gtree_union(void)
{
	struct joined *j = mem_alloc(sizeof(*j));

	j->t.ops = &joined_ops;
	return &j->t;
}

void gtree_union_add(struct gtree *u, const char *mount, struct gtree *t)
{
	struct joined *j = (struct joined *)u;
	struct member m = { .prefix = mem_strdup(mount + strspn(mount, "/")), .t = t };

	for (size_t n = strlen(m.prefix); n && m.prefix[n - 1] == '/'; )
		m.prefix[--n] = 0;
	j->v = mem_grow(j->v, j->count, &j->cap, sizeof(*j->v));
	j->v[j->count++] = m;
}
