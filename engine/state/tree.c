/* SPDX-License-Identifier: Apache-2.0
 * tree - edit, read and list git trees by path.
 */
#include "engine/state/tree.h"
#include "engine/base/mem.h"
#include "engine/state/giterr.h"

#include <stdlib.h>
#include <string.h>

/* One edit; the sort puts all edits below a folder side by side, and a folder's
 * own removal before what is set in it. */
struct edit {
	const char *path;
	const char *text;	/* NULL: remove */
	size_t len;
	size_t order;		/* later ones win */
};

struct edits {
	struct edit *v;
	size_t n, cap;
};

static void edits_add(struct edits *l, const char *path, const json_t *text)
{
	l->v = mem_grow(l->v, l->n, &l->cap, sizeof(*l->v));
	l->v[l->n] = (struct edit){ path, json_string_value(text),
		json_string_length(text), l->n };
	l->n++;
}

static int edit_cmp(const void *va, const void *vb)
{
	const struct edit *a = va, *b = vb;
	const unsigned char *p = (const unsigned char *)a->path;
	const unsigned char *q = (const unsigned char *)b->path;

	while (*p && *p == *q) {
		p++;
		q++;
	}
	if (*p != *q) {		/* '/' before all else, so folders stay together */
		int x = *p == '/' ? 1 : *p ? *p + 1 : 0;
		int y = *q == '/' ? 1 : *q ? *q + 1 : 0;

		return x - y;
	}
	return a->order < b->order ? -1 : 1;
}

static int edit_dir(git_repository *repo, const git_oid *base, const struct edit *v,
		    size_t n, size_t skip, git_oid *out, size_t *entries, struct err *e);

/* All edits v[0..n) concern `name` or what is below it. */
static int edit_entry(git_repository *repo, git_treebuilder *b, const char *name,
		      const struct edit *v, size_t n, size_t skip, struct err *e)
{
	const git_tree_entry *was = git_treebuilder_get(b, name);
	bool is_dir = was && git_tree_entry_filemode(was) == GIT_FILEMODE_TREE;
	bool keep_dir = is_dir;
	size_t len = strlen(name), i = 0, entries = 0;
	git_oid id;

	for (; i < n && !v[i].path[skip + len]; i++) {		/* the file itself */
		if (!v[i].text && !is_dir && was) {
			git_treebuilder_remove(b, name);
			was = NULL;
		} else if (v[i].text) {
			keep_dir = is_dir = false;
			if (git_blob_create_from_buffer(&id, repo, v[i].text, v[i].len) < 0 ||
			    git_treebuilder_insert(&was, b, name, &id, GIT_FILEMODE_BLOB) < 0)
				return giterr(e, "cannot store '%s'", v[i].path);
		}
	}
	for (; i < n && !v[i].path[skip + len + 1]; i++)	/* "name/": all below */
		keep_dir = false;
	if (i == n && keep_dir == is_dir)
		return 0;
	id = was ? *git_tree_entry_id(was) : (git_oid){ { 0 } };
	if (edit_dir(repo, keep_dir ? &id : NULL, v + i, n - i, skip + len + 1, &id,
		     &entries, e) < 0)
		return -1;
	if (entries > 0 && git_treebuilder_insert(NULL, b, name, &id, GIT_FILEMODE_TREE) < 0)
		return giterr(e, "cannot store folder '%s'", name);
	if (entries == 0 && is_dir)
		git_treebuilder_remove(b, name);
	return 0;
}

/* Edits whose paths agree in their first `skip` bytes. */
static int edit_dir(git_repository *repo, const git_oid *base, const struct edit *v,
		    size_t n, size_t skip, git_oid *out, size_t *entries, struct err *e)
{
	AUTO_GIT(git_tree) *tree = NULL;
	AUTO_GIT(git_treebuilder) *b = NULL;

	if (base && git_tree_lookup(&tree, repo, base) < 0)
		return giterr(e, "cannot read a tree of the state");
	if (git_treebuilder_new(&b, repo, tree) < 0)
		return giterr(e, "cannot edit a tree of the state");
	for (size_t i = 0, k; i < n; i = k) {
		size_t len = strcspn(v[i].path + skip, "/");
		AUTO_FREE char *name = mem_strndup(v[i].path + skip, len);

		for (k = i + 1; k < n; k++)
			if (strncmp(v[k].path + skip, name, len) != 0 ||
			    strcspn(v[k].path + skip, "/") != len)
				break;
		if (edit_entry(repo, b, name, v + i, k - i, skip, e) < 0)
			return -1;
	}
	*entries = git_treebuilder_entrycount(b);
	if ((*entries > 0 || skip == 0) && git_treebuilder_write(out, b) < 0)
		return giterr(e, "cannot store a tree");
	return 0;
}

