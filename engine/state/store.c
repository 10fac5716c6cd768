/* SPDX-License-Identifier: Apache-2.0
 * store - staged objects, verified reads, settling. See the header.
 */
#include "engine/state/store.h"
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/state/giterr.h"

#include <errno.h>
#include <fcntl.h>
#include <git2/odb_backend.h>
#include <git2/sys/odb_backend.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PACK_FROM 128		/* objects: from here on one pack is cheaper */

struct staged {
	git_oid id;
	git_object_t type;
	size_t len;
	char *data;		/* owned; NULL: a free slot */
};

struct store {
	git_odb_backend base;	/* first: libgit2 hands us this */
	int objects;		/* the directory, or -1 */
	char *objects_path;	/* owned */
	git_odb *disk;		/* writes loose objects with fsync */
	struct staged *slots;	/* a hash table by id, open addressing */
	size_t count, cap;	/* cap is a power of two */
	char *damage;		/* owned or NULL */
};

/* ---- the table of staged objects ------------------------------------------- */

static struct staged *slot_of(struct staged *slots, size_t cap, const git_oid *id)
{
	size_t i;

	memcpy(&i, id->id, sizeof(i));
	for (i &= cap - 1; slots[i].data; i = (i + 1) & (cap - 1))
		if (git_oid_equal(&slots[i].id, id))
			break;
	return &slots[i];
}

static const struct staged *staged_find(const struct store *s, const git_oid *id)
{
	const struct staged *t = s->count ? slot_of(s->slots, s->cap, id) : NULL;

	return t && t->data ? t : NULL;
}

static void staged_grow(struct store *s)
{
	size_t cap = s->cap ? 2 * s->cap : 64;
	struct staged *slots = mem_alloc(cap * sizeof(*slots));

	for (size_t i = 0; i < s->cap; i++)
		if (s->slots[i].data)
			*slot_of(slots, cap, &s->slots[i].id) = s->slots[i];
	free(s->slots);
	s->slots = slots;
	s->cap = cap;
}

size_t store_staged(const struct store *s)
{
	return s->count;
}

void store_drop(struct store *s)
{
	for (size_t i = 0; s->count && i < s->cap; i++)
		free(s->slots[i].data);
	free(s->slots);
	s->slots = NULL;
	s->count = s->cap = 0;
}

const char *store_damage(const struct store *s)
{
	return s->damage;
}

/* ---- loose files ------------------------------------------------------------ */

static void loose_path(const git_oid *id, char path[43], char hex[41])
{
	git_oid_tostr(hex, 41, id);
	snprintf(path, 43, "%.2s/%s", hex, hex + 2);
}

static int loose_load(struct store *s, const git_oid *id, void **data, size_t *len,
		      git_object_t *type)
{
	char path[43], hex[41];
	AUTO_FREE char *file = NULL;
	const char *why;
	size_t n;

	loose_path(id, path, hex);
	file = io_read_file(s->objects, path, LOOSE_FILE_MAX, &n);
	if (!file && (errno == ENOENT || errno == ENOTDIR))
		return GIT_ENOTFOUND;
	why = file ? loose_check(file, n, hex, type, data, len) : strerror(errno);
	if (!why)
		return 0;
	free(s->damage);
	s->damage = mem_printf("%s/%s: %s", s->objects_path, path, why);
	git_error_set_str(GIT_ERROR_ODB, s->damage);
	return GIT_ERROR;
}

/* ---- libgit2's side ---------------------------------------------------------- */

static int backend_read(void **data, size_t *len, git_object_t *type, git_odb_backend *b,
			const git_oid *id)
{
	struct store *s = (struct store *)b;
	const struct staged *t = staged_find(s, id);
	AUTO_FREE void *content = NULL;
	int rc;

	if (t) {
		*type = t->type;
		*len = t->len;
	} else if ((rc = loose_load(s, id, &content, len, type)) < 0) {
		return rc;
	}
	*data = git_odb_backend_data_alloc(b, *len + 1);
	if (!*data)
		return GIT_ERROR;
	memcpy(*data, t ? t->data : content, *len);
	((char *)*data)[*len] = '\0';
	return 0;
}

