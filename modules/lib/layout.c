/* SPDX-License-Identifier: Apache-2.0
 * layout - where things of a machine lie at the target.
 */
#include "modules/lib/layout_priv.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/base/text.h"
#include "modules/lib/disk.h"
#include "modules/lib/imgkind.h"
#include "modules/lib/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

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
	l->marker = mem_printf("%s/" LAYOUT_MARKER, l->dir);
	return 0;
}

void layout_free(struct layout *l)
{
	mem_free_ptr(&l->dir);
	mem_free_ptr(&l->marker);
}

/* ---- one disk ------------------------------------------------------------- */

bool layout_is_block(const struct layout_disk *d)
{
	return d->kind == AT_DEVICE || d->kind == AT_VOLUME;
}

static const char *known_format(const char *name)
{
	const struct img_kind *k = img_kind(name);

	return k ? k->name : NULL;
}

static int set_format(const json_t *machine, const json_t *row, const char *disk,
		      struct layout_disk *d, struct err *e)
{
	const char *dflt = layout_is_block(d) ? "raw" : jstr(machine, "target.format", "qcow2");
	const char *want = jstr(row, "format", dflt);

	d->format = known_format(want);
	if (d->format && (!layout_is_block(d) || strcmp(want, "raw") == 0))
		return 0;
	err_set(e, ERR_PLAN, "cannot write disk '%s' as format '%s'", disk, want);
	return err_hint(e, layout_is_block(d) ? "a device takes format: raw" :
			"formats: " IMG_KINDS);
}

/* What decides on the place, and would move the disk if it changed. */
static json_t *what_is_said(const json_t *machine, const json_t *row)
{
	static const char *const keys[] = { "path", "dir", "vg", "pool", "format" };
	json_t *said = json_object();

	jset_str(said, "format", jstr(machine, "target.format", "qcow2"));
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (jstr(row, keys[i], NULL))
			jset_str(said, keys[i], jstr(row, keys[i], NULL));
	return said;
}

static void in_volume(const char *vg, const char *name, struct layout_disk *d)
{
	d->kind = AT_VOLUME;
	d->vg = mem_strdup(vg);
	d->volume = mem_strdup(name);
	d->base = mem_printf("/dev/%s/%s", vg, name);
}

static int in_pool(const char *pool, const char *name, struct layout_disk *d,
		   char **dir, struct err *e)
{
	AUTO_POOL p = { 0 };

	if (pool_find(pool, &p, e) < 0)
		return -1;
	d->pool = mem_strdup(pool);
	if (p.vg)
		in_volume(p.vg, name, d);
	else
		*dir = mem_strdup(p.dir);
	return 0;
}

/* Where the plan puts it. */
static int by_plan(const json_t *machine, const struct layout *l, const char *disk,
		   const json_t *row, struct layout_disk *d, struct err *e)
{
	AUTO_FREE char *name = mem_printf("%s-%s", jstr(machine, "name", ""), disk);
	const char *path = jstr(row, "path", NULL), *dir = jstr(row, "dir", NULL);
	const char *vg = jstr(row, "vg", NULL), *pool = jstr(row, "pool", NULL);
	AUTO_FREE char *folder = dir ? mem_strdup(dir) : NULL;

	if ((path && path[0] != '/') || (dir && dir[0] != '/'))
		return err_set(e, ERR_PLAN, "cannot use '%s' for disk '%s': not an "
			       "absolute path", path ? path : dir, disk);
	if (path) {
		d->kind = AT_DEVICE;
		d->base = mem_strdup(path);
	} else if (vg) {
		in_volume(vg, name, d);
	} else if (pool && in_pool(pool, name, d, &folder, e) < 0) {
		return err_wrap(e, "cannot place disk '%s'", disk);
	}
	if (set_format(machine, row, disk, d, e) < 0)
		return -1;
	if (!d->base && folder)
		d->kind = AT_FOLDER;
	if (!d->base)
		d->base = folder ? mem_printf("%s/%s.%s", folder, name, d->format) :
			mem_printf("%s/%s.base.%s", l->dir, disk, d->format);
	return 0;
}

/* ---- its record ----------------------------------------------------------- */

static const char *const kinds[] = { "home", "folder", "device", "volume" };

static char *copy_or_null(const json_t *o, const char *key)
{
	const char *s = jstr(o, key, NULL);

	return s ? mem_strdup(s) : NULL;
}

/* A reboot may give the name of a device to another one, with somebody's data on it. */
static int same_device(const struct layout_disk *d, struct err *e)
{
	AUTO_FREE char *now = d->device ? disk_device(d->base) : NULL;

	if (!d->device || access(d->base, F_OK) < 0 || (now && strcmp(now, d->device) == 0))
		return 0;
	err_set(e, ERR_STEP, "cannot use '%s': it is another device (%s) than the one that was "
		"written to (%s)", d->base, now ? now : "without a serial number", d->device);
	return err_hint(e, "find that one (ls -l /dev/disk/by-id), name it so under target.disks, "
			"and remove '%s'", d->record);
}

