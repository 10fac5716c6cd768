/* SPDX-License-Identifier: Apache-2.0
 * test_backup_harm - a place of backups that comes to harm: bytes flip, files are lost, the room
 * ends. It is told, and where the source is there still the next backup mends it.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "tests/unit/backuprig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <dirent.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#define LOOP_HINT "a link there leads to itself: take it away; the same command then goes on where " \
	"it stopped"

/* Of what zstd makes nothing smaller. */
static void fill_source(struct rig *r, size_t n)
{
	AUTO_FREE char *p = mem_alloc(n);

	io_random(p, n);
	cv_put(r->src, 0, p, n);
}

static void a_flipped_byte_of_a_backup_is_found(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *place = bk_keep(r);
	AUTO_FREE char *pack = NULL, *packs = mem_printf("%s/packs", place);
	AUTO_JSON *one = NULL, *out = NULL;
	DIR *dir;
	const struct dirent *d;

	cv_do_both(r, "backup.image");
	dir = opendir(packs);
	while ((d = readdir(dir)) && d->d_name[0] == '.')
		;
	pack = mem_printf("%s/%s", packs, d->d_name);
	closedir(dir);
	cv_put(pack, 50, "!!", 2);
	one = bk_listed(r, place, 0);
	out = bk_verified(r, place, jstr(one, "path", ""));
	assert_non_null(strstr(jstr(out, "error.text", ""), "cannot read backup '"));
	assert_non_null(strstr(jstr(out, "error.text", ""),
			       "a chunk has not the digest that it is known by"));
}

/* Found by `verify`, which looks at all; before that nobody knows. */
static void what_was_found_damaged_is_stored_again(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *place = bk_keep(r);
	AUTO_FREE char *flip = mem_printf("for at in 50 700000; do printf XXXXXXXX | dd of=$(ls %s/packs/*) "
					  "bs=1 seek=$at conv=notrunc status=none; done", place);
	AUTO_JSON *first = NULL, *second = NULL, *bad = NULL, *line = NULL;

	fill_source(r, MIB);
	bk_back_up(r, "20260101T000000Z-a");
	first = bk_listed(r, place, 0);
	cv_run_ok((const char *[]){ "sh", "-c", flip, NULL });
	bad = bk_verified(r, place, jstr(first, "path", ""));
	assert_non_null(strstr(jstr(bad, "error.text", ""), "a chunk has not the digest"));
	bk_back_up(r, "20260102T000000Z-b");
	second = bk_listed(r, place, 1);
	line = json_incref(jget(second, "disks.root"));
	assert_in_range(jint(line, "stored", 0), 1, 8 * MIB);
	bk_assert_ok(bk_verified(r, place, jstr(second, "path", "")));
	bk_assert_ok(bk_verified(r, place, jstr(first, "path", "")));
	bk_assert_ok(bk_pruned(r, "apply", place));
	bk_assert_ok(bk_verified(r, place, jstr(second, "path", "")));
	bk_assert_restores(r, place, second);
}

/* What a backup needs and the place has lost is stored again, also for those before it. */
static void a_backup_after_a_pack_was_lost_is_whole(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *place = bk_keep(r);
	AUTO_FREE char *rm = mem_printf("rm %s/packs/*.pack", place);
	AUTO_JSON *first = NULL, *second = NULL, *lost = NULL;

	bk_back_up(r, "20260101T000000Z-a");
	first = bk_listed(r, place, 0);
	cv_run_ok((const char *[]){ "sh", "-c", rm, NULL });
	lost = bk_verified(r, place, jstr(first, "path", ""));
	assert_false(jbool(lost, "ok", true));
	bk_back_up(r, "20260102T000000Z-b");
	second = bk_listed(r, place, 1);
	bk_assert_ok(bk_verified(r, place, jstr(second, "path", "")));
	bk_assert_ok(bk_verified(r, place, jstr(first, "path", "")));
	bk_assert_restores(r, place, second);
}

