/* SPDX-License-Identifier: Apache-2.0
 * test_run_preview - a migration of one pretend machine, foretold: previews, estimates, saved
 * previews that a run is held to.
 */
#include "tests/unit/migration.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- previews ---------------------------------------------------------------------------------- */

static void a_preview_changes_nothing_anywhere(void **state)
{
	struct migration *g = *state;
	const json_t *end;

	migration_ends(g, RUN_PREVIEW, 0);
	assert_int_equal(fake_applies(g->f, "convert.disks"), 0);
	assert_int_equal(fake_get(g->f, "b.disk"), 0);
	assert_int_not_equal(access(g->p.state_dir, F_OK), 0);
	end = fake_event(g->f, "end", NULL, NULL);
	assert_int_equal(jint(end, "counts.create", 0), 4);
	assert_string_equal(jstr(fake_event(g->f, "change", "step", "disks"), "text", ""),
			    "b.disk becomes 2");
	migration_has(jstr(end, "next", ""), "drover run ");
	migration_ends(g, RUN_CUTOVER_PREVIEW, 0);
	assert_int_equal(fake_get(g->f, "a.serving"), 1);
	assert_int_equal(fake_events(g->f, "change", "phase", "cutover"), 3);
	migration_has(jstr(fake_event(g->f, "end", NULL, NULL), "next", ""), "drover run ");
	migration_ends(g, RUN_GO, 0);
	migration_ends(g, RUN_CUTOVER_PREVIEW, 0);
	migration_has(jstr(fake_event(g->f, "end", NULL, NULL), "next", ""), "drover cutover ");
}

/* A check is what later steps see: the facts of a preview's own probes. */
static void later_probes_of_a_preview_see_the_facts_of_earlier_ones(void **state)
{
	struct migration *g = *state;

	migration_ends(g, RUN_PREVIEW, 0);
	assert_string_equal(jstr(fake_event(g->f, "change", "step", "guest"), "mark", ""),
			    "+");
	migration_rule(g, "assess.look")->fact = NULL;
	migration_ends(g, RUN_PREVIEW, 0);
	assert_string_equal(jstr(fake_event(g->f, "change", "step", "guest"), "mark", ""),
			    "?");
}

/* ---- estimates --------------------------------------------------------------------------------- */

static int64_t estimate(struct migration *g, const char *step, const char *what)
{
	return jint(fake_event(g->f, "cost", "step", step), what, -1);
}

/* It does not see what of the source is free. */
static void a_target_writes_no_more_than_it_is_sent(void **state)
{
	struct migration *g = *state;

	migration_rule(g, "convert.disks")->send = 10ull << 20;
	migration_rule(g, "convert.disks")->write = 40ull << 20;
	migration_ends(g, RUN_PREVIEW, 0);
	assert_int_equal(estimate(g, "disks", "send"), 10 << 20);
	assert_int_equal(estimate(g, "disks", "write"), 10 << 20);
}

/* The source does not see what the target has. */
static void what_is_done_costs_nothing_at_either_end(void **state)
{
	struct migration *g = *state;

	migration_rule(g, "convert.disks")->reads = 10ull << 20;
	migration_ends(g, RUN_PREVIEW, 0);
	assert_int_equal(estimate(g, "disks", "read"), 10 << 20);
	fake_set(g->f, "b.disk", 2);
	migration_ends(g, RUN_PREVIEW, 0);
	assert_null(fake_event(g->f, "cost", "step", "disks"));
}

static void an_estimate_is_assumed_until_a_run_has_measured(void **state)
{
	struct migration *g = *state;
	const json_t *end;

	migration_rule(g, "convert.disks")->send = 10ull << 30;
	migration_ends(g, RUN_PREVIEW, 0);
	assert_int_equal(estimate(g, "disks", "ms"), 102400);	/* 10 GiB at 100 MiB/s */
	assert_int_equal(estimate(g, "disks", "ms90"), 204800);
	assert_int_equal(estimate(g, "boot", "ms"), 60000);
	end = fake_event(g->f, "end", NULL, NULL);
	assert_int_equal(jint(end, "ms", 0), 1000 + 102400 + 1000 + 60000);
	assert_int_equal(jint(end, "ms90", 0), 2 * jint(end, "ms", 0));
	assert_int_equal(jint(end, "assumed", 0), 4);
	migration_ends(g, RUN_GO, 0);
	migration_ends(g, RUN_ROLLBACK, 0);
	migration_ends(g, RUN_PREVIEW, 0);		/* the samples outlive it */
	assert_int_equal(estimate(g, "disks", "samples"), 1);
	assert_in_range(estimate(g, "disks", "ms"), 0, 60000);
	assert_int_equal(jint(fake_event(g->f, "end", NULL, NULL), "measured", 0) +
			 jint(fake_event(g->f, "end", NULL, NULL), "assumed", 0), 4);
}

static void a_downtime_lasts_from_the_hold_until_the_target_serves(void **state)
{
	struct migration *g = *state;
	const json_t *down;

	migration_ends(g, RUN_CUTOVER_PREVIEW, 0);
	down = fake_event(g->f, "downtime", "machine", "erp");
	assert_int_equal(jint(down, "ms", 0), 3000);	/* quiesce, off, start: assumed */
	assert_int_equal(jint(down, "allowed_ms", 0), 300000);
	migration_ends(g, RUN_PREVIEW, 0);
	assert_null(fake_event(g->f, "downtime", NULL, NULL));
}

