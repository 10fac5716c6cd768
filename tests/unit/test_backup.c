/* SPDX-License-Identifier: Apache-2.0
 * test_backup - backups are listed, verified, restored and pruned.
 */
#include "engine/base/proc.h"
#include "modules/lib/map.h"
#include "tests/unit/convertrig.h"
#include "tests/unit/modtest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <unistd.h>

#define LOOP_HINT "a link there leads to itself: take it away; the same command then goes on where " \
	"it stopped"

/* ---- backups ------------------------------------------------------------------------------- */

static json_t *backups(struct rig *r, const char *op, json_t *args)
{
	json_t *old = r->args, *out;

	r->args = args;
	out = cv_at(r, "at", "call.backups", op);
	r->args = old;
	json_decref(args);
	return out;
}

/* What the backups at a place are: the i-th of them. Owned. */
static json_t *listed(struct rig *r, const char *place, size_t i)
{
	AUTO_JSON *out = backups(r, "probe", json_pack("{s:s,s:s}", "do", "list", "place", place));

	return json_incref(json_array_get(jget(out, "volatile.backups"), i));
}

static json_t *verified(struct rig *r, const char *place, const char *path)
{
	return backups(r, "probe", json_pack("{s:s,s:s,s:s}", "do", "verify", "place", place,
					     "path", path));
}

static json_t *restored(struct rig *r, const char *place, const char *path, const char *to)
{
	return backups(r, "apply", json_pack("{s:s,s:s,s:s,s:s,s:s}", "do", "restore", "place",
					     place, "path", path, "disk", "root", "to", to));
}

static void ok_and_free(json_t *out)
{
	if (!jbool(out, "ok", false))
		fail_msg("%s", jstr(out, "error.text", "not ok"));
	json_decref(out);
}

/* Where a restore writes until it is whole. Owned. */
static char *growing(struct rig *r)
{
	return mem_printf("%s/restored.restoring", r->dir);
}

/* To <dir>/restored, and it is what was backed up. */
static void restores(struct rig *r, const char *place, const json_t *backup)
{
	AUTO_FREE char *to = mem_printf("%s/restored", r->dir), *part = growing(r);

	ok_and_free(restored(r, place, jstr(backup, "path", ""), to));
	cv_run_ok((const char *[]){ "cmp", r->src, to, NULL });
	assert_int_equal(access(part, F_OK), -1);
}

/* Backups go to <dir>/backup. */
static char *keep_backups(struct rig *r)
{
	char *place = mem_printf("%s/backup", r->dir);
	AUTO_FREE char *to = mem_printf("b:%s", place);

	json_object_set_new(r->args, "to", json_string(to));
	json_object_set_new(r->args, "compress", json_string("zstd"));
	return place;
}

/* One more backup, as a step of its own would make it. */
static void back_up(struct rig *r, const char *name)
{
	json_object_set_new(r->kept, "name", json_pack("{s:s}", "text", name));
	cv_do_both(r, "backup.image");
}

static void a_backup_is_listed_verified_restored_and_undone(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *place = keep_backups(r);
	AUTO_FREE char *to = mem_printf("%s/restored", r->dir);
	AUTO_FREE char *path = NULL, *exists = NULL;
	AUTO_JSON *one = NULL;

	cv_assert_state(r, "target", "backup.image", "absent");
	cv_do_both(r, "backup.image");
	cv_assert_state(r, "target", "backup.image", "done");
	one = listed(r, place, 0);
	assert_non_null(one);
	path = mem_strdup(jstr(one, "path", ""));
	ok_and_free(verified(r, place, path));
	restores(r, place, one);
	exists = mem_printf("cannot restore to '%s': it exists already", to);
	cv_assert_error(restored(r, place, path, to), exists,
		     "name a file that is not there yet, or a device");
	cv_do_at(r, "target", "backup.image", "undo");
	assert_int_equal(access(path, F_OK), -1);
	cv_assert_state(r, "target", "backup.image", "absent");
	assert_int_equal(rmdir(place), 0);	/* nothing is left in it */
}

/* The sending end says when it is over, but not what a backup is. */
static void a_backup_without_a_disk_of_the_plan_is_none(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *place = keep_backups(r);
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
	assert_null(listed(r, place, 0));
}

