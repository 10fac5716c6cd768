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
	err_hint(e, "move it away, choose another target.dir, or say "
		 "target: { replace: true } to overwrite it");
	return LAYOUT_OTHERS;
}

static json_t *marker_of(const json_t *machine, const json_t *run)
{
	json_t *doc = json_object();

	jset_str(doc, "lineage", jstr(run, "lineage", ""));
	jset_str(doc, "machine", jstr(machine, "name", ""));
	jset_str(doc, "plan", jstr(run, "plan", ""));
	return doc;
}

/* Whatever it said: it may be ours, so that an undo must not pass it by. */
static int mend_marker(const struct layout *l, const json_t *machine, const json_t *run,
		       struct err *e)
{
	AUTO_JSON *doc = marker_of(machine, run);
	AUTO_FREE char *text = json_canonical(doc);

	return err_hint(e, "if '%s' is this plan's copy, put %s into a new '%s'; if it is not, remove "
			"that file; then type the same again", l->dir, text, l->marker);
}

static int whose_without_marker(const struct layout *l, struct err *e)
{
	int empty = dir_empty(l->dir);

	if (empty < 0 && errno == ENOTDIR)
		return stranger(l, e, "it is no directory");
	if (empty < 0)
		return err_sys(e, "cannot read '%s'", l->dir);
	return empty ? LAYOUT_NOBODYS : stranger(l, e, "it holds files that drover did not make");
}

int layout_owner(const struct layout *l, const json_t *machine,
		 const json_t *run, struct err *e)
{
	const char *ours = jstr(run, "plan", "");
	AUTO_FREE char *text = NULL;
	AUTO_JSON *doc = NULL;
	size_t n = 0;

	text = io_read_file(AT_FDCWD, l->marker, 64 << 10, &n);
	if (!text && (errno == ENOENT || errno == ENOTDIR))
		return whose_without_marker(l, e);
	if (!text) {
		err_sys(e, "cannot tell whose '%s' is: cannot read '%s'", l->dir, l->marker);
		return mend_marker(l, machine, run, e);
	}
	doc = json_parse(text, n, NULL);
	if (!jstr(doc, "machine", NULL) || !jstr(doc, "lineage", NULL)) {
		err_set(e, ERR_STEP, "cannot tell whose '%s' is: '%s' is damaged", l->dir, l->marker);
		return mend_marker(l, machine, run, e);
	}
	if (strcmp(jstr(doc, "machine", ""), jstr(machine, "name", "")) != 0)
		return stranger(l, e, "it belongs to another machine");
	if (strcmp(jstr(doc, "lineage", ""), jstr(run, "lineage", "")) != 0)
		return stranger(l, e, "it was made from another state directory");
	if (strcmp(jstr(doc, "plan", ours), ours) != 0)
		return stranger(l, e, "another plan that has a machine of this name made it");
	return LAYOUT_OURS;
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
	if (owner == LAYOUT_OURS)
		return 0;
	if (owner != LAYOUT_NOBODYS && !jbool(machine, "target.replace", false)) {
		err_move(e, &why);
		return -1;
	}
	if (owner != LAYOUT_NOBODYS)
		forget_records(l->dir);
	doc = marker_of(machine, run);
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

/* Nothing is left but the marker, and what has no name yet: that goes first. -1 with errno. */
static int only_marker(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *de;
	int only = 1;

	if (!d)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -1;
	while ((de = readdir(d))) {
		if (is_half(de->d_name))
			unlinkat(dirfd(d), de->d_name, 0);
		else if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0 &&
			 strcmp(de->d_name, LAYOUT_MARKER) != 0)
			only = 0;
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
	int only = only_marker(l->dir);

	if (only < 0)
		return err_sys(e, "cannot read '%s'", l->dir);
	if (!only)
		return 0;
	if (unlink(l->marker) < 0 && errno != ENOENT)
		return err_sys(e, "cannot remove '%s'", l->marker);
	if (remove_home(l->dir) < 0)
		return err_sys(e, "cannot remove '%s'", l->dir);
	return 0;
}
