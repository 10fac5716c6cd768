/* SPDX-License-Identifier: Apache-2.0
 * Budgets: what each stream may take of what all share, and that a bucket keeps to it,
 * both without a clock.
 */
#include "engine/base/mem.h"
#include "engine/base/share.h"
#include "engine/host/shut.h"
#include "modules/lib/pace.h"
#include "tests/unit/migration.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define S 1000000000u

/* Pieces of 1 MiB at a rate, from *now until so many seconds later; how many went. */
static unsigned pieces(struct pace *p, uint64_t *now, uint64_t rate, unsigned seconds)
{
	uint64_t end = *now + (uint64_t)seconds * S, wait;
	unsigned n = 0;

	for (;;) {
		while ((wait = pace_wait_ns(p, *now, rate)) > 0) {
			if (*now + wait > end) {
				*now = end;
				return n;
			}
			*now += wait;
		}
		pace_spend(p, 1 << 20);
		n++;
	}
}

static void a_rate_is_kept_to(void **state)
{
	struct pace p = { 0 };
	uint64_t now = 5 * (uint64_t)S;

	(void)state;
	assert_in_range(pieces(&p, &now, 10 << 20, 60), 600, 601);
}

static void a_piece_larger_than_the_rate_is_paid_back(void **state)
{
	struct pace p = { 0 };
	uint64_t now = S;

	(void)state;
	assert_in_range(pieces(&p, &now, 128 << 10, 800), 100, 101);
}

static void idle_time_saves_up_little(void **state)
{
	struct pace p = { 0 };
	uint64_t now = S;

	(void)state;
	pieces(&p, &now, 100 << 20, 1);
	now += 3600ull * S;
	/* a tenth of a second's worth, and the piece that overdraws it */
	assert_in_range(pieces(&p, &now, 100 << 20, 1), 100, 111);
}

static void another_rate_counts_from_now_on(void **state)
{
	struct pace p = { 0 };
	uint64_t now = S;

	(void)state;
	assert_in_range(pieces(&p, &now, 10 << 20, 10), 100, 101);
	assert_in_range(pieces(&p, &now, 50 << 20, 10), 499, 501);
	/* what was owed at one rate is forgiven by none */
	assert_int_equal(pace_wait_ns(&p, now, 0), 0);
	pace_spend(&p, 1 << 30);
	assert_int_equal(pace_wait_ns(&p, now, 0), 0);
}

/* ---- shares --------------------------------------------------------------------- */

static struct share_user under(int a, int b)
{
	return (struct share_user){ .limit = { a, b, -1, -1 } };
}

static void all_share_alike(void **state)
{
	const uint64_t limits[] = { 900 };
	struct share_user u[3] = { under(0, -1), under(0, -1), under(0, -1) };

	(void)state;
	share_out(limits, 1, u, 1);
	assert_int_equal(u[0].rate, 900);
	share_out(limits, 1, u, 3);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(u[i].rate, 300);
	share_out(limits, 1, u, 2);		/* one has ended */
	assert_int_equal(u[0].rate, 450);
}

static void what_one_may_not_take_is_the_others(void **state)
{
	/* all together 900; one host 100, shared by the first two */
	const uint64_t limits[] = { 900, 100 };
	struct share_user u[3] = { under(0, 1), under(0, 1), under(0, -1) };

	(void)state;
	share_out(limits, 2, u, 3);
	assert_int_equal(u[0].rate, 50);
	assert_int_equal(u[1].rate, 50);
	assert_int_equal(u[2].rate, 800);
}

static void who_is_under_no_limit_has_none(void **state)
{
	const uint64_t limits[] = { 0, 100 };
	struct share_user u[2] = { under(0, -1), under(0, 1) };

	(void)state;
	share_out(limits, 2, u, 2);
	assert_int_equal(u[0].rate, 0);
	assert_int_equal(u[1].rate, 100);
}

