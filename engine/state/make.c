/* SPDX-License-Identifier: Apache-2.0
 * make - make the bare repository so that a power cut right after leaves it
 * whole, and sweep away what a killed writer left in it.
 */
#include "engine/state/repo.h"
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/state/giterr.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEPTH_MAX 8		/* refs/heads/PLAN/MACHINE/rehearsal/N */

static int sync_one(const char *dir, const char *name)
{
	AUTO_FREE char *path = mem_printf("%s/%s", dir, name);
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -1 : fsync(fd);
}

/* libgit2 syncs a new object's folder but not the folder's own entry. */
static int fan_out(const char *dir)
{
	for (int i = 0; i < 256; i++) {
		AUTO_FREE char *path = mem_printf("%s/objects/%02x", dir, i);

		if (mkdir(path, 0700) < 0 && errno != EEXIST)
			return -1;
	}
	return 0;
}

/* The last folder that repo_make() makes is there, and HEAD has its text. */
bool repo_is_made(const char *dir)
{
	AUTO_FREE char *last = mem_printf("%s/objects/ff", dir);
	AUTO_FREE char *head = mem_printf("%s/HEAD", dir);
	struct stat st;

	return access(last, F_OK) == 0 && stat(head, &st) == 0 && st.st_size > 0;
}

int repo_make(const char *dir, struct err *e)
{
	static const char *const parts[] = { "HEAD", "config", "objects", "objects/pack",
		"objects/info", "refs", "refs/heads", "." };
	git_repository_init_options o = { .version = GIT_REPOSITORY_INIT_OPTIONS_VERSION };
	AUTO_FREE char *head = mem_printf("%s/HEAD", dir);
	git_repository *repo = NULL;
	struct stat st;

	if (repo_is_made(dir))
		return 0;
	if (stat(head, &st) == 0 && st.st_size == 0)
		unlink(head);		/* a power cut before it was synced */
	o.flags = GIT_REPOSITORY_INIT_BARE | GIT_REPOSITORY_INIT_NO_DOTGIT_DIR;
	o.mode = 0700;
	if (git_repository_init_ext(&repo, dir, &o) < 0)
		return giterr(e, "cannot make a git repository in '%s'", dir);
	git_repository_free(repo);
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		if (sync_one(dir, parts[i]) < 0)
			return err_sys(e, "cannot sync '%s/%s'", dir, parts[i]);
	if (fan_out(dir) < 0 || sync_one(dir, "objects") < 0)
		return err_sys(e, "cannot make the object folders in '%s'", dir);
	return 0;
}

int repo_sync_above(const char *dir, const char *ref)
{
	AUTO_FREE char *path = mem_strdup(ref);

	for (char *slash; (slash = strrchr(path, '/'));) {
		*slash = '\0';
		if (sync_one(dir, path) < 0)
			return -1;
	}
	return 0;
}

static bool is_litter(const char *name)
{
	size_t n = strlen(name);

	return (n > 5 && strcmp(name + n - 5, ".lock") == 0) ||
		strncmp(name, "tmp_object_git2_", 16) == 0 ||
		strncmp(name, "pack_git2_", 10) == 0;
}

static void sweep(int dirfd, const char *name, int depth)
{
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!d)
		return;
	while ((entry = readdir(d))) {
		if (entry->d_name[0] == '.')
			continue;
		if (is_litter(entry->d_name))
			unlinkat(fd, entry->d_name, 0);
		else if (depth > 0 && entry->d_type != DT_REG)
			sweep(fd, entry->d_name, depth - 1);
	}
	closedir(d);
}

void repo_sweep(const char *dir)
{
	static const char *const names[] = { "packed-refs.lock", "config.lock", "HEAD.lock" };
	AUTO_FD fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		unlinkat(fd, names[i], 0);
	sweep(fd, "refs", DEPTH_MAX);
	sweep(fd, "objects", 1);
}
