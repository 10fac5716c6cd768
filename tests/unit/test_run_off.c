/* SPDX-License-Identifier: Apache-2.0
 * test_run_off - a source that is its own host is off when it does not answer, whatever its power
 * facility says.
 */
#include "tests/unit/migration.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

static void fall_silent(struct fake *f, const char *module, const char *op)
{
	(void)op;
	if (!strcmp(module, "call.hello"))
		f->w->mute[0] = true;
}

static void a_server_takes_its_tracker_with_it(void **state)
{
	struct migration *g = *state;

	migration_rule(g, "cutover.quiesce")->ledger = "drover-erp-1";
	migration_rule(g, "cutover.quiesce")->leaves = "tracker";
	migration_rule(g, "assess.look")->live = true;
	g->f->on_call = fall_silent;
	assert_int_equal(migration_run(g, RUN_GO), 0);
	migration_ends(g, RUN_CUTOVER, 0);
	g->f->w->down[0] = true;
	assert_int_equal(migration_run(g, RUN_CLEANUP), 0);
	assert_int_equal(fake_applies(g->f, "call.cleanup"), 0);
}

static void the_tracker_at_a_host_that_stays_is_for_cleanup(void **state)
{
	struct migration *g = *state;

	migration_rule(g, "cutover.quiesce")->ledger = "drover-erp-1";
	migration_rule(g, "cutover.quiesce")->leaves = "tracker";
	assert_int_equal(migration_run(g, RUN_GO), 0);
	migration_ends(g, RUN_CUTOVER, 0);
	assert_int_equal(migration_run(g, RUN_CLEANUP), 0);
	assert_int_equal(fake_applies(g->f, "call.cleanup"), 1);
}

static struct migration *live(void **state)
{
	struct migration *g = *state;

	migration_rule(g, "assess.look")->live = true;
	assert_int_equal(migration_run(g, RUN_GO), 0);
	return g;
}

static void assert_alive(struct migration *g, const char *how)
{
	AUTO_FREE char *text = mem_printf("cannot go on with the cutover of 'erp': its "
		"source.power says that it is off, but %s", how);

	migration_ends(g, RUN_CUTOVER, ERR_STEP);
	assert_string_equal(g->err.what, text);
	assert_int_equal(fake_applies(g->f, "cutover.start"), 0);
	assert_int_equal(fake_get(g->f, "a.power"), 1);	/* whoever that is */
	migration_went_back(g);
}

static void a_power_facility_of_another_machine_is_found_out(void **state)
{
	assert_alive(live(state), "'a' still answers: it was never off");
}

static void a_source_that_falls_silent_is_off(void **state)
{
	struct migration *g = live(state);

	g->f->on_call = fall_silent;
	migration_ends(g, RUN_CUTOVER, 0);
	assert_int_equal(fake_probes(g->f, "call.hello"), 1);
	assert_int_equal(fake_get(g->f, "b.serving"), 1);
}

static void cut_the_line(struct fake *f, const char *module, const char *op)
{
	(void)op;
	if (!strcmp(module, "call.hello") && fake_probes(f, module) == 0)
		fake_strike(f, FAULT_LOSE, 1);
}

/* Its connection may have ended for any reason. */
static void a_line_that_is_cut_is_tried_anew(void **state)
{
	struct migration *g = live(state);

	g->f->on_call = cut_the_line;
	assert_alive(g, "'a' still answers: it was never off");
	assert_int_equal(fake_probes(g->f, "call.hello"), 2);
}

static void cut_the_host(struct fake *f, const char *module, const char *op)
{
	cut_the_line(f, module, op);
	if (!strcmp(module, "call.hello"))
		f->w->down[0] = true;
}

static void a_source_that_takes_no_connection_is_off(void **state)
{
	struct migration *g = live(state);

	g->f->on_call = cut_the_host;
	migration_ends(g, RUN_CUTOVER, 0);
	assert_int_equal(fake_events(g->f, "host", "state", "off"), 1);
	assert_int_equal(fake_events(g->f, "host", "state", "down"), 0);
}

static void restart(struct fake *f, const char *module, const char *op)
{
	cut_the_line(f, module, op);
	if (!strcmp(module, "call.hello"))
		fake_set(f, "a.boot", 2);
}

static void a_source_that_is_on_again_at_once_is_not_off(void **state)
{
	struct migration *g = live(state);

	g->f->on_call = restart;
	assert_alive(g, "'a' answers, started anew since");
}

static void leave_the_key(struct fake *f, const char *module, const char *op)
{
	cut_the_line(f, module, op);
	if (!strcmp(module, "call.hello"))
		f->w->keyed[0] = true;
	if (!strcmp(module, "cutover.off") && !strcmp(op, "undo"))
		f->w->keyed[0] = false;
}

/* No agent starts where the root is frozen, but somebody is there. */
static void a_source_whose_key_still_answers_is_not_off(void **state)
{
	struct migration *g = live(state);

	g->f->on_call = leave_the_key;
	assert_alive(g, "the SSH server of 'a' still answers");
}

/* Who answers there then may be the target: it has the source's address and key. */
static void nobody_is_asked_for_once_the_target_may_serve(void **state)
{
	struct migration *g = live(state);

	g->f->on_call = fall_silent;
	migration_ends(g, RUN_CUTOVER, 0);
	g->f->w->mute[0] = false;
	migration_ends(g, RUN_CUTOVER, 0);
	assert_int_equal(fake_probes(g->f, "call.hello"), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, migration_set_up, migration_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_server_takes_its_tracker_with_it),
		TEST(the_tracker_at_a_host_that_stays_is_for_cleanup),
		TEST(a_power_facility_of_another_machine_is_found_out),
		TEST(a_source_that_falls_silent_is_off),
		TEST(a_line_that_is_cut_is_tried_anew),
		TEST(a_source_that_takes_no_connection_is_off),
		TEST(a_source_that_is_on_again_at_once_is_not_off),
		TEST(a_source_whose_key_still_answers_is_not_off),
		TEST(nobody_is_asked_for_once_the_target_may_serve),
	};

	return cmocka_run_group_tests_name("run_off", tests, NULL, NULL);
}
