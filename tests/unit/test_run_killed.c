/* SPDX-License-Identifier: Apache-2.0
 * test_run_killed - an engine that is killed in the cut: the next one goes on when the source stood
 * still for certain, and else not.
 */
#include "tests/unit/migration.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

static const char *error_of_off(const struct migration *g)
{
	json_t *e;
	size_t i;

	json_array_foreach(g->f->events, i, e)
		if (!strcmp(jstr(e, "step", ""), "off") && !strcmp(jstr(e, "state", ""), "failed"))
			return jstr(e, "error", "");
	return "";
}

/* The first death after which `dead` is true. */
static struct migration *killed(bool (*dead)(struct migration *g))
{
	struct migration *first = NULL;

	for (int alive = 0, late = 200; late - alive > 1;) {
		struct migration *g = migration_passing();
		int k = (alive + late) / 2;

		migration_rule(g, "cutover.quiesce")->held_ms = 900000;
		g->f->boundary_at_reports = true;
		fake_strike(g->f, FAULT_KILL, k);
		migration_run_child(g, RUN_CUTOVER);
		fake_strike(g->f, FAULT_NONE, 0);
		if (!dead(g)) {
			alive = k;
			migration_free(g);
			continue;
		}
		late = k;
		if (first)
			migration_free(first);
		first = g;
	}
	assert_non_null(first);
	return first;
}

static bool passed(struct migration *g)
{
	return !strcmp(migration_meta(g, "steps/cutover.pass/status"), "done");
}

/* The agent goes with its engine, and the source serves again. */
static void a_pass_of_an_earlier_instant_is_made_anew(void **state)
{
	struct migration *g = killed(passed);
	int before = fake_applies(g->f, "cutover.pass");

	(void)state;
	assert_int_equal(fake_get(g->f, "a.power"), 1);
	fake_set(g->f, "a.serving", 1);
	migration_ends(g, RUN_CUTOVER, 0);
	assert_int_equal(fake_applies(g->f, "cutover.pass"), before + 2);
	migration_free(g);
}

static void a_pass_of_a_source_that_is_still_held_stands(void **state)
{
	struct migration *g = killed(passed);
	int before = fake_applies(g->f, "cutover.pass");

	(void)state;
	migration_ends(g, RUN_CUTOVER, 0);
	assert_int_equal(fake_applies(g->f, "cutover.pass"), before);
	migration_free(g);
}

static bool cut_off(struct migration *g)
{
	return fake_get(g->f, "a.power") == 0;
}

/* The same clock goes on, whatever the one on the wall says. */
static void who_died_in_the_cut_goes_on_while_the_hold_lasts_for_certain(void **state)
{
	struct migration *g = killed(cut_off);

	(void)state;
	assert_string_equal(migration_meta(g, "steps/cutover.off/status"), "intent");
	g->f->w->down[0] = true;
	g->f->later_s = 600;
	g->f->wall_s = -86400;
	migration_ends(g, RUN_CUTOVER, 0);
	assert_int_equal(fake_get(g->f, "b.serving"), 1);
	migration_free(g);
}

/* It may have served again before it went off. */
static void who_died_in_the_cut_does_not_go_on_when_the_hold_is_over(void **state)
{
	struct migration *g = killed(cut_off);

	(void)state;
	g->f->w->down[0] = true;
	g->f->later_s = 3600;
	migration_ends(g, RUN_CUTOVER, ERR_STOPPED);		/* the way back needs the source, too */
	assert_string_equal(error_of_off(g), "cannot go on with the cutover of 'erp': it is off, "
			    "and nobody can tell whether it stood still until then");
	assert_int_equal(fake_applies(g->f, "cutover.start"), 0);
	assert_int_equal(fake_get(g->f, "b.serving"), 0);
	g->f->w->down[0] = false;		/* it was switched on by the way back */
	migration_ends(g, RUN_CUTOVER, 0);
	assert_int_equal(fake_get(g->f, "b.serving"), 1);
	migration_free(g);
}

static void assert_unknown(struct migration *g)
{
	g->f->w->down[0] = true;
	migration_ends(g, RUN_CUTOVER, ERR_STOPPED);
	assert_string_equal(error_of_off(g), "cannot go on with the cutover of 'erp': it is off, "
			    "and nobody can tell whether it stood still until then");
	assert_int_equal(fake_applies(g->f, "cutover.start"), 0);
	migration_free(g);
}

/* The clock on the wall was set back: by it the hold would last. */
static void who_died_in_the_cut_does_not_believe_the_wall(void **state)
{
	struct migration *g = killed(cut_off);

	(void)state;
	g->f->later_s = 3600;
	g->f->wall_s = -3600;
	assert_unknown(g);
}

static void who_died_in_the_cut_with_its_machine_has_no_clock(void **state)
{
	struct migration *g = killed(cut_off);

	(void)state;
	g->f->boot = "another";
	assert_unknown(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pass_of_an_earlier_instant_is_made_anew),
		cmocka_unit_test(a_pass_of_a_source_that_is_still_held_stands),
		cmocka_unit_test(who_died_in_the_cut_goes_on_while_the_hold_lasts_for_certain),
		cmocka_unit_test(who_died_in_the_cut_does_not_go_on_when_the_hold_is_over),
		cmocka_unit_test(who_died_in_the_cut_does_not_believe_the_wall),
		cmocka_unit_test(who_died_in_the_cut_with_its_machine_has_no_clock),
	};

	return cmocka_run_group_tests_name("run_killed", tests, NULL, NULL);
}