/* Which ones is left to chance: none, or all, of 385 will not be it. */
static void a_sample_reads_a_part_of_a_big_disk_and_all_of_a_small_one(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *place = keep_backups(r);
	AUTO_JSON *one = NULL, *big = NULL, *small = NULL, *other = NULL;

	json_object_set_new(r->args, "chunk", json_integer(64 << 10));
	cv_do_both(r, "backup.image");
	one = listed(r, place, 0);
	big = backups(r, "probe", json_pack("{s:s,s:s,s:s,s:b}", "do", "verify", "place", place,
					    "path", jstr(one, "path", ""), "sample", 1));
	assert_true(jbool(big, "ok", false));
	assert_int_equal(jint(big, "volatile.chunks", 0), 385);
	assert_in_range(jint(big, "volatile.checked", 0), 1, 384);
	cv_do_at(r, "target", "backup.image", "undo");
	json_object_set_new(r->args, "chunk", json_integer(MIB));
	back_up(r, "20260101T000000Z-aaaa");
	other = listed(r, place, 0);
	small = backups(r, "probe", json_pack("{s:s,s:s,s:s,s:b}", "do", "verify", "place", place,
					      "path", jstr(other, "path", ""), "sample", 1));
	assert_true(jbool(small, "ok", false));
	assert_int_equal(jint(small, "volatile.checked", 0), 25);
	assert_int_equal(jint(small, "volatile.chunks", 0), 25);
}

static void a_flipped_byte_of_a_backup_is_found(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *place = keep_backups(r);
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
	one = listed(r, place, 0);
	out = verified(r, place, jstr(one, "path", ""));
	assert_non_null(strstr(jstr(out, "error.text", ""), "cannot read backup '"));
	assert_non_null(strstr(jstr(out, "error.text", ""),
			       "a chunk has not the digest that it is known by"));
}

static void a_restore_that_was_cut_off_goes_on(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *place = keep_backups(r);
	AUTO_FREE char *part = growing(r);
	AUTO_JSON *one = NULL;

	cv_do_both(r, "backup.image");
	one = listed(r, place, 0);
	/* A part is there, another is not, a third is something else. */
	cv_run_ok((const char *[]){ "cp", "--sparse=always", r->src, part, NULL });
	cv_put(part, 0, "!!!!", 4);
	restores(r, place, one);
}

static void a_restore_that_was_killed_before_its_file_had_a_size_goes_on(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *place = keep_backups(r);
	AUTO_FREE char *part = growing(r);
	AUTO_JSON *one = NULL;

	cv_do_both(r, "backup.image");
	one = listed(r, place, 0);
	assert_int_equal(io_write_file(AT_FDCWD, part, "", 0, 0600), 0);
	restores(r, place, one);
}

static void a_second_backup_costs_what_differs(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *place = keep_backups(r);
	AUTO_JSON *first = NULL, *second = NULL, *third = NULL;

	back_up(r, "20260101T000000Z-a");
	cv_put(r->src, 100, "changed", 7);
	back_up(r, "20260102T000000Z-b");
	first = listed(r, place, 0);
	second = listed(r, place, 1);
	assert_in_range(jint(jget(first, "disks.root"), "stored", 0), MIB + 1, SIZE);
	assert_in_range(jint(jget(second, "disks.root"), "stored", 0), 1, MIB);
	ok_and_free(verified(r, place, jstr(second, "path", "")));
	restores(r, place, second);

	/* A sibling: another machine, the same disk. */
	r->machine = "erp2";
	back_up(r, "20260103T000000Z-c");
	third = listed(r, place, 2);
	assert_string_equal(jstr(third, "machine", ""), "erp2");
	assert_int_equal(jint(jget(third, "disks.root"), "stored", -1), 0);
}

static void pruning_keeps_the_newest_and_gives_back_room(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *place = keep_backups(r);
	AUTO_JSON *out = NULL, *left = NULL, *more = NULL;

	back_up(r, "20260101T000000Z-a");
	cv_put(r->src, 100, "changed", 7);
	back_up(r, "20260102T000000Z-b");
	out = backups(r, "probe", json_pack("{s:s,s:s,s:i}", "do", "prune", "place", place,
					    "keep", 1));
	assert_int_equal(json_array_size(jget(out, "volatile.removed")), 1);
	more = listed(r, place, 1);
	assert_non_null(more);		/* the probe removed nothing */
	ok_and_free(backups(r, "apply", json_pack("{s:s,s:s,s:i}", "do", "prune", "place", place,
						  "keep", 1)));
	left = listed(r, place, 0);
	assert_string_equal(jstr(left, "name", ""), "20260102T000000Z-b");
	assert_null(listed(r, place, 1));
	ok_and_free(verified(r, place, jstr(left, "path", "")));
}

