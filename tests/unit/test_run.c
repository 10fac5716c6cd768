/* SPDX-License-Identifier: Apache-2.0
 * test_run - a migration of one pretend machine, forward, also through faults and interrupts.
 */
#include "tests/unit/migration.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int setup(void **state)
{
	*state = migration_new();
	return 0;
}

static int teardown(void **state)
{
	migration_free(*state);
	return 0;
}

static void harm(struct migration *g, int times)
{
	migration_rule(g, "convert.disks")->harm = "b.harm";
	migration_rule(g, "validate.boot")->harm = "b.harm";
	fake_set(g->f, "b.harm", times);
}

/* ---- forward -------------------------------------------------------------------- */

static void a_run_and_a_cutover_move_the_machine(void **state)
{
	struct migration *g = *state;
	AUTO_JSON *files = NULL;

	migration_ends(g, RUN_GO, 0);
	assert_int_equal(fake_get(g->f, "b.disk"), 2);
	assert_int_equal(fake_get(g->f, "a.serving"), 1);
	assert_string_equal(migration_meta(g, "serves"), "source");
	migration_ends(g, RUN_CUTOVER, 0);
	assert_int_equal(fake_get(g->f, "a.power"), 0);
	assert_int_equal(fake_get(g->f, "b.serving"), 1);
	assert_string_equal(migration_meta(g, "serves"), "target");
	files = migration_files(g);
	migration_has(json_string_value(json_object_get(files,
		"steps/convert.disks/result.json")), "\"state\": \"done\"");
	assert_string_equal(json_string_value(json_object_get(files,
		"evidence/validate.boot/console.text")), "login:");
	assert_string_equal(json_string_value(json_object_get(files,
		"steps/convert.disks/undo/old.text")), "0");
	assert_string_equal(json_string_value(json_object_get(files, "facts/machine.json")),
		"{\n  \"cpus\": 2\n}\n");
}

static void a_second_run_does_nothing_again(void **state)
{
	struct migration *g = *state;
	int probes;

	migration_ends(g, RUN_GO, 0);
	probes = fake_probes(g->f, "convert.disks");
	migration_ends(g, RUN_GO, 0);
	assert_int_equal(fake_applies(g->f, "backup.image"), 1);
	assert_int_equal(fake_applies(g->f, "convert.disks"), 2);	/* two ends */
	assert_true(fake_probes(g->f, "convert.disks") > probes);
	assert_non_null(fake_event(g->f, "step", "state", "unchanged"));
	assert_null(fake_event(g->f, "step", "state", "running"));
}

static void a_step_undone_by_others_is_done_again(void **state)
{
	struct migration *g = *state;

	migration_ends(g, RUN_GO, 0);
	fake_set(g->f, "b.overlay", 0);
	migration_ends(g, RUN_GO, 0);
	assert_int_equal(fake_get(g->f, "b.overlay"), 1);
	assert_int_equal(fake_applies(g->f, "reconfigure.guest"), 2);
	assert_int_equal(fake_applies(g->f, "backup.image"), 1);
}

static void a_cutover_waits_for_the_phases_before_it(void **state)
{
	struct migration *g = *state;

	migration_ends(g, RUN_CUTOVER, ERR_STEP);
	assert_string_equal(g->err.what, "cannot cut over 'erp': assess.look is not done");
	migration_has(g->err.hint, "drover run");
	assert_int_equal(fake_applies(g->f, "cutover.quiesce"), 0);
}

static void a_run_after_the_cutover_leaves_the_machine_alone(void **state)
{
	struct migration *g = *state;

	migration_ends(g, RUN_GO, 0);
	migration_ends(g, RUN_CUTOVER, 0);
	migration_ends(g, RUN_GO, 0);
	assert_null(fake_event(g->f, "step", NULL, NULL));
	migration_has(jstr(fake_event(g->f, "log", NULL, NULL), "text", ""),
		   "it was cut over");
}

