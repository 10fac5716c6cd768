/* SPDX-License-Identifier: Apache-2.0
 * test_graph - edges, order, and cycles that are named whole.
 */
#include "engine/base/clock.h"
#include "engine/graph/graph.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#define MAX 8

/* A plan by hand: machines with steps "convert.s0", "convert.s1" ... */
struct hand {
	struct plan plan;
	struct plan_machine machines[MAX];
	struct plan_step steps[MAX][MAX];
	const struct plan_step *lists[MAX][MAX];
	uint32_t after[MAX][MAX];
	const char *needs[MAX][MAX][3];
	struct err_list errors;
	struct graph *graph;
};

static const struct module plain = { .name = "convert.any", .place = ON_TARGET };
static const char *const ids[MAX] = { "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7" };
static const char *const names[MAX] = { "a", "b", "c", "d", "e", "f", "g", "h" };

static struct hand *hand_new(uint32_t machines, uint32_t steps)
{
	struct hand *h = mem_alloc(sizeof(*h));

	h->plan.machines = h->machines;
	h->plan.machine_count = machines;
	for (uint32_t m = 0; m < machines; m++) {
		h->machines[m] = (struct plan_machine){ .name = names[m],
			.at = { "erp.yaml", 10 + m, 3, NULL }, .after = h->after[m],
			.steps = h->lists[m], .step_count = steps };
		for (uint32_t s = 0; s < steps; s++) {
			h->steps[m][s] = (struct plan_step){ .phase = PHASE_CONVERT,
				.id = ids[s], .module = &plain, .needs = h->needs[m][s],
				.place = { "erp.yaml", 20 + s, 7, NULL } };
			h->lists[m][s] = &h->steps[m][s];
		}
	}
	return h;
}

static void hand_free(struct hand *h)
{
	graph_free(h->graph);
	for (size_t i = 0; i < h->errors.count; i++)
		err_clear(&h->errors.v[i]);
	free(h->errors.v);
	free(h);
}

static void after(struct hand *h, uint32_t m, uint32_t before)
{
	h->after[m][h->machines[m].after_count++] = before;
}

static void build(struct hand *h)
{
	h->graph = graph_build(&h->plan, &h->errors);
}

static void steps_of_a_machine_follow_each_other(void **state)
{
	struct hand *h = hand_new(1, 3);

	(void)state;
	build(h);
	assert_non_null(h->graph);
	assert_int_equal(h->graph->node_count, 3);
	assert_int_equal(h->graph->edge_count, 2);
	assert_int_equal(h->graph->edges[h->graph->nodes[0].out], 1);
	assert_int_equal(h->graph->nodes[2].in_count, 1);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(h->graph->order[i], i);
	hand_free(h);
}

static void a_machine_begins_after_the_last_step_of_the_one_before(void **state)
{
	struct hand *h = hand_new(2, 2);

	(void)state;
	after(h, 0, 1);
	build(h);
	assert_int_equal(h->graph->edge_count, 3);
	assert_int_equal(h->graph->edges[h->graph->nodes[3].out], 0);
	assert_int_equal(h->graph->order[0], 2);
	assert_int_equal(h->graph->order[3], 1);
	hand_free(h);
}

static void a_need_is_found_with_and_without_its_phase(void **state)
{
	struct hand *h = hand_new(1, 3);

	(void)state;
	h->needs[0][2][0] = "s0";
	h->needs[0][2][1] = "convert.s0";
	build(h);
	assert_non_null(h->graph);
	assert_int_equal(h->graph->nodes[2].in_count, 3);
	assert_int_equal(graph_find(h->graph, 0, PHASE_CONVERT, "s2"), 2);
	assert_int_equal(graph_find(h->graph, 0, PHASE_BACKUP, "s2"), UINT32_MAX);
	hand_free(h);
}

static void a_need_that_is_nowhere_is_told_with_its_place(void **state)
{
	struct hand *h = hand_new(1, 2);

	(void)state;
	h->needs[0][1][0] = "backup.image";
	build(h);
	assert_null(h->graph);
	assert_int_equal(h->errors.count, 1);
	assert_string_equal(h->errors.v[0].what, "cannot order 'convert.s1': machine 'a' "
			    "has no step 'backup.image'");
	assert_int_equal(h->errors.v[0].at.line, 21);
	hand_free(h);
}

static void a_cycle_of_steps_is_named_whole(void **state)
{
	struct hand *h = hand_new(1, 3);

	(void)state;
	h->needs[0][0][0] = "s2";
	build(h);
	assert_null(h->graph);
	assert_int_equal(h->errors.count, 1);
	assert_string_equal(h->errors.v[0].what, "cannot order the steps of 'a': each waits "
		"for the one before: convert.s1 -> convert.s2 -> convert.s0 -> convert.s1");
	assert_string_equal(h->errors.v[0].hint, "take one of these waits away: convert.s1 "
		"at erp.yaml:21:7, convert.s2 at erp.yaml:22:7, convert.s0 at erp.yaml:20:7");
	hand_free(h);
}

