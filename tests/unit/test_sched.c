/* SPDX-License-Identifier: Apache-2.0
 * test_sched - who may run now, and why not.
 */
#include "engine/graph/sched.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#define MACHINES 6

/* Machines a, b, c ... each with convert.copy (long) and validate.boot; machine m
 * copies to host m % 2. */
struct herd {
	struct plan plan;
	struct plan_machine machines[MACHINES];
	struct plan_host hosts[2];
	uint32_t after[MACHINES][MACHINES];
	bool in[MACHINES];
	struct graph *graph;
	struct sched *s;
};

static const struct module copy = { .name = "convert.copy", .flags = MOD_LONG };
static const struct module boot = { .name = "validate.boot" };
static const struct plan_step copy_step = { .phase = PHASE_CONVERT, .id = "copy",
					    .module = &copy };
static const struct plan_step boot_step = { .phase = PHASE_VALIDATE, .id = "boot",
					    .module = &boot };
static const struct plan_step *const steps[] = { &copy_step, &boot_step };

static struct herd *herd_new(uint32_t machines)
{
	static const char *const names[MACHINES] = { "a", "b", "c", "d", "e", "f" };
	struct herd *h = mem_alloc(sizeof(*h));

	h->hosts[0].name = "kvm1";
	h->hosts[1].name = "kvm2";
	h->plan = (struct plan){ .machines = h->machines, .machine_count = machines,
				 .hosts = h->hosts, .host_count = 2 };
	for (uint32_t m = 0; m < machines; m++) {
		h->in[m] = true;
		h->machines[m] = (struct plan_machine){ .name = names[m], .steps = steps,
			.step_count = 2, .after = h->after[m] };
	}
	return h;
}

static void herd_free(struct herd *h)
{
	sched_free(h->s);
	graph_free(h->graph);
	free(h);
}

static void hosts(void *arg, uint32_t node, uint32_t host[2])
{
	struct herd *h = arg;

	host[0] = h->graph->nodes[node].machine % 2;
	host[1] = UINT32_MAX;
}

static void both_hosts(void *arg, uint32_t node, uint32_t host[2])
{
	struct herd *h = arg;

	host[0] = h->graph->nodes[node].machine % 2;
	host[1] = 1 - host[0];
}

static void start_with(struct herd *h, struct sched_options o)
{
	struct err_list errors = { 0 };

	h->graph = graph_build(&h->plan, &errors);
	assert_non_null(h->graph);
	o.machines = h->in;
	o.arg = h;
	h->s = sched_new(h->graph, &o);
}

static void start(struct herd *h)
{
	start_with(h, (struct sched_options){ .lo = 0, .hi = PHASE_CUTOVER,
					      .hosts = hosts });
}

static void after(struct herd *h, uint32_t m, uint32_t before)
{
	h->after[m][h->machines[m].after_count++] = before;
}

#define COPY(m) ((m) * 2u)
#define BOOT(m) ((m) * 2u + 1)
#define NOBODY UINT32_MAX

static void assert_why(struct herd *h, uint32_t node, const char *text)
{
	AUTO_FREE char *why = sched_why(h->s, node);

	assert_string_equal(why, text);
}

static void steps_of_one_machine_run_one_after_another(void **state)
{
	struct herd *h = herd_new(1);

	(void)state;
	start(h);
	assert_int_equal(sched_next(h->s), COPY(0));
	assert_int_equal(sched_next(h->s), NOBODY);
	assert_why(h, BOOT(0), "waits for convert.copy");
	sched_done(h->s, COPY(0));
	assert_int_equal(sched_next(h->s), BOOT(0));
	sched_done(h->s, BOOT(0));
	assert_int_equal(sched_next(h->s), NOBODY);
	assert_int_equal(sched_running(h->s), 0);
	herd_free(h);
}

static void machines_run_beside_each_other_in_plan_order(void **state)
{
	struct herd *h = herd_new(3);

	(void)state;
	start(h);
	for (uint32_t m = 0; m < 3; m++)
		assert_int_equal(sched_next(h->s), COPY(m));
	sched_done(h->s, COPY(2));
	sched_done(h->s, COPY(0));
	assert_int_equal(sched_next(h->s), BOOT(2));
	assert_int_equal(sched_next(h->s), BOOT(0));
	assert_int_equal(sched_running(h->s), 3);
	herd_free(h);
}

