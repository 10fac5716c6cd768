/* SPDX-License-Identifier: Apache-2.0
 * test_seed - a copy is filled from a backup, when that is worth it, and never with anything
 * else than was backed up.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "modules/lib/map.h"
#include "tests/unit/convertrig.h"
#include "tests/unit/modtest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <dirent.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A backup in <dir>/backup, of which all is known that was written since. */
static void back_up(struct rig *r)
{
	AUTO_FREE char *to = mem_printf("b:%s/backup", r->dir);

	json_object_set_new(r->args, "to", json_string(to));
	cv_do_both(r, "backup.image");
	json_object_set_new(r->facts, "followed", json_pack("{s:{s:s,s:O}}", "root", "by", "trace",
			    "digest", jget(r->facts, "backup.disks.root.digest")));
	json_object_set_new(r->args, "from", json_string(to));
	json_object_set_new(r->args, "chunk", json_integer(MIB));
	json_object_clear(r->kept);
}

/* As the engine asks: the target's probe decides what is filled. Its state; borrowed. */
static const char *look(struct rig *r)
{
	static char state[16];
	AUTO_JSON *out = cv_at(r, "target", "convert.seed", "probe");

	cv_take_facts(r, out);
	snprintf(state, sizeof(state), "%s", jstr(out, "state", "none"));
	return state;
}

static void what_a_seed_brought_is_measured(void **state)
{
	struct rig *r = *state;
	AUTO_JSON *source = NULL, *target = NULL;
	const json_t *pass;

	back_up(r);
	look(r);
	target = cv_both(r, "convert.seed", &source);
	pass = json_array_get(jget(source, "volatile.passes.root"), 0);
	assert_int_equal(jint(pass, "size", 0), jint(r->facts, "backup.disks.root.size", -1));
	assert_in_range(jint(pass, "data", 0), MIB, jint(pass, "size", 0) - 1);
	assert_string_equal(jstr(pass, "digest", ""), jstr(r->facts, "backup.disks.root.digest", "?"));
}

static struct map_state map_now(struct rig *r)
{
	AUTO_MAP *m = map_open(r->map, false, NULL);
	struct map_state s = { 0 };

	assert_non_null(m);
	map_state(m, &s);
	return s;
}

static void a_copy_is_filled_from_its_backup_as_pass_0(void **state)
{
	struct rig *r = *state;
	AUTO_FREE char *dir = mem_printf("%s/erp", r->target);

	back_up(r);
	assert_string_equal(look(r), "absent");
	cv_do_both(r, "convert.seed");
	assert_string_equal(look(r), "done");
	cv_assert_same(r);
	assert_true(map_now(r).complete);
	assert_int_equal(map_now(r).pass, 0);
	assert_true(jbool(r->facts, "seed.root.fills", false));

	/* no pass of the source yet: convert.disks has its own to make */
	cv_assert_state(r, "target", "convert.disks", "partial");
	cv_fill(r->src, 3 * MIB, MIB, 7);
	cv_do_both(r, "convert.disks");
	cv_assert_same(r);
	assert_int_equal(jint(r->facts, "disks.root.pass", 0), 1);
	assert_string_equal(look(r), "done");

	cv_do_at(r, "target", "convert.disks", "undo");
	cv_do_at(r, "target", "convert.seed", "undo");
	assert_int_equal(access(dir, F_OK), -1);
	json_object_clear(r->kept);
	assert_string_equal(look(r), "absent");
}

static void a_copy_of_the_source_is_not_filled_over(void **state)
{
	struct rig *r = *state;
	AUTO_JSON *source = NULL, *target = NULL;

	back_up(r);
	cv_fill(r->src, 3 * MIB, MIB, 7);
	cv_do_both(r, "convert.disks");
	assert_string_equal(look(r), "done");
	assert_false(jbool(r->facts, "seed.root.fills", false));
	json_object_set_new(r->facts, "seed", json_pack("{s:{s:b}}", "root", "fills", 1));
	target = cv_both(r, "convert.seed", &source);
	assert_string_equal(jstr(target, "error.text", ""), "cannot fill disk 'root' from a "
			    "backup: pass 1 of the source is in it already");
	cv_assert_same(r);
}

