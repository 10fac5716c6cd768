/* SPDX-License-Identifier: Apache-2.0
 * meta - the meta document in git, split into files.
 */
#include "engine/state/repo.h"
#include "engine/base/mem.h"
#include "engine/state/giterr.h"
#include "engine/state/record.h"
#include "engine/state/tree.h"

#include <string.h>

#define SCALARS "epoch.json"
#define MACHINES "machines/"

/* The file in which a pointer's value lives; caller frees. */
static char *file_of(const char *pointer, const json_t *value)
{
	size_t n = strcspn(pointer, "/");
	bool deep = pointer[n] == '/';

	if (deep && strncmp(pointer, MACHINES, strlen(MACHINES)) == 0) {
		const char *name = pointer + strlen(MACHINES);

		return mem_printf(MACHINES "%.*s.json", (int)strcspn(name, "/"), name);
	}
	if (deep || json_is_object(value))
		return mem_printf("%.*s.json", (int)n, pointer);
	return mem_strdup(SCALARS);
}

/* "machines/erp.json" -> "erp", in the object that holds it; NULL for scalars. */
static char *file_key(const char *file, bool *machine)
{
	size_t skip;

	*machine = strncmp(file, MACHINES, strlen(MACHINES)) == 0;
	skip = *machine ? strlen(MACHINES) : 0;
	if (strcmp(file, SCALARS) == 0 || strlen(file) < skip + strlen(".json"))
		return NULL;
	return mem_strndup(file + skip, strlen(file) - skip - strlen(".json"));
}

static void file_insert(json_t *doc, const char *file, json_t *content)
{
	bool machine;
	AUTO_FREE char *key = file_key(file, &machine);

	if (!key) {
		json_object_update(doc, content);
		return;
	}
	if (machine) {
		if (!json_object_get(doc, "machines"))
			jset(doc, "machines", json_object());
		doc = json_object_get(doc, "machines");
	}
	json_object_set(doc, key, content);
}

/* What of the document belongs in the file; NULL: nothing, the file goes. */
static json_t *file_extract(json_t *doc, const char *file)
{
	bool machine;
	AUTO_FREE char *key = file_key(file, &machine);
	json_t *out, *v;
	const char *k;

	if (key && machine)
		doc = json_object_get(doc, "machines");
	if (key)
		return json_incref(json_object_get(doc, key));
	out = json_object();
	json_object_foreach(doc, k, v)
		if (!json_is_object(v))
			json_object_set(out, k, v);
	return out;
}

static int file_parse(const struct repo *r, json_t *doc, const char *file, const char *text,
		      size_t n, struct err *e)
{
	AUTO_JSON *content = json_loadb(text, n, 0, NULL);

	if (!json_is_object(content))
		return err_set(e, ERR_SYSTEM, "cannot read '%s' in '%s' of state '%s': "
			       "it is no JSON object", file, r->meta.ref, r->dir);
	file_insert(doc, file, content);
	return 0;
}

json_t *repo_meta(struct repo *r, struct err *e)
{
	AUTO_JSON *doc = json_object(), *files = NULL;
	const char *file;
	json_t *text;

	if (!git_oid_is_zero(&r->meta.id)) {
		files = tree_read(r->git, &r->meta.tree, e);
		if (!files)
			return NULL;
	}
	json_object_foreach(files, file, text)
		if (file_parse(r, doc, file, json_string_value(text),
			       json_string_length(text), e) < 0)
			return NULL;
	meta_apply(doc, r->meta_edits);
	return json_incref(doc);
}

/* The two folders of the meta tree, opened once for many files. */
struct folders { git_tree *root, *machines; };

static int folders_open(struct repo *r, struct folders *f, struct err *e)
{
	const git_tree_entry *m;

	*f = (struct folders){ 0 };
	if (git_oid_is_zero(&r->meta.id))
		return 0;
	if (git_tree_lookup(&f->root, r->git, &r->meta.tree) < 0)
		return giterr(e, "cannot read '%s' of state '%s'", r->meta.ref, r->dir);
	m = git_tree_entry_byname(f->root, "machines");
	if (m && git_tree_lookup(&f->machines, r->git, git_tree_entry_id(m)) < 0)
		return giterr(e, "cannot read '%s' of state '%s'", r->meta.ref, r->dir);
	return 0;
}

static void folders_close(struct folders *f)
{
	git_tree_free(f->root);
	git_tree_free(f->machines);
}

static int file_load(struct repo *r, const struct folders *f, json_t *doc, const char *file,
		     struct err *e)
{
	bool machine = strncmp(file, MACHINES, strlen(MACHINES)) == 0;
	git_tree *tree = machine ? f->machines : f->root;
	const git_tree_entry *entry = tree ? git_tree_entry_byname(tree,
		file + (machine ? strlen(MACHINES) : 0)) : NULL;
	AUTO_GIT(git_blob) *blob = NULL;

	if (!entry)
		return 0;
	if (git_blob_lookup(&blob, r->git, git_tree_entry_id(entry)) < 0)
		return giterr(e, "cannot read '%s' in '%s' of state '%s'", file, r->meta.ref,
			      r->dir);
	return file_parse(r, doc, file, git_blob_rawcontent(blob),
			  (size_t)git_blob_rawsize(blob), e);
}

/* Load what the edits touch, apply them, take the files out again. */
static int meta_files(struct repo *r, json_t *set, json_t *del, struct err *e)
{
	AUTO_JSON *doc = json_object(), *files = json_object();
	__attribute__((cleanup(folders_close))) struct folders folders;
	const char *key, *pointer;
	json_t *v;

	if (folders_open(r, &folders, e) < 0)
		return -1;
	json_object_foreach(r->meta_edits, pointer, v) {
		AUTO_FREE char *file = file_of(pointer, v);

		if (json_object_get(files, file))
			continue;
		jset(files, file, json_true());
		if (file_load(r, &folders, doc, file, e) < 0)
			return -1;
	}
	meta_apply(doc, r->meta_edits);
	json_object_foreach(files, key, v) {
		AUTO_JSON *content = file_extract(doc, key);
		AUTO_FREE char *text = content ? json_pretty(content) : NULL;

		if (text)
			jset(set, key, json_string(text));
		else
			jadd(del, json_string(key));
	}
	return 0;
}

int repo_meta_commit(struct repo *r, struct err *e)
{
	AUTO_JSON *set = json_object(), *del = json_array();
	AUTO_FREE char *message = mem_printf("meta: records up to %llu\n\nSeq: %llu\n",
		(unsigned long long)r->seq, (unsigned long long)r->seq);
	git_oid tree;

	if (meta_files(r, set, del, e) < 0 ||
	    tree_edit(r->git, git_oid_is_zero(&r->meta.id) ? NULL : &r->meta.tree, del, set,
		      &tree, e) < 0 ||
	    repo_commit(r, &r->meta, &tree, r->meta_at, message, r->seq, e) < 0)
		return -1;
	json_object_clear(r->meta_edits);
	r->meta_pending = 0;
	return 0;
}
