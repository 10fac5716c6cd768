/* SPDX-License-Identifier: Apache-2.0
 * snapshot_lvm - what LVM is told and says.
 */
#include "engine/base/mem.h"
#include "modules/lib/dm.h"
#include "modules/lib/lvm.h"
#include "modules/lib/snapshot_priv.h"

#include <stdlib.h>
#include <string.h>

#define ROOT_TAG "drover-root-"
#define CHUNK "16k"	/* what is kept at once: LVM's own 4k take four times the kernel's memory */

json_t *snap_rows(struct err *e)
{
	const char *const argv[] = { "lvs", LVM_NO_FILES, "--reportformat", "json", "--units", "b",
		"--nosuffix", "-o", "vg_name,vg_uuid,vg_free,vg_extent_size,lv_name,lv_uuid,lv_size,"
		"lv_layout,lv_tags,origin", NULL };

	return lvm_report(argv, "lv", NULL, e);
}

/* ---- a row --------------------------------------------------------------------------- */

char *snap_uuid(const json_t *row)
{
	char *s = mem_printf("LVM-%s%s", jstr(row, "vg_uuid", ""), jstr(row, "lv_uuid", ""));
	char *to = s + 4;

	for (const char *from = to; *from; from++)
		if (*from != '-')
			*to++ = *from;
	*to = '\0';
	return s;
}

char *snap_root(const json_t *row)
{
	const char *tags = jstr(row, "lv_tags", ""), *at = strstr(tags, ROOT_TAG);

	if (!at || (at > tags && at[-1] != ','))
		return mem_strdup("");
	at += strlen(ROOT_TAG);
	return mem_strndup(at, strcspn(at, ","));
}

unsigned snap_number(const json_t *row)
{
	const char *dash = strrchr(jstr(row, "lv_name", ""), '-');

	return dash ? (unsigned)strtoul(dash + 1, NULL, 10) : 0;
}

/* drover-KEY-DISK-, whatever a disk is called in the plan. Owned. */
static char *stem_of(const char *tag, const char *disk)
{
	char hex[SHA256_HEX];

	sha256_hex(disk, strlen(disk), hex);
	return mem_printf("%s-%.8s-", tag, hex);
}

bool snap_is(const json_t *row, const char *tag, const char *disk, const json_t *of)
{
	AUTO_FREE char *stem = stem_of(tag, disk);

	return lvm_has_tag(jstr(row, "lv_tags", ""), tag) &&
		strcmp(jstr(row, "vg_uuid", ""), jstr(of, "vg_uuid", "-")) == 0 &&
		strcmp(jstr(row, "origin", ""), jstr(of, "lv_name", "-")) == 0 &&
		strncmp(jstr(row, "lv_name", ""), stem, strlen(stem)) == 0;
}

/* ---- telling it ------------------------------------------------------------------------ */

/* What LVM's programs call it. Owned. */
static char *full_name(const json_t *row)
{
	return mem_printf("%s/%s", jstr(row, "vg_name", ""), jstr(row, "lv_name", ""));
}

/* No daemon is begun for it, and nothing written to /etc. */
int snap_make(const json_t *of, const char *tag, const char *disk, unsigned n, uint64_t bytes,
	      struct err *e)
{
	AUTO_FREE char *stem = stem_of(tag, disk), *full = full_name(of);
	AUTO_FREE char *name = mem_printf("%s%u", stem, n);
	AUTO_FREE char *size = mem_printf("%llub", (unsigned long long)bytes);
	const char *const argv[] = { "lvcreate", LVM_NO_FILES, "--yes", "--snapshot",
		"--permission", "r", "--monitor", "n", "--chunksize", CHUNK, "--name", name,
		"--size", size, "--addtag", tag, "--", full, NULL };

	return lvm_change(jstr(of, "vg_name", ""), argv, e);
}

int snap_note(const json_t *row, const uint8_t root[SHA256_LEN], struct err *e)
{
	AUTO_FREE char *full = full_name(row), *was = snap_root(row), *add = NULL, *del = NULL;
	char hex[SHA256_HEX];

	io_hex(root, SHA256_LEN, hex);
	if (strcmp(was, hex) == 0)
		return 0;
	add = mem_printf(ROOT_TAG "%s", hex);
	del = mem_printf(ROOT_TAG "%s", was);

	const char *const fresh[] = { "lvchange", LVM_NO_FILES, "--addtag", add, "--", full, NULL };
	const char *const again[] = { "lvchange", LVM_NO_FILES, "--addtag", add, "--deltag", del,
		"--", full, NULL };

	return lvm_change(jstr(row, "vg_name", ""), *was ? again : fresh, e);
}

int snap_take_away(const json_t *row, struct err *e)
{
	AUTO_FREE char *full = full_name(row);
	const char *const argv[] = { "lvremove", LVM_NO_FILES, "--yes", "--", full, NULL };

	return lvm_change(jstr(row, "vg_name", ""), argv, e);
}

bool snap_whole(const char *uuid, struct err *e)
{
	AUTO_FD dm = dm_open(e);
	AUTO_FREE char *status = dm < 0 ? NULL : dm_status(dm, uuid, e);
	struct dm_fill f;

	if (status && !dm_fill_of(status, &f))
		err_set(e, ERR_STEP, "it ran full");
	return status && dm_fill_of(status, &f);
}
