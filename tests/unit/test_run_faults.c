/* SPDX-License-Identifier: Apache-2.0
 * test_run_faults - a migration of one pretend machine, through what goes wrong on its way:
 * a host that is away, a source that comes back, damage, a step that fails, no answer.
 */
#include "tests/unit/migration.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

static void a_host_that_does_not_answer_is_named(void **state)
{
	struct migration *g = *state;

	g->f->w->down['b' - 'a'] = true;
	migration_ends(g, RUN_GO, ERR_STEP);
	migration_has(g->err.what, "host 'b': connection refused");
	assert_int_equal(fake_events(g->f, "host", "state", "connecting"), 1 + 3);
	assert_string_equal(migration_meta(g, "steps/assess.look/status"), "done");
	g->f->w->down['b' - 'a'] = false;
	migration_ends(g, RUN_GO, 0);
}

/* ---- a source that is off ---------------------------------------------------- */

static void a_cutover_goes_on_when_the_source_is_off_for_good(void **state)
{
	struct migration *g = *state;

	migration_ends(g, RUN_GO, 0);
	g->f->answer = 0;
	migration_rule(g, "cutover.start")->ask = true;
	migration_ends(g, RUN_CUTOVER, ERR_STEP);
	assert_int_equal(fake_get(g->f, "a.power"), 0);		/* start may have begun */
	assert_string_equal(migration_meta(g, "serves"), "unknown");
	g->f->w->down[0] = true;
	g->f->answer = 1;
	migration_ends(g, RUN_CUTOVER, 0);
	assert_int_equal(fake_get(g->f, "b.serving"), 1);
}

/* Dies when the source is off and the target not yet begun. */
static struct migration *dead_in_between(void)
{
	struct migration *first = NULL;

	for (int alive = 0, off = 200; off - alive > 1;) {
		struct migration *g = migration_new();
		int k = (alive + off) / 2;

		migration_ends(g, RUN_GO, 0);
		g->f->boundary_at_reports = true;
		fake_strike(g->f, FAULT_KILL, k);
		migration_run_child(g, RUN_CUTOVER);
		fake_strike(g->f, FAULT_NONE, 0);
		if (strcmp(migration_meta(g, "steps/cutover.off/status"), "done") != 0) {
			alive = k;
			migration_free(g);
			continue;
		}
		off = k;
		if (first)
			migration_free(first);
		first = g;
	}
	if (!first)
		fail_msg("no death leaves the source off");
	return first;
}

/* What a source wrote that was off and is on again is in no pass: the cutover must not
 * go on with the old one. */
static void a_source_that_was_switched_on_again_ends_the_cutover(void **state)
{
	struct migration *g = dead_in_between();

	(void)state;
	assert_string_equal(migration_meta(g, "serves"), "nobody");
	fake_set(g->f, "a.power", 1);
	migration_ends(g, RUN_CUTOVER, ERR_STEP);
	assert_string_equal(g->err.what, "cannot go on with the cutover of 'erp': its source "
			    "was switched on again after the last pass");
	assert_int_equal(fake_get(g->f, "a.serving"), 1);
	assert_int_equal(fake_get(g->f, "b.serving"), 0);
	migration_ends(g, RUN_CUTOVER, 0);
	assert_int_equal(fake_get(g->f, "b.serving"), 1);
	migration_free(g);
}

/* The source's host is gone with it: what was done there stands as recorded. */
static void a_cutover_goes_on_without_the_source_once_it_is_off(void **state)
{
	struct migration *g = dead_in_between();

	(void)state;
	g->f->w->down[0] = true;
	migration_ends(g, RUN_CUTOVER, 0);
	assert_int_equal(fake_get(g->f, "b.serving"), 1);
	assert_null(fake_event(g->f, "host", "host", "a"));
	migration_free(g);
}

static void a_cutover_tells_how_long_the_source_stood_still(void **state)
{
	struct migration *g = *state;
	const json_t *told;

	migration_rule(g, "cutover.quiesce")->still = "frozen";
	migration_rule(g, "cutover.off")->slow_ms = 800;
	migration_rule(g, "cutover.start")->slow_ms = 5000;
	migration_ends(g, RUN_GO, 0);
	assert_null(fake_event(g->f, "figures", NULL, NULL));
	migration_ends(g, RUN_CUTOVER, 0);
	told = fake_event(g->f, "figures", "machine", "erp");
	assert_string_equal(jstr(told, "still", ""), "frozen");
	assert_in_range(jint(told, "still_ms", 0), 800, 1000);
	assert_in_range(jint(told, "down_ms", 0), 5800, 6500);
	assert_string_equal(migration_meta(g, "figures/still"), "frozen");
	g->discard = true;
	migration_ends(g, RUN_ROLLBACK, 0);
	assert_string_equal(migration_meta(g, "figures/still"), "");
}

