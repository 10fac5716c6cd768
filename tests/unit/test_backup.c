/* SPDX-License-Identifier: Apache-2.0
 * test_backup - backups are listed, verified, restored and pruned.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "tests/unit/backuprig.h"
#include "tests/unit/modtest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static void a_backup_is_listed_verified_restored_and_undone(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *place = bk_keep(r);
	AUTO_FREE char *to = mem_printf("%s/restored", r->dir);
	AUTO_FREE char *path = NULL, *exists = NULL;
	AUTO_JSON *one = NULL;

	cv_assert_state(r, "target", "backup.image", "absent");
	cv_do_both(r, "backup.image");
	cv_assert_state(r, "target", "backup.image", "done");
	one = bk_listed(r, place, 0);
	assert_non_null(one);
	path = mem_strdup(jstr(one, "path", ""));
	bk_assert_ok(bk_verified(r, place, path));
	bk_assert_restores(r, place, one);
	exists = mem_printf("cannot restore to '%s': it exists already", to);
	cv_assert_error(bk_restored(r, place, path, to), exists,
		     "name a file that is not there yet, or a device");
	cv_do_at(r, "target", "backup.image", "undo");
	assert_int_equal(access(path, F_OK), -1);
	cv_assert_state(r, "target", "backup.image", "absent");
	assert_int_equal(rmdir(place), 0);	/* nothing is left in it */
}

/* The sending end says when it is over, but not what a backup is. */
/* What must fit is the copy: its own probe says so, and a rollback undoes that one before. */
static void a_backup_is_looked_at_also_where_its_source_grew_since_the_copy(void **s)
{
	struct rig *r = *s;

	free(bk_keep(r));
	cv_do_both(r, "backup.image");
	cv_do_both(r, "convert.disks");
	assert_int_equal(truncate(r->src, SIZE + MIB), 0);
	cv_assert_state(r, "source", "backup.image", "done");
}

static void a_backup_without_a_disk_of_the_plan_is_none(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *place = bk_keep(r);
	struct modtest_end end[2] = { { .module = "backup.image", .in = cv_input(r, "source") },
				      { .module = "backup.image", .in = cv_input(r, "target") } };

	jset(jget(end[1].in, "machine.source.disks"), "data",
	     json_pack("{s:s,s:s,s:b}", "image", r->src, "format", "raw", "copy", 1));
	modtest_both(end);
	cv_assert_error(end[1].out, "cannot keep the backup: the source did not send disk 'data'", "");
	for (int i = 0; i < 2; i++) {
		json_decref(end[i].in);
		json_decref(end[i].events);
	}
	json_decref(end[0].out);
	cv_assert_state(r, "target", "backup.image", "absent");
	assert_null(bk_listed(r, place, 0));
}

/* Which ones is left to chance: none, or all, of 385 will not be it. */
static void a_sample_reads_a_part_of_a_big_disk_and_all_of_a_small_one(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *place = bk_keep(r);
	AUTO_JSON *one = NULL, *big = NULL, *small = NULL, *other = NULL;

	json_object_set_new(r->args, "chunk", json_integer(64 << 10));
	cv_do_both(r, "backup.image");
	one = bk_listed(r, place, 0);
	big = bk_sampled(r, place, jstr(one, "path", ""));
	assert_true(jbool(big, "ok", false));
	assert_int_equal(jint(big, "volatile.chunks", 0), 385);
	assert_in_range(jint(big, "volatile.checked", 0), 1, 384);
	cv_do_at(r, "target", "backup.image", "undo");
	json_object_set_new(r->args, "chunk", json_integer(MIB));
	bk_back_up(r, "20260101T000000Z-aaaa");
	other = bk_listed(r, place, 0);
	small = bk_sampled(r, place, jstr(other, "path", ""));
	assert_true(jbool(small, "ok", false));
	assert_int_equal(jint(small, "volatile.checked", 0), 25);
	assert_int_equal(jint(small, "volatile.chunks", 0), 25);
}

/* Whether it is still there only its place knows: the engine takes the cost away. */
static void how_a_kept_backup_would_be_read_is_not_told(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *first = NULL, *again = NULL, *anew = NULL;
	AUTO_JSON *before = NULL, *kept = NULL, *gone = NULL;

	free(bk_keep(r));
	before = cv_at(r, "source", "backup.image", "probe");
	first = cv_lines(before);
	assert_non_null(strstr(first, "it is read whole"));
	cv_do_both(r, "backup.image");
	kept = cv_at(r, "source", "backup.image", "probe");
	again = cv_lines(kept);
	assert_string_equal(again, "");
	assert_int_equal(jint(kept, "cost.read", 0), jint(before, "cost.read", -1));

	/* What convert copied is no part of it. */
	cv_do_both(r, "convert.disks");
	json_object_del(r->facts, "backup");
	gone = cv_at(r, "source", "backup.image", "probe");
	anew = cv_lines(gone);
	assert_string_equal(anew, first);
	assert_int_equal(jint(gone, "cost.read", 0), jint(before, "cost.read", -1));
}

static void a_second_backup_costs_what_differs(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *place = bk_keep(r);
	AUTO_JSON *first = NULL, *second = NULL, *third = NULL;

	bk_back_up(r, "20260101T000000Z-a");
	cv_put(r->src, 100, "changed", 7);
	bk_back_up(r, "20260102T000000Z-b");
	first = bk_listed(r, place, 0);
	second = bk_listed(r, place, 1);
	assert_in_range(jint(jget(first, "disks.root"), "stored", 0), MIB + 1, SIZE);
	assert_in_range(jint(jget(second, "disks.root"), "stored", 0), 1, MIB);
	bk_assert_ok(bk_verified(r, place, jstr(second, "path", "")));
	bk_assert_restores(r, place, second);

	/* A sibling: another machine, the same disk. */
	r->machine = "erp2";
	bk_back_up(r, "20260103T000000Z-c");
	third = bk_listed(r, place, 2);
	assert_string_equal(jstr(third, "machine", ""), "erp2");
	assert_int_equal(jint(jget(third, "disks.root"), "stored", -1), 0);
}