/* 1: read, 0: there is none, -1 with e. */
static int by_record(struct layout_disk *d, struct err *e)
{
	size_t n = 0;
	AUTO_FREE char *text = io_read_file(AT_FDCWD, d->record, 64 << 10, &n);
	AUTO_JSON *doc = text ? json_parse(text, n, NULL) : NULL;
	const char *kind = jstr(doc, "kind", ""), *base = jstr(doc, "base", "");

	if (!text && (errno == ENOENT || errno == ENOTDIR))
		return 0;
	if (!text)
		return err_sys(e, "cannot read '%s'", d->record);
	d->format = known_format(jstr(doc, "format", ""));
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (d->format && base[0] == '/' && strcmp(kind, kinds[i]) == 0) {
			d->kind = (enum layout_kind)i;
			d->base = mem_strdup(base);
		}
	d->vg = copy_or_null(doc, "vg");
	d->volume = copy_or_null(doc, "volume");
	d->pool = copy_or_null(doc, "pool");
	d->boot = copy_or_null(doc, "boot");
	d->device = copy_or_null(doc, "device");
	d->tag = copy_or_null(doc, "tag");
	d->room = (uint64_t)jint(doc, "room", 0);
	d->moved = !json_equal(jget(doc, "said"), d->said);
	d->recorded = true;
	if (d->base && (d->kind != AT_VOLUME || (d->vg && d->volume)))
		return same_device(d, e) < 0 ? -1 : 1;
	err_set(e, ERR_STEP, "cannot tell where a disk is: '%s' is damaged", d->record);
	return err_hint(e, "bring it back, or move its directory away and copy again");
}

int layout_record(const struct layout_disk *d, struct err *e)
{
	AUTO_JSON *doc = json_object();
	AUTO_FREE char *text = NULL;

	jset_str(doc, "kind", kinds[d->kind]);
	jset_str(doc, "base", d->base);
	jset_str(doc, "format", d->format);
	jset_str(doc, "vg", d->vg);
	jset_str(doc, "volume", d->volume);
	jset_str(doc, "pool", d->pool);
	jset_str(doc, "boot", d->boot);
	jset_str(doc, "device", d->device);
	jset_str(doc, "tag", d->tag);
	if (d->room)
		jset_int(doc, "room", (int64_t)d->room);
	jset(doc, "said", json_incref(d->said));
	text = json_pretty(doc);
	if (io_write_file(AT_FDCWD, d->record, text, strlen(text), 0600) < 0)
		return err_sys(e, "cannot write '%s'", d->record);
	return 0;
}

/* 1: found, 0: it was not begun, which is all that was asked; -1 with e. */
static int look_up(const json_t *machine, const char *disk, bool begun,
		   struct layout_disk *d, struct err *e)
{
	const json_t *row = json_object_get(jget(machine, "target.disks"), disk);
	AUTO_LAYOUT l = { 0 };
	int rc;

	*d = (struct layout_disk){ 0 };
	if (layout_of(machine, &l, e) < 0)
		return -1;
	if (!text_name_ok(disk))
		return err_set(e, ERR_PLAN, "'%s' is no name for a disk", disk);
	d->size = (uint64_t)jint(row, "size", 0);
	d->said = what_is_said(machine, row);
	d->map = mem_printf("%s/%s.map", l.dir, disk);
	d->overlay = mem_printf("%s/%s.qcow2", l.dir, disk);
	d->record = mem_printf("%s/%s" LAYOUT_RECORD, l.dir, disk);
	d->readback = mem_printf("%s/%s" LAYOUT_READBACK, l.dir, disk);
	rc = by_record(d, e);
	if (rc == 0 && (!begun || access(d->map, F_OK) == 0))
		rc = by_plan(machine, &l, disk, row, d, e) < 0 ? -1 : 1;
	if (rc <= 0)
		layout_disk_free(d);
	return rc;
}

int layout_of_disk(const json_t *machine, const char *disk,
		   struct layout_disk *d, struct err *e)
{
	return look_up(machine, disk, false, d, e) < 0 ? -1 : 0;
}

int layout_of_begun(const json_t *machine, const char *disk,
		    struct layout_disk *d, struct err *e)
{
	return look_up(machine, disk, true, d, e);
}

void layout_disk_free(struct layout_disk *d)
{
	char **const owned[] = { &d->base, &d->map, &d->overlay, &d->record, &d->readback,
				 &d->vg, &d->volume, &d->pool, &d->boot, &d->device, &d->tag };

	for (size_t i = 0; i < ARRAY_LEN(owned); i++)
		mem_free_ptr(owned[i]);
	json_decref(d->said);
	*d = (struct layout_disk){ 0 };
}

bool layout_copies(const json_t *source_disk)
{
	return jbool(source_disk, "copy", true);
}
