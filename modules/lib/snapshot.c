/* SPDX-License-Identifier: Apache-2.0
 * snapshot - what can be said of a machine's volumes beforehand, and taking all of it away.
 */
#include "modules/lib/snapshot.h"

#include "engine/base/mem.h"
#include "engine/base/text.h"
#include "modules/lib/dm.h"
#include "modules/lib/layout.h"
#include "modules/lib/lvm.h"
#include "modules/lib/ourname.h"
#include "modules/lib/snapshot_priv.h"

#include <stdlib.h>
#include <string.h>

#define VOLUME_UUID (4 + 32 + 32)	/* "LVM-", the group's and its own; parts have more */

/* ---- how much room -------------------------------------------------------------------- */

static uint64_t round_up(uint64_t n, uint64_t extent)
{
	return (n + extent - 1) / extent * extent;
}

/* If all of it is overwritten: a list of 16 bytes for each 16 KiB, and some chunks. */
static uint64_t most_of(uint64_t size, uint64_t extent)
{
	return round_up(size + size / 512 + (1u << 20), extent);
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t snapshot_least(uint64_t size, uint64_t extent)
{
	uint64_t n = size / 50 < SNAPSHOT_LEAST ? SNAPSHOT_LEAST : size / 50;

	return extent ? smaller(round_up(n, extent), most_of(size, extent)) : UINT64_MAX;
}

uint64_t snapshot_size(uint64_t size, uint64_t share, uint64_t extent)
{
	uint64_t n = size / 10 < SNAPSHOT_MIN ? SNAPSHOT_MIN : size / 10;

	if (extent == 0)
		return 0;
	n = smaller(round_up(n, extent), most_of(size, extent));
	n = smaller(n, share / extent * extent);
	return n < snapshot_least(size, extent) ? 0 : n;
}

/* ---- looking ---------------------------------------------------------------------------- */

struct snap_part *snap_part_of(const struct snapshot_view *v, const char *disk)
{
	for (size_t i = 0; v && i < v->count; i++)
		if (strcmp(v->parts[i].disk, disk) == 0)
			return &v->parts[i];
	return NULL;
}

static void add_volumes(struct snapshot_view *v, const struct ctx *c)
{
	const char *disk;
	json_t *spec;

	json_object_foreach(jget(ctx_machine(c), "source.disks"), disk, spec) {
		AUTO_FREE char *path = layout_copies(spec) ? disk_find(disk, spec, NULL) : NULL;
		AUTO_FREE char *uuid = path ? dm_uuid(path) : NULL;

		if (!uuid || strncmp(uuid, "LVM-", 4) != 0 || strlen(uuid) != VOLUME_UUID)
			continue;
		v->parts = mem_realloc(v->parts, (v->count + 1) * sizeof(*v->parts));
		v->parts[v->count++] = (struct snap_part){ .disk = mem_strdup(disk),
			.path = mem_strdup(path), .uuid = mem_strdup(uuid) };
	}
}

/* The rows of LVM that are its own: the volume, the newest snapshot of which it is known of
 * which copy it is. */
static void find_rows(const struct snapshot_view *v, struct snap_part *k)
{
	const json_t *row;
	size_t i;

	json_array_foreach(v->rows, i, row) {
		AUTO_FREE char *uuid = snap_uuid(row);

		if (strcmp(uuid, k->uuid) == 0)
			k->row = row;
	}
	json_array_foreach(v->rows, i, row) {
		AUTO_FREE char *root = snap_root(row);

		if (!snap_is(row, v->tag, k->disk, k->row))
			continue;
		if (*root && (!k->since || snap_number(row) > snap_number(k->since)))
			k->since = row;
		if (snap_number(row) > k->last)
			k->last = snap_number(row);
	}
}

static const char *kind_fault(const struct snap_part *k)
{
	if (!k->row)
		return "LVM does not know it";
	if (strstr(jstr(k->row, "lv_layout", ""), "thin"))
		return "it is a thin volume";
	return *jstr(k->row, "origin", "") ? "it is a snapshot itself" : NULL;
}

/* Its part of what is free in its group, beside the machine's other volumes there. While it
 * has no snapshot half of that: the next pass makes one beside this pass's. */
static uint64_t share_of(const struct snapshot_view *v, const struct snap_part *k)
{
	const char *vg = jstr(k->row, "vg_uuid", "");
	double free = (double)lvm_number(k->row, "vg_free"), all = 0;

	for (size_t i = 0; i < v->count; i++)
		if (strcmp(jstr(v->parts[i].row, "vg_uuid", "-"), vg) == 0)
			all += (double)lvm_number(v->parts[i].row, "lv_size");
	if (all <= 0)
		return 0;
	return (uint64_t)(free * (double)lvm_number(k->row, "lv_size") / all / (k->since ? 1 : 2));
}

static void find_room(const struct snapshot_view *v, struct snap_part *k)
{
	uint64_t size = lvm_number(k->row, "lv_size");
	uint64_t extent = lvm_number(k->row, "vg_extent_size");
	const char *fault = kind_fault(k);
	char least[24];

	if (fault) {
		k->why = mem_strdup(fault);
		return;
	}
	k->room = snapshot_size(size, share_of(v, k), extent);
	text_size(snapshot_least(size, extent), least);
	if (k->room == 0)
		k->why = mem_printf("volume group '%s' has no room for %ssnapshot of it, of %s at "
				    "least", jstr(k->row, "vg_name", ""),
				    k->since ? "another " : "a ", least);
}

static void find_fault(struct snap_part *k)
{
	AUTO_FREE char *uuid = k->since ? snap_uuid(k->since) : NULL;
	AUTO_ERR e = { 0 };

	if (uuid && !snap_whole(uuid, &e))
		k->fault = mem_printf("its snapshot is of no use: %s", e.what);
}

struct snapshot_view *snapshot_view(const struct ctx *c)
{
	struct snapshot_view *v = mem_alloc(sizeof(*v));
	AUTO_ERR e = { 0 };

	v->tag = ourname(c);
	add_volumes(v, c);
	if (v->count == 0) {
		snapshot_view_free(&v);
		return NULL;
	}
	v->rows = snap_rows(&e);
	for (size_t i = 0; i < v->count && v->rows; i++) {
		find_rows(v, &v->parts[i]);
		find_fault(&v->parts[i]);
	}
	for (size_t i = 0; i < v->count; i++)	/* once all rows are known */
		if (v->rows)
			find_room(v, &v->parts[i]);
		else
			v->parts[i].why = mem_strdup(e.what);
	return v;
}

void snapshot_view_free(struct snapshot_view **v)
{
	if (!*v)
		return;
	for (size_t i = 0; i < (*v)->count; i++) {
		struct snap_part *k = &(*v)->parts[i];

		free(k->disk);
		free(k->path);
		free(k->uuid);
		free(k->why);
		free(k->fault);
	}
	free((*v)->parts);
	free((*v)->tag);
	json_decref((*v)->rows);
	mem_free_ptr(v);
}

/* ---- asking ---------------------------------------------------------------------------- */

bool snapshot_knows(const struct snapshot_view *v, const char *disk)
{
	return snap_part_of(v, disk) != NULL;
}

enum snapshot_way snapshot_of(const struct snapshot_view *v, const char *disk, const char **why)
{
	const struct snap_part *k = snap_part_of(v, disk);
	const char *text = !k ? "it is no logical volume" : k->since ? k->fault : k->why;

	if (why)
		*why = text;
	if (k && k->since)
		return text ? SNAPSHOT_LOST : SNAPSHOT_FOLLOWS;
	return text ? SNAPSHOT_NONE : SNAPSHOT_CAN;
}

char *snapshot_since(const struct snapshot_view *v, const char *disk)
{
	return snap_root(snap_part_of(v, disk)->since);
}

const char *snapshot_place(const struct snapshot_view *v, const char *disk, const char **why)
{
	const struct snap_part *k = snap_part_of(v, disk);

	*why = k->why;
	return k->why ? NULL : jstr(k->row, "vg_name", "");
}

/* ---- taking away ------------------------------------------------------------------------ */

int snapshot_remove(const char *tag, struct err *e)
{
	AUTO_JSON *rows = NULL;
	const json_t *row;
	size_t i;

	if (!ourname_is(tag))
		return err_set(e, ERR_STEP, "cannot take away snapshots '%s': no name of ours", tag);
	rows = snap_rows(e);
	json_array_foreach(rows, i, row)
		if (lvm_has_tag(jstr(row, "lv_tags", ""), tag) && *jstr(row, "origin", "") &&
		    strncmp(jstr(row, "lv_name", ""), tag, strlen(tag)) == 0 &&
		    snap_take_away(row, e) < 0)
			return -1;
	return rows ? 0 : -1;
}

int snapshot_stop(struct ctx *c)
{
	AUTO_SNAPSHOTS *v = snapshot_view(c);
	AUTO_ERR e = { 0 };

	if (!v)
		return 0;
	if (v->rows && snapshot_remove(v->tag, &e) < 0)
		return ctx_fail_err(c, &e);
	return v->rows ? ctx_ledger_del(c, SNAPSHOT_LEDGER, v->tag) : 0;
}
