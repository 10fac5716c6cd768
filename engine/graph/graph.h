/* SPDX-License-Identifier: Apache-2.0
 * graph - steps and what they wait for. Compiled from a plan in one pass; arrays
 * of indices, so that 120,000 steps stay small and quick.
 */
#ifndef DROVER_GRAPH_H
#define DROVER_GRAPH_H

#include "engine/plan/plan.h"

struct graph_node {
	uint32_t machine;		/* index into the plan's machines */
	const struct plan_step *step;
	uint32_t out, out_count;	/* who waits for me: edges[out .. ] */
	uint32_t in_count;		/* how many I wait for */
};

struct graph {
	const struct plan *plan;	/* borrowed; must outlive the graph */
	struct graph_node *nodes;	/* machine by machine, in step order */
	uint32_t node_count;
	uint32_t *first;		/* first node of each machine; machine_count + 1 */
	uint32_t *edges;		/* targets */
	uint32_t edge_count;
	uint32_t *order;		/* a topological order of all nodes */
};

/* NULL with errors: every cycle is named whole, "a -> b -> c -> a", with its
 * places. */
struct graph *graph_build(const struct plan *p, struct err_list *errors);
void graph_free(struct graph *g);
uint32_t graph_find(const struct graph *g, uint32_t machine, enum phase phase,
		    const char *id);	/* UINT32_MAX: none */

#endif
