/* SPDX-License-Identifier: Apache-2.0
 * run/op_ask - a probe whose answer is written down as how things were: that may not be
 * "nobody knows" because a connection was cut just then, or a tool failed once.
 */
#include "engine/run/op.h"
#include "engine/run/report.h"

#include <stdlib.h>
#include <string.h>

struct ask {
	struct run *r;
	struct mach *m;
	uint32_t node;
	bool quiet;
	int attempt;
	uint64_t began_ms;
	void (*on_done)(struct op *, const json_t *, void *);
	void *arg;
};

static void go(void *arg);

/* What fails twice is how it is; a connection takes its time to come back. */
static bool again(struct ask *a, const json_t *result)
{
	struct run *r = a->r;
	bool cut = result_cut(result);

	if (result_ok(result) || run_stopping(r) || a->attempt >= (cut ? ATTEMPTS : 2) ||
	    (!cut && strcmp(result_kind(result), "failed") != 0))
		return false;
	if (!cut) {
		a->attempt++;
		run_later(r, 0, go, a);
		return true;
	}
	if (!a->quiet)
		report_again(r, a->m, a->node, a->attempt, loop_now(r->loop) - a->began_ms,
			     result);
	run_later(r, (uint64_t)BACKOFF_MS << (a->attempt++ - 1), go, a);
	return true;
}

static void on_answer(struct op *o, const json_t *result, void *arg)
{
	struct ask *a = arg;

	if (again(a, result))
		return;
	a->on_done(o, result, a->arg);
	free(a);
}

static void go(void *arg)
{
	struct ask *a = arg;

	if (!a->quiet)
		report_step(a->r, a->m, a->node, "probing", a->attempt,
			    loop_now(a->r->loop) - a->began_ms, NULL);
	op_start(a->r, a->m, a->node, "probe", on_answer, a)->quiet = true;
}

void op_ask(struct run *r, struct mach *m, uint32_t node, bool quiet,
	    void (*on_done)(struct op *, const json_t *, void *), void *arg)
{
	struct ask *a = mem_alloc(sizeof(*a));

	*a = (struct ask){ r, m, node, quiet, 1, loop_now(r->loop), on_done, arg };
	go(a);
}
