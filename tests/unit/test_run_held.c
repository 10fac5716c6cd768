/* SPDX-License-Identifier: Apache-2.0
 * test_run_held - what the world may do to a source between the last pass and the power
 * cut: let go of it, switch it off, be slow. The target never starts with less than the source
 * wrote.
 */
#include "tests/unit/migration.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

/* ---- between the pass and the cut ----------------------------------------------------- */

static bool at_off(const struct fake *f, const char *module, const char *op)
{
	return !strcmp(module, "cutover.off") && !strcmp(op, "probe") &&
	       fake_applies(f, "cutover.pass") > 0;
}

static void thaw(struct fake *f, const char *module, const char *op)
{
	if (at_off(f, module, op))
		fake_set(f, "a.serving", 1);
}

static void a_source_that_was_let_go_is_not_switched_off(void **state)
{
	struct migration *g = *state;

	g->f->on_call = thaw;
	migration_ends(g, RUN_CUTOVER, ERR_STEP);
	assert_string_equal(g->err.what, "cannot switch 'erp' off: what 'cutover.quiesce' holds "
			    "does not last, and what it wrote since is in no pass: it was let go");
	assert_int_equal(fake_applies(g->f, "cutover.off"), 0);
	assert_int_equal(fake_get(g->f, "a.power"), 1);
	migration_went_back(g);
	g->f->on_call = NULL;
	migration_ends(g, RUN_CUTOVER, 0);
	assert_int_equal(fake_applies(g->f, "cutover.pass"), 4);	/* twice, two ends */
}

static void thaw_and_cut(struct fake *f, const char *module, const char *op)
{
	thaw(f, module, op);
	if (at_off(f, module, op))
		fake_set(f, "a.power", 0);
}

static void a_source_switched_off_by_somebody_else_is_not_taken_for_still(void **state)
{
	struct migration *g = *state;

	g->f->on_call = thaw_and_cut;
	migration_ends(g, RUN_CUTOVER, ERR_STEP);
	assert_string_equal(g->err.what, "cannot go on with the cutover of 'erp': it is off, and "
			    "nobody can tell whether it stood still until then");
	assert_int_equal(fake_applies(g->f, "cutover.start"), 0);
}

static void cut(struct fake *f, const char *module, const char *op)
{
	if (at_off(f, module, op))
		fake_set(f, "a.power", 0);
}

/* Such as a domain that was paused: libvirt can still tell. */
static void a_source_that_is_off_and_known_to_have_stood_still_will_do(void **state)
{
	struct migration *g = *state;

	g->f->on_call = cut;
	migration_ends(g, RUN_CUTOVER, 0);
	assert_int_equal(fake_applies(g->f, "cutover.off"), 0);
	assert_int_equal(fake_get(g->f, "b.serving"), 1);
}

/* It may have been cut only to start with its host again. */
static void who_is_half_off_already_is_asked_too(void **state)
{
	struct migration *g = *state;

	g->f->on_call = thaw;
	fake_set(g->f, "a.power", -1);
	migration_ends(g, RUN_CUTOVER, ERR_STEP);
	assert_int_equal(fake_applies(g->f, "cutover.off"), 0);
	assert_int_equal(fake_applies(g->f, "cutover.start"), 0);
}

/* A condition, a plan without `off`, one that has it too late. */
static void a_target_does_not_start_beside_a_source_that_no_step_proved_off(void **state)
{
	struct migration *g = *state;

	g->p.steps[2].when = "facts.pass.pass == 7";	/* off */
	migration_ends(g, RUN_CUTOVER, ERR_STEP);
	assert_string_equal(g->err.what, "cannot start 'erp' at its target: no step before has "
			    "proven its source off");
	assert_int_equal(fake_applies(g->f, "cutover.start"), 0);
	migration_went_back(g);
	g->p.steps[2].when = "facts.pass.pass == 1";
	migration_ends(g, RUN_CUTOVER, 0);
}