static void a_backup_without_its_index_or_a_map_is_told(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *place = bk_keep(r);
	AUTO_JSON *one = NULL, *damaged = NULL;

	bk_back_up(r, "20260101T000000Z-a");
	one = bk_listed(r, place, 0);
	AUTO_FREE char *map = mem_printf("%s/root.map", jstr(one, "path", ""));
	AUTO_FREE char *index = mem_printf("%s/index.json", jstr(one, "path", ""));
	AUTO_FREE char *gone = mem_printf("cannot open map '%s': No such file or directory", map);
	AUTO_FREE char *text = mem_printf("backup '%s' is damaged: its index.json is not one",
					  jstr(one, "path", ""));
	assert_int_equal(unlink(map), 0);
	cv_assert_error(bk_verified(r, place, jstr(one, "path", "")), gone,
			"use another backup of this machine: drover backups list PLAN");
	assert_int_equal(truncate(index, 20), 0);
	cv_assert_error(bk_verified(r, place, jstr(one, "path", "")), text,
			"use another backup of this machine: drover backups list PLAN");
	damaged = bk_listed(r, place, 0);
	assert_string_equal(jstr(damaged, "damaged", ""), text);
}

/* A directory that cannot be listed holds, for all anybody knows, what all chunks are for. */
static void what_cannot_be_listed_keeps_its_chunks(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *place = bk_keep(r);
	AUTO_FREE char *erp = mem_printf("%s/machines/erp", place);
	AUTO_FREE char *away = mem_printf("%s/away", r->dir);
	AUTO_FREE char *why = mem_printf("cannot list '%s': Too many levels of symbolic links", erp);
	AUTO_JSON *one = NULL;

	bk_back_up(r, "20260101T000000Z-a");
	one = bk_listed(r, place, 0);
	assert_int_equal(rename(erp, away), 0);
	assert_int_equal(symlink("erp", erp), 0);
	cv_assert_error(bk_do(r, "probe", json_pack("{s:s,s:s}", "do", "list", "place", place)),
			why, LOOP_HINT);
	cv_assert_error(bk_do(r, "apply", json_pack("{s:s,s:s}", "do", "prune", "place", place)),
			why, LOOP_HINT);
	assert_int_equal(unlink(erp), 0);
	assert_int_equal(rename(away, erp), 0);
	bk_assert_ok(bk_verified(r, place, jstr(one, "path", "")));
}

/* To take backups away is how it gets room again: that must not take any. */
static void a_place_that_is_full_is_pruned_and_gone_on_with(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *place = bk_keep(r);
	AUTO_FREE char *ballast = mem_printf("%s/ballast", place);
	AUTO_FREE char *dd = mem_printf("of=%s", ballast);
	AUTO_JSON *full = NULL, *prune = NULL, *again = NULL, *one = NULL, *whole = NULL;
	const char *const fill[] = { "sh", "-c", "dd if=/dev/zero bs=4096 status=none $0 2>/dev/null; "
		"test $? = 1", dd, NULL };

	if (geteuid() != 0)
		skip();
	assert_int_equal(io_mkdirs(place, 0700), 0);
	assert_int_equal(mount("none", place, "tmpfs", 0, "size=20m"), 0);
	fill_source(r, 5 * MIB);
	bk_back_up(r, "20260101T000000Z-a");
	fill_source(r, 5 * MIB);
	bk_back_up(r, "20260102T000000Z-b");
	cv_run_ok(fill);
	fill_source(r, 2 * MIB);
	full = bk_try_back_up(r, "20260103T000000Z-c");
	prune = bk_pruned(r, "apply", place);
	again = bk_try_back_up(r, "20260103T000000Z-c");
	one = bk_listed(r, place, 1);
	whole = bk_verified(r, place, jstr(one, "path", ""));
	assert_int_equal(umount2(place, MNT_DETACH), 0);
	assert_non_null(strstr(jstr(full, "error.text", ""), "No space left on device"));
	assert_string_equal(jstr(full, "error.hint", ""),
			    "free space there; the same command then goes on where it stopped");
	bk_assert_ok(json_incref(prune));
	assert_true(jint(prune, "volatile.freed", 0) >= 4 * MIB);
	bk_assert_ok(json_incref(again));
	bk_assert_ok(json_incref(whole));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RAW(a_flipped_byte_of_a_backup_is_found),
		RAW(what_was_found_damaged_is_stored_again),
		RAW(a_backup_after_a_pack_was_lost_is_whole),
		RAW(a_backup_without_its_index_or_a_map_is_told),
		RAW(what_cannot_be_listed_keeps_its_chunks),
		RAW(a_place_that_is_full_is_pruned_and_gone_on_with),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
