/* SPDX-License-Identifier: Apache-2.0
 * layout_claim - whose directory it is at the target: asked, claimed, given back.
 */
#include "modules/lib/layout_priv.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "modules/lib/map.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define MARKER_NEW LAYOUT_MARKER ".new"	/* of a claim that was cut off: as good as nothing */

/* 1: nothing in it (or no such directory), 0: something, -1 with errno. */
static int dir_empty(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *de;
	int empty = 1;

	if (!d)
		return errno == ENOENT ? 1 : -1;
	while (empty && (de = readdir(d)))
		if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0 &&
		    strcmp(de->d_name, MARKER_NEW) != 0)
			empty = 0;
	closedir(d);
	return empty;
}

static int stranger(const struct layout *l, struct err *e, const char *why)
{
	err_set(e, ERR_STEP, "cannot write to '%s': %s", l->dir, why);
	return err_hint(e, "move it away, choose another target.dir, or say "
			"target: { replace: true } to overwrite it");
}

int layout_owner(const struct layout *l, const json_t *machine,
		 const json_t *run, struct err *e)
{
	const char *ours = jstr(run, "plan", "");
	AUTO_FREE char *text = NULL;
	AUTO_JSON *doc = NULL;
	size_t n = 0;
	int empty;

	text = io_read_file(AT_FDCWD, l->marker, 64 << 10, &n);
	if (!text && errno != ENOENT && errno != ENOTDIR)
		return err_sys(e, "cannot read '%s'", l->marker);
	if (!text) {
		empty = dir_empty(l->dir);
		if (empty < 0)
			return err_sys(e, "cannot read '%s'", l->dir);
		return empty ? 0 : stranger(l, e, "it holds files that drover did not make");
	}
	doc = json_parse(text, n, NULL);
	if (!doc)
		return stranger(l, e, "its marker '.drover' cannot be read");
	if (strcmp(jstr(doc, "machine", ""), jstr(machine, "name", "")) != 0)
		return stranger(l, e, "it belongs to another machine");
	if (strcmp(jstr(doc, "lineage", ""), jstr(run, "lineage", "")) != 0)
		return stranger(l, e, "it was made from another state directory");
	if (strcmp(jstr(doc, "plan", ours), ours) != 0)
		return stranger(l, e, "another plan that has a machine of this name made it");
	return 1;
}

static bool ends_in(const char *name, const char *tail)
{
	size_t n = strlen(name), t = strlen(tail);

	return n > t && strcmp(name + n - t, tail) == 0;
}

json_t *layout_left(const struct layout *l, const json_t *machine)
{
	const json_t *disks = jget(machine, "source.disks");
	json_t *left = json_array();
	DIR *d = opendir(l->dir);
	struct dirent *de;

	while (d && (de = readdir(d))) {
		size_t n = strlen(de->d_name) - strlen(LAYOUT_RECORD);
		AUTO_FREE char *disk = ends_in(de->d_name, LAYOUT_RECORD) ?
			mem_strndup(de->d_name, n) : NULL;

		if (disk && !json_object_get(disks, disk))
			jadd(left, json_string(disk));
	}
	if (d)
		closedir(d);
	return left;
}

/* Where a stranger's disks are is no concern of ours. */
static void forget_records(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *de;

	while (d && (de = readdir(d))) {
		if (ends_in(de->d_name, LAYOUT_RECORD))
			unlinkat(dirfd(d), de->d_name, 0);
	}
	if (d)
		closedir(d);
}

/* Of two that come at once one is first. A file system without such locks has none. */
static int hold(const struct layout *l, struct err *e)
{
	int fd;

	/* libvirt runs QEMU as a user of its own, who must get to the disks in here */
	if (io_mkdirs(l->dir, 0711) < 0)
		return err_sys(e, "cannot make directory '%s'", l->dir);
	fd = open(l->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, "cannot open directory '%s'", l->dir);
	while (flock(fd, LOCK_EX) < 0 && errno == EINTR)
		;
	return fd;
}

int layout_claim(const struct layout *l, const json_t *machine,
		 const json_t *run, struct err *e)
{
	AUTO_ERR why = { 0 };
	AUTO_JSON *doc = NULL;
	AUTO_FREE char *text = NULL;
	AUTO_FD held = hold(l, e);
	int owner;

	if (held < 0)
		return -1;
	owner = layout_owner(l, machine, run, &why);
	if (owner == 1)
		return 0;
	if (owner < 0 && !jbool(machine, "target.replace", false)) {
		err_move(e, &why);
		return -1;
	}
	if (owner < 0)
		forget_records(l->dir);
	doc = json_object();
	jset_str(doc, "lineage", jstr(run, "lineage", ""));
	jset_str(doc, "machine", jstr(machine, "name", ""));
	jset_str(doc, "plan", jstr(run, "plan", ""));
	text = json_pretty(doc);
	if (io_write_file(AT_FDCWD, l->marker, text, strlen(text), 0600) < 0)
		return err_sys(e, "cannot write '%s'", l->marker);
	return 0;
}

/* Cut off before it had its name: of a marker, a record, a map, a mark. */
static bool is_half(const char *name)
{
	return strcmp(name, MARKER_NEW) == 0 || ends_in(name, LAYOUT_RECORD ".new") ||
		ends_in(name, ".map" MAP_HALF) || ends_in(name, LAYOUT_READBACK ".new");
}

/* Nothing is left but the marker, and what has no name yet: that goes first. */
static bool only_marker(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *de;
	bool only = true;

	if (!d)
		return false;
	while ((de = readdir(d))) {
		if (is_half(de->d_name))
			unlinkat(dirfd(d), de->d_name, 0);
		else if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0 &&
			 strcmp(de->d_name, LAYOUT_MARKER) != 0)
			only = false;
	}
	closedir(d);
	return only;
}

/* What somebody mounted there is theirs; of a link to another place both go. */
static int remove_home(const char *dir)
{
	AUTO_FREE char *real = NULL;

	if (rmdir(dir) == 0 || errno == ENOENT || errno == EBUSY)
		return 0;
	real = errno == ENOTDIR ? realpath(dir, NULL) : NULL;
	return real && rmdir(real) == 0 && unlink(dir) == 0 ? 0 : -1;
}

int layout_release(const struct layout *l, struct err *e)
{
	if (!only_marker(l->dir))
		return 0;
	if (unlink(l->marker) < 0 && errno != ENOENT)
		return err_sys(e, "cannot remove '%s'", l->marker);
	if (remove_home(l->dir) < 0)
		return err_sys(e, "cannot remove '%s'", l->dir);
	return 0;
}