static void a_phase_takes_only_so_many_machines(void **state)
{
	struct herd *h = herd_new(3);

	(void)state;
	h->plan.limits.phase[PHASE_CONVERT] = 2;
	start(h);
	assert_int_equal(sched_next(h->s), COPY(0));
	assert_int_equal(sched_next(h->s), COPY(1));
	assert_int_equal(sched_next(h->s), NOBODY);
	assert_why(h, COPY(2), "waits: 2 machines are in convert (limits.convert: 2)");
	sched_done(h->s, COPY(1));
	assert_int_equal(sched_next(h->s), COPY(2));	/* it was ready before */
	assert_int_equal(sched_next(h->s), BOOT(1));
	herd_free(h);
}

static void a_machine_that_fails_gives_its_place_back(void **state)
{
	struct herd *h = herd_new(2);

	(void)state;
	h->plan.limits.phase[PHASE_CONVERT] = 1;
	start(h);
	assert_int_equal(sched_next(h->s), COPY(0));
	assert_int_equal(sched_next(h->s), NOBODY);
	sched_failed(h->s, COPY(0));
	assert_int_equal(sched_next(h->s), COPY(1));
	assert_why(h, BOOT(0), "waits for convert.copy, which is not done");
	assert_int_equal(sched_state_of(h->s, COPY(0)), SCHED_FAILED);
	herd_free(h);
}

static void a_host_carries_only_so_many_long_steps(void **state)
{
	struct herd *h = herd_new(4);

	(void)state;
	h->plan.limits.host = 1;
	start(h);
	assert_int_equal(sched_next(h->s), COPY(0));
	assert_int_equal(sched_next(h->s), COPY(1));
	assert_int_equal(sched_next(h->s), NOBODY);
	assert_why(h, COPY(2), "waits: 1 long steps run on host 'kvm1' (limits.host: 1)");
	sched_done(h->s, COPY(1));
	assert_int_equal(sched_next(h->s), COPY(3));
	assert_int_equal(sched_next(h->s), BOOT(1));	/* short: no limit */
	assert_int_equal(sched_next(h->s), NOBODY);
	herd_free(h);
}

static void a_step_on_two_hosts_needs_a_place_on_both(void **state)
{
	struct herd *h = herd_new(3);

	(void)state;
	h->plan.limits.host = 1;
	start_with(h, (struct sched_options){ .lo = 0, .hi = PHASE_CUTOVER,
					      .hosts = both_hosts });
	assert_int_equal(sched_next(h->s), COPY(0));
	assert_int_equal(sched_next(h->s), NOBODY);
	sched_done(h->s, COPY(0));
	assert_int_equal(sched_next(h->s), COPY(1));
	assert_int_equal(sched_next(h->s), BOOT(0));
	assert_int_equal(sched_next(h->s), NOBODY);
	sched_done(h->s, COPY(1));
	assert_int_equal(sched_next(h->s), COPY(2));
	assert_int_equal(sched_next(h->s), BOOT(1));
	herd_free(h);
}

static void a_machine_waits_for_all_of_the_one_before(void **state)
{
	struct herd *h = herd_new(2);

	(void)state;
	after(h, 0, 1);
	start(h);
	assert_int_equal(sched_next(h->s), COPY(1));
	assert_int_equal(sched_next(h->s), NOBODY);
	sched_done(h->s, COPY(1));
	assert_int_equal(sched_next(h->s), BOOT(1));
	assert_int_equal(sched_next(h->s), NOBODY);
	assert_why(h, COPY(0), "waits for machine 'b'");
	sched_done(h->s, BOOT(1));
	assert_int_equal(sched_next(h->s), COPY(0));
	herd_free(h);
}

static void a_machine_after_one_that_failed_never_begins(void **state)
{
	struct herd *h = herd_new(2);

	(void)state;
	after(h, 1, 0);
	start(h);
	assert_int_equal(sched_next(h->s), COPY(0));
	sched_failed(h->s, COPY(0));
	assert_int_equal(sched_next(h->s), NOBODY);
	assert_why(h, COPY(1), "waits for machine 'a', which is not done");
	herd_free(h);
}

/* `after` counts within the phases of a run: the others do not hold anybody up. */
static void only_the_phases_of_the_run_count(void **state)
{
	struct herd *h = herd_new(2);

	(void)state;
	after(h, 1, 0);
	start_with(h, (struct sched_options){ .lo = PHASE_CONVERT, .hi = PHASE_CONVERT });
	assert_int_equal(sched_next(h->s), COPY(0));
	sched_done(h->s, COPY(0));
	assert_int_equal(sched_next(h->s), COPY(1));
	assert_why(h, BOOT(0), "takes no part");
	herd_free(h);
}

