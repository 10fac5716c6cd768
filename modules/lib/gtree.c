/* SPDX-License-Identifier: Apache-2.0
 * gtree - walking a tree that may be hostile: links are resolved here, one
 * component at a time, and counted.
 */
#include "modules/lib/gtree.h"
#include "engine/base/mem.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define LINKS_MAX 40

/* Drop the last component of "a/b"; the root stays. */
static void go_up(struct str *done)
{
	char *slash = done->len ? strrchr(done->s, '/') : NULL;

	done->len = slash ? (size_t)(slash - done->s) : 0;
	if (done->s)
		done->s[done->len] = 0;
}

static void enter(struct str *done, const char *name, size_t n)
{
	if (done->len)
		str_addc(done, '/');
	str_addn(done, name, n);
}

/* If what `done` names is a link, put its target before the rest of the path. */
static int follow(struct gtree *t, struct str *done, char **rest, int *links)
{
	AUTO_FREE char *target = NULL;
	struct gstat st;
	char *joined;

	if (t->ops->lstat(t, done->s, &st) < 0)
		return -1;
	if (!S_ISLNK(st.mode))
		return 0;
	if (++*links > LINKS_MAX) {
		errno = ELOOP;
		return -1;
	}
	target = t->ops->readlink(t, done->s);
	if (!target)
		return -1;
	if (target[0] == '/')
		done->len = 0;
	else
		go_up(done);
	if (done->s)
		done->s[done->len] = 0;
	joined = mem_printf("%s/%s", target, *rest);
	free(*rest);
	*rest = joined;
	if (strlen(joined) > 4 * PATH_MAX) {
		errno = ENAMETOOLONG;
		return -1;
	}
	return 0;
}

static bool last_of(const char *rest)
{
	return rest[strspn(rest, "/")] == 0;
}

/* The relative path without links, or NULL with errno. With `missing_ok` what is
 * not there counts as plain directories to be made. */
static char *resolve(struct gtree *t, const char *path, bool follow_last,
		     bool missing_ok)
{
	AUTO_STR done = { 0 };
	AUTO_FREE char *rest = mem_strdup(path);
	int links = 0;

	for (;;) {
		size_t skip = strspn(rest, "/"), n = strcspn(rest + skip, "/");
		const char *name = rest + skip;
		char *next;

		if (!n)
			return str_take(&done);
		if (n == 2 && name[0] == '.' && name[1] == '.')
			go_up(&done);
		else if (n > NAME_MAX)
			return errno = ENAMETOOLONG, NULL;
		else if (n != 1 || name[0] != '.')
			enter(&done, name, n);
		next = mem_strdup(name + n);
		free(rest);
		rest = next;
		if (done.len == 0 || (!follow_last && last_of(rest)))
			continue;
		if (follow(t, &done, &rest, &links) < 0 &&
		    !(missing_ok && errno == ENOENT))
			return NULL;
	}
}

int gtree_stat(struct gtree *t, const char *path, struct gstat *st)
{
	AUTO_FREE char *p = resolve(t, path, true, false);

	return p ? t->ops->lstat(t, p, st) : -1;
}

int gtree_lstat(struct gtree *t, const char *path, struct gstat *st)
{
	AUTO_FREE char *p = resolve(t, path, false, false);

	return p ? t->ops->lstat(t, p, st) : -1;
}

bool gtree_is_file(struct gtree *t, const char *path)
{
	struct gstat st;

	return gtree_stat(t, path, &st) == 0 && S_ISREG(st.mode);
}

bool gtree_is_dir(struct gtree *t, const char *path)
{
	struct gstat st;

	return gtree_stat(t, path, &st) == 0 && S_ISDIR(st.mode);
}

char *gtree_resolve(struct gtree *t, const char *path)
{
	AUTO_FREE char *p = resolve(t, path, true, false);

	return p ? mem_printf("/%s", p) : NULL;
}

char *gtree_read(struct gtree *t, const char *path, size_t max, size_t *len)
{
	AUTO_FREE char *p = resolve(t, path, true, false);

	return p ? t->ops->read(t, p, max, len) : NULL;
}

/* ---- listing ------------------------------------------------------------- */

struct names { char **v; size_t count, cap; };

static void take_name(void *arg, const char *name)
{
	struct names *n = arg;

	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
	    n->count >= GTREE_LIST_MAX)
		return;
	n->v = mem_grow(n->v, n->count, &n->cap, sizeof(*n->v));
	n->v[n->count++] = mem_strdup(name);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

char **gtree_list(struct gtree *t, const char *path)
{
	AUTO_FREE char *p = resolve(t, path, true, false);
	struct names n = { 0 };
	int r = p ? t->ops->list(t, p, take_name, &n) : -1;

	if (n.count)
		qsort(n.v, n.count, sizeof(*n.v), by_name);
	n.v = mem_grow(n.v, n.count, &n.cap, sizeof(*n.v));
	n.v[n.count] = NULL;
	if (r < 0)
		gtree_names_free(&n.v);
	return n.v;
}

void gtree_names_free(char ***names)
{
	for (char **p = *names; p && *p; p++)
		free(*p);
	free(*names);
	*names = NULL;
}

int gtree_space(struct gtree *t, const char *path, struct gspace *s)
{
	AUTO_FREE char *p = resolve(t, path, true, false);

	return p ? t->ops->space(t, p, s) : -1;
}

/* ---- writing ------------------------------------------------------------- */

static int make_parents(struct gtree *t, char *path)
{
	struct gstat st;

	for (char *s = strchr(path, '/'); s; s = strchr(s + 1, '/')) {
		int r;

		*s = 0;
		r = t->ops->lstat(t, path, &st) == 0 ? 0 :
		    errno == ENOENT ? t->ops->mkdir(t, path, 0755) : -1;
		*s = '/';
		if (r < 0)
			return -1;
	}
	return 0;
}

int gtree_write(struct gtree *t, const char *path, const void *p, size_t n,
		mode_t mode)
{
	AUTO_FREE char *at = NULL;

	if (!t->ops->write)
		return errno = EROFS, -1;
	at = resolve(t, path, true, true);
	if (!at || make_parents(t, at) < 0)
		return -1;
	return t->ops->write(t, at, p, n, mode);
}

int gtree_unlink(struct gtree *t, const char *path)
{
	AUTO_FREE char *at = NULL;

	if (!t->ops->unlink)
		return errno = EROFS, -1;
	at = resolve(t, path, false, false);
	return at ? t->ops->unlink(t, at) : -1;
}

int gtree_close(struct gtree **t, struct err *e)
{
	struct gtree *g = *t;

	*t = NULL;
	return g ? g->ops->close(g, e) : 0;
}

void gtree_close_ptr(struct gtree **t)
{
	gtree_close(t, NULL);
}
