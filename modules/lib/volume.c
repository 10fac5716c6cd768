/* SPDX-License-Identifier: Apache-2.0
 * volume - LVM logical volumes, by LVM's own programs.
 */
#include "modules/lib/volume.h"

#include "engine/base/json.h"
#include "engine/base/mem.h"
#include "engine/base/proc.h"

#include <stdlib.h>
#include <string.h>

#define LVM_MS 60000
#define REPORT_MAX (4u << 20)	/* bytes of a report: some thousand volumes */

void volume_free(struct volume *v)
{
	mem_free_ptr(&v->path);
	v->path = NULL;
}

/* ---- LVM's programs -------------------------------------------------------------- */

static int have(const char *tool, const char *vg, struct err *e)
{
	AUTO_FREE char *path = proc_which(tool);

	if (path)
		return 0;
	err_set(e, ERR_STEP, "cannot use volume group '%s': '%s' is not installed here", vg,
		tool);
	return err_hint(e, "apt install lvm2");
}

/* What LVM says itself is worth more than how it was called. */
static int said(const struct proc *p, const char *vg, struct err *e)
{
	const char *line = proc_last_line(p);

	if (*line) {
		err_clear(e);
		err_set(e, ERR_STEP, "cannot use volume group '%s': %s: %s", vg, p->argv[0], line);
	} else {
		err_wrap(e, "cannot use volume group '%s'", vg);
	}
	return err_hint(e, "type on its host: vgs; lvs '%s'", vg);
}

static int run(const char *vg, const char *const *argv, struct err *e)
{
	struct proc p = { .argv = argv, .timeout_ms = LVM_MS };
	int rc = have(argv[0], vg, e);

	if (rc == 0 && proc_run(&p, e) < 0)
		rc = said(&p, vg, e);
	proc_free(&p);
	return rc;
}

/* The rows of a report, {"report": [{"lv": [...]}]}. Owned; NULL with e. */
static json_t *report(const char *const *argv, const char *kind, const char *vg,
		      struct err *e)
{
	struct proc p = { .argv = argv, .timeout_ms = LVM_MS, .max_output = REPORT_MAX };
	AUTO_ERR mine = { 0 };
	AUTO_JSON *doc = NULL;
	const json_t *rows = NULL;

	if (have(argv[0], vg, &mine) == 0 && proc_run(&p, &mine) < 0) {
		said(&p, vg, &mine);
	} else if (p.out.s) {
		doc = json_parse(p.out.s, p.out.len, &mine);
		rows = json_object_get(json_array_get(jget(doc, "report"), 0), kind);
	}
	proc_free(&p);
	if (!rows && !err_is(&mine))
		err_set(&mine, ERR_STEP, "cannot use volume group '%s': %s said nothing that can be "
			"read", vg, argv[0]);
	if (!rows && e)
		err_move(e, &mine);
	return json_incref((json_t *)(uintptr_t)rows);
}

/* LVM writes its numbers as text: "4194304". */
static uint64_t number(const json_t *row, const char *key)
{
	return strtoull(jstr(row, key, "0"), NULL, 10);
}

int volume_group_free(const char *vg, uint64_t *bytes, struct err *e)
{
	const char *const argv[] = { "vgs", "--reportformat", "json", "--units", "b",
		"--nosuffix", "-o", "vg_free", "--", vg, NULL };
	AUTO_JSON *rows = report(argv, "vg", vg, e);

	*bytes = number(json_array_get(rows, 0), "vg_free");
	return rows ? 0 : -1;
}

/* ---- one volume ------------------------------------------------------------------- */

static bool has_tag(const char *tags, const char *tag)
{
	size_t n = strlen(tag);

	for (const char *p = tags; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL)
		if (strncmp(p, tag, n) == 0 && (p[n] == '\0' || p[n] == ','))
			return true;
	return false;
}

/* All of the group are listed: a volume that is not there is no error of LVM's. */
int volume_look(struct volume *v, struct err *e)
{
	const char *const argv[] = { "lvs", "--reportformat", "json", "--units", "b",
		"--nosuffix", "-o", "lv_name,lv_size,lv_tags,lv_path", "--", v->vg, NULL };
	AUTO_JSON *rows = report(argv, "lv", v->vg, e);
	const json_t *row;
	size_t i;

	v->exists = v->ours = false;
	volume_free(v);
	json_array_foreach(rows, i, row) {
		if (strcmp(jstr(row, "lv_name", ""), v->name) != 0)
			continue;
		v->exists = true;
		v->ours = has_tag(jstr(row, "lv_tags", ""), v->tag);
		v->size = number(row, "lv_size");
		v->path = mem_strdup(jstr(row, "lv_path", ""));
	}
	return rows ? 0 : -1;
}

int volume_make(const struct volume *v, uint64_t size, struct err *e)
{
	AUTO_FREE char *bytes = mem_printf("%llub", (unsigned long long)size);
	const char *const argv[] = { "lvcreate", "--yes", "--wipesignatures", "y", "--zero", "y",
		"--name", v->name, "--size", bytes, "--addtag", v->tag, "--", v->vg, NULL };

	return run(v->vg, argv, e);
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

	return run(v->vg, argv, e);
}

int volume_adopt(const struct volume *v, struct err *e)
{
	AUTO_FREE char *full = full_name(v);
	const char *const argv[] = { "lvchange", "--addtag", v->tag, "--", full, NULL };

	return run(v->vg, argv, e);
}

int volume_remove(const struct volume *v, struct err *e)
{
	AUTO_FREE char *full = full_name(v);
	const char *const argv[] = { "lvremove", "--yes", "--", full, NULL };

	return run(v->vg, argv, e);
}