/* What was frozen thaws with its agent: a recorded outcome is no hold. */
static void a_hold_before_no_power_cut_does_not_stand_as_recorded(void **state)
{
	struct migration *g = *state;

	g->p.steps[2].when = g->p.steps[3].when = "facts.pass.pass == 7";	/* off, start */
	migration_ends(g, RUN_CUTOVER, 0);
	g->f->w->down[0] = true;
	assert_int_not_equal(migration_run(g, RUN_CUTOVER), 0);
	g->f->w->down[0] = false;
	migration_ends(g, RUN_CUTOVER, 0);
}

static void start_by_hand(struct fake *f, const char *module, const char *op)
{
	if (!strcmp(module, "cutover.start") && !strcmp(op, "probe") &&
	    fake_get(f, "a.power") == 0)
		fake_set(f, "b.serving", 1);
}

static void a_target_that_somebody_else_started_serves_too(void **state)
{
	struct migration *g = *state;

	g->f->on_call = start_by_hand;
	migration_ends(g, RUN_CUTOVER, 0);
	assert_string_equal(migration_meta(g, "serves"), "target");
	g->f->on_call = NULL;
	g->phase = PHASE_CUTOVER;
	assert_int_equal(migration_run(g, RUN_ROLLBACK), ERR_STEP);
	assert_int_equal(fake_get(g->f, "a.power"), 0);	/* not both of them */
}

static void fail_start(struct fake *f, const char *module, const char *op)
{
	if (!strcmp(module, "cutover.start") && !strcmp(op, "apply"))
		fake_strike(f, FAULT_FAIL, 1);
}

/* Nobody says that it was on again: a person has to be asked, each time. */
static void a_person_is_asked_again_by_a_run_that_goes_on(void **state)
{
	struct migration *g = *state;

	migration_rule(g, "cutover.off")->asks_only = true;
	migration_rule(g, "cutover.off")->ask = true;
	g->f->answer = 1;
	g->f->on_call = fail_start;
	migration_ends(g, RUN_CUTOVER, ERR_STEP);
	g->f->on_call = NULL;
	migration_ends(g, RUN_CUTOVER, 0);
	assert_int_equal(fake_applies(g->f, "cutover.off"), 2);
	assert_int_equal(fake_get(g->f, "b.serving"), 1);
}

/* Whose writes are lost is not for drover to say: it stops nobody. */
static void a_source_that_is_on_beside_its_target_is_told_with_what_to_type(void **state)
{
	struct migration *g = *state;

	migration_ends(g, RUN_CUTOVER, 0);
	fake_set(g->f, "a.power", 1);
	migration_ends(g, RUN_CUTOVER, ERR_STEP);
	assert_string_equal(g->err.what, "cannot go on with the cutover of 'erp': its source was "
			    "switched on again after the last pass");
	assert_int_equal(strncmp(g->err.hint, "both may serve: stop one of them; drover rollback ",
				 50), 0);
	assert_non_null(strstr(g->err.hint, " --to cutover --discard-target-writes ends the "
			       "target"));
	assert_null(strstr(g->err.hint, "PLAN"));
	assert_int_equal(fake_get(g->f, "a.power"), 1);
	assert_int_equal(fake_get(g->f, "b.serving"), 1);
}

/* ---- a hold that has an end ------------------------------------------------------------- */

static void a_power_cut_that_outlasts_the_hold_goes_back(void **state)
{
	struct migration *g = *state;

	migration_rule(g, "cutover.quiesce")->held_ms = 900000;
	migration_rule(g, "cutover.off")->slow_ms = 900000;
	migration_ends(g, RUN_CUTOVER, ERR_STEP);
	assert_string_equal(g->err.what, "cannot go on with the cutover of 'erp': it is off, but "
			    "that took longer than it was sure to stand still");
	assert_int_equal(fake_get(g->f, "a.power"), 1);
	migration_went_back(g);
	migration_rule(g, "cutover.off")->slow_ms = 600000;
	migration_ends(g, RUN_CUTOVER, 0);
	assert_int_equal(fake_get(g->f, "b.serving"), 1);
}

