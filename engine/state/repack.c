/* SPDX-License-Identifier: Apache-2.0
 * repack - many loose objects into one pack. A pack is whole and synced before the first
 * loose object goes; a kill in between leaves both, which is harmless. Done while the lock is
 * held and no writer works, when there are too many, and never more at once than a
 * moment's work.
 */
#include "engine/state/repo.h"
#include "engine/base/mem.h"
#include "engine/state/giterr.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REPACK_FROM 4096	/* loose objects: `git gc` itself begins at 6700 */
#define REPACK_MAX 16384	/* in one go; the rest at the next opening */

#define REPACK_BYTES (128u << 20)

struct found {
	git_oid *v;
	size_t n, cap;
	uint64_t bytes;
};

static void find_in(int objects, unsigned folder, struct found *f)
{
	char name[3], hex[41];
	struct dirent *entry;
	DIR *d;
	int fd;

	snprintf(name, sizeof(name), "%02x", folder & 0xff);
	fd = openat(objects, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		mem_close_fd(&fd);
		return;
	}
	while (f->n < REPACK_MAX && f->bytes < REPACK_BYTES && (entry = readdir(d))) {
		struct stat st;
		git_oid id;

		if (strlen(entry->d_name) != 38)
			continue;
		snprintf(hex, sizeof(hex), "%s%.38s", name, entry->d_name);
		if (git_oid_fromstr(&id, hex) < 0 ||
		    fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		f->bytes += (uint64_t)st.st_size;
		f->v = mem_grow(f->v, f->n, &f->cap, sizeof(*f->v));
		f->v[f->n++] = id;
	}
	closedir(d);
}

static int pack(struct repo *r, const struct found *f, struct err *e)
{
	git_packbuilder *pb = NULL;
	int rc = git_packbuilder_new(&pb, r->git);

	for (size_t i = 0; rc == 0 && i < f->n; i++)
		rc = git_packbuilder_insert(pb, &f->v[i], NULL);
	if (rc == 0)
		rc = git_packbuilder_write(pb, NULL, 0, NULL, NULL);
	if (rc < 0)
		giterr(e, "cannot pack the objects of state '%s'", r->dir);
	git_packbuilder_free(pb);
	return rc < 0 ? -1 : 0;
}

/* What cannot be removed is there twice, no more. */
static void drop_loose(int objects, const struct found *f)
{
	for (size_t i = 0; i < f->n; i++) {
		char hex[41], path[43];

		git_oid_tostr(hex, sizeof(hex), &f->v[i]);
		snprintf(path, sizeof(path), "%.2s/%s", hex, hex + 2);
		unlinkat(objects, path, 0);
	}
}

int repo_repack(struct repo *r, struct err *e)
{
	AUTO_FREE char *path = mem_printf("%s/objects", r->dir);
	AUTO_FD objects = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct found f = { 0 };
	int rc = 0;

	if (objects < 0)
		return err_sys(e, "cannot open '%s'", path);
	for (unsigned i = 0; i < 256; i++)
		find_in(objects, i, &f);
	if (f.n >= REPACK_FROM && (rc = pack(r, &f, e)) == 0)
		drop_loose(objects, &f);
	free(f.v);
	return rc;
}