static void nobody_is_starved_and_nothing_is_exceeded(void **state)
{
	enum { LIMITS = 6, USERS = 40 };
	uint64_t limits[LIMITS], seed = 7;
	struct share_user u[USERS];

	(void)state;
	for (int round = 0; round < 500; round++) {
		for (int l = 0; l < LIMITS; l++)
			limits[l] = 1000 + (seed = seed * 6364136223846793005u + 1) % 100000;
		for (int i = 0; i < USERS; i++)
			u[i] = under((int)((seed = seed * 6364136223846793005u + 1) >> 40) % LIMITS,
				     i % 3 ? (i + round) % LIMITS : -1);
		share_out(limits, LIMITS, u, USERS);
		for (int l = 0; l < LIMITS; l++) {
			uint64_t sum = 0;

			for (int i = 0; i < USERS; i++)
				if (u[i].limit[0] == l || u[i].limit[1] == l)
					sum += u[i].rate;
			assert_true(sum <= limits[l]);
		}
		for (int i = 0; i < USERS; i++)
			assert_true(u[i].rate > 0);
	}
}

static void who_wants_less_leaves_the_rest(void **state)
{
	const uint64_t limits[] = { 900, 0 };
	struct share_user u[4] = { under(0, -1), under(0, -1), under(0, -1), under(1, -1) };

	(void)state;
	u[0].want = 100;
	u[1].want = 500;	/* more than its share */
	u[3].want = 1;		/* and under no limit */
	share_out(limits, 2, u, 4);
	assert_int_equal(u[0].rate, 100);
	assert_int_equal(u[1].rate, 400);
	assert_int_equal(u[2].rate, 400);
	assert_int_equal(u[3].rate, 0);
}

static void what_a_stream_wants_is_learnt_from_what_it_takes(void **state)
{
	struct demand d = { 0 };
	uint64_t want;

	(void)state;
	assert_false(demand_learn(&d, 1000, 0, 50 << 20));
	assert_false(demand_learn(&d, 1900, 9 << 20, 50 << 20));	/* too early to say */
	assert_true(demand_learn(&d, 2000, 10 << 20, 50 << 20));
	want = d.want;
	assert_in_range(want, 12 << 20, 13 << 20);
	/* the same again, of that: it stays */
	assert_false(demand_learn(&d, 3000, 20 << 20, want));
	assert_int_equal(d.want, want);
	/* all of it: it may take more */
	assert_true(demand_learn(&d, 4000, (20 << 20) + want, want));
	assert_int_equal(d.want, 0);
	/* nothing at all leaves it a little */
	assert_true(demand_learn(&d, 5000, (20 << 20) + want, 50 << 20));
	assert_true(d.want > 0 && d.want < 1 << 20);
	/* it began anew */
	assert_true(demand_learn(&d, 6000, 0, 50 << 20));
	assert_int_equal(d.want, 0);
}

/* ---- a run ------------------------------------------------------------------------ */

/* The paces that sending ends were told while two disks moved at once; the source of the
 * second has more to do than the whole first. */
static struct fake *two_streams_in(enum phase phase, const struct fake_rule *rules,
				   const char *limits)
{
	const struct fake_step steps[] = {
		{ "one", phase, "disks", &fake_disks, NULL, NULL, NULL },
		{ "two", phase, "more", &fake_more, NULL, NULL, NULL },
		{ NULL, PHASE_ASSESS, NULL, NULL, NULL, NULL, NULL },
	};
	AUTO_FREE char *text = mem_printf("plan: erp\nlimits: { bandwidth: %s }\n"
		"hosts:\n  a: { ssh: root@a.example.net }\n  b: { ssh: root@b.example.net }\n"
		"machines:\n"
		"  one:\n    source: { host: a, disks: [/dev/sda] }\n"
		"    target: { host: b, dir: /srv }\n    convert: [ disks: {} ]\n"
		"  two:\n    source: { host: a, disks: [/dev/sdb] }\n"
		"    target: { host: b, dir: /srv }\n    convert: [ disks: {} ]\n", limits);
	struct run_options o = { .kind = phase == PHASE_CUTOVER ? RUN_CUTOVER : RUN_GO,
				 .only = -1, .until = -1 };
	struct fake_plan p = { 0 };
	struct fake *f;
	struct run_seams seams;
	struct state *s;
	AUTO_ERR e = { 0 };

	fake_plan_make(&p, text, steps);
	f = fake_new(rules);
	f->answer = 1;
	seams = fake_seams(f);
	s = state_open(p.state_dir, "erp", STATE_WRITE, f->loop, &e);
	assert_non_null(s);
	assert_int_equal(run_plan(p.plan, p.graph, s, &seams, &o, NULL, &e), 0);
	assert_int_equal(state_close(s, NULL), 0);
	fake_plan_free(&p);
	return f;
}

