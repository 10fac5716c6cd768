/* SPDX-License-Identifier: Apache-2.0
 * mend - a step found damaged what an earlier one brought over. Whoever brought it does
 * so again while the source is there, and the step is asked anew, a few times; a storage
 * that spoils it every time is not believed any longer.
 */
#include "engine/run/op.h"
#include "engine/run/record.h"
#include "engine/run/report.h"
#include "engine/run/step.h"

#include <stdlib.h>
#include <string.h>

#define MENDS 3

struct mending {
	struct job *j;
	const struct module *by;	/* of the steps that mend */
	uint32_t node;			/* the one that does */
};

static bool mends(const struct job *j, uint32_t node, const struct module *by)
{
	const struct module *m = j->r->graph->nodes[node].step->module;

	return m->mend && (!by || m == by) && meta_finished(j->r, j->m, node) &&
	       strcmp(meta_status(j->r, j->m, node), "skipped");
}

/* The next one below `node`; UINT32_MAX: none. */
static uint32_t below(const struct job *j, uint32_t node, const struct module *by)
{
	for (uint32_t i = node; i-- > j->r->graph->first[j->m->index];)
		if (mends(j, i, by))
			return i;
	return UINT32_MAX;
}

static void go(struct mending *x);

/* The damage is what failed; why it could not be mended comes second. */
static void fail(struct job *j, const char *why)
{
	AUTO_FREE char *text = mem_printf("%s; %s", jstr(j->applied, "error.text", "damaged"), why);

	job_fail_text(j, "failed", text, jstr(j->applied, "error.hint", NULL));
}

static void on_mended(struct op *o, const json_t *result, void *arg)
{
	struct mending *x = arg;
	struct job *j = x->j;
	AUTO_FREE char *why = NULL;

	job_evidence(j, o->evidence);
	j->m->world_gen++;
	if (result_ok(result)) {
		x->node = below(j, x->node, x->by);
		if (x->node != UINT32_MAX) {
			go(x);
			return;
		}
		step_again(j);
	} else if (!step_try_again(j, result)) {
		why = mem_printf("it could not be sent again: %s",
				 jstr(result, "error.text", "no reason given"));
		fail(j, why);
	}
	free(x);
}

static void go(struct mending *x)
{
	op_start(x->j->r, x->j->m, x->node, "mend", on_mended, x)->quiet = true;
}

bool mend_begin(struct job *j)
{
	uint32_t node = below(j, j->node, NULL);
	AUTO_FREE char *by = NULL;
	struct mending *x;

	if (strcmp(result_kind(j->applied), "damaged") || node == UINT32_MAX ||
	    run_stopping(j->r))
		return false;
	if (++j->mends > MENDS) {
		AUTO_FREE char *why = mem_printf("it was sent again %d times", MENDS);

		fail(j, why);
		return true;
	}
	by = step_key(j->r->graph->nodes[node].step);
	report_log(j->r, j->m, j->key, "%s: '%s' sends it again",
		   jstr(j->applied, "error.text", "damaged"), by);
	x = mem_alloc(sizeof(*x));
	*x = (struct mending){ j, j->r->graph->nodes[node].step->module, node };
	go(x);
	return true;
}