static json_t *saved_preview(struct migration *g, enum run_kind kind)
{
	migration_ends(g, kind, 0);
	assert_non_null(g->preview);
	return json_incref(g->preview);
}

static void a_saved_preview_is_done_when_the_world_still_fits(void **state)
{
	struct migration *g = *state;
	AUTO_JSON *doc = saved_preview(g, RUN_PREVIEW);

	g->saved = doc;
	migration_ends(g, RUN_GO, 0);
	assert_int_equal(fake_get(g->f, "b.disk"), 2);
	assert_int_equal(fake_events(g->f, "start", NULL, NULL), 1);
	migration_ends(g, RUN_GO, 0);		/* its own commits do not make it stale */
}

static void a_saved_preview_refuses_a_changed_world(void **state)
{
	struct migration *g = *state;
	AUTO_JSON *doc = saved_preview(g, RUN_PREVIEW);

	fake_set(g->f, "b.disk", 2);		/* somebody copied it by hand */
	g->saved = doc;
	migration_ends(g, RUN_GO, ERR_STALE);
	assert_string_equal(g->err.what, "the saved preview no longer fits: erp "
			    "convert.disks: gone: + b.disk becomes 2");
	assert_int_equal(fake_applies(g->f, "backup.image"), 0);
	fake_set(g->f, "b.disk", 0);
	migration_ends(g, RUN_GO, 0);
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
	migration_ends(g, RUN_GO, 0);
	assert_int_equal(fake_get(g->f, "b.overlay"), 1);
}

static void a_saved_preview_stops_what_exceeds_its_bound(void **state)
{
	struct migration *g = *state;
	AUTO_JSON *doc = bound_preview(g, "send", 4096);

	migration_rule(g, "reconfigure.guest")->send = 8192;
	g->saved = doc;
	migration_ends(g, RUN_GO, ERR_STALE);
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
	migration_ends(g, RUN_GO, ERR_STALE);
	assert_string_equal(g->err.what, "the saved preview no longer fits: erp "
			    "reconfigure.guest: it does not say: + b.overlay becomes 1");
}

static void a_saved_preview_refuses_a_changed_plan_and_a_moved_state(void **state)
{
	struct migration *g = *state;
	AUTO_JSON *doc = saved_preview(g, RUN_PREVIEW);

	g->p.plan->hash[0] ^= 1;
	g->saved = doc;
	migration_ends(g, RUN_GO, ERR_STALE);
	migration_has(g->err.what, "the plan was changed since");
	g->p.plan->hash[0] ^= 1;
	g->saved = NULL;
	migration_ends(g, RUN_GO, 0);		/* another run moves the state on */
	g->saved = doc;
	migration_ends(g, RUN_GO, ERR_STALE);
	migration_has(g->err.what, "erp: the state has moved on by commit ");
}

/* The copy's connection is lost half way, once. */
static void lose_the_copy(struct fake *f, const char *module, const char *op)
{
	if (strcmp(module, "convert.disks") || strcmp(op, "apply"))
		return;
	f->on_call = NULL;
	fake_strike(f, FAULT_LOSE, 5);
}

static void what_a_saved_preview_began_goes_on_after_a_lost_connection(void **state)
{
	struct migration *g = *state;
	AUTO_JSON *doc = saved_preview(g, RUN_PREVIEW);

	g->saved = doc;
	g->f->on_call = lose_the_copy;
	migration_ends(g, RUN_GO, 0);
	assert_true(fake_applies(g->f, "convert.disks") > 2);	/* its two ends, again */
	assert_int_equal(fake_get(g->f, "b.disk"), 2);
}

static void a_saved_cutover_goes_on_after_a_failure(void **state)
{
	struct migration *g = *state;
	AUTO_JSON *doc = NULL;

	migration_ends(g, RUN_GO, 0);
	doc = saved_preview(g, RUN_CUTOVER_PREVIEW);
	g->saved = doc;
	migration_ends(g, RUN_GO, ERR_STALE);
	migration_has(g->err.what, "it was saved for another verb");
	migration_ends(g, RUN_CUTOVER, 0);
	assert_int_equal(fake_get(g->f, "b.serving"), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, migration_set_up, migration_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_preview_changes_nothing_anywhere),
		TEST(later_probes_of_a_preview_see_the_facts_of_earlier_ones),
		TEST(a_target_writes_no_more_than_it_is_sent),
		TEST(what_is_done_costs_nothing_at_either_end),
		TEST(an_estimate_is_assumed_until_a_run_has_measured),
		TEST(a_downtime_lasts_from_the_hold_until_the_target_serves),
		TEST(a_saved_preview_is_done_when_the_world_still_fits),
		TEST(a_saved_preview_refuses_a_changed_world),
		TEST(a_saved_preview_admits_what_stays_within_its_bound),
		TEST(a_saved_preview_stops_what_exceeds_its_bound),
		TEST(a_saved_preview_counts_changes_that_it_could_not_name),
		TEST(a_saved_preview_refuses_a_changed_plan_and_a_moved_state),
		TEST(what_a_saved_preview_began_goes_on_after_a_lost_connection),
		TEST(a_saved_cutover_goes_on_after_a_failure),
	};

	return cmocka_run_group_tests_name("run_preview", tests, NULL, NULL);
}
