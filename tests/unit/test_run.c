/* SPDX-License-Identifier: Apache-2.0
 * test_run - a migration of one pretend machine, forward, backward and previewed.
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

static void assert_status(struct migration *g, enum run_kind kind, int status)
{
	int now = migration_run(g, kind);

	if (now != status)
		fail_msg("ended with %d, not %d: %s", now, status,
			 g->err.what ? g->err.what : "no error");
	if (g->f->w->broken[0])
		fail_msg("%s", g->f->w->broken);
}

static void assert_has(const char *text, const char *part)
{
	if (!text || !strstr(text, part))
		fail_msg("'%s' is not in '%s'", part, text ? text : "(null)");
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

	assert_status(g, RUN_GO, 0);
	assert_int_equal(fake_get(g->f, "b.disk"), 2);
	assert_int_equal(fake_get(g->f, "a.serving"), 1);
	assert_string_equal(migration_meta(g, "serves"), "source");
	assert_status(g, RUN_CUTOVER, 0);
	assert_int_equal(fake_get(g->f, "a.power"), 0);
	assert_int_equal(fake_get(g->f, "b.serving"), 1);
	assert_string_equal(migration_meta(g, "serves"), "target");
	files = migration_files(g);
	assert_has(json_string_value(json_object_get(files,
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

	assert_status(g, RUN_GO, 0);
	probes = fake_probes(g->f, "convert.disks");
	assert_status(g, RUN_GO, 0);
	assert_int_equal(fake_applies(g->f, "backup.image"), 1);
	assert_int_equal(fake_applies(g->f, "convert.disks"), 2);	/* two ends */
	assert_true(fake_probes(g->f, "convert.disks") > probes);
	assert_non_null(fake_event(g->f, "step", "state", "unchanged"));
	assert_null(fake_event(g->f, "step", "state", "running"));
}

static void a_step_undone_by_others_is_done_again(void **state)
{
	struct migration *g = *state;

	assert_status(g, RUN_GO, 0);
	fake_set(g->f, "b.overlay", 0);
	assert_status(g, RUN_GO, 0);
	assert_int_equal(fake_get(g->f, "b.overlay"), 1);
	assert_int_equal(fake_applies(g->f, "reconfigure.guest"), 2);
	assert_int_equal(fake_applies(g->f, "backup.image"), 1);
}

static void a_cutover_waits_for_the_phases_before_it(void **state)
{
	struct migration *g = *state;

	assert_status(g, RUN_CUTOVER, ERR_STEP);
	assert_string_equal(g->err.what, "cannot cut over 'erp': assess.look is not done");
	assert_has(g->err.hint, "drover run");
	assert_int_equal(fake_applies(g->f, "cutover.quiesce"), 0);
}

static void a_run_after_the_cutover_leaves_the_machine_alone(void **state)
{
	struct migration *g = *state;

	assert_status(g, RUN_GO, 0);
	assert_status(g, RUN_CUTOVER, 0);
	assert_status(g, RUN_GO, 0);
	assert_null(fake_event(g->f, "step", NULL, NULL));
	assert_has(jstr(fake_event(g->f, "log", NULL, NULL), "text", ""),
		   "it was cut over");
}

static void progress_and_who_serves_are_reported(void **state)
{
	struct migration *g = *state;

	assert_status(g, RUN_GO, 0);
	assert_int_equal(jint(fake_event(g->f, "progress", "step", "disks"), "total", 0), 2);
	assert_string_equal(jstr(fake_event(g->f, "start", NULL, NULL), "kind", ""), "run");
	assert_non_null(fake_event(g->f, "host", "state", "ready"));
	assert_has(jstr(fake_event(g->f, "end", NULL, NULL), "next", ""),
		   "erp.yaml --preview");
	assert_status(g, RUN_CUTOVER, 0);
	assert_int_equal(fake_events(g->f, "serves", "who", "nobody"), 1);
	assert_int_equal(fake_events(g->f, "serves", "who", "unknown"), 1);
	assert_int_equal(fake_events(g->f, "serves", "who", "target"), 1);
}

