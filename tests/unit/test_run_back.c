/* SPDX-License-Identifier: Apache-2.0
 * test_run_back - a migration of one pretend machine, backward: rollback, finalize, cleanup.
 */
#include "tests/unit/migration.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void a_rollback_brings_everything_back(void **state)
{
	struct migration *g = *state;
	char now[41], begin[41];

	migration_ends(g, RUN_GO, 0);
	g->phase = PHASE_ASSESS;
	migration_ends(g, RUN_ROLLBACK, 0);
	assert_int_equal(fake_get(g->f, "b.disk"), 0);
	assert_int_equal(fake_get(g->f, "b.image"), 0);
	migration_tree(g, now, "assess", begin);
	assert_string_equal(now, begin);
	migration_has(jstr(fake_event(g->f, "log", "machine", "erp"), "text", ""),
		   "is as it was before assess");
	migration_ends(g, RUN_ROLLBACK, 0);		/* nothing left: fine */
	migration_ends(g, RUN_GO, 0);
	assert_int_equal(fake_get(g->f, "b.disk"), 2);
}

static void a_rollback_to_a_phase_keeps_what_was_before(void **state)
{
	struct migration *g = *state;
	char now[41], begin[41];

	migration_ends(g, RUN_GO, 0);
	g->phase = PHASE_RECONFIGURE;
	migration_ends(g, RUN_ROLLBACK, 0);
	assert_int_equal(fake_get(g->f, "b.disk"), 2);
	assert_int_equal(fake_get(g->f, "b.overlay"), 0);
	migration_tree(g, now, "reconfigure", begin);
	assert_string_equal(now, begin);
}

/* A run that was refused asked for backup already, and asks for assess anew once it may. */
static void a_rollback_after_a_blocker_was_waived_finds_the_same_tree(void **state)
{
	struct plan_accept accept = { "net.mtu", "erp", NULL, "CHG123" };
	struct migration *g = *state;
	char now[41], begin[41];

	migration_rule(g, "assess.look")->finding = "net.mtu";
	migration_ends(g, RUN_GO, ERR_STEP);
	g->p.plan->accept = &accept;
	g->p.plan->accept_count = 1;
	migration_ends(g, RUN_GO, 0);
	g->phase = PHASE_ASSESS;
	migration_ends(g, RUN_ROLLBACK, 0);
	migration_tree(g, now, "assess", begin);
	assert_string_equal(now, begin);
	g->p.plan->accept_count = 0;
}

/* What proved the copy is to prove it anew after a further pass. */
static void a_further_pass_after_a_refused_cutover_is_no_difference(void **state)
{
	struct migration *g = *state;

	migration_ends(g, RUN_GO, 0);
	migration_rule(g, "cutover.quiesce")->finding = "pass.whole";
	migration_ends(g, RUN_CUTOVER, ERR_STEP);
	migration_ends(g, RUN_SYNC, 0);
	fake_set(g->f, "b.boot", 0);
	g->phase = PHASE_CUTOVER;
	migration_ends(g, RUN_ROLLBACK, 0);
	g->phase = PHASE_ASSESS;
	migration_ends(g, RUN_ROLLBACK, 0);
}

static void a_step_known_only_by_what_it_kept_can_be_undone(void **state)
{
	struct migration *g = *state;
	char now[41], begin[41];

	migration_rule(g, "backup.image")->ran = true;
	migration_ends(g, RUN_GO, 0);
	g->phase = PHASE_ASSESS;
	migration_ends(g, RUN_ROLLBACK, 0);
	migration_tree(g, now, "assess", begin);
	assert_string_equal(now, begin);
	assert_int_equal(fake_get(g->f, "b.image"), 0);
}

static void a_rollback_that_finds_a_difference_names_it(void **state)
{
	struct migration *g = *state;

	migration_ends(g, RUN_GO, 0);
	fake_set(g->f, "b.image", 0);		/* somebody removed the backup */
	g->phase = PHASE_CONVERT;
	migration_ends(g, RUN_ROLLBACK, ERR_STEP);
	assert_string_equal(g->err.what, "'erp' is not as it was before convert: "
			    "steps/backup.image/result.json");
}

static void lost_when_looked_at(struct fake *f, const char *module, const char *op)
{
	if (!strcmp(module, "assess.look") && !strcmp(op, "probe"))
		fake_strike(f, FAULT_LOSE, 1);
}