static void progress_and_who_serves_are_reported(void **state)
{
	struct migration *g = *state;

	migration_ends(g, RUN_GO, 0);
	assert_int_equal(jint(fake_event(g->f, "progress", "step", "disks"), "total", 0), 2);
	assert_string_equal(jstr(fake_event(g->f, "start", NULL, NULL), "kind", ""), "run");
	assert_non_null(fake_event(g->f, "host", "state", "ready"));
	migration_has(jstr(fake_event(g->f, "end", NULL, NULL), "next", ""),
		   "erp.yaml --preview");
	migration_ends(g, RUN_CUTOVER, 0);
	assert_int_equal(fake_events(g->f, "serves", "who", "nobody"), 1);
	assert_int_equal(fake_events(g->f, "serves", "who", "unknown"), 1);
	assert_int_equal(fake_events(g->f, "serves", "who", "target"), 1);
}

static void a_step_whose_condition_does_not_hold_is_skipped(void **state)
{
	struct migration *g = *state;

	g->p.steps[1].when = "facts.machine.cpus == 7";
	migration_ends(g, RUN_GO, 0);
	assert_int_equal(fake_get(g->f, "b.image"), 0);
	assert_string_equal(migration_meta(g, "steps/backup.image/status"), "skipped");
	g->p.steps[1].when = "facts.machine.cpus == 2";
	migration_ends(g, RUN_GO, 0);
	assert_int_equal(fake_get(g->f, "b.image"), 1);
}

/* A check that only asks has no probe that could tell. */
static void a_step_that_no_probe_can_tell_is_done_by_having_run(void **state)
{
	struct migration *g = *state;

	migration_rule(g, "validate.boot")->asks_only = true;
	migration_ends(g, RUN_GO, 0);
	assert_string_equal(migration_meta(g, "steps/validate.boot/status"), "done");
	migration_ends(g, RUN_GO, 0);
	assert_int_equal(fake_applies(g->f, "validate.boot"), 2);	/* asked again */
	migration_ends(g, RUN_CUTOVER, 0);
}

/* ---- findings ------------------------------------------------------------------------ */

static void a_blocker_stops_the_machine_before_the_next_phase(void **state)
{
	struct migration *g = *state;

	migration_rule(g, "assess.look")->finding = "net.mtu";
	migration_ends(g, RUN_GO, ERR_STEP);
	assert_string_equal(g->err.what,
			    "cannot backup 'erp': blocker net.mtu: it stands in the way");
	assert_int_equal(fake_get(g->f, "b.image"), 0);
	assert_string_equal(migration_meta(g, "steps/assess.look/status"), "done");
}

static void a_waived_blocker_stops_nothing(void **state)
{
	struct migration *g = *state;
	struct plan_accept accept = { "net.mtu", "erp", "2026-02-03", "CHG123" };

	migration_rule(g, "assess.look")->finding = "net.mtu";
	g->p.plan->accept = &accept;
	g->p.plan->accept_count = 1;
	migration_ends(g, RUN_GO, 0);
	assert_true(jbool(fake_event(g->f, "finding", "code", "net.mtu"), "waived", false));
	accept.until = "2026-01-31";		/* the virtual day is 2026-02-02 */
	migration_ends(g, RUN_GO, ERR_STEP);
	g->p.plan->accept_count = 0;
}

/* Whoever holds the source would choose what the target runs. */
static void a_source_cannot_tell_what_is_the_targets(void **state)
{
	static const char *const facts[] = { "definition", "proof", "sync", "readback",
					     "disks", "target.host" };
	struct migration *g = *state;

	for (size_t i = 0; i < ARRAY_LEN(facts); i++) {
		AUTO_FREE char *text = mem_printf("host 'a' told the fact '%s', which only the "
						  "target may tell", facts[i]);

		migration_rule(g, "assess.look")->fact = facts[i];
		migration_ends(g, RUN_GO, ERR_STEP);
		assert_string_equal(g->err.what, text);
		assert_int_equal(fake_applies(g->f, "backup.image"), 0);
	}
	migration_rule(g, "assess.look")->fact = "machine";
	migration_ends(g, RUN_GO, 0);
}

/* ---- faults ---------------------------------------------------------------------------- */

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

/* ---- interrupts ---------------------------------------------------------------------------------- */

/* Interrupts when the event of this kind, step and state is reported. */
struct interrupter {
	struct fake *f;
	const char *step, *state;
	void (*report)(void *arg, const json_t *event);
};

static struct interrupter interrupter;