static int backend_read_header(size_t *len, git_object_t *type, git_odb_backend *b,
			       const git_oid *id)
{
	struct store *s = (struct store *)b;
	const struct staged *t = staged_find(s, id);

	if (!t)
		return loose_load(s, id, NULL, len, type);
	*len = t->len;
	*type = t->type;
	return 0;
}

static int backend_exists(git_odb_backend *b, const git_oid *id)
{
	struct store *s = (struct store *)b;
	char path[43], hex[41];

	loose_path(id, path, hex);
	return staged_find(s, id) || faccessat(s->objects, path, F_OK, 0) == 0;
}

static int backend_write(git_odb_backend *b, const git_oid *id, const void *data, size_t len,
			 git_object_t type)
{
	struct store *s = (struct store *)b;
	struct staged *t;

	if (2 * (s->count + 1) > s->cap)
		staged_grow(s);
	t = slot_of(s->slots, s->cap, id);
	if (t->data)
		return 0;
	*t = (struct staged){ .id = *id, .type = type, .len = len };
	t->data = mem_alloc(len + 1);
	memcpy(t->data, data, len);
	s->count++;
	return 0;
}

static void backend_free(git_odb_backend *b)
{
	struct store *s = (struct store *)b;

	store_drop(s);
	git_odb_free(s->disk);
	mem_close_fd(&s->objects);
	free(s->objects_path);
	free(s->damage);
	free(s);
}

/* ---- opening and settling ----------------------------------------------------- */

static int store_disk(struct store *s)
{
	git_odb_backend *loose;

	if (git_odb_new(&s->disk) < 0 ||
	    git_odb_backend_loose(&loose, s->objects_path, 1, 1, 0700, 0400) < 0)
		return -1;
	return git_odb_add_backend(s->disk, loose, 1);
}

git_odb *store_open(const char *dir, struct store **out, struct err *e)
{
	struct store *s = mem_alloc(sizeof(*s));
	git_odb_backend *packs;
	git_odb *odb = NULL;

	git_odb_init_backend(&s->base, GIT_ODB_BACKEND_VERSION);
	s->base.read = backend_read;
	s->base.read_header = backend_read_header;
	s->base.exists = backend_exists;
	s->base.write = backend_write;
	s->base.free = backend_free;
	s->objects_path = mem_printf("%s/objects", dir);
	s->objects = open(s->objects_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*out = s;
	if (s->objects < 0) {
		err_sys(e, "cannot open '%s'", s->objects_path);
	} else if (store_disk(s) < 0 || git_odb_new(&odb) < 0 ||
		   git_odb_add_backend(odb, &s->base, 2) < 0) {
		giterr(e, "cannot open '%s'", s->objects_path);
	} else if (git_odb_backend_pack(&packs, s->objects_path) < 0 ||
		   git_odb_add_backend(odb, packs, 1) < 0) {
		giterr(e, "cannot open '%s'", s->objects_path);
		git_odb_free(odb);	/* with s */
		return NULL;
	} else {
		return odb;
	}
	git_odb_free(odb);
	backend_free(&s->base);
	return NULL;
}

static int settle_loose(struct store *s, struct err *e)
{
	git_oid id;

	for (size_t i = 0; i < s->cap; i++) {
		const struct staged *t = &s->slots[i];

		if (t->data && git_odb_write(&id, s->disk, t->data, t->len, t->type) < 0)
			return giterr(e, "cannot write to '%s'", s->objects_path);
	}
	return 0;
}

static int settle_pack(struct store *s, git_repository *repo, struct err *e)
{
	git_packbuilder *pb = NULL;
	int rc = git_packbuilder_new(&pb, repo);

	for (size_t i = 0; rc == 0 && i < s->cap; i++)
		if (s->slots[i].data)
			rc = git_packbuilder_insert(pb, &s->slots[i].id, NULL);
	if (rc == 0)
		rc = git_packbuilder_write(pb, NULL, 0, NULL, NULL);
	if (rc < 0)
		giterr(e, "cannot write a pack to '%s'", s->objects_path);
	git_packbuilder_free(pb);
	return rc < 0 ? -1 : 0;
}

int store_settle(struct store *s, git_repository *repo, struct err *e)
{
	int rc = s->count < PACK_FROM ? settle_loose(s, e) : settle_pack(s, repo, e);

	if (rc == 0)
		store_drop(s);
	return rc;
}
