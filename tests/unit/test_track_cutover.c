/* SPDX-License-Identifier: Apache-2.0
 * test_track_cutover - a serving disk of which the last pass would have to read all: its tracker
 * is lost, or the target has another copy. A cutover is refused until it was read.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "modules/lib/map.h"
#include "tests/unit/here.h"
#include "tests/unit/modtest.h"
#include "tests/unit/trackrig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What a cutover's last pass says of reading all of the disk; "": nothing. */
static char *whole(struct rig *r, const char *serves)
{
	AUTO_JSON *in = tk_input(r, "source"), *out = NULL;
	const json_t *f;

	jset_str(jget(in, "run"), "serves", serves);
	out = modtest_call("cutover.pass", "probe", in, NULL);
	f = json_array_get(jget(out, "findings"), 0);
	if (!f)
		return mem_strdup("");
	assert_string_equal(jstr(f, "code", ""), "pass.whole");
	assert_true(jbool(f, "now", false));
	return mem_printf("%s %s", jstr(f, "severity", ""), jstr(f, "text", ""));
}

static void assert_whole(struct rig *r, const char *serves, const char *severity, const char *why)
{
	AUTO_FREE char *said = whole(r, serves), *want = mem_printf("%s the last pass would read all of "
		"disk 'root' while nobody is served: %s", severity, why);

	assert_string_equal(said, *severity ? want : "");
}

static void a_cutover_is_refused_while_a_lost_tracker_can_be_replaced(void **s)
{
	struct rig *r = *s;

	if (!tk_can_run)
		skip();
	tk_copy(r, "convert.disks");
	assert_whole(r, "source", "", "");
	tk_lose_events(r);
	assert_whole(r, "source", "blocker", "events of its tracing were lost");
	tk_copy(r, "call.sync");
	assert_whole(r, "source", "", "");
	kill(tk_pid(r), SIGKILL);
	assert_whole(r, "source", "blocker", "its tracker is gone");
	assert_whole(r, "nobody", "blocker", "its tracker is gone");
	json_object_set_new(r->facts, "pass", json_object());	/* it was read since it stands still */
	assert_whole(r, "nobody", "", "");
	json_object_del(r->facts, "pass");
	tk_copy(r, "call.sync");
	assert_whole(r, "source", "", "");
}

/* A last pass that nobody accepted to read all: this end of it says why not. */
static void assert_ends_unread(struct rig *r, int says, const char *why)
{
	AUTO_FREE char *want = mem_printf("the last pass would read all of disk 'root' while nobody "
					  "is served: %s", why);

	r->strict = true;
	struct modtest_end end[2] = { { .module = "cutover.pass", .in = tk_input(r, "source") },
				      { .module = "cutover.pass", .in = tk_input(r, "target") } };

	modtest_both(end);
	assert_string_equal(jstr(end[says].out, "error.text", ""), want);
	assert_string_equal(jstr(end[says].out, "error.hint", ""), "drover sync PLAN reads it while "
			    "the source serves; cut over after that; or accept it in the plan: accept: "
			    "[{finding: pass.whole, until: DATE, reason: WHY}]");
	for (int i = 0; i < 2; i++) {
		assert_false(jbool(end[i].out, "ok", true));
		json_decref(end[i].in);
		json_decref(end[i].out);
		json_decref(end[i].events);
	}
	r->strict = false;
}

/* The probe before it saw nothing; what it would read is its downtime. */
static void a_tracker_lost_at_the_last_moment_ends_the_last_pass_before_it_reads(void **s)
{
	struct rig *r = *s;

	if (!tk_can_run)
		skip();
	tk_copy(r, "convert.disks");
	kill(tk_pid(r), SIGKILL);
	assert_ends_unread(r, 0, "no tracker follows it");
	tk_copy(r, "call.sync");
	tk_last_pass(r);
	assert_string_equal(r->by, "trace");
}

/* A second pass, and the target as the first one left it: what came since is not there. */
static void put_back_the_first_pass(struct rig *r)
{
	AUTO_FREE char *dir = mem_printf("%s/erp", r->target);
	AUTO_FREE char *aside = mem_printf("%s/aside", r->target);
	const char *cp[] = { "cp", "-a", dir, aside, NULL };

	tk_copy(r, "convert.disks");
	here_run(cp);
	tk_write(r, 5 * MIB, MIB, 4);
	json_object_set_new(r->args, "passes", json_integer(2));
	tk_copy(r, "convert.disks");
	assert_string_equal(r->by, "trace");
	assert_int_equal(io_remove_tree(dir), 0);
	assert_int_equal(rename(aside, dir), 0);
}

static void a_target_that_holds_another_copy_is_compared_whole(void **s)
{
	struct rig *r = *s;

	if (!tk_can_run)
		skip();
	put_back_the_first_pass(r);
	tk_last_pass(r);
	assert_string_equal(r->by, "digest");
	assert_true(tk_said(r, "the target's copy is not the one that was followed"));
}