/* ---- damage ------------------------------------------------------------------ */

static void harm(struct migration *g, int times)
{
	migration_rule(g, "convert.disks")->harm = "b.harm";
	migration_rule(g, "validate.boot")->harm = "b.harm";
	fake_set(g->f, "b.harm", times);
}

static void what_came_to_harm_is_brought_over_again(void **state)
{
	struct migration *g = *state;

	harm(g, 3);
	migration_ends(g, RUN_GO, 0);
	assert_int_equal(fake_get(g->f, "b.harm"), 0);
	assert_int_equal(fake_get(g->f, "b.boot"), 1);
	assert_int_equal(fake_applies(g->f, "convert.disks"), 2);	/* once at each end */
	assert_int_equal(fake_applies(g->f, "validate.boot"), 4);
}

static void what_comes_to_harm_every_time_fails_the_step(void **state)
{
	struct migration *g = *state;

	harm(g, 99);
	migration_ends(g, RUN_GO, ERR_STEP);
	assert_string_equal(g->err.what, "byte 0 is not what was sent; it was sent "
			    "again 3 times");
	assert_int_equal(fake_get(g->f, "b.harm"), 96);
	assert_non_null(fake_event(g->f, "finding", "code", "disk.damaged"));
	/* The storage was changed meanwhile. */
	fake_set(g->f, "b.harm", 0);
	migration_ends(g, RUN_GO, 0);
}

/* Nobody can bring it over again once the source is off; the step can be asked again. */
static void damage_beneath_a_target_that_serves_is_told_and_asked_again(void **state)
{
	struct migration *g = *state;

	migration_ends(g, RUN_GO, 0);
	migration_rule(g, "cutover.start")->harm = "b.harm";
	migration_rule(g, "convert.disks")->harm = NULL;
	fake_set(g->f, "b.harm", 99);
	migration_ends(g, RUN_CUTOVER, ERR_STEP);
	assert_string_equal(g->err.what, "byte 0 is not what was sent; it was sent again 3 times");
	assert_non_null(fake_event(g->f, "finding", "code", "disk.damaged"));
	migration_ends(g, RUN_FINALIZE, ERR_STEP);
	fake_set(g->f, "b.harm", 0);
	migration_ends(g, RUN_CUTOVER, 0);
	assert_null(fake_event(g->f, "finding", "code", "disk.damaged"));
}

/* ---- a cutover that fails ---------------------------------------------------- */

static void a_cutover_that_fails_goes_back_by_itself(void **state)
{
	struct migration *g = *state;
	char now[41], begin[41];

	migration_ends(g, RUN_GO, 0);
	migration_tree(g, now, NULL, NULL);
	migration_rule(g, "cutover.off")->ask = true;
	g->f->answer = 0;
	migration_ends(g, RUN_CUTOVER, ERR_STEP);
	migration_has(g->err.what, "the answer was no");
	assert_int_equal(fake_get(g->f, "a.serving"), 1);
	assert_int_equal(fake_get(g->f, "a.power"), 1);
	assert_string_equal(migration_meta(g, "serves"), "source");
	assert_non_null(fake_event(g->f, "step", "state", "undone"));
	migration_tree(g, now, "cutover", begin);
	assert_string_equal(now, begin);
	g->f->answer = 1;
	migration_ends(g, RUN_CUTOVER, 0);
}

static void a_question_that_nobody_hears_is_status_six(void **state)
{
	struct migration *g = *state;

	migration_ends(g, RUN_GO, 0);
	migration_rule(g, "cutover.off")->ask = true;
	migration_ends(g, RUN_CUTOVER, ERR_WAITING);
	assert_string_equal(jstr(fake_event(g->f, "step", "state", "waiting"), "step", ""),
			    "off");
	assert_int_equal(fake_get(g->f, "a.serving"), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, migration_set_up, migration_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_host_that_does_not_answer_is_named),
		TEST(a_cutover_goes_on_when_the_source_is_off_for_good),
		cmocka_unit_test(a_source_that_was_switched_on_again_ends_the_cutover),
		cmocka_unit_test(a_cutover_goes_on_without_the_source_once_it_is_off),
		TEST(a_cutover_tells_how_long_the_source_stood_still),
		TEST(damage_beneath_a_target_that_serves_is_told_and_asked_again),
		TEST(what_came_to_harm_is_brought_over_again),
		TEST(what_comes_to_harm_every_time_fails_the_step),
		TEST(a_cutover_that_fails_goes_back_by_itself),
		TEST(a_question_that_nobody_hears_is_status_six),
	};

	return cmocka_run_group_tests_name("run", tests, NULL, NULL);
}
