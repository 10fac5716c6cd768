/* SPDX-License-Identifier: Apache-2.0
 * test_last_pass - a copy that came to harm at its target since the newest pass: noticed before
 * the source stands still, and once it does before all is sent again; a further pass mends it.
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
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MAP_HEADERS 8192	/* map.h: what lies before its pages */

/* ---- what the target's probe says -------------------------------------------------------- */

/* The blockers that it tells of itself, a line each; those that hang on what the source tells
 * are left out. */
static char *blockers(struct rig *r)
{
	AUTO_JSON *out = cv_at(r, "target", "cutover.pass", "probe");
	AUTO_STR said = { 0 };
	const json_t *f;
	size_t i;

	assert_true(jbool(out, "ok", false));
	assert_string_equal(jstr(out, "state", ""), "absent");
	json_array_foreach(json_object_get(out, "findings"), i, f) {
		assert_string_equal(jstr(f, "severity", ""), "blocker");
		assert_true(jbool(f, "now", false));
		if (!jget(f, "unlike"))
			str_addf(&said, "%s: %s\n", jstr(f, "code", ""), jstr(f, "text", ""));
	}
	return said.s ? str_take(&said) : mem_strdup("");
}

static void assert_blockers(struct rig *r, const char *fmt, const char *path)
{
	AUTO_FREE char *said = blockers(r), *want = mem_printf(fmt, path);

	assert_string_equal(said, want);
}

#define NONE(r) assert_blockers(r, "%s", "")
#define GONE "the last pass would send all of disk 'root' again while nobody is served: its map " \
	"'%s' is gone"

static void copy(struct rig *r)
{
	cv_do_both(r, "convert.disks");
	NONE(r);
}

/* What the finding says to type, and the cutover after it. */
static void assert_mended_by_sync(struct rig *r)
{
	cv_fill(r->src, 7 * MIB, MIB, 6);	/* the source serves on */
	cv_do_both(r, "call.sync");
	NONE(r);
	cv_fill(r->src, 3 * MIB, MIB, 5);
	cv_do_both(r, "cutover.pass");
	cv_assert_same(r);
}

/* ---- tests --------------------------------------------------------------------------------- */

static void a_map_that_is_gone_is_noticed_and_made_anew_by_a_further_pass(void **state)
{
	struct rig *r = *state;

	copy(r);
	assert_int_equal(unlink(r->map), 0);
	assert_blockers(r, "pass.whole: " GONE "\n", r->map);
	assert_mended_by_sync(r);
}

static void a_map_without_some_of_its_pages_is_noticed(void **state)
{
	struct rig *r = *state;

	copy(r);
	assert_int_equal(truncate(r->map, MAP_HEADERS), 0);
	assert_blockers(r, "pass.whole: the last pass would send 24.0 MiB of disk 'root' again while "
			"nobody is served: its map '%s' is not whole any more\n", r->map);
	assert_mended_by_sync(r);
}

static void a_map_that_was_put_back_from_an_earlier_pass_is_noticed(void **state)
{
	struct rig *r = *state;
	AUTO_FREE char *aside = mem_printf("%s.aside", r->map);
	const char *cp[] = { "cp", r->map, aside, NULL };

	copy(r);
	cv_run_ok(cp);
	cv_fill(r->src, 9 * MIB, MIB, 4);
	cv_do_both(r, "call.sync");
	NONE(r);
	assert_int_equal(rename(aside, r->map), 0);
	assert_blockers(r, "pass.whole: the last pass would send what came since pass 1 of disk 'root' "
			"again while nobody is served: its map '%s' was put back from then\n", r->map);
	assert_mended_by_sync(r);
}

static const char *source_state(struct rig *r)
{
	AUTO_JSON *out = cv_at(r, "source", "cutover.pass", "probe");

	return strcmp(jstr(out, "state", ""), "done") == 0 ? "done" : "absent";
}

/* Its time and its size are those that the last pass saw. */
static void another_file_in_the_place_of_an_image_is_read_once_more(void **state)
{
	struct rig *r = *state;
	AUTO_FREE char *other = mem_printf("%s.other", r->src);
	const char *cp[] = { "cp", "-p", r->src, other, NULL };

	copy(r);
	cv_do_both_told(r, "cutover.pass");
	assert_string_equal(source_state(r), "done");
	cv_run_ok(cp);
	assert_int_equal(rename(other, r->src), 0);
	assert_string_equal(source_state(r), "absent");
}

/* The machine's directory as it is, beside it; swap_in() puts it back. */
static void set_aside(struct rig *r)
{
	AUTO_FREE char *dir = mem_printf("%s/erp", r->target), *aside = mem_printf("%s/aside", r->dir);
	const char *cp[] = { "cp", "-a", dir, aside, NULL };

	cv_run_ok(cp);
}