static void report_and_interrupt(void *arg, const json_t *event)
{
	interrupter.report(arg, event);
	if (!strcmp(jstr(event, "t", ""), "step") &&
	    !strcmp(jstr(event, "step", ""), interrupter.step) &&
	    !strcmp(jstr(event, "state", ""), interrupter.state))
		run_interrupt();
}

static int interrupted_run(struct migration *g, enum run_kind kind, const char *step,
			   const char *when)
{
	struct run_options o = { .kind = kind, .only = -1, .until = -1 };
	struct run_seams seams;
	struct state *s;
	int status;

	fake_restart(g->f);
	seams = fake_seams(g->f);
	interrupter = (struct interrupter){ g->f, step, when, seams.report };
	seams.report = report_and_interrupt;
	err_clear(&g->err);
	s = state_open(g->p.state_dir, "erp", STATE_WRITE, g->f->loop, NULL);
	assert_non_null(s);
	status = run_plan(g->p.plan, g->p.graph, s, &seams, &o, NULL, &g->err);
	assert_int_equal(state_close(s, NULL), 0);
	return status;
}

static void an_interrupt_lets_the_running_step_end(void **state)
{
	struct migration *g = *state;

	assert_int_equal(interrupted_run(g, RUN_GO, "guest", "running"), ERR_STOPPED);
	assert_int_equal(fake_get(g->f, "b.disk"), 2);
	assert_string_equal(migration_meta(g, "steps/reconfigure.guest/status"), "done");
	migration_ends(g, RUN_GO, 0);
	assert_int_equal(fake_applies(g->f, "reconfigure.guest"), 1);
}

static void an_interrupt_stops_a_copy_where_it_is(void **state)
{
	struct migration *g = *state;

	assert_int_equal(interrupted_run(g, RUN_GO, "disks", "running"), ERR_STOPPED);
	assert_string_equal(migration_meta(g, "steps/convert.disks/status"), "stopped");
	assert_string_equal(migration_meta(g, "serves"), "source");
	migration_ends(g, RUN_GO, 0);
	assert_int_equal(fake_get(g->f, "b.disk"), 2);
	assert_string_equal(migration_meta(g, "steps/convert.disks/status"), "done");
}

static void an_interrupt_stops_a_further_pass_that_has_not_failed(void **state)
{
	struct migration *g = *state;

	migration_ends(g, RUN_GO, 0);
	assert_int_equal(interrupted_run(g, RUN_SYNC, "disks", "running"), ERR_STOPPED);
	assert_non_null(fake_event(g->f, "step", "state", "stopped"));
	assert_null(fake_event(g->f, "step", "state", "failed"));
	assert_string_equal(migration_meta(g, "sync/status"), "stopped");
	migration_has(g->err.what, "what it brought stays");
	migration_ends(g, RUN_SYNC, 0);
}

static void an_interrupt_in_a_cutover_gives_the_source_back(void **state)
{
	struct migration *g = *state;

	migration_ends(g, RUN_GO, 0);
	assert_int_equal(interrupted_run(g, RUN_CUTOVER, "quiesce", "running"),
			 ERR_STOPPED);
	assert_int_equal(fake_get(g->f, "a.serving"), 1);
	assert_string_equal(migration_meta(g, "serves"), "source");
	migration_ends(g, RUN_CUTOVER, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_run_and_a_cutover_move_the_machine),
		TEST(a_second_run_does_nothing_again),
		TEST(a_step_undone_by_others_is_done_again),
		TEST(a_cutover_waits_for_the_phases_before_it),
		TEST(a_run_after_the_cutover_leaves_the_machine_alone),
		TEST(progress_and_who_serves_are_reported),
		TEST(a_step_whose_condition_does_not_hold_is_skipped),
		TEST(a_step_that_no_probe_can_tell_is_done_by_having_run),
		TEST(a_blocker_stops_the_machine_before_the_next_phase),
		TEST(a_waived_blocker_stops_nothing),
		TEST(a_source_cannot_tell_what_is_the_targets),
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
		TEST(an_interrupt_lets_the_running_step_end),
		TEST(an_interrupt_stops_a_copy_where_it_is),
		TEST(an_interrupt_stops_a_further_pass_that_has_not_failed),
		TEST(an_interrupt_in_a_cutover_gives_the_source_back),
	};

	return cmocka_run_group_tests_name("run", tests, NULL, NULL);
}