static void a_step_whose_condition_does_not_hold_is_skipped(void **state)
{
	struct migration *g = *state;

	g->p.steps[1].when = "facts.machine.cpus == 7";
	assert_status(g, RUN_GO, 0);
	assert_int_equal(fake_get(g->f, "b.image"), 0);
	assert_string_equal(migration_meta(g, "steps/backup.image/status"), "skipped");
	g->p.steps[1].when = "facts.machine.cpus == 2";
	assert_status(g, RUN_GO, 0);
	assert_int_equal(fake_get(g->f, "b.image"), 1);
}

/* A check that only asks has no probe that could tell. */
static void a_step_that_no_probe_can_tell_is_done_by_having_run(void **state)
{
	struct migration *g = *state;

	migration_rule(g, "validate.boot")->asks_only = true;
	assert_status(g, RUN_GO, 0);
	assert_string_equal(migration_meta(g, "steps/validate.boot/status"), "done");
	assert_status(g, RUN_GO, 0);
	assert_int_equal(fake_applies(g->f, "validate.boot"), 2);	/* asked again */
	assert_status(g, RUN_CUTOVER, 0);
}

/* ---- findings ------------------------------------------------------------------------ */

static void a_blocker_stops_the_machine_before_the_next_phase(void **state)
{
	struct migration *g = *state;

	migration_rule(g, "assess.look")->finding = "net.mtu";
	assert_status(g, RUN_GO, ERR_STEP);
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
	assert_status(g, RUN_GO, 0);
	assert_true(jbool(fake_event(g->f, "finding", "code", "net.mtu"), "waived", false));
	accept.until = "2026-01-31";		/* the virtual day is 2026-02-02 */
	assert_status(g, RUN_GO, ERR_STEP);
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
		assert_status(g, RUN_GO, ERR_STEP);
		assert_string_equal(g->err.what, text);
		assert_int_equal(fake_applies(g->f, "backup.image"), 0);
	}
	migration_rule(g, "assess.look")->fact = "machine";
	assert_status(g, RUN_GO, 0);
}

/* ---- faults ---------------------------------------------------------------------------- */

static void a_host_that_does_not_answer_is_named(void **state)
{
	struct migration *g = *state;

	g->f->w->down['b' - 'a'] = true;
	assert_status(g, RUN_GO, ERR_STEP);
	assert_has(g->err.what, "host 'b': connection refused");
	assert_int_equal(fake_events(g->f, "host", "state", "connecting"), 1 + 3);
	assert_string_equal(migration_meta(g, "steps/assess.look/status"), "done");
	g->f->w->down['b' - 'a'] = false;
	assert_status(g, RUN_GO, 0);
}

static void a_cutover_goes_on_when_the_source_is_off_for_good(void **state)
{
	struct migration *g = *state;

	assert_status(g, RUN_GO, 0);
	g->f->answer = 0;
	migration_rule(g, "cutover.start")->ask = true;
	assert_status(g, RUN_CUTOVER, ERR_STEP);
	assert_int_equal(fake_get(g->f, "a.power"), 0);		/* start may have begun */
	assert_string_equal(migration_meta(g, "serves"), "unknown");
	g->f->w->down[0] = true;
	g->f->answer = 1;
	assert_status(g, RUN_CUTOVER, 0);
	assert_int_equal(fake_get(g->f, "b.serving"), 1);
}

/* Dies when the source is off and the target not yet begun. */
static struct migration *dead_in_between(void)
{
	struct migration *first = NULL;