static void a_freeze_leaves_the_ledger_with_its_machine(void **state)
{
	struct migration *g = *state;

	migration_rule(g, "cutover.quiesce")->ledger = "drover-freeze-1";
	migration_rule(g, "cutover.quiesce")->leaves = "freeze";
	migration_ends(g, RUN_CUTOVER, 0);
	g->f->w->down[0] = true;	/* nobody is there to be asked any more */
	assert_int_equal(migration_run(g, RUN_CLEANUP), 0);
	assert_int_equal(fake_applies(g->f, "call.cleanup"), 0);
}

static void the_freeze_of_a_cutover_that_went_on_stays_until_it_is_over(void **state)
{
	struct migration *g = *state;

	migration_rule(g, "cutover.quiesce")->ledger = "drover-freeze-1";
	migration_rule(g, "cutover.quiesce")->leaves = "freeze";
	migration_rule(g, "cutover.off")->ask = true;
	g->f->answer = 0;
	migration_ends(g, RUN_CUTOVER, ERR_STEP);
	migration_went_back(g);
	assert_int_equal(migration_run(g, RUN_CLEANUP), 0);
	assert_int_equal(fake_applies(g->f, "call.cleanup"), 1);
}

/* ---- what stands in the way -------------------------------------------------------------- */

/* However often it is tried: who asks later than at the beginning has quiesced by then. */
static void what_is_in_the_way_of_a_cutover_keeps_it_from_beginning(void **state)
{
	struct migration *g = migration_passing();

	(void)state;
	migration_rule(g, "cutover.pass")->finding = "pass.whole";
	for (int i = 0; i < 2; i++) {
		migration_ends(g, RUN_CUTOVER, ERR_STEP);
		assert_string_equal(g->err.what, "cannot cutover 'erp': blocker pass.whole: it stands "
				    "in the way");
		assert_int_equal(fake_applies(g->f, "cutover.quiesce"), 0);
	}
	migration_rule(g, "cutover.pass")->finding = NULL;
	migration_ends(g, RUN_CUTOVER, 0);
	migration_free(g);
}

/* One end knows what it has, the other one what that must be. */
static void what_two_ends_must_have_in_common_is_compared_before_it_begins(void **state)
{
	struct migration *g = migration_passing();
	struct fake_rule *pass = migration_rule(g, "cutover.pass");

	(void)state;
	pass->finding = "pass.whole";
	pass->finding_unlike = "copy 7";
	g->f->since = "copy 8";
	migration_ends(g, RUN_CUTOVER, ERR_STEP);
	assert_string_equal(g->err.what, "cannot cutover 'erp': blocker pass.whole: it stands in "
			    "the way");
	assert_int_equal(fake_applies(g->f, "cutover.quiesce"), 0);
	g->f->since = "copy 7";
	migration_ends(g, RUN_CUTOVER, 0);
	migration_free(g);
}

static void an_end_that_tells_nothing_of_it_is_not_compared(void **state)
{
	struct migration *g = migration_passing();
	struct fake_rule *pass = migration_rule(g, "cutover.pass");

	(void)state;
	pass->finding = "pass.whole";
	pass->finding_unlike = "copy 7";
	migration_ends(g, RUN_CUTOVER, 0);
	migration_free(g);
}

static struct fake_rule *losing;

static void lose_what_was_followed(struct fake *f, const char *module, const char *op)
{
	(void)op;
	if (!strcmp(module, "cutover.pass") && !fake_get(f, "a.serving"))
		losing->finding = "pass.whole";
}