/* It is all undone; but a rollback says "equal" of what it has seen, or asks another time. */
static void a_rollback_whose_host_is_lost_proves_nothing_and_asks_again(void **state)
{
	struct migration *g = *state;
	char now[41], begin[41];

	migration_ends(g, RUN_GO, 0);
	g->phase = PHASE_ASSESS;
	g->f->on_call = lost_when_looked_at;
	migration_ends(g, RUN_ROLLBACK, ERR_STEP);
	migration_has(g->err.what, "cannot prove that 'erp' is as before: ");
	g->f->on_call = NULL;
	fake_strike(g->f, FAULT_NONE, 0);
	migration_ends(g, RUN_ROLLBACK, 0);
	migration_tree(g, now, "assess", begin);
	assert_string_equal(now, begin);
	migration_has(jstr(fake_event(g->f, "log", "machine", "erp"), "text", ""),
		   "is as it was before assess");
}

static void a_difference_may_be_that_of_the_plan(void **state)
{
	struct migration *g = *state;
	char *hash;

	migration_ends(g, RUN_GO, 0);
	fake_set(g->f, "b.image", 0);
	g->phase = PHASE_CONVERT;
	hash = g->p.plan->hash;
	hash[0] = hash[0] == '0' ? '1' : '0';	/* somebody changed it */
	migration_ends(g, RUN_ROLLBACK, ERR_STEP);
	assert_non_null(g->err.hint);
	assert_int_equal(strncmp(g->err.hint, "the plan has changed since then, that may be all; "
				 "what differs: drover diff ", 75), 0);
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

	migration_ends(g, RUN_GO, 0);
	migration_ends(g, RUN_CUTOVER, 0);
	assert_false(admits(g, RUN_ROLLBACK));	/* before anybody is asked to confirm */
	migration_has(g->err.what, "cannot roll back 'erp': the target serves since 2026-");
	migration_ends(g, RUN_ROLLBACK, ERR_STEP);
	migration_has(g->err.what, "cannot roll back 'erp': the target serves since 2026-");
	assert_int_equal(fake_get(g->f, "b.serving"), 1);
	migration_ends(g, RUN_ROLLBACK_PREVIEW, 0);
	lost = fake_event(g->f, "lost", NULL, NULL);
	migration_has(jstr(lost, "text", ""), "4.0 KiB was written there");
	assert_int_equal(fake_get(g->f, "b.serving"), 1);
	g->discard = true;
	assert_true(admits(g, RUN_ROLLBACK));
	migration_ends(g, RUN_ROLLBACK, 0);
	assert_int_equal(jint(fake_event(g->f, "lost", NULL, NULL), "bytes", 0), 4096);
	assert_int_equal(fake_get(g->f, "b.serving"), 0);
	assert_int_equal(fake_get(g->f, "a.serving"), 1);
	assert_string_equal(migration_meta(g, "serves"), "source");
}

static void after_finalize_there_is_no_way_back(void **state)
{
	struct migration *g = *state;
	AUTO_JSON *files = NULL;

	migration_ends(g, RUN_GO, 0);
	migration_ends(g, RUN_FINALIZE, ERR_STEP);
	assert_string_equal(g->err.what,
			    "cannot finalize 'erp': the target does not serve");
	migration_ends(g, RUN_CUTOVER, 0);
	migration_ends(g, RUN_FINALIZE, 0);
	files = migration_files(g);
	assert_null(json_object_get(files, "steps/convert.disks/undo/old.text"));
	g->discard = true;
	migration_ends(g, RUN_ROLLBACK, ERR_STEP);
	migration_has(g->err.what, "it is finalized");
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
	migration_ends(g, RUN_CLEANUP, 0);
	migration_has(jstr(fake_event(g->f, "log", NULL, NULL), "text", ""),
		   "removed file '/run/boot' on b");
	assert_int_equal(fake_applies(g->f, "call.cleanup"), 1);
	migration_ends(g, RUN_CLEANUP, 0);
	assert_int_equal(fake_applies(g->f, "call.cleanup"), 1);
	migration_free(g);
}