static void swap_in(struct rig *r)
{
	AUTO_FREE char *dir = mem_printf("%s/erp", r->target), *aside = mem_printf("%s/aside", r->dir);

	assert_int_equal(io_remove_tree(dir), 0);
	assert_int_equal(rename(aside, dir), 0);
}

#define OLDER "disk 'root' holds pass 1, pass 2 was recorded: an older copy was put back"
#define OLDER_HINT "drover sync PLAN brings over again what came since"

static void assert_not_proven(struct rig *r)
{
	AUTO_JSON *said = cv_at(r, "target", "validate.disks", "probe");
	const json_t *f = json_array_get(jget(said, "findings"), 0);

	assert_string_equal(jstr(said, "state", ""), "absent");
	assert_string_equal(jstr(f, "severity", ""), "blocker");
	assert_string_equal(jstr(f, "code", ""), "target.older");
	assert_string_equal(jstr(f, "text", ""), OLDER);
	assert_string_equal(jstr(f, "remedy", ""), OLDER_HINT);
	cv_assert_error(cv_at(r, "target", "validate.disks", "apply"), OLDER, OLDER_HINT);
}

/* A further pass says that it found an older copy, and brings it up to date. */
static void assert_brought_up_to_date(struct rig *r)
{
	AUTO_JSON *out = cv_both(r, "call.sync", NULL);
	const json_t *f = json_array_get(jget(out, "findings"), 0);

	assert_string_equal(jstr(f, "code", ""), "target.older");
	assert_string_equal(jstr(f, "text", ""), OLDER ", and what came since is sent again");
	cv_take_facts(r, out);
	cv_assert_same(r);
	NONE(r);
	cv_do_at(r, "target", "validate.disks", "apply");
}

/* It is the copy as it was after its first pass: that is in the way, and mended. */
static void assert_put_back_is_noticed(struct rig *r)
{
	assert_blockers(r, "pass.whole: the last pass would send what came since pass 1 of disk 'root' "
			"again while nobody is served: its map '%s' was put back from then\n", r->map);
	assert_not_proven(r);
	assert_brought_up_to_date(r);
}

/* By a backup of the target's files: its map is whole, and fits. */
static void a_whole_copy_that_was_put_back_is_noticed(void **state)
{
	struct rig *r = *state;

	copy(r);
	cv_do_at(r, "target", "validate.disks", "apply");
	set_aside(r);
	cv_fill(r->src, 9 * MIB, MIB, 4);
	cv_do_both(r, "call.sync");
	NONE(r);
	swap_in(r);
	assert_put_back_is_noticed(r);
	assert_mended_by_sync(r);
}

/* The pass by which it was mended is recorded by the proof alone. */
static void one_from_before_a_mend_is_noticed(void **state)
{
	struct rig *r = *state;

	copy(r);
	set_aside(r);
	cv_put(r->base, 5 * MIB, "!", 1);
	json_decref(cv_at(r, "target", "validate.disks", "apply"));
	cv_fill(r->src, 5 * MIB, MIB, 4);
	json_decref(cv_both_do(r, "convert.disks", "mend", NULL));
	cv_do_at(r, "target", "validate.disks", "apply");
	NONE(r);
	swap_in(r);
	assert_put_back_is_noticed(r);
}

/* It was copied once before, and that was rolled back: it has the pass, and the number of its
 * map's generation, but it is not what is recorded. */
static void the_same_pass_of_another_copy_is_noticed(void **state)
{
	struct rig *r = *state;
	AUTO_JSON *out = NULL;

	copy(r);
	set_aside(r);
	json_object_clear(r->facts);
	cv_fill(r->src, 5 * MIB, MIB, 4);
	assert_int_equal(unlink(r->map), 0);
	assert_int_equal(unlink(r->base), 0);
	copy(r);
	cv_do_at(r, "target", "validate.disks", "apply");
	swap_in(r);
	assert_blockers(r, "pass.whole: the last pass would send what differs of disk 'root' again "
			"while nobody is served: its map '%s' is of another copy than was recorded\n",
			r->map);
	cv_assert_state(r, "target", "validate.disks", "absent");
	out = cv_at(r, "target", "validate.disks", "apply");
	assert_non_null(strstr(jstr(out, "error.text", ""), "disk 'root' has digest "));
	assert_mended_by_sync(r);
	cv_do_at(r, "target", "cutover.proof", "apply");
}

