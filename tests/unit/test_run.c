/* SPDX-License-Identifier: Apache-2.0
 * test_run - a migration of one pretend machine, forward, and interrupted.
 */
#include "tests/unit/migration.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

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

static void a_blocker_that_two_steps_find_is_told_once(void **state)
{
	struct migration *g = *state;

	migration_rule(g, "assess.look")->finding = "net.mtu";
	migration_rule(g, "backup.image")->finding = "net.mtu";
	for (int i = 0; i < 2; i++) {
		migration_ends(g, RUN_GO, ERR_STEP);
		assert_int_equal(fake_events(g->f, "finding", "code", "net.mtu"), 1);
	}
	migration_ends(g, RUN_PREVIEW, 0);
	assert_int_equal(fake_events(g->f, "finding", "code", "net.mtu"), 1);
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, migration_set_up, migration_tear_down)

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
		TEST(a_blocker_that_two_steps_find_is_told_once),
		TEST(a_waived_blocker_stops_nothing),
		TEST(a_source_cannot_tell_what_is_the_targets),
		TEST(an_interrupt_lets_the_running_step_end),
		TEST(an_interrupt_stops_a_copy_where_it_is),
		TEST(an_interrupt_stops_a_further_pass_that_has_not_failed),
		TEST(an_interrupt_in_a_cutover_gives_the_source_back),
	};

	return cmocka_run_group_tests_name("run", tests, NULL, NULL);
}