/* What may run at the target is nobody's leftover. */
static void cleanup_spares_a_machine_of_which_nobody_knows_who_serves(void **state)
{
	struct migration *g = *state;

	migration_rule(g, "validate.boot")->ledger = "/run/boot";
	migration_rule(g, "validate.boot")->leaves = "file";
	migration_ends(g, RUN_GO, 0);
	g->f->answer = 0;
	migration_rule(g, "cutover.start")->ask = true;
	migration_ends(g, RUN_CUTOVER, ERR_STEP);
	assert_string_equal(migration_meta(g, "serves"), "unknown");
	migration_ends(g, RUN_CLEANUP, 0);
	assert_int_equal(fake_applies(g->f, "call.cleanup"), 0);
	migration_has(jstr(fake_event(g->f, "log", NULL, NULL), "text", ""),
		   "file '/run/boot' stays: the cutover of 'erp' is not over");
	g->f->answer = 1;
	migration_ends(g, RUN_CUTOVER, 0);
	migration_ends(g, RUN_CLEANUP, 0);
	assert_int_equal(fake_applies(g->f, "call.cleanup"), 1);
}

/* The plan of one becomes that of the other, beside the same state. */
static void swap_plans(struct migration *a, struct migration *b)
{
	struct plan *plan = a->p.plan;
	struct graph *graph = a->p.graph;

	a->p.plan = b->p.plan;
	a->p.graph = b->p.graph;
	b->p.plan = plan;
	b->p.graph = graph;
}

/* A backup that follows the source, so that its copy may be filled from it. */
static struct migration *followed(void)
{
	struct migration *g = migration_new();

	migration_rule(g, "backup.image")->ledger = "drover-erp-1";
	migration_rule(g, "backup.image")->leaves = "tracker";
	migration_ends(g, RUN_GO, 0);
	return g;
}

static void what_a_step_followed_ends_once_the_plan_has_it_no_more(void **state)
{
	struct migration *g = followed(), *without = migration_unbacked();

	(void)state;
	g->phase = PHASE_CONVERT;
	migration_ends(g, RUN_ROLLBACK, 0);
	migration_ends(g, RUN_GO, 0);		/* its own step is there yet */
	assert_int_equal(fake_applies(g->f, "call.cleanup"), 0);
	migration_ends(g, RUN_ROLLBACK, 0);
	swap_plans(g, without);
	migration_ends(g, RUN_PREVIEW, 0);
	migration_has(jstr(fake_event(g->f, "finding", "code", "ledger.stray"), "text", ""),
		      "tracker 'drover-erp-1' on b was begun by backup.image, which the plan no "
		      "longer has: a run ends it");
	assert_int_equal(fake_applies(g->f, "call.cleanup"), 0);
	migration_ends(g, RUN_GO, 0);
	assert_int_equal(fake_applies(g->f, "call.cleanup"), 1);
	assert_int_equal(fake_get(g->f, "b.disk"), 2);
	migration_ends(g, RUN_GO, 0);
	assert_int_equal(fake_applies(g->f, "call.cleanup"), 1);
	swap_plans(g, without);
	migration_free(without);
	migration_free(g);
}

/* Passes of the copy that stands go on by it. */
static void what_a_copy_relies_on_stays_without_the_step_that_began_it(void **state)
{
	struct migration *g = followed(), *without = migration_unbacked();

	(void)state;
	swap_plans(g, without);
	migration_ends(g, RUN_GO, 0);
	assert_int_equal(fake_applies(g->f, "call.cleanup"), 0);
	swap_plans(g, without);
	migration_free(without);
	migration_free(g);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, migration_set_up, migration_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_rollback_brings_everything_back),
		TEST(a_rollback_to_a_phase_keeps_what_was_before),
		TEST(a_rollback_after_a_blocker_was_waived_finds_the_same_tree),
		TEST(a_further_pass_after_a_refused_cutover_is_no_difference),
		TEST(a_step_known_only_by_what_it_kept_can_be_undone),
		TEST(a_rollback_that_finds_a_difference_names_it),
		TEST(a_rollback_whose_host_is_lost_proves_nothing_and_asks_again),
		TEST(a_difference_may_be_that_of_the_plan),
		TEST(a_rollback_refuses_once_the_target_serves),
		TEST(after_finalize_there_is_no_way_back),
		cmocka_unit_test(cleanup_takes_what_a_dead_step_left),
		TEST(cleanup_spares_a_machine_of_which_nobody_knows_who_serves),
		cmocka_unit_test(what_a_step_followed_ends_once_the_plan_has_it_no_more),
		cmocka_unit_test(what_a_copy_relies_on_stays_without_the_step_that_began_it),
	};

	return cmocka_run_group_tests_name("run_back", tests, NULL, NULL);
}