/* It lacks what it was at; the next pass brings that, as ever. */
static void a_pass_that_was_cut_off_is_no_obstacle(void **state)
{
	struct rig *r = *state;
	uint64_t lost = 3;

	copy(r);
	AUTO_MAP *m = map_open(r->map, true, NULL);

	assert_int_equal(map_begin(m, 2, NULL), 0);
	assert_int_equal(map_drop(m, &lost, 1, NULL), 0);
	NONE(r);
}

static void a_map_that_is_no_map_is_noticed(void **state)
{
	struct rig *r = *state;

	copy(r);
	assert_int_equal(truncate(r->map, 100), 0);
	assert_blockers(r, "target.copy: cannot use map '%s': it is damaged\n", r->map);
	/* as its hint says */
	assert_int_equal(unlink(r->map), 0);
	assert_int_equal(unlink(r->base), 0);
	assert_mended_by_sync(r);
}

static void the_map_of_another_disk_is_noticed(void **state)
{
	struct rig *r = *state;

	copy(r);
	struct map *m = map_open(r->map, false, NULL);
	struct map_id id = *map_id(m);

	map_close(m);
	assert_int_equal(unlink(r->map), 0);
	snprintf(id.disk, sizeof(id.disk), "data");
	map_close(map_create(r->map, &id, NULL));
	assert_blockers(r, "target.copy: cannot write to '%s': it belongs to disk 'data' of 'erp', "
			"made from another state\n", r->base);
	json_object_set_new(r->more, "replace", json_true());
	assert_blockers(r, "pass.whole: the last pass would send all of disk 'root' again while "
			"nobody is served: its map '%s' is of no use\n", r->map);
	assert_mended_by_sync(r);
}

static void an_image_that_is_gone_is_noticed(void **state)
{
	struct rig *r = *state;

	copy(r);
	assert_int_equal(unlink(r->base), 0);
	assert_blockers(r, "target.copy: cannot go on with disk 'root': '%s' is gone, its map is "
			"there\n", r->base);
}

/* The probe saw it still: rather than sending all of it in the downtime the pass ends. */
static void what_goes_at_the_last_moment_ends_the_last_pass_before_it_sends(void **state)
{
	struct rig *r = *state;
	AUTO_FREE char *text = mem_printf(GONE, r->map);

	copy(r);
	assert_int_equal(unlink(r->map), 0);
	cv_assert_error(cv_both(r, "cutover.pass", NULL), text, "drover sync PLAN reads it while the "
			"source serves; cut over after that; or accept it in the plan: accept: "
			"[{finding: pass.whole, until: DATE, reason: WHY}]");
	assert_int_equal(access(r->base, F_OK), 0);
	assert_mended_by_sync(r);
}

/* Once the last pass has read the source that stands still, this is the proof's business. */
static void what_the_last_pass_brought_is_not_asked_for_again(void **state)
{
	struct rig *r = *state;
	AUTO_JSON *in = NULL, *out = NULL;

	copy(r);
	cv_do_both(r, "cutover.pass");
	in = cv_input(r, "target");
	jset_str(jget(in, "run"), "serves", "nobody");
	assert_int_equal(truncate(r->map, MAP_HEADERS), 0);
	out = modtest_call("cutover.pass", "probe", in, NULL);
	assert_int_equal(json_array_size(jget(out, "findings")), 0);
}

/* A plan's cutover is looked at before anything was copied. */
static void of_a_disk_that_was_never_copied_nothing_was_lost(void **state)
{
	NONE(*state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RAW(a_map_that_is_gone_is_noticed_and_made_anew_by_a_further_pass),
		QCOW2(a_map_that_is_gone_is_noticed_and_made_anew_by_a_further_pass),
		RAW(a_map_without_some_of_its_pages_is_noticed),
		RAW(a_map_that_was_put_back_from_an_earlier_pass_is_noticed),
		RAW(a_whole_copy_that_was_put_back_is_noticed),
		QCOW2(a_whole_copy_that_was_put_back_is_noticed),
		RAW(one_from_before_a_mend_is_noticed),
		RAW(the_same_pass_of_another_copy_is_noticed),
		RAW(a_pass_that_was_cut_off_is_no_obstacle),
		RAW(another_file_in_the_place_of_an_image_is_read_once_more),
		RAW(a_map_that_is_no_map_is_noticed),
		RAW(the_map_of_another_disk_is_noticed),
		RAW(an_image_that_is_gone_is_noticed),
		RAW(what_goes_at_the_last_moment_ends_the_last_pass_before_it_sends),
		RAW(what_the_last_pass_brought_is_not_asked_for_again),
		RAW(of_a_disk_that_was_never_copied_nothing_was_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