/* Somebody reads there: a restore that is cut off now goes on later. */
static void pruning_while_a_backup_is_read_takes_nothing_away(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *place = keep_backups(r);
	AUTO_FREE char *lock = mem_printf("%s/lock", place);
	AUTO_FREE char *text = mem_printf("cannot tidy the backups at '%s': they are being written or "
					  "read", place);
	AUTO_JSON *older = NULL;
	int reads;

	back_up(r, "20260101T000000Z-a");
	back_up(r, "20260102T000000Z-b");
	older = listed(r, place, 0);
	reads = open(lock, O_RDONLY | O_CLOEXEC);
	assert_int_equal(flock(reads, LOCK_SH), 0);
	cv_assert_error(backups(r, "apply", json_pack("{s:s,s:s,s:i}", "do", "prune", "place", place,
						      "keep", 1)),
			text, "once that is over: drover backups prune PLAN --keep COUNT");
	ok_and_free(verified(r, place, jstr(older, "path", "")));
	close(reads);
	ok_and_free(backups(r, "apply", json_pack("{s:s,s:s,s:i}", "do", "prune", "place", place,
						  "keep", 1)));
	assert_int_equal(access(jstr(older, "path", ""), F_OK), -1);
}

/* What a backup needs and the place has lost is stored again, also for those before it. */
static void a_backup_after_a_pack_was_lost_is_whole(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *place = keep_backups(r);
	AUTO_FREE char *rm = mem_printf("rm %s/packs/*.pack", place);
	AUTO_JSON *first = NULL, *second = NULL, *lost = NULL;

	back_up(r, "20260101T000000Z-a");
	first = listed(r, place, 0);
	cv_run_ok((const char *[]){ "sh", "-c", rm, NULL });
	lost = verified(r, place, jstr(first, "path", ""));
	assert_false(jbool(lost, "ok", true));
	back_up(r, "20260102T000000Z-b");
	second = listed(r, place, 1);
	ok_and_free(verified(r, place, jstr(second, "path", "")));
	ok_and_free(verified(r, place, jstr(first, "path", "")));
	restores(r, place, second);
}

/* Of what zstd makes nothing smaller. */
static void fill_source(struct rig *r, size_t n)
{
	AUTO_FREE char *p = mem_alloc(n);

	io_random(p, n);
	cv_put(r->src, 0, p, n);
}

static json_t *pruned(struct rig *r, const char *place)
{
	return backups(r, "apply", json_pack("{s:s,s:s,s:i}", "do", "prune", "place", place, "keep", 1));
}

/* Found by `verify`, which looks at all; before that nobody knows. */
static void what_was_found_damaged_is_stored_again(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *place = keep_backups(r);
	AUTO_FREE char *flip = mem_printf("for at in 50 700000; do printf XXXXXXXX | dd of=$(ls %s/packs/*) "
					  "bs=1 seek=$at conv=notrunc status=none; done", place);
	AUTO_JSON *first = NULL, *second = NULL, *bad = NULL, *line = NULL;

	fill_source(r, MIB);
	back_up(r, "20260101T000000Z-a");
	first = listed(r, place, 0);
	cv_run_ok((const char *[]){ "sh", "-c", flip, NULL });
	bad = verified(r, place, jstr(first, "path", ""));
	assert_non_null(strstr(jstr(bad, "error.text", ""), "a chunk has not the digest"));
	back_up(r, "20260102T000000Z-b");
	second = listed(r, place, 1);
	line = json_incref(jget(second, "disks.root"));
	assert_in_range(jint(line, "stored", 0), 1, 8 * MIB);
	ok_and_free(verified(r, place, jstr(second, "path", "")));
	ok_and_free(verified(r, place, jstr(first, "path", "")));
	ok_and_free(pruned(r, place));
	ok_and_free(verified(r, place, jstr(second, "path", "")));
	restores(r, place, second);
}

static void a_backup_without_its_index_or_a_map_is_told(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *place = keep_backups(r);
	AUTO_JSON *one = NULL, *damaged = NULL;

	back_up(r, "20260101T000000Z-a");
	one = listed(r, place, 0);
	AUTO_FREE char *map = mem_printf("%s/root.map", jstr(one, "path", ""));
	AUTO_FREE char *index = mem_printf("%s/index.json", jstr(one, "path", ""));
	AUTO_FREE char *gone = mem_printf("cannot open map '%s': No such file or directory", map);
	AUTO_FREE char *text = mem_printf("backup '%s' is damaged: its index.json is not one",
					  jstr(one, "path", ""));
	assert_int_equal(unlink(map), 0);
	cv_assert_error(verified(r, place, jstr(one, "path", "")), gone,
			"use another backup of this machine: drover backups list PLAN");
	assert_int_equal(truncate(index, 20), 0);
	cv_assert_error(verified(r, place, jstr(one, "path", "")), text,
			"use another backup of this machine: drover backups list PLAN");
	damaged = listed(r, place, 0);
	assert_string_equal(jstr(damaged, "damaged", ""), text);
}