static struct fake *two_streams_of(const struct fake_rule *rules, const char *limits)
{
	return two_streams_in(PHASE_CONVERT, rules, limits);
}

static const struct fake_rule two_rules[] = {
	{ .module = "convert.disks", .role = "target", .var = "b.disk", .to = 2 },
	{ .module = "convert.more", .role = "source", .var = "b.more", .to = 2,
	  .ledger = "/run/more", .evidence = true, .ask = true },
	{ .module = NULL },
};

static struct fake *two_streams(const char *limits)
{
	return two_streams_of(two_rules, limits);
}

static void shares_follow_when_streams_begin_and_end(void **state)
{
	struct fake *f = two_streams("100MiB/s");
	const struct fake_world *w = f->w;
	int halves = 0;

	(void)state;
	for (int i = 0; i < w->pace_count; i++) {
		assert_true(w->paces[i] == 100 << 20 || w->paces[i] == 50 << 20);
		halves += w->paces[i] == 50 << 20;
	}
	assert_true(halves >= 2);
	assert_int_equal(w->paces[w->pace_count - 1], 100 << 20);
	fake_free(f);
}

/* How often one was told a rate between these. */
static int told_between(const struct fake *f, uint64_t lo, uint64_t hi)
{
	int n = 0;

	for (int i = 0; i < f->w->pace_count; i++)
		n += f->w->paces[i] >= lo && f->w->paces[i] <= hi;
	return n;
}

static void what_one_leaves_the_other_takes(void **state)
{
	static const struct fake_rule rules[] = {
		{ .module = "convert.disks", .role = "target", .var = "b.disk", .to = 2,
		  .slow_ms = 20000, .takes = 1000u << 20 },
		{ .module = "convert.more", .role = "target", .var = "b.more", .to = 2,
		  .slow_ms = 30000, .takes = 10u << 20 },
		{ .module = NULL },
	};
	struct fake *f = two_streams_of(rules, "100MiB/s");

	(void)state;
	assert_true(told_between(f, 12u << 20, 13u << 20) > 0);	/* what it takes, and some */
	assert_true(told_between(f, 87u << 20, 88u << 20) > 0);
	assert_true(f->w->pace_count < 16);	/* they settle */
	fake_free(f);
}

static void a_link_between_two_hosts_has_a_rate_of_its_own(void **state)
{
	struct fake *f = two_streams("100MiB/s, links: [ { hosts: [\"a*\", a], bandwidth: 1MiB/s }, "
		"{ hosts: [b, \"*\"], bandwidth: 10MiB/s }, { hosts: [a, b], bandwidth: 2MiB/s } ]");

	(void)state;
	for (int i = 0; i < f->w->pace_count; i++)
		assert_true(f->w->paces[i] == 10u << 20 || f->w->paces[i] == 5u << 20);
	fake_free(f);
}

static void without_a_limit_nobody_is_held_back(void **state)
{
	/* hours that never come while the pretend clock runs from 02:40 */
	struct fake *f = two_streams("[ { rate: 1MiB/s, from: \"12:00\", to: \"12:01\" } ]");

	(void)state;
	assert_true(f->w->pace_count >= 2);
	for (int i = 0; i < f->w->pace_count; i++)
		assert_int_equal(f->w->paces[i], 0);
	fake_free(f);
}