/* The target's finding counts where the source tells another copy than it holds. */
static bool in_the_way(struct rig *r)
{
	AUTO_JSON *in = tk_input(r, "source"), *source = modtest_call("cutover.pass", "probe", in, NULL);
	AUTO_JSON *also = tk_input(r, "target"), *target = modtest_call("cutover.pass", "probe", also, NULL);
	const json_t *f = json_array_get(jget(target, "findings"), 0);

	assert_string_equal(jstr(f, "severity", ""), "blocker");
	assert_string_equal(jstr(f, "code", ""), "pass.whole");
	assert_string_equal(jstr(f, "text", ""), "the last pass would read all of disk 'root' while "
			    "nobody is served: the target's copy is not the one that was followed");
	assert_string_equal(jstr(f, "unlike.key", ""), "since.root");
	return strcmp(jstr(f, "unlike.text", ""), jstr(source, "volatile.since.root", "")) != 0;
}

static void another_copy_at_the_target_is_in_the_way_of_a_cutover(void **s)
{
	struct rig *r = *s;

	if (!tk_can_run)
		skip();
	put_back_the_first_pass(r);
	assert_true(in_the_way(r));
	assert_ends_unread(r, 1, "the target's copy is not the one that was followed");
	tk_copy(r, "call.sync");
	assert_false(in_the_way(r));
	r->strict = true;
	tk_last_pass(r);
	assert_string_equal(r->by, "trace");
	assert_false(in_the_way(r));	/* should it go back */
}

/* The first chunk in which the source is another by now; the map is made to forget it, as a
 * proof does of one that is damaged. */
static void forget_one_that_was_written(struct rig *r)
{
	AUTO_FREE char *path = mem_printf("%s/erp/root.map", r->target);
	AUTO_FREE char *img = mem_alloc(MIB), *base = mem_alloc(MIB);
	AUTO_MAP *m = map_open(path, true, NULL);
	AUTO_FD a = open(r->img, O_RDONLY), b = open(r->base, O_RDONLY);
	uint64_t chunk = 0;

	do {
		assert_int_equal(io_pread_full(a, img, MIB, chunk * MIB), 0);
		assert_int_equal(io_pread_full(b, base, MIB, chunk * MIB), 0);
	} while (memcmp(img, base, MIB) == 0 && ++chunk < SIZE / MIB);
	assert_int_equal(map_drop(m, &chunk, 1, NULL), 0);
}

/* What it sends again is younger than the rest of the copy, which so is one that nobody read
 * as a whole: all that was written since the pass before still counts as written. */
static void what_was_mended_while_the_source_served_is_in_the_way_of_no_cutover(void **s)
{
	struct rig *r = *s;

	if (!tk_can_run)
		skip();
	tk_copy(r, "convert.disks");
	tk_write(r, MIB, 100, 5);
	tk_write(r, 6 * MIB, 100, 6);
	forget_one_that_was_written(r);
	tk_both(r, "convert.disks", "mend");
	assert_in_range(r->read, 1, MIB);
	assert_false(in_the_way(r));
	tk_write(r, MIB, 200, 7);
	/* and once more, of a copy that is itself a mended one */
	forget_one_that_was_written(r);
	tk_both(r, "convert.disks", "mend");
	assert_false(in_the_way(r));
	tk_write(r, 3 * MIB, 100, 8);
	r->strict = true;
	tk_last_pass(r);
	assert_string_equal(r->by, "trace");
	assert_true(r->read < SIZE / 2);
	assert_false(in_the_way(r));
}

/* What is mended of another copy than the one that was followed is another one still. */
static void a_mend_makes_no_strange_copy_known(void **s)
{
	struct rig *r = *s;

	if (!tk_can_run)
		skip();
	put_back_the_first_pass(r);
	forget_one_that_was_written(r);
	tk_both(r, "convert.disks", "mend");
	assert_true(in_the_way(r));
	assert_ends_unread(r, 1, "the target's copy is not the one that was followed");
	tk_copy(r, "call.sync");
	assert_false(in_the_way(r));
	tk_last_pass(r);
	assert_string_equal(r->by, "trace");
}

#define T(f) cmocka_unit_test_setup_teardown(f, tk_set_up, tk_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_cutover_is_refused_while_a_lost_tracker_can_be_replaced),
		T(a_tracker_lost_at_the_last_moment_ends_the_last_pass_before_it_reads),
		T(a_target_that_holds_another_copy_is_compared_whole),
		T(another_copy_at_the_target_is_in_the_way_of_a_cutover),
		T(what_was_mended_while_the_source_served_is_in_the_way_of_no_cutover),
		T(a_mend_makes_no_strange_copy_known),
	};

	tk_look();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