static void what_was_written_since_must_be_known(void **state)
{
	struct rig *r = *state;

	back_up(r);
	json_object_set_new(r->facts, "followed", json_pack("{s:{s:s}}", "root", "by", "trace"));
	assert_string_equal(look(r), "done");	/* an image: it will never be worth it */
	assert_string_equal(jstr(r->facts, "seed.root.why", ""),
			    "not all is known that was written since its backup");
	cv_do_both(r, "convert.seed");	/* nothing */
	assert_int_equal(access(r->map, F_OK), -1);
	json_object_set_new(r->args, "chunk", json_integer(2 * MIB));
	look(r);
	assert_string_equal(jstr(r->facts, "seed.root.why", ""),
			    "its backup has chunks of another size");
}

/* No step described the machine, and the backup is yet to be made: its own probe knows. */
static void what_filling_will_cost_is_known_without_assess(void **state)
{
	struct rig *r = *state;
	AUTO_FREE char *to = mem_printf("b:%s/backup", r->dir);
	AUTO_JSON *out = NULL, *in = NULL;
	json_t *row;

	json_object_set_new(r->args, "to", json_string(to));
	json_object_set_new(r->args, "follow", json_integer(1000));
	out = cv_at(r, "source", "backup.image", "probe");
	row = jget(jget(out, "facts.followed.volatile"), "root");
	assert_int_equal(jint(row, "size", 0), SIZE);
	assert_in_range(jint(row, "used", 0), 1, SIZE);
	jset_str(row, "by", "trace");	/* as if it were a device */
	json_object_set_new(r->facts, "followed", json_pack("{s:O}", "root", row));
	json_object_set_new(r->args, "from", json_string(to));
	in = cv_input(r, "target");
	jset_bool(jget(in, "run"), "preview", true);
	json_decref(out);
	out = modtest_call("convert.seed", "probe", in, NULL);
	assert_int_equal(jint(out, "cost.read", 0), jint(row, "used", -1));
	assert_int_equal(jint(out, "cost.write", 0), jint(row, "used", -1));
}

/* In the midst of every pack. */
static void spoil(struct rig *r)
{
	AUTO_FREE char *packs = mem_printf("%s/backup/packs", r->dir);
	DIR *d = opendir(packs);
	struct dirent *de;

	assert_non_null(d);
	while ((de = readdir(d)))
		if (de->d_name[0] != '.') {
			AUTO_FREE char *path = mem_printf("%s/%s", packs, de->d_name);

			cv_fill(path, 5 * MIB, 64, 99);
		}
	closedir(d);
}

static void a_damaged_backup_fails_once_and_is_left_alone_then(void **state)
{
	struct rig *r = *state;
	AUTO_JSON *source = NULL, *target = NULL;

	json_object_set_new(r->args, "compress", json_string("none"));
	back_up(r);
	spoil(r);
	look(r);
	target = cv_both(r, "convert.seed", &source);
	assert_false(jbool(source, "ok", true));
	assert_false(jbool(target, "ok", true));
	assert_non_null(strstr(jstr(source, "error.text", ""), "cannot fill disk 'root' from "
			       "backup"));
	assert_non_null(strstr(jstr(source, "error.text", ""), "a chunk has not the digest"));
	assert_false(map_now(r).complete);

	json_object_set_new(r->kept, "unread.root", json_pack("{s:s}", "text", "damaged"));
	assert_string_equal(look(r), "done");
	assert_string_equal(jstr(r->facts, "seed.root.why", ""), "its backup cannot be read");
	cv_do_both(r, "convert.disks");
	cv_assert_same(r);
}