static void a_rate_changes_with_the_hour(void **state)
{
	/* the pretend clock runs from 02:40, and the copies for minutes */
	static const struct fake_rule rules[] = {
		{ .module = "convert.disks", .role = "source", .var = "b.disk", .to = 2,
		  .slow_ms = 150000 },
		{ .module = "convert.more", .role = "source", .var = "b.more", .to = 2,
		  .slow_ms = 150000 },
		{ .module = NULL },
	};
	struct fake *f = two_streams_of(rules, "[ { rate: 10MiB/s, to: \"02:41\" }, "
					"{ rate: 100MiB/s, from: \"02:41\", to: \"02:42\" } ]");
	const struct fake_world *w = f->w;
	int before = told_between(f, 5u << 20, 10u << 20);

	(void)state;
	assert_int_equal(told_between(f, 50u << 20, 50u << 20), 2);	/* both, in the second minute */
	assert_true(before >= 2);
	for (int i = 0; i < w->pace_count; i++) {
		uint64_t at = w->paces[i];

		assert_true(i < before ? at == 5u << 20 || at == 10u << 20 :
			    i < before + 2 ? at == 50u << 20 : at == 0);
	}
	assert_true(w->pace_count >= before + 4);	/* from the third on nothing holds */
	fake_free(f);
}

static void what_a_serving_source_is_read_by_is_shared(void **state)
{
	struct fake *f = two_streams("1MiB/s, read: 8MiB/s");
	const struct fake_world *w = f->w;
	int halves = 0;

	(void)state;
	assert_true(w->pace_count > 0);
	for (int i = 0; i < w->pace_count; i++) {
		assert_true(w->reads[i] == 8u << 20 || w->reads[i] == 4u << 20);
		halves += w->reads[i] == 4u << 20;
	}
	assert_true(halves >= 2);
	assert_int_equal(w->reads[w->pace_count - 1], 8u << 20);
	fake_free(f);
}

/* Nobody is served by it any more: the sooner the better. */
static void what_stands_still_is_read_as_fast_as_it_can_be(void **state)
{
	struct fake *f = two_streams_in(PHASE_CUTOVER, two_rules, "100MiB/s, read: 8MiB/s");
	const struct fake_world *w = f->w;

	(void)state;
	assert_true(w->pace_count >= 2);
	for (int i = 0; i < w->pace_count; i++) {
		assert_int_equal(w->reads[i], 0);
		assert_true(w->paces[i] > 0);
	}
	fake_free(f);
}

static void pairs_that_did_not_meet_are_tried_again_later(void **state)
{
	struct shut *s = shut_new();

	(void)state;
	assert_null(shut_why(NULL, "a", "b", 0));
	assert_null(shut_why(s, "a", "b", 0));
	shut_add(s, "a", "b", "no answer", 1000);
	shut_add(s, "a", "c", "refused", 1000);
	assert_string_equal(shut_why(s, "a", "b", 2000), "no answer");
	assert_string_equal(shut_why(s, "b", "a", 2000), "no answer");
	assert_null(shut_why(s, "b", "c", 2000));
	assert_null(shut_why(s, "a", "b", 1000 + SHUT_MS));
	shut_add(s, "b", "a", "refused", 1000 + SHUT_MS);
	assert_string_equal(shut_why(s, "a", "b", 1001 + SHUT_MS), "refused");
	shut_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_rate_is_kept_to),
		cmocka_unit_test(a_piece_larger_than_the_rate_is_paid_back),
		cmocka_unit_test(idle_time_saves_up_little),
		cmocka_unit_test(another_rate_counts_from_now_on),
		cmocka_unit_test(all_share_alike),
		cmocka_unit_test(what_one_may_not_take_is_the_others),
		cmocka_unit_test(who_is_under_no_limit_has_none),
		cmocka_unit_test(nobody_is_starved_and_nothing_is_exceeded),
		cmocka_unit_test(who_wants_less_leaves_the_rest),
		cmocka_unit_test(what_a_stream_wants_is_learnt_from_what_it_takes),
		cmocka_unit_test(what_one_leaves_the_other_takes),
		cmocka_unit_test(a_link_between_two_hosts_has_a_rate_of_its_own),
		cmocka_unit_test(a_rate_changes_with_the_hour),
		cmocka_unit_test(what_a_serving_source_is_read_by_is_shared),
		cmocka_unit_test(what_stands_still_is_read_as_fast_as_it_can_be),
		cmocka_unit_test(pairs_that_did_not_meet_are_tried_again_later),
		cmocka_unit_test(shares_follow_when_streams_begin_and_end),
		cmocka_unit_test(without_a_limit_nobody_is_held_back),
	};

	setenv("TZ", "UTC", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
