/* SPDX-License-Identifier: Apache-2.0
 * layout - where things of a machine lie at the target.
 */
#include "modules/lib/layout.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/base/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const formats[] = { "raw", "qcow2" };

int layout_of(const json_t *machine, struct layout *l, struct err *e)
{
	const char *dir = jstr(machine, "target.dir", NULL);
	const char *name = jstr(machine, "name", NULL);

	*l = (struct layout){ 0 };
	if (!name || !text_name_ok(name))
		return err_set(e, ERR_PLAN, "the machine has no usable name");
	if (!dir || dir[0] != '/') {
		err_set(e, ERR_PLAN, "cannot place the disks of '%s': target.dir is "
			"not an absolute path", name);
		return err_hint(e, "say where in the plan: target: { dir: /path }");
	}
	l->dir = mem_printf("%s/%s", dir, name);
	l->marker = mem_printf("%s/.drover", l->dir);
	return 0;
}

void layout_free(struct layout *l)
{
	mem_free_ptr(&l->dir);
	mem_free_ptr(&l->marker);
}

static const char *format_of(const json_t *machine, const json_t *td, bool device)
{
	const char *dflt = device ? "raw" : jstr(machine, "target.format", "qcow2");
	const char *want = jstr(td, "format", dflt);

	for (size_t i = 0; i < ARRAY_LEN(formats); i++)
		if (strcmp(want, formats[i]) == 0)
			return formats[i];
	return NULL;
}

/* What a plan may ask of a target disk but this version cannot do. */
static int refuse_place(const json_t *td, const char *disk, struct err *e)
{
	static const char *const keys[] = { "vg", "pool" };

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		if (!jstr(td, keys[i], NULL))
			continue;
		err_set(e, ERR_PLAN, "cannot place disk '%s' in %s '%s': volumes are not "
			"made by drover", disk, keys[i], jstr(td, keys[i], ""));
		return err_hint(e, "make the volume, then name it in the plan: "
				"target: { disks: { %s: { path: /dev/... } } }", disk);
	}
	return 0;
}

int layout_of_disk(const json_t *machine, const char *disk,
		   struct layout_disk *d, struct err *e)
{
	AUTO_LAYOUT l = { 0 };
	const json_t *td = json_object_get(jget(machine, "target.disks"), disk);
	const char *path = jstr(td, "path", NULL);

	*d = (struct layout_disk){ 0 };
	if (layout_of(machine, &l, e) < 0)
		return -1;
	if (!text_name_ok(disk))
		return err_set(e, ERR_PLAN, "'%s' is no name for a disk", disk);
	if (refuse_place(td, disk, e) < 0)
		return -1;
	if (path && path[0] != '/')
		return err_set(e, ERR_PLAN, "cannot use '%s' for disk '%s': not an "
			       "absolute path", path, disk);
	d->device = path != NULL;
	d->format = format_of(machine, td, d->device);
	if (!d->format || (d->device && strcmp(d->format, "raw") != 0)) {
		err_set(e, ERR_PLAN, "cannot write disk '%s' as format '%s'", disk,
			jstr(td, "format", jstr(machine, "target.format", "?")));
		layout_disk_free(d);
		return err_hint(e, d->device ? "a device takes format: raw" :
				"formats: raw, qcow2");
	}
	d->base = path ? mem_strdup(path) :
		mem_printf("%s/%s.base.%s", l.dir, disk, d->format);
	d->map = mem_printf("%s/%s.map", l.dir, disk);
	d->overlay = mem_printf("%s/%s.qcow2", l.dir, disk);
	return 0;
}

void layout_disk_free(struct layout_disk *d)
{
	mem_free_ptr(&d->base);
	mem_free_ptr(&d->map);
	mem_free_ptr(&d->overlay);
}

bool layout_copies(const json_t *source_disk)
{
	return jbool(source_disk, "copy", true);
}

/* 1: nothing in it (or no such directory), 0: something, -1 with errno. */
static int dir_empty(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *de;
	int empty = 1;

	if (!d)
		return errno == ENOENT ? 1 : -1;
	while (empty && (de = readdir(d)))
		if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0)
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
	return 1;
}

int layout_claim(const struct layout *l, const json_t *machine,
		 const json_t *run, struct err *e)
{
	AUTO_ERR why = { 0 };
	AUTO_JSON *doc = NULL;
	AUTO_FREE char *text = NULL;
	int owner = layout_owner(l, machine, run, &why);

	if (owner == 1)
		return 0;
	if (owner < 0 && !jbool(machine, "target.replace", false)) {
		err_move(e, &why);
		return -1;
	}
	/* libvirt runs QEMU as a user of its own, who must get to the disks in here */
	if (io_mkdirs(l->dir, 0711) < 0)
		return err_sys(e, "cannot make directory '%s'", l->dir);
	doc = json_object();
	jset_str(doc, "lineage", jstr(run, "lineage", ""));
	jset_str(doc, "machine", jstr(machine, "name", ""));
	jset_str(doc, "plan", jstr(run, "plan", ""));
	text = json_pretty(doc);
	if (io_write_file(AT_FDCWD, l->marker, text, strlen(text), 0600) < 0)
		return err_sys(e, "cannot write '%s'", l->marker);
	return 0;
}

/* Only the marker is left: then it may go. */
static bool only_marker(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *de;
	bool only = true;

	if (!d)
		return false;
	while ((de = readdir(d)))
		if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0 &&
		    strcmp(de->d_name, ".drover") != 0)
			only = false;
	closedir(d);
	return only;
}

int layout_release(const struct layout *l, struct err *e)
{
	if (!only_marker(l->dir))
		return 0;
	if (unlink(l->marker) < 0 && errno != ENOENT)
		return err_sys(e, "cannot remove '%s'", l->marker);
	if (rmdir(l->dir) < 0 && errno != ENOENT)
		return err_sys(e, "cannot remove '%s'", l->dir);
	return 0;
}
