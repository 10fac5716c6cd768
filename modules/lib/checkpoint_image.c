/* SPDX-License-Identifier: Apache-2.0
 * checkpoint_image - dirty bitmaps in images that no QEMU has open.
 */
#include "modules/lib/checkpoint_priv.h"

#include "engine/base/proc.h"
#include "modules/lib/imgcheck.h"

#include <string.h>

#define QEMU_IMG_MS 60000
#define INFO_MAX (4u << 20)	/* bytes of what it says */

/* {name, flags} of a bitmap in the image, owned; NULL: it has none of that name. */
static json_t *bitmap_in(const char *path, const char *name)
{
	const char *const argv[] = { "qemu-img", "info", "--output=json", "--force-share", "-f",
		"qcow2", "--", path, NULL };
	struct proc p = { .argv = argv, .timeout_ms = QEMU_IMG_MS, .max_output = INFO_MAX };
	AUTO_JSON *info = NULL;

	if (imgcheck_qcow2(path, &(uint64_t){ 0 }, NULL) == 0 && proc_run(&p, NULL) == 0 &&
	    p.out.s)
		info = json_parse(p.out.s, p.out.len, NULL);
	proc_free(&p);
	return json_incref(jfind(jget(info, "format-specific.data.bitmaps"), "name", name));
}

static bool has_flag(const json_t *bitmap, const char *flag)
{
	const json_t *f;
	size_t i;

	json_array_foreach(jget(bitmap, "flags"), i, f)
		if (strcmp(json_string_value(f) ? json_string_value(f) : "", flag) == 0)
			return true;
	return false;
}

const char *virt_bitmap_fault(const char *path, const char *bitmap)
{
	AUTO_JSON *b = bitmap_in(path, bitmap);

	return !b ? "its image has lost the dirty bitmap" :
		has_flag(b, "in-use") ? "its dirty bitmap is not whole: QEMU did not end orderly" :
		!has_flag(b, "auto") ? "its dirty bitmap stood still" : NULL;
}

int virt_bitmap_remove(const char *path, const char *bitmap, struct err *e)
{
	const char *const argv[] = { "qemu-img", "bitmap", "--remove", "-f", "qcow2", "--", path,
		bitmap, NULL };
	struct proc p = { .argv = argv, .timeout_ms = QEMU_IMG_MS };
	AUTO_JSON *there = bitmap_in(path, bitmap);
	int rc = there ? proc_run(&p, e) : 0;

	proc_free(&p);
	return rc;
}
