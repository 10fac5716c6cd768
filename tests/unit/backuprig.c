/* SPDX-License-Identifier: Apache-2.0
 * backuprig - see the header.
 */
#include "tests/unit/backuprig.h"

#include "engine/base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <unistd.h>

char *bk_keep(struct rig *r)
{
	char *place = mem_printf("%s/backup", r->dir);
	AUTO_FREE char *to = mem_printf("b:%s", place);

	json_object_set_new(r->args, "to", json_string(to));
	json_object_set_new(r->args, "compress", json_string("zstd"));
	return place;
}

void bk_back_up(struct rig *r, const char *name)
{
	json_object_set_new(r->kept, "name", json_pack("{s:s}", "text", name));
	cv_do_both(r, "backup.image");
}

json_t *bk_try_back_up(struct rig *r, const char *name)
{
	json_object_set_new(r->kept, "name", json_pack("{s:s}", "text", name));
	return cv_both(r, "backup.image", NULL);
}

json_t *bk_do(struct rig *r, const char *op, json_t *args)
{
	json_t *old = r->args, *out;

	r->args = args;
	out = cv_at(r, "at", "call.backups", op);
	r->args = old;
	json_decref(args);
	return out;
}

json_t *bk_listed(struct rig *r, const char *place, size_t i)
{
	AUTO_JSON *out = bk_do(r, "probe", json_pack("{s:s,s:s}", "do", "list", "place", place));

	return json_incref(json_array_get(jget(out, "volatile.backups"), i));
}

json_t *bk_verified(struct rig *r, const char *place, const char *path)
{
	return bk_do(r, "probe", json_pack("{s:s,s:s,s:s}", "do", "verify", "place", place,
					   "path", path));
}

json_t *bk_sampled(struct rig *r, const char *place, const char *path)
{
	return bk_do(r, "probe", json_pack("{s:s,s:s,s:s,s:b}", "do", "verify", "place", place,
					   "path", path, "sample", 1));
}

json_t *bk_restored(struct rig *r, const char *place, const char *path, const char *to)
{
	return bk_do(r, "apply", json_pack("{s:s,s:s,s:s,s:s,s:s}", "do", "restore", "place", place,
					   "path", path, "disk", "root", "to", to));
}

json_t *bk_pruned(struct rig *r, const char *op, const char *place)
{
	return bk_do(r, op, json_pack("{s:s,s:s,s:i}", "do", "prune", "place", place, "keep", 1));
}

void bk_assert_ok(json_t *result)
{
	if (!jbool(result, "ok", false))
		fail_msg("%s", jstr(result, "error.text", "not ok"));
	json_decref(result);
}

void bk_assert_restores(struct rig *r, const char *place, const json_t *backup)
{
	AUTO_FREE char *to = mem_printf("%s/restored", r->dir), *part = bk_growing(r);

	bk_assert_ok(bk_restored(r, place, jstr(backup, "path", ""), to));
	cv_run_ok((const char *[]){ "cmp", r->src, to, NULL });
	assert_int_equal(access(part, F_OK), -1);
}

char *bk_growing(struct rig *r)
{
	return mem_printf("%s/restored.restoring", r->dir);
}