static void a_restore_that_was_cut_off_goes_on(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *place = bk_keep(r);
	AUTO_FREE char *part = bk_growing(r);
	AUTO_JSON *one = NULL;

	cv_do_both(r, "backup.image");
	one = bk_listed(r, place, 0);
	/* A part is there, another is not, a third is something else. */
	cv_run_ok((const char *[]){ "cp", "--sparse=always", r->src, part, NULL });
	cv_put(part, 0, "!!!!", 4);
	bk_assert_restores(r, place, one);
}

static void a_restore_that_was_killed_before_its_file_had_a_size_goes_on(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *place = bk_keep(r);
	AUTO_FREE char *part = bk_growing(r);
	AUTO_JSON *one = NULL;

	cv_do_both(r, "backup.image");
	one = bk_listed(r, place, 0);
	assert_int_equal(io_write_file(AT_FDCWD, part, "", 0, 0600), 0);
	bk_assert_restores(r, place, one);
}

static void half_a_backup_is_not_seen_and_is_gone_on_with(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *place = bk_keep(r);
	AUTO_FREE char *growing = mem_printf("%s/machines/erp/.20260101T000000Z-abcd.new", place);
	AUTO_FREE char *junk = mem_printf("%s/root.map", growing);
	AUTO_JSON *one = NULL;

	json_object_set_new(r->kept, "name", json_pack("{s:s}", "text", "20260101T000000Z-abcd"));
	assert_int_equal(io_mkdirs(growing, 0700), 0);
	assert_int_equal(io_write_file(AT_FDCWD, junk, "junk", 4, 0600), 0);
	cv_assert_state(r, "target", "backup.image", "partial");
	assert_null(bk_listed(r, place, 0));
	cv_do_both(r, "backup.image");
	cv_assert_state(r, "target", "backup.image", "done");
	assert_int_equal(access(growing, F_OK), -1);
	one = bk_listed(r, place, 0);
	bk_assert_ok(bk_verified(r, place, jstr(one, "path", "")));
}

static void pruning_keeps_the_newest_and_gives_back_room(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *place = bk_keep(r);
	AUTO_JSON *out = NULL, *left = NULL, *more = NULL;

	bk_back_up(r, "20260101T000000Z-a");
	cv_put(r->src, 100, "changed", 7);
	bk_back_up(r, "20260102T000000Z-b");
	out = bk_pruned(r, "probe", place);
	assert_int_equal(json_array_size(jget(out, "volatile.removed")), 1);
	more = bk_listed(r, place, 1);
	assert_non_null(more);		/* the probe removed nothing */
	bk_assert_ok(bk_pruned(r, "apply", place));
	left = bk_listed(r, place, 0);
	assert_string_equal(jstr(left, "name", ""), "20260102T000000Z-b");
	assert_null(bk_listed(r, place, 1));
	bk_assert_ok(bk_verified(r, place, jstr(left, "path", "")));
}

static void pruning_where_no_backup_was_made_yet_is_done(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *place = bk_keep(r);

	assert_int_equal(access(place, F_OK), -1);
	bk_assert_ok(bk_pruned(r, "apply", place));
	assert_int_equal(access(place, F_OK), -1);
}

/* Somebody reads there: a restore that is cut off now goes on later. */
static void pruning_while_a_backup_is_read_takes_nothing_away(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *place = bk_keep(r);
	AUTO_FREE char *lock = mem_printf("%s/lock", place);
	AUTO_FREE char *text = mem_printf("cannot tidy the backups at '%s': they are being written or "
					  "read", place);
	AUTO_JSON *older = NULL;
	int reads;

	bk_back_up(r, "20260101T000000Z-a");
	bk_back_up(r, "20260102T000000Z-b");
	older = bk_listed(r, place, 0);
	reads = open(lock, O_RDONLY | O_CLOEXEC);
	assert_int_equal(flock(reads, LOCK_SH), 0);
	cv_assert_error(bk_pruned(r, "apply", place), text,
			"once that is over: drover backups prune PLAN --keep COUNT");
	bk_assert_ok(bk_verified(r, place, jstr(older, "path", "")));
	close(reads);
	bk_assert_ok(bk_pruned(r, "apply", place));
	assert_int_equal(access(jstr(older, "path", ""), F_OK), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RAW(a_backup_is_listed_verified_restored_and_undone),
		RAW(a_backup_is_looked_at_also_where_its_source_grew_since_the_copy),
		RAW(a_backup_without_a_disk_of_the_plan_is_none),
		RAW(a_sample_reads_a_part_of_a_big_disk_and_all_of_a_small_one),
		RAW(how_a_kept_backup_would_be_read_is_not_told),
		RAW(a_second_backup_costs_what_differs),
		RAW(a_restore_that_was_cut_off_goes_on),
		RAW(a_restore_that_was_killed_before_its_file_had_a_size_goes_on),
		RAW(half_a_backup_is_not_seen_and_is_gone_on_with),
		RAW(pruning_keeps_the_newest_and_gives_back_room),
		RAW(pruning_where_no_backup_was_made_yet_is_done),
		RAW(pruning_while_a_backup_is_read_takes_nothing_away),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