static void a_cycle_of_machines_is_named_by_machines(void **state)
{
	struct hand *h = hand_new(4, 2);

	(void)state;
	after(h, 0, 1);
	after(h, 1, 2);
	after(h, 2, 0);
	after(h, 3, 0);		/* only waits for the cycle: is not on it */
	build(h);
	assert_null(h->graph);
	assert_int_equal(h->errors.count, 1);
	assert_non_null(strstr(h->errors.v[0].what, "a -> "));
	assert_non_null(strstr(h->errors.v[0].what, "b -> a"));
	assert_non_null(strstr(h->errors.v[0].what, "c -> b"));
	assert_null(strstr(h->errors.v[0].what, "-> d"));
	assert_non_null(strstr(h->errors.v[0].hint, "c at erp.yaml:12:3"));
	hand_free(h);
}

static void two_cycles_are_two_errors(void **state)
{
	struct hand *h = hand_new(5, 1);

	(void)state;
	after(h, 0, 1);
	after(h, 1, 0);
	after(h, 2, 3);
	after(h, 3, 2);
	after(h, 4, 3);
	build(h);
	assert_null(h->graph);
	assert_int_equal(h->errors.count, 2);
	hand_free(h);
}

static void a_machine_after_itself_is_a_cycle(void **state)
{
	struct hand *h = hand_new(1, 1);

	(void)state;
	after(h, 0, 0);
	build(h);
	assert_null(h->graph);
	assert_string_equal(h->errors.v[0].what, "cannot order the machines: each waits for "
			    "the one before: a -> a");
	hand_free(h);
}

static void a_plan_of_nothing_is_a_graph_of_nothing(void **state)
{
	struct hand *h = hand_new(0, 0);

	(void)state;
	build(h);
	assert_non_null(h->graph);
	assert_int_equal(h->graph->node_count, 0);
	hand_free(h);
}

/* Said, not asserted: how long 120,000 nodes take. */
static void a_large_plan_is_ordered_whole(void **state)
{
	enum { MACHINES = 10000, STEPS = 12 };
	struct plan_step *steps = mem_alloc(STEPS * sizeof(*steps));
	const struct plan_step *list[STEPS];
	struct plan_machine *machines = mem_alloc(MACHINES * sizeof(*machines));
	uint32_t *before = mem_alloc(MACHINES * sizeof(*before));
	struct plan p = { .machines = machines, .machine_count = MACHINES };
	struct err_list errors = { 0 };
	struct graph *g;
	uint64_t t0;

	(void)state;
	for (int s = 0; s < STEPS; s++) {
		steps[s] = (struct plan_step){ .phase = (enum phase)(s / 2),
			.id = s % 2 ? "two" : "one", .module = &plain };
		list[s] = &steps[s];
	}
	for (uint32_t m = 0; m < MACHINES; m++) {
		before[m] = m - 1;
		machines[m] = (struct plan_machine){ .name = "m", .steps = list,
			.step_count = STEPS, .after = &before[m], .after_count = m > 0 };
	}
	t0 = clock_real.mono_ms(clock_real.arg);
	g = graph_build(&p, &errors);
	print_message("120,000 nodes: %u ms\n",
		      (unsigned)(clock_real.mono_ms(clock_real.arg) - t0));
	assert_non_null(g);
	assert_int_equal(g->node_count, MACHINES * STEPS);
	assert_int_equal(g->edge_count, MACHINES * STEPS - 1);
	for (uint32_t i = 0; i < g->node_count; i++)
		assert_int_equal(g->order[i], i);
	graph_free(g);
	free(before);
	free(machines);
	free(steps);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(steps_of_a_machine_follow_each_other),
		cmocka_unit_test(a_machine_begins_after_the_last_step_of_the_one_before),
		cmocka_unit_test(a_need_is_found_with_and_without_its_phase),
		cmocka_unit_test(a_need_that_is_nowhere_is_told_with_its_place),
		cmocka_unit_test(a_cycle_of_steps_is_named_whole),
		cmocka_unit_test(a_cycle_of_machines_is_named_by_machines),
		cmocka_unit_test(two_cycles_are_two_errors),
		cmocka_unit_test(a_machine_after_itself_is_a_cycle),
		cmocka_unit_test(a_plan_of_nothing_is_a_graph_of_nothing),
		cmocka_unit_test(a_large_plan_is_ordered_whole),
	};

	return cmocka_run_group_tests_name("graph", tests, NULL, NULL);
}
