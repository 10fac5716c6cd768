/* SPDX-License-Identifier: Apache-2.0
 * ahead - the stream of the last pass is open before the source stands still.
 *
 * While its file systems are frozen a host may not be able to begin anything: a shell
 * that starts, a log that is written, wait for the thaw. And what cannot be reached is
 * better known before nobody is served.
 */
#include "engine/run/op.h"
#include "engine/run/step.h"

/* The next step of the machine that reads what this one holds; UINT32_MAX: none. */
static uint32_t reader_of(const struct job *j)
{
	const struct graph *g = j->r->graph;

	for (uint32_t i = j->node + 1; i < g->first[j->m->index + 1]; i++) {
		const struct plan_step *s = g->nodes[i].step;

		if (s->phase == j->s->phase && s->module->place == ON_BOTH &&
		    (s->module->flags & MOD_SOURCE_HELD))
			return i;
	}
	return UINT32_MAX;
}

/* It stands: from now on nobody waits for it, until its step does. */
static void on_open(struct op *o, void *arg)
{
	o->arg = NULL;
	step_intend(arg);
}

static void on_over(struct op *o, const json_t *result, void *arg)
{
	struct job *j = arg;

	(void)o;
	if (j && !step_try_again(j, result))
		job_fail(j, result);
}

bool ahead_begin(struct job *j)
{
	uint32_t node = held_takes(j->s) ? reader_of(j) : UINT32_MAX;

	return node != UINT32_MAX && !op_ahead(j->r, j->m, node) &&
	       op_open(j->r, j->m, node, on_open, on_over, j);
}

void ahead_drop(struct run *r, const struct mach *m, uint32_t node)
{
	struct op *o;

	while ((o = op_ahead(r, m, node)))
		op_stop(o);
}