int tree_edit(git_repository *repo, const git_oid *base, const json_t *del,
	      const json_t *set, git_oid *out, struct err *e)
{
	struct edits l = { 0 };
	size_t i, entries;
	const char *path;
	json_t *v;
	int rc;

	json_array_foreach((json_t *)del, i, v)
		edits_add(&l, json_string_value(v), NULL);
	json_object_foreach((json_t *)set, path, v)
		edits_add(&l, path, v);
	if (l.n > 0)
		qsort(l.v, l.n, sizeof(*l.v), edit_cmp);
	rc = edit_dir(repo, base, l.v, l.n, 0, out, &entries, e);
	free(l.v);
	return rc;
}

/* ---- reading ----------------------------------------------------------------- */

/* A tree from elsewhere may name one folder a thousand times in another, and so on. */
#define READ_ENTRIES 100000
#define READ_BYTES (1ull << 30)
#define READ_DEPTH 32

struct reading {
	size_t entries;
	uint64_t bytes;
	git_repository *repo;
	json_t *files;		/* path -> text, or NULL */
	json_t *paths;		/* or NULL */
	struct err *e;
};

static int read_entry(const char *root, const git_tree_entry *entry, void *arg)
{
	struct reading *r = arg;
	AUTO_FREE char *path = mem_printf("%s%s", root, git_tree_entry_name(entry));
	AUTO_GIT(git_blob) *blob = NULL;
	size_t depth = 0;

	for (const char *p = path; (p = strchr(p, '/')); p++)
		depth++;
	if (++r->entries > READ_ENTRIES || depth > READ_DEPTH)
		return err_set(r->e, ERR_SYSTEM, "cannot read a tree of the state: it is larger or "
			       "deeper than any that drover makes");
	if (git_tree_entry_type(entry) != GIT_OBJECT_BLOB)
		return 0;
	if (r->paths)
		jadd(r->paths, jtext(path, strlen(path)));
	if (!r->files)
		return 0;
	if (git_blob_lookup(&blob, r->repo, git_tree_entry_id(entry)) < 0)
		return giterr(r->e, "cannot read '%s' of the state", path);
	r->bytes += (uint64_t)git_blob_rawsize(blob);
	if (r->bytes > READ_BYTES)
		return err_set(r->e, ERR_SYSTEM, "cannot read a tree of the state: it holds more "
			       "than any that drover makes");
	jset(r->files, path, jtext(git_blob_rawcontent(blob),
				   (size_t)git_blob_rawsize(blob)));
	return 0;
}

static int tree_walk(struct reading *r, const git_oid *id)
{
	AUTO_GIT(git_tree) *tree = NULL;

	if (git_tree_lookup(&tree, r->repo, id) < 0)
		return giterr(r->e, "cannot read a tree of the state");
	if (git_tree_walk(tree, GIT_TREEWALK_PRE, read_entry, r) < 0)
		return err_is(r->e) ? -1 : giterr(r->e, "cannot read a tree of the state");
	return 0;
}

json_t *tree_read(git_repository *repo, const git_oid *tree, struct err *e)
{
	AUTO_JSON *files = json_object();
	struct reading r = { .repo = repo, .files = files, .e = e };

	return tree_walk(&r, tree) < 0 ? NULL : json_incref(files);
}

json_t *tree_list(git_repository *repo, const git_oid *tree, struct err *e)
{
	AUTO_JSON *paths = json_array();
	struct reading r = { .repo = repo, .paths = paths, .e = e };

	return tree_walk(&r, tree) < 0 ? NULL : json_incref(paths);
}

char *tree_file(git_repository *repo, const git_oid *id, const char *path, size_t *len,
		struct err *e)
{
	AUTO_GIT(git_tree) *tree = NULL;
	AUTO_GIT(git_blob) *blob = NULL;
	git_tree_entry *entry = NULL;
	char *text = NULL;
	int rc = git_tree_lookup(&tree, repo, id);

	if (rc == 0)
		rc = git_tree_entry_bypath(&entry, tree, path);
	if (rc == GIT_ENOTFOUND && tree)
		return NULL;
	if (rc == 0 && git_tree_entry_type(entry) == GIT_OBJECT_BLOB)
		rc = git_blob_lookup(&blob, repo, git_tree_entry_id(entry));
	git_tree_entry_free(entry);
	if (rc < 0) {
		giterr(e, "cannot read '%s' of the state", path);
		return NULL;
	}
	if (!blob)
		return NULL;	/* a folder */
	*len = (size_t)git_blob_rawsize(blob);
	text = mem_alloc(*len + 1);
	memcpy(text, git_blob_rawcontent(blob), *len);
	return text;
}