static void a_backup_that_is_gone_is_told(void **state)
{
	struct rig *r = *state;
	AUTO_FREE char *gone = mem_printf("%s/gone", r->dir);
	AUTO_JSON *source = NULL, *target = NULL;

	back_up(r);
	look(r);
	assert_int_equal(rename(jstr(r->facts, "backup.path", ""), gone), 0);
	target = cv_both(r, "convert.seed", &source);
	assert_non_null(strstr(jstr(source, "error.text", ""), "cannot fill disk 'root' from "
			       "backup"));
	assert_string_equal(jstr(source, "error.hint", ""), "the same command again, and the source "
			    "is read instead; drover backups verify PLAN tells which of them are "
			    "whole");
}

/* It fails once, saying so; from then on the source is read. */
static void assert_read_from_the_source(struct rig *r, const char *why)
{
	AUTO_JSON *source = NULL, *target = NULL;

	assert_string_equal(look(r), "absent");
	target = cv_both(r, "convert.seed", &source);
	assert_false(jbool(target, "ok", true));
	if (!strstr(jstr(source, "error.text", ""), why))
		fail_msg("%s", jstr(source, "error.text", "no error"));
	json_object_set_new(r->kept, "unread.root", json_pack("{s:s}", "text", "it is gone"));
	assert_string_equal(look(r), "done");
	assert_string_equal(jstr(r->facts, "seed.root.why", ""), "its backup cannot be read");
	cv_do_both(r, "convert.disks");
	cv_assert_same(r);
}

static void prune(struct rig *r)
{
	AUTO_FREE char *place = mem_printf("%s/backup", r->dir);
	AUTO_JSON *in = cv_input(r, "at"), *out = NULL;

	json_object_set_new(in, "args", json_pack("{s:s, s:s, s:i}", "do", "prune", "place", place,
						  "keep", 1));
	out = modtest_call("call.backups", "apply", in, NULL);
	assert_int_equal(json_array_size(jget(out, "volatile.removed")), 1);
}

/* A newer one was made, and `drover backups prune` took the one that was to be filled from. */
static void what_was_pruned_since_is_read_from_the_source(void **state)
{
	struct rig *r = *state;

	json_object_set_new(r->kept, "name", json_pack("{s:s}", "text", "20260101T000000Z-a"));
	back_up(r);
	AUTO_JSON *facts = json_deep_copy(r->facts);
	json_object_set_new(r->kept, "name", json_pack("{s:s}", "text", "20260102T000000Z-b"));
	cv_fill(r->src, 0, 2 * MIB, 7);
	cv_do_both(r, "backup.image");
	json_object_clear(r->kept);
	json_object_update(r->facts, facts);
	prune(r);
	assert_read_from_the_source(r, "cannot fill disk 'root' from backup");
}

/* The backup says that it is whole, a pack of its chunks is not there. */
static void chunks_that_are_missing_are_read_from_the_source(void **state)
{
	struct rig *r = *state;
	AUTO_FREE char *packs = mem_printf("%s/backup/packs", r->dir);

	back_up(r);
	assert_int_equal(io_remove_tree(packs), 0);
	assert_int_equal(mkdir(packs, 0700), 0);
	assert_read_from_the_source(r, "cannot fill disk 'root' from backup");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RAW(a_copy_is_filled_from_its_backup_as_pass_0),
		QCOW2(a_copy_is_filled_from_its_backup_as_pass_0),
		RAW(what_a_seed_brought_is_measured),
		RAW(a_copy_of_the_source_is_not_filled_over),
		RAW(what_was_written_since_must_be_known),
		RAW(what_filling_will_cost_is_known_without_assess),
		RAW(a_damaged_backup_fails_once_and_is_left_alone_then),
		RAW(a_backup_that_is_gone_is_told),
		RAW(what_was_pruned_since_is_read_from_the_source),
		RAW(chunks_that_are_missing_are_read_from_the_source),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
