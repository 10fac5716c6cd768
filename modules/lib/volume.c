/* SPDX-License-Identifier: Apache-2.0
 * volume - LVM logical volumes, by LVM's own programs.
 */
#include "modules/lib/volume.h"

#include "engine/base/mem.h"
#include "modules/lib/lvm.h"

#include <string.h>

void volume_free(struct volume *v)
{
	mem_free_ptr(&v->path);
	v->path = NULL;
}

int volume_group_free(const char *vg, uint64_t *bytes, struct err *e)
{
	const char *const argv[] = { "vgs", "--reportformat", "json", "--units", "b",
		"--nosuffix", "-o", "vg_free", "--", vg, NULL };
	AUTO_JSON *rows = lvm_report(argv, "vg", vg, e);

	*bytes = lvm_number(json_array_get(rows, 0), "vg_free");
	return rows ? 0 : -1;
}

/* ---- one volume ------------------------------------------------------------------- */

/* All of the group are listed: a volume that is not there is no error of LVM's. */
int volume_look(struct volume *v, struct err *e)
{
	const char *const argv[] = { "lvs", "--reportformat", "json", "--units", "b",
		"--nosuffix", "-o", "lv_name,lv_size,lv_tags,lv_path", "--", v->vg, NULL };
	AUTO_JSON *rows = lvm_report(argv, "lv", v->vg, e);
	const json_t *row;
	size_t i;

	v->exists = v->ours = false;
	volume_free(v);
	json_array_foreach(rows, i, row) {
		if (strcmp(jstr(row, "lv_name", ""), v->name) != 0)
			continue;
		v->exists = true;
		v->ours = lvm_has_tag(jstr(row, "lv_tags", ""), v->tag);
		v->size = lvm_number(row, "lv_size");
		v->path = mem_strdup(jstr(row, "lv_path", ""));
	}
	return rows ? 0 : -1;
}

int volume_make(const struct volume *v, uint64_t size, struct err *e)
{
	AUTO_FREE char *bytes = mem_printf("%llub", (unsigned long long)size);
	const char *const argv[] = { "lvcreate", "--yes", "--wipesignatures", "y", "--zero", "y",
		"--name", v->name, "--size", bytes, "--addtag", v->tag, "--", v->vg, NULL };

	return lvm_run(v->vg, argv, e);
}

/* What LVM's programs call it. */
static char *full_name(const struct volume *v)
{
	return mem_printf("%s/%s", v->vg, v->name);
}

int volume_grow(const struct volume *v, uint64_t size, struct err *e)
{
	AUTO_FREE char *bytes = mem_printf("%llub", (unsigned long long)size);
	AUTO_FREE char *full = full_name(v);
	const char *const argv[] = { "lvextend", "--size", bytes, "--", full, NULL };

	return lvm_run(v->vg, argv, e);
}

int volume_adopt(const struct volume *v, struct err *e)
{
	AUTO_FREE char *full = full_name(v);
	const char *const argv[] = { "lvchange", "--addtag", v->tag, "--", full, NULL };

	return lvm_run(v->vg, argv, e);
}

int volume_remove(const struct volume *v, struct err *e)
{
	AUTO_FREE char *full = full_name(v);
	const char *const argv[] = { "lvremove", "--yes", "--", full, NULL };

	return lvm_run(v->vg, argv, e);
}