	for (int alive = 0, off = 200; off - alive > 1;) {
		struct migration *g = migration_new();
		int k = (alive + off) / 2;

		assert_status(g, RUN_GO, 0);
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
	assert_status(g, RUN_CUTOVER, ERR_STEP);
	assert_string_equal(g->err.what, "cannot go on with the cutover of 'erp': its source "
			    "was switched on again after the last pass");
	assert_int_equal(fake_get(g->f, "a.serving"), 1);
	assert_int_equal(fake_get(g->f, "b.serving"), 0);
	assert_status(g, RUN_CUTOVER, 0);
	assert_int_equal(fake_get(g->f, "b.serving"), 1);
	migration_free(g);
}

/* The source's host is gone with it: what was done there stands as recorded. */
static void a_cutover_goes_on_without_the_source_once_it_is_off(void **state)
{
	struct migration *g = dead_in_between();

	(void)state;
	g->f->w->down[0] = true;
	assert_status(g, RUN_CUTOVER, 0);
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
	assert_status(g, RUN_GO, 0);
	assert_null(fake_event(g->f, "figures", NULL, NULL));
	assert_status(g, RUN_CUTOVER, 0);
	told = fake_event(g->f, "figures", "machine", "erp");
	assert_string_equal(jstr(told, "still", ""), "frozen");
	assert_in_range(jint(told, "still_ms", 0), 800, 1000);
	assert_in_range(jint(told, "down_ms", 0), 5800, 6500);
	assert_string_equal(migration_meta(g, "figures/still"), "frozen");
	g->discard = true;
	assert_status(g, RUN_ROLLBACK, 0);
	assert_string_equal(migration_meta(g, "figures/still"), "");
}

static void what_came_to_harm_is_brought_over_again(void **state)
{
	struct migration *g = *state;

	harm(g, 3);
	assert_status(g, RUN_GO, 0);
	assert_int_equal(fake_get(g->f, "b.harm"), 0);
	assert_int_equal(fake_get(g->f, "b.boot"), 1);
	assert_int_equal(fake_applies(g->f, "convert.disks"), 2);	/* once at each end */
	assert_int_equal(fake_applies(g->f, "validate.boot"), 4);
}

static void what_comes_to_harm_every_time_fails_the_step(void **state)
{
	struct migration *g = *state;

	harm(g, 99);
	assert_status(g, RUN_GO, ERR_STEP);
	assert_string_equal(g->err.what, "byte 0 is not what was sent; it was sent "
			    "again 3 times");
	assert_int_equal(fake_get(g->f, "b.harm"), 96);
	assert_non_null(fake_event(g->f, "finding", "code", "disk.damaged"));
	/* The storage was changed meanwhile. */
	fake_set(g->f, "b.harm", 0);
	assert_status(g, RUN_GO, 0);
}

/* Nobody can bring it over again once the source is off; the step can be asked again. */
static void damage_beneath_a_target_that_serves_is_told_and_asked_again(void **state)
{
	struct migration *g = *state;

	assert_status(g, RUN_GO, 0);
	migration_rule(g, "cutover.start")->harm = "b.harm";
	migration_rule(g, "convert.disks")->harm = NULL;
	fake_set(g->f, "b.harm", 99);
	assert_status(g, RUN_CUTOVER, ERR_STEP);
	assert_string_equal(g->err.what, "byte 0 is not what was sent; it was sent again 3 times");
	assert_non_null(fake_event(g->f, "finding", "code", "disk.damaged"));
	assert_status(g, RUN_FINALIZE, ERR_STEP);
	fake_set(g->f, "b.harm", 0);
	assert_status(g, RUN_CUTOVER, 0);
	assert_null(fake_event(g->f, "finding", "code", "disk.damaged"));
}

static void a_cutover_that_fails_goes_back_by_itself(void **state)
{
	struct migration *g = *state;
	char now[41], begin[41];

	assert_status(g, RUN_GO, 0);
	migration_tree(g, now, NULL, NULL);
	migration_rule(g, "cutover.off")->ask = true;
	g->f->answer = 0;
	assert_status(g, RUN_CUTOVER, ERR_STEP);
	assert_has(g->err.what, "the answer was no");
	assert_int_equal(fake_get(g->f, "a.serving"), 1);
	assert_int_equal(fake_get(g->f, "a.power"), 1);
	assert_string_equal(migration_meta(g, "serves"), "source");
	assert_non_null(fake_event(g->f, "step", "state", "undone"));
	migration_tree(g, now, "cutover", begin);
	assert_string_equal(now, begin);
	g->f->answer = 1;
	assert_status(g, RUN_CUTOVER, 0);
}

static void a_question_that_nobody_hears_is_status_six(void **state)
{
	struct migration *g = *state;

	assert_status(g, RUN_GO, 0);
	migration_rule(g, "cutover.off")->ask = true;
	assert_status(g, RUN_CUTOVER, ERR_WAITING);
	assert_string_equal(jstr(fake_event(g->f, "step", "state", "waiting"), "step", ""),
			    "off");
	assert_int_equal(fake_get(g->f, "a.serving"), 1);
}

/* ---- backward ------------------------------------------------------------------------------ */

static void a_rollback_brings_everything_back(void **state)
{
	struct migration *g = *state;
	char now[41], begin[41];

	assert_status(g, RUN_GO, 0);
	g->phase = PHASE_ASSESS;
	assert_status(g, RUN_ROLLBACK, 0);
	assert_int_equal(fake_get(g->f, "b.disk"), 0);
	assert_int_equal(fake_get(g->f, "b.image"), 0);
	migration_tree(g, now, "assess", begin);
	assert_string_equal(now, begin);
	assert_has(jstr(fake_event(g->f, "log", "machine", "erp"), "text", ""),
		   "is as it was before assess");
	assert_status(g, RUN_ROLLBACK, 0);		/* nothing left: fine */
	assert_status(g, RUN_GO, 0);
	assert_int_equal(fake_get(g->f, "b.disk"), 2);
}

static void a_rollback_to_a_phase_keeps_what_was_before(void **state)
{
	struct migration *g = *state;
	char now[41], begin[41];

	assert_status(g, RUN_GO, 0);
	g->phase = PHASE_RECONFIGURE;
	assert_status(g, RUN_ROLLBACK, 0);
	assert_int_equal(fake_get(g->f, "b.disk"), 2);
	assert_int_equal(fake_get(g->f, "b.overlay"), 0);
	migration_tree(g, now, "reconfigure", begin);
	assert_string_equal(now, begin);
}

static void a_step_known_only_by_what_it_kept_can_be_undone(void **state)
{
	struct migration *g = *state;
	char now[41], begin[41];

	migration_rule(g, "backup.image")->ran = true;
	assert_status(g, RUN_GO, 0);
	g->phase = PHASE_ASSESS;
	assert_status(g, RUN_ROLLBACK, 0);
	migration_tree(g, now, "assess", begin);
	assert_string_equal(now, begin);
	assert_int_equal(fake_get(g->f, "b.image"), 0);
}

static void a_rollback_that_finds_a_difference_names_it(void **state)
{
	struct migration *g = *state;

	assert_status(g, RUN_GO, 0);
	fake_set(g->f, "b.image", 0);		/* somebody removed the backup */
	g->phase = PHASE_CONVERT;
	assert_status(g, RUN_ROLLBACK, ERR_STEP);
	assert_string_equal(g->err.what, "'erp' is not as it was before convert: "
			    "steps/backup.image/result.json");
}

static bool admits(struct migration *g, enum run_kind kind)
{
	struct run_options o = { .kind = kind, .only = -1, .until = -1,
				 .discard_target_writes = g->discard };
	struct state *s;
	int rc;

	err_clear(&g->err);
	s = state_open(g->p.state_dir, "erp", STATE_READ, g->f->loop, NULL);
	assert_non_null(s);
	rc = run_admits(g->p.plan, g->p.graph, s, g->f->loop, &o, &g->err);
	state_close(s, NULL);
	return rc == 0;
}

static void a_rollback_refuses_once_the_target_serves(void **state)
{
	struct migration *g = *state;
	const json_t *lost;

	assert_status(g, RUN_GO, 0);
	assert_status(g, RUN_CUTOVER, 0);
	assert_false(admits(g, RUN_ROLLBACK));	/* before anybody is asked to confirm */
	assert_has(g->err.what, "cannot roll back 'erp': the target serves since 2026-");
	assert_status(g, RUN_ROLLBACK, ERR_STEP);
	assert_has(g->err.what, "cannot roll back 'erp': the target serves since 2026-");
	assert_int_equal(fake_get(g->f, "b.serving"), 1);
	assert_status(g, RUN_ROLLBACK_PREVIEW, 0);
	lost = fake_event(g->f, "lost", NULL, NULL);
	assert_has(jstr(lost, "text", ""), "4.0 KiB was written there");
	assert_int_equal(fake_get(g->f, "b.serving"), 1);
	g->discard = true;
	assert_true(admits(g, RUN_ROLLBACK));
	assert_status(g, RUN_ROLLBACK, 0);
	assert_int_equal(jint(fake_event(g->f, "lost", NULL, NULL), "bytes", 0), 4096);
	assert_int_equal(fake_get(g->f, "b.serving"), 0);
	assert_int_equal(fake_get(g->f, "a.serving"), 1);
	assert_string_equal(migration_meta(g, "serves"), "source");
}

static void after_finalize_there_is_no_way_back(void **state)
{
	struct migration *g = *state;
	AUTO_JSON *files = NULL;

	assert_status(g, RUN_GO, 0);
	assert_status(g, RUN_FINALIZE, ERR_STEP);
	assert_string_equal(g->err.what,
			    "cannot finalize 'erp': the target does not serve");
	assert_status(g, RUN_CUTOVER, 0);
	assert_status(g, RUN_FINALIZE, 0);
	files = migration_files(g);
	assert_null(json_object_get(files, "steps/convert.disks/undo/old.text"));
	g->discard = true;
	assert_status(g, RUN_ROLLBACK, ERR_STEP);
	assert_has(g->err.what, "it is finalized");
	assert_int_equal(fake_get(g->f, "b.serving"), 1);
}

/* Fails the boot test after it entered its thing and before it struck it. */
static struct migration *half_booted(void)
{
	for (int k = 1; k < 200; k++) {
		struct migration *g = migration_new();

		fake_strike(g->f, FAULT_FAIL, k);
		migration_run(g, RUN_GO);
		fake_strike(g->f, FAULT_NONE, 0);
		if (fake_get(g->f, "b.boot") == -1)
			return g;
		migration_free(g);
	}
	fail_msg("no fault leaves a thing behind");
	return NULL;
}

static void cleanup_takes_what_a_dead_step_left(void **state)
{
	struct migration *g = half_booted();

	(void)state;
	assert_status(g, RUN_CLEANUP, 0);
	assert_has(jstr(fake_event(g->f, "log", NULL, NULL), "text", ""),
		   "removed file '/run/boot' on b");
	assert_int_equal(fake_applies(g->f, "call.cleanup"), 1);
	assert_status(g, RUN_CLEANUP, 0);
	assert_int_equal(fake_applies(g->f, "call.cleanup"), 1);
	migration_free(g);
}

/* What may run at the target is nobody's leftover. */
static void cleanup_spares_a_machine_of_which_nobody_knows_who_serves(void **state)
{
	struct migration *g = *state;

	migration_rule(g, "validate.boot")->ledger = "/run/boot";
	migration_rule(g, "validate.boot")->leaves = "file";
	assert_status(g, RUN_GO, 0);
	g->f->answer = 0;
	migration_rule(g, "cutover.start")->ask = true;
	assert_status(g, RUN_CUTOVER, ERR_STEP);
	assert_string_equal(migration_meta(g, "serves"), "unknown");
	assert_status(g, RUN_CLEANUP, 0);
	assert_int_equal(fake_applies(g->f, "call.cleanup"), 0);
	assert_has(jstr(fake_event(g->f, "log", NULL, NULL), "text", ""),
		   "file '/run/boot' stays: the cutover of 'erp' is not over");
	g->f->answer = 1;
	assert_status(g, RUN_CUTOVER, 0);
	assert_status(g, RUN_CLEANUP, 0);
	assert_int_equal(fake_applies(g->f, "call.cleanup"), 1);
}

/* ---- previews ---------------------------------------------------------------------------------- */

static void a_preview_changes_nothing_anywhere(void **state)
{
	struct migration *g = *state;
	const json_t *end;

	assert_status(g, RUN_PREVIEW, 0);
	assert_int_equal(fake_applies(g->f, "convert.disks"), 0);
	assert_int_equal(fake_get(g->f, "b.disk"), 0);
	assert_int_not_equal(access(g->p.state_dir, F_OK), 0);
	end = fake_event(g->f, "end", NULL, NULL);
	assert_int_equal(jint(end, "counts.create", 0), 4);
	assert_string_equal(jstr(fake_event(g->f, "change", "step", "disks"), "text", ""),
			    "b.disk becomes 2");
	assert_has(jstr(end, "next", ""), "drover run ");
	assert_status(g, RUN_CUTOVER_PREVIEW, 0);
	assert_int_equal(fake_get(g->f, "a.serving"), 1);
	assert_int_equal(fake_events(g->f, "change", "phase", "cutover"), 3);
}

/* A check is what later steps see: the facts of a preview's own probes. */
static void later_probes_of_a_preview_see_the_facts_of_earlier_ones(void **state)
{
	struct migration *g = *state;

	assert_status(g, RUN_PREVIEW, 0);
	assert_string_equal(jstr(fake_event(g->f, "change", "step", "guest"), "mark", ""),
			    "+");
	migration_rule(g, "assess.look")->fact = NULL;
	assert_status(g, RUN_PREVIEW, 0);
	assert_string_equal(jstr(fake_event(g->f, "change", "step", "guest"), "mark", ""),
			    "?");
}

/* ---- estimates --------------------------------------------------------------------------------- */

static int64_t estimate(struct migration *g, const char *step, const char *what)
{
	return jint(fake_event(g->f, "cost", "step", step), what, -1);
}

static void an_estimate_is_assumed_until_a_run_has_measured(void **state)
{
	struct migration *g = *state;
	const json_t *end;

	migration_rule(g, "convert.disks")->send = 10ull << 30;
	assert_status(g, RUN_PREVIEW, 0);
	assert_int_equal(estimate(g, "disks", "ms"), 102400);	/* 10 GiB at 100 MiB/s */
	assert_int_equal(estimate(g, "disks", "ms90"), 204800);
	assert_int_equal(estimate(g, "boot", "ms"), 60000);
	end = fake_event(g->f, "end", NULL, NULL);
	assert_int_equal(jint(end, "ms", 0), 1000 + 102400 + 1000 + 60000);
	assert_int_equal(jint(end, "ms90", 0), 2 * jint(end, "ms", 0));
	assert_int_equal(jint(end, "assumed", 0), 4);
	assert_status(g, RUN_GO, 0);
	assert_status(g, RUN_ROLLBACK, 0);
	assert_status(g, RUN_PREVIEW, 0);		/* the samples outlive it */
	assert_int_equal(estimate(g, "disks", "samples"), 1);
	assert_in_range(estimate(g, "disks", "ms"), 0, 60000);
	assert_int_equal(jint(fake_event(g->f, "end", NULL, NULL), "measured", 0) +
			 jint(fake_event(g->f, "end", NULL, NULL), "assumed", 0), 4);
}

static void a_downtime_lasts_from_the_hold_until_the_target_serves(void **state)
{
	struct migration *g = *state;
	const json_t *down;

	assert_status(g, RUN_CUTOVER_PREVIEW, 0);
	down = fake_event(g->f, "downtime", "machine", "erp");
	assert_int_equal(jint(down, "ms", 0), 3000);	/* quiesce, off, start: assumed */
	assert_int_equal(jint(down, "allowed_ms", 0), 300000);
	assert_status(g, RUN_PREVIEW, 0);
	assert_null(fake_event(g->f, "downtime", NULL, NULL));
}

static json_t *saved_preview(struct migration *g, enum run_kind kind)
{
	assert_status(g, kind, 0);
	assert_non_null(g->preview);
	return json_incref(g->preview);
}

static void a_saved_preview_is_done_when_the_world_still_fits(void **state)
{
	struct migration *g = *state;
	AUTO_JSON *doc = saved_preview(g, RUN_PREVIEW);

	g->saved = doc;
	assert_status(g, RUN_GO, 0);
	assert_int_equal(fake_get(g->f, "b.disk"), 2);
	assert_int_equal(fake_events(g->f, "start", NULL, NULL), 1);
	assert_status(g, RUN_GO, 0);		/* its own commits do not make it stale */
}

static void a_saved_preview_refuses_a_changed_world(void **state)
{
	struct migration *g = *state;
	AUTO_JSON *doc = saved_preview(g, RUN_PREVIEW);

	fake_set(g->f, "b.disk", 2);		/* somebody copied it by hand */
	g->saved = doc;
	assert_status(g, RUN_GO, ERR_STALE);
	assert_string_equal(g->err.what, "the saved preview no longer fits: erp "
			    "convert.disks: gone: + b.disk becomes 2");
	assert_int_equal(fake_applies(g->f, "backup.image"), 0);
	fake_set(g->f, "b.disk", 0);
	assert_status(g, RUN_GO, 0);
}

/* What the guest needs is unknown when the preview is saved, and known at its turn. */
static json_t *bound_preview(struct migration *g, const char *what, int64_t max)
{
	struct fake_rule *guest = migration_rule(g, "reconfigure.guest");

	guest->known_after = "b.image";
	guest->bound = what;
	guest->bound_max = max;
	return saved_preview(g, RUN_PREVIEW);
}

static void a_saved_preview_admits_what_stays_within_its_bound(void **state)
{
	struct migration *g = *state;
	AUTO_JSON *doc = bound_preview(g, "send", 4096);

	assert_string_equal(jstr(fake_event(g->f, "change", "step", "guest"), "text", ""),
			    "b.overlay, at most 4.0 KiB to send");
	migration_rule(g, "reconfigure.guest")->send = 4096;
	g->saved = doc;
	assert_status(g, RUN_GO, 0);
	assert_int_equal(fake_get(g->f, "b.overlay"), 1);
}

static void a_saved_preview_stops_what_exceeds_its_bound(void **state)
{
	struct migration *g = *state;
	AUTO_JSON *doc = bound_preview(g, "send", 4096);

	migration_rule(g, "reconfigure.guest")->send = 8192;
	g->saved = doc;
	assert_status(g, RUN_GO, ERR_STALE);
	assert_string_equal(g->err.what, "the saved preview no longer fits: erp "
			    "reconfigure.guest: it would send 8.0 KiB (8192 bytes), at most "
			    "4.0 KiB (4096 bytes) were said");
	assert_int_equal(fake_get(g->f, "b.overlay"), 0);
}

static void a_saved_preview_counts_changes_that_it_could_not_name(void **state)
{
	struct migration *g = *state;
	AUTO_JSON *doc = bound_preview(g, "changes", 0);

	g->saved = doc;
	assert_status(g, RUN_GO, ERR_STALE);
	assert_string_equal(g->err.what, "the saved preview no longer fits: erp "
			    "reconfigure.guest: it does not say: + b.overlay becomes 1");
}

static void a_saved_preview_refuses_a_changed_plan_and_a_moved_state(void **state)
{
	struct migration *g = *state;
	AUTO_JSON *doc = saved_preview(g, RUN_PREVIEW);

	g->p.plan->hash[0] ^= 1;
	g->saved = doc;
	assert_status(g, RUN_GO, ERR_STALE);
	assert_has(g->err.what, "the plan was changed since");
	g->p.plan->hash[0] ^= 1;
	g->saved = NULL;
	assert_status(g, RUN_GO, 0);		/* another run moves the state on */
	g->saved = doc;
	assert_status(g, RUN_GO, ERR_STALE);
	assert_has(g->err.what, "erp: the state has moved on by commit ");
}

static void a_saved_cutover_goes_on_after_a_failure(void **state)
{
	struct migration *g = *state;
	AUTO_JSON *doc = NULL;

	assert_status(g, RUN_GO, 0);
	doc = saved_preview(g, RUN_CUTOVER_PREVIEW);
	g->saved = doc;
	assert_status(g, RUN_GO, ERR_STALE);
	assert_has(g->err.what, "it was saved for another verb");
	assert_status(g, RUN_CUTOVER, 0);
	assert_int_equal(fake_get(g->f, "b.serving"), 1);
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
	assert_status(g, RUN_GO, 0);
	assert_int_equal(fake_applies(g->f, "reconfigure.guest"), 1);
}

static void an_interrupt_stops_a_copy_where_it_is(void **state)
{
	struct migration *g = *state;

	assert_int_equal(interrupted_run(g, RUN_GO, "disks", "running"), ERR_STOPPED);
	assert_string_equal(migration_meta(g, "steps/convert.disks/status"), "stopped");
	assert_string_equal(migration_meta(g, "serves"), "source");
	assert_status(g, RUN_GO, 0);
	assert_int_equal(fake_get(g->f, "b.disk"), 2);
	assert_string_equal(migration_meta(g, "steps/convert.disks/status"), "done");
}

static void an_interrupt_in_a_cutover_gives_the_source_back(void **state)
{
	struct migration *g = *state;

	assert_status(g, RUN_GO, 0);
	assert_int_equal(interrupted_run(g, RUN_CUTOVER, "quiesce", "running"),
			 ERR_STOPPED);
	assert_int_equal(fake_get(g->f, "a.serving"), 1);
	assert_string_equal(migration_meta(g, "serves"), "source");
	assert_status(g, RUN_CUTOVER, 0);
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
		TEST(a_rollback_brings_everything_back),
		TEST(a_rollback_to_a_phase_keeps_what_was_before),
		TEST(a_step_known_only_by_what_it_kept_can_be_undone),
		TEST(a_rollback_that_finds_a_difference_names_it),
		TEST(a_rollback_refuses_once_the_target_serves),
		TEST(after_finalize_there_is_no_way_back),
		cmocka_unit_test(cleanup_takes_what_a_dead_step_left),
		TEST(cleanup_spares_a_machine_of_which_nobody_knows_who_serves),
		TEST(a_preview_changes_nothing_anywhere),
		TEST(later_probes_of_a_preview_see_the_facts_of_earlier_ones),
		TEST(an_estimate_is_assumed_until_a_run_has_measured),
		TEST(a_downtime_lasts_from_the_hold_until_the_target_serves),
		TEST(a_saved_preview_is_done_when_the_world_still_fits),
		TEST(a_saved_preview_refuses_a_changed_world),
		TEST(a_saved_preview_admits_what_stays_within_its_bound),
		TEST(a_saved_preview_stops_what_exceeds_its_bound),
		TEST(a_saved_preview_counts_changes_that_it_could_not_name),
		TEST(a_saved_preview_refuses_a_changed_plan_and_a_moved_state),
		TEST(a_saved_cutover_goes_on_after_a_failure),
		TEST(an_interrupt_lets_the_running_step_end),
		TEST(an_interrupt_stops_a_copy_where_it_is),
		TEST(an_interrupt_in_a_cutover_gives_the_source_back),
	};

	return cmocka_run_group_tests_name("run", tests, NULL, NULL);
}