static void a_machine_without_a_step_in_the_run_holds_nobody_up(void **state)
{
	struct herd *h = herd_new(3);

	(void)state;
	after(h, 1, 0);
	after(h, 2, 1);
	h->machines[1].step_count = 1;		/* no validate */
	h->machines[0].step_count = 1;
	start_with(h, (struct sched_options){ .lo = PHASE_VALIDATE, .hi = PHASE_VALIDATE });
	assert_int_equal(sched_next(h->s), 3);
	herd_free(h);
}

static void a_machine_that_takes_no_part_holds_nobody_up(void **state)
{
	struct herd *h = herd_new(2);

	(void)state;
	after(h, 1, 0);
	h->in[0] = false;
	start(h);
	assert_int_equal(sched_next(h->s), COPY(1));
	assert_int_equal(sched_next(h->s), NOBODY);
	herd_free(h);
}

static void a_preview_knows_no_limits(void **state)
{
	struct herd *h = herd_new(3);

	(void)state;
	h->plan.limits.phase[PHASE_CONVERT] = 1;
	h->plan.limits.host = 1;
	after(h, 0, 2);
	start_with(h, (struct sched_options){ .lo = 0, .hi = PHASE_CUTOVER,
					      .free_run = true, .hosts = hosts });
	for (uint32_t m = 0; m < 3; m++)
		assert_int_equal(sched_next(h->s), COPY(m));
	herd_free(h);
}

/* Whatever the limits, everything runs once, none is passed, and equal plans give
 * equal orders. */
static void everything_runs_once_within_all_limits(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed < 200; seed++) {
		uint32_t order[2][MACHINES * 2];
		struct herd *h = NULL;

		for (int round = 0; round < 2; round++) {
			uint32_t running[MACHINES * 2], n = 0, done = 0;
			unsigned r = seed;

			h = herd_new(MACHINES);
			h->plan.limits.phase[PHASE_CONVERT] = seed % 4;
			h->plan.limits.phase[PHASE_VALIDATE] = seed % 3;
			h->plan.limits.host = seed % 5;
			for (uint32_t m = 1; m < MACHINES; m++)
				if ((seed >> m) & 1)
					after(h, m, m - 1);
			start_with(h, (struct sched_options){ .lo = 0, .hi = PHASE_CUTOVER,
				.hosts = seed % 2 ? hosts : both_hosts });
			for (;;) {
				uint32_t node, longs = 0;

				while ((node = sched_next(h->s)) != NOBODY) {
					order[round][done + n] = node;
					running[n++] = node;
				}
				for (uint32_t i = 0; i < n; i++)
					longs += running[i] % 2 == 0;
				if (seed % 5 && seed % 2 == 0)
					assert_true(longs <= seed % 5);
				if (n == 0)
					break;
				r = r * 1103515245u + 12345u;
				uint32_t pick = (r >> 16) % n;
				node = running[pick];
				running[pick] = running[--n];
				done++;
				sched_done(h->s, node);
			}
			assert_int_equal(done, MACHINES * 2);
			if (round == 0)
				herd_free(h);
		}
		assert_memory_equal(order[0], order[1], sizeof(order[0]));
		herd_free(h);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(steps_of_one_machine_run_one_after_another),
		cmocka_unit_test(machines_run_beside_each_other_in_plan_order),
		cmocka_unit_test(a_phase_takes_only_so_many_machines),
		cmocka_unit_test(a_machine_that_fails_gives_its_place_back),
		cmocka_unit_test(a_host_carries_only_so_many_long_steps),
		cmocka_unit_test(a_step_on_two_hosts_needs_a_place_on_both),
		cmocka_unit_test(a_machine_waits_for_all_of_the_one_before),
		cmocka_unit_test(a_machine_after_one_that_failed_never_begins),
		cmocka_unit_test(only_the_phases_of_the_run_count),
		cmocka_unit_test(a_machine_without_a_step_in_the_run_holds_nobody_up),
		cmocka_unit_test(a_machine_that_takes_no_part_holds_nobody_up),
		cmocka_unit_test(a_preview_knows_no_limits),
		cmocka_unit_test(everything_runs_once_within_all_limits),
	};

	return cmocka_run_group_tests_name("sched", tests, NULL, NULL);
}