/* Its downtime would be the reading of all: nobody asked for that. */
static void what_is_lost_after_the_source_was_stopped_brings_it_back(void **state)
{
	struct migration *g = migration_passing();

	(void)state;
	losing = migration_rule(g, "cutover.pass");
	g->f->on_call = lose_what_was_followed;
	migration_ends(g, RUN_CUTOVER, ERR_STEP);
	assert_string_equal(g->err.what, "blocker pass.whole: it stands in the way");
	assert_int_equal(fake_applies(g->f, "cutover.pass"), 0);
	migration_went_back(g);
	g->f->on_call = NULL;
	losing->finding = NULL;
	migration_ends(g, RUN_CUTOVER, 0);
	assert_int_equal(fake_get(g->f, "b.serving"), 1);
	migration_free(g);
}

/* Calls are told what the plan accepts, for what they notice only in the doing. */
static bool told;

static void see_accepted(struct fake *f, const char *module, const char *op)
{
	const json_t *list = jget(f->input, "run.accepted");

	lose_what_was_followed(f, module, op);
	told = told || (!strcmp(module, "cutover.pass") && !strcmp(op, "apply") &&
			!strcmp(json_string_value(json_array_get(list, 0)), "pass.whole"));
}

static void what_the_plan_accepts_is_read_whole_while_nobody_serves(void **state)
{
	struct migration *g = migration_passing();
	struct plan_accept accept = { "pass.whole", "erp", NULL, "a night's downtime" };

	(void)state;
	told = false;
	g->p.plan->accept = &accept;
	g->p.plan->accept_count = 1;
	losing = migration_rule(g, "cutover.pass");
	g->f->on_call = see_accepted;
	migration_ends(g, RUN_CUTOVER, 0);
	assert_true(told);
	assert_int_equal(fake_get(g->f, "b.serving"), 1);
	g->p.plan->accept_count = 0;
	migration_free(g);
}

static void what_is_so_just_now_is_no_part_of_what_a_rollback_compares(void **state)
{
	struct migration *g = *state;

	migration_ends(g, RUN_GO, 0);
	migration_ends(g, RUN_CUTOVER, 0);
	migration_rule(g, "cutover.off")->finding = "pass.whole";
	migration_rule(g, "cutover.off")->finding_now = true;
	g->discard = true;
	g->phase = PHASE_CUTOVER;
	migration_ends(g, RUN_ROLLBACK, 0);
}

#define WHOLE(name) cmocka_unit_test_setup_teardown(name, migration_set_up, migration_tear_down)
#define TEST(name) cmocka_unit_test_setup_teardown(name, migration_set_up_passing, migration_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_source_that_was_let_go_is_not_switched_off),
		TEST(a_source_switched_off_by_somebody_else_is_not_taken_for_still),
		TEST(a_source_that_is_off_and_known_to_have_stood_still_will_do),
		TEST(who_is_half_off_already_is_asked_too),
		TEST(a_target_does_not_start_beside_a_source_that_no_step_proved_off),
		TEST(a_hold_before_no_power_cut_does_not_stand_as_recorded),
		TEST(a_target_that_somebody_else_started_serves_too),
		TEST(a_person_is_asked_again_by_a_run_that_goes_on),
		TEST(a_source_that_is_on_beside_its_target_is_told_with_what_to_type),
		TEST(a_power_cut_that_outlasts_the_hold_goes_back),
		TEST(a_freeze_leaves_the_ledger_with_its_machine),
		TEST(the_freeze_of_a_cutover_that_went_on_stays_until_it_is_over),
		cmocka_unit_test(what_is_in_the_way_of_a_cutover_keeps_it_from_beginning),
		cmocka_unit_test(what_two_ends_must_have_in_common_is_compared_before_it_begins),
		cmocka_unit_test(an_end_that_tells_nothing_of_it_is_not_compared),
		cmocka_unit_test(what_is_lost_after_the_source_was_stopped_brings_it_back),
		cmocka_unit_test(what_the_plan_accepts_is_read_whole_while_nobody_serves),
		WHOLE(what_is_so_just_now_is_no_part_of_what_a_rollback_compares),
	};

	return cmocka_run_group_tests_name("run_held", tests, NULL, NULL);
}