static json_t *try_back_up(struct rig *r, const char *name)
{
	json_object_set_new(r->kept, "name", json_pack("{s:s}", "text", name));
	return cv_both(r, "backup.image", NULL);
}

/* To take backups away is how it gets room again: that must not take any. */
static void a_place_that_is_full_is_pruned_and_gone_on_with(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *place = keep_backups(r);
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
	back_up(r, "20260101T000000Z-a");
	fill_source(r, 5 * MIB);
	back_up(r, "20260102T000000Z-b");
	cv_run_ok(fill);
	fill_source(r, 2 * MIB);
	full = try_back_up(r, "20260103T000000Z-c");
	prune = pruned(r, place);
	again = try_back_up(r, "20260103T000000Z-c");
	one = listed(r, place, 1);
	whole = verified(r, place, jstr(one, "path", ""));
	assert_int_equal(umount2(place, MNT_DETACH), 0);
	assert_non_null(strstr(jstr(full, "error.text", ""), "No space left on device"));
	assert_string_equal(jstr(full, "error.hint", ""),
			    "free space there; the same command then goes on where it stopped");
	ok_and_free(json_incref(prune));
	assert_true(jint(prune, "volatile.freed", 0) >= 4 * MIB);
	ok_and_free(json_incref(again));
	ok_and_free(json_incref(whole));
}

/* A directory that cannot be listed holds, for all anybody knows, what all chunks are for. */
static void what_cannot_be_listed_keeps_its_chunks(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *place = keep_backups(r);
	AUTO_FREE char *erp = mem_printf("%s/machines/erp", place);
	AUTO_FREE char *away = mem_printf("%s/away", r->dir);
	AUTO_FREE char *why = mem_printf("cannot list '%s': Too many levels of symbolic links", erp);
	AUTO_JSON *one = NULL;

	back_up(r, "20260101T000000Z-a");
	one = listed(r, place, 0);
	assert_int_equal(rename(erp, away), 0);
	assert_int_equal(symlink("erp", erp), 0);
	cv_assert_error(backups(r, "probe", json_pack("{s:s,s:s}", "do", "list", "place", place)),
			why, LOOP_HINT);
	cv_assert_error(backups(r, "apply", json_pack("{s:s,s:s}", "do", "prune", "place", place)),
			why, LOOP_HINT);
	assert_int_equal(unlink(erp), 0);
	assert_int_equal(rename(away, erp), 0);
	ok_and_free(verified(r, place, jstr(one, "path", "")));
}

static void half_a_backup_is_not_seen_and_is_gone_on_with(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *place = keep_backups(r);
	AUTO_FREE char *growing = mem_printf("%s/machines/erp/.20260101T000000Z-abcd.new", place);
	AUTO_FREE char *junk = mem_printf("%s/root.map", growing);
	AUTO_JSON *one = NULL;

	json_object_set_new(r->kept, "name", json_pack("{s:s}", "text", "20260101T000000Z-abcd"));
	assert_int_equal(io_mkdirs(growing, 0700), 0);
	assert_int_equal(io_write_file(AT_FDCWD, junk, "junk", 4, 0600), 0);
	cv_assert_state(r, "target", "backup.image", "partial");
	assert_null(listed(r, place, 0));
	cv_do_both(r, "backup.image");
	cv_assert_state(r, "target", "backup.image", "done");
	assert_int_equal(access(growing, F_OK), -1);
	one = listed(r, place, 0);
	ok_and_free(verified(r, place, jstr(one, "path", "")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RAW(a_backup_is_listed_verified_restored_and_undone),
		RAW(a_backup_without_a_disk_of_the_plan_is_none),
		RAW(a_sample_reads_a_part_of_a_big_disk_and_all_of_a_small_one),
		RAW(a_flipped_byte_of_a_backup_is_found),
		RAW(a_restore_that_was_cut_off_goes_on),
		RAW(a_restore_that_was_killed_before_its_file_had_a_size_goes_on),
		RAW(a_second_backup_costs_what_differs),
		RAW(pruning_keeps_the_newest_and_gives_back_room),
		RAW(pruning_while_a_backup_is_read_takes_nothing_away),
		RAW(a_backup_after_a_pack_was_lost_is_whole),
		RAW(a_backup_without_its_index_or_a_map_is_told),
		RAW(a_place_that_is_full_is_pruned_and_gone_on_with),
		RAW(what_was_found_damaged_is_stored_again),
		RAW(what_cannot_be_listed_keeps_its_chunks),
		RAW(half_a_backup_is_not_seen_and_is_gone_on_with),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
