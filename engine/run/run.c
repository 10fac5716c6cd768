/* SPDX-License-Identifier: Apache-2.0
 * run - a run from start to end.
 */
#include "engine/host/shut.h"
#include "engine/run/back.h"
#include "engine/run/hosts.h"
#include "engine/run/op.h"
#include "engine/run/preview.h"
#include "engine/run/record.h"
#include "engine/run/report.h"
#include "engine/run/step.h"

#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* The only global that changes: a signal handler has nothing else to write to. */
static volatile sig_atomic_t interrupts;

void run_interrupt(void)
{
	interrupts++;
}

/* ---- small things ------------------------------------------------------------------- */

bool run_is_preview(const struct run *r)
{
	return r->kind == RUN_PREVIEW || r->kind == RUN_CUTOVER_PREVIEW ||
	       r->kind == RUN_ROLLBACK_PREVIEW;
}

bool run_stopping(const struct run *r)
{
	return r->stops > 0;
}

int64_t run_wall(const struct run *r)
{
	const struct clock *c = loop_clock(r->loop);

	return c->wall_s(c->arg);
}

/* Timers of a run that is over must not fire: they are in a list. */
struct later {
	struct run *r;
	struct loop_timer *timer;
	void (*fn)(void *arg);
	void *arg;
	struct later *next, **link;
};

static void later_free(struct later *l)
{
	*l->link = l->next;
	if (l->next)
		l->next->link = l->link;
	free(l);
}

static void later_fire(void *arg)
{
	struct later *l = arg;
	void (*fn)(void *) = l->fn;
	void *fn_arg = l->arg;

	later_free(l);
	fn(fn_arg);
}

void run_later(struct run *r, uint64_t ms, void (*fn)(void *arg), void *arg)
{
	struct later *l = mem_alloc(sizeof(*l));

	*l = (struct later){ r, NULL, fn, arg, r->laters, &r->laters };
	if (l->next)
		l->next->link = &l->next;
	r->laters = l;
	l->timer = loop_timer_add(r->loop, ms, later_fire, l);
}

/* ---- making and unmaking ------------------------------------------------------------------ */

static void load_machines(struct run *r)
{
	for (uint32_t i = 0; i < r->plan->machine_count; i++)
		if (r->machines[i].in)
			resume_load(r, &r->machines[i]);
}

static void forget(struct run *r)
{
	for (uint32_t i = 0; i < r->plan->machine_count; i++) {
		struct mach *m = &r->machines[i];

		json_decref(m->facts);
		json_decref(m->findings);
		json_decref(m->told);
		m->facts = m->findings = m->told = NULL;
		free(m->absent);
		m->absent = NULL;
		m->failed = m->blocked = false;
	}
	for (uint32_t i = 0; i < r->graph->node_count; i++) {
		json_decref(r->known[i].answer);
		json_decref(r->known[i].evidence);
	}
	memset(r->known, 0, r->graph->node_count * sizeof(*r->known));
}

static void run_free(struct run *r)
{
	loop_timer_del(r->budget_timer);
	while (r->laters) {
		loop_timer_del(r->laters->timer);
		later_free(r->laters);
	}
	hosts_free(r);
	alive_free(r);
	forget(r);
	hook_pool_free(r->pool);
	shut_free(r->shut);
	sched_free(r->sched);
	free(r->waits);
	free(r->machines);
	free(r->known);
	json_decref(r->counts);
	json_decref(r->doc);
	free(r->next);
}

static int choose_machines(struct run *r, struct err *e)
{
	uint32_t in = 0;

	for (uint32_t i = 0; i < r->plan->machine_count; i++) {
		struct mach *m = &r->machines[i];

		*m = (struct mach){ .r = r, .index = i, .name = r->plan->machines[i].name,
				    .entered = -1 };
		m->in = !r->o->selector || plan_machine_matches(r->plan, i, r->o->selector);
		in += m->in;
	}
	if (in > 0)
		return 0;
	err_set(e, ERR_USAGE, "cannot choose machines by '%s': none matches",
		r->o->selector ? r->o->selector : "");
	return err_hint(e, "drover status %s lists them", r->plan->typed);
}

static int choose_phases(struct run *r, struct err *e)
{
	if (r->kind == RUN_CUTOVER || r->kind == RUN_CUTOVER_PREVIEW) {
		r->lo = r->hi = PHASE_CUTOVER;
		return 0;
	}
	r->lo = r->o->only >= 0 ? r->o->only : PHASE_ASSESS;
	r->hi = r->o->only >= 0 ? r->o->only : PHASE_VALIDATE;
	if (r->o->until >= 0 && r->o->until < r->hi)
		r->hi = r->o->until;
	if (r->o->only != PHASE_CUTOVER && r->o->until != PHASE_CUTOVER)
		return 0;
	err_set(e, ERR_USAGE, "cannot run phase 'cutover': it has a verb of its own");
	return err_hint(e, "drover cutover %s", r->plan->typed);
}

/* ---- turning ---------------------------------------------------------------------------- */

static void node_hosts(void *arg, uint32_t node, uint32_t host[2])
{
	const struct run *r = arg;
	struct place_end where[2];
	int n = place_ends(r, &r->machines[r->graph->nodes[node].machine],
			   r->graph->nodes[node].step, NULL, where, NULL);

	host[0] = n > 0 ? where[0].host : UINT32_MAX;
	host[1] = n > 1 ? where[1].host : UINT32_MAX;
}

/* Stopping, a machine in the midst of its cutover still has to go back. */
static bool amid_cutover(const struct run *r, uint32_t node)
{
	const struct mach *m = &r->machines[r->graph->nodes[node].machine];

	return r->graph->nodes[node].step->phase == PHASE_CUTOVER &&
	       strcmp(meta_serves(r, m), "source");
}

static bool pump(struct run *r)
{
	bool any = false;
	uint32_t node;

	while (r->sched && (node = sched_next(r->sched)) != UINT32_MAX) {
		any = true;
		if (r->fenced || (run_stopping(r) && !amid_cutover(r, node))) {
			r->machines[r->graph->nodes[node].machine].failed = true;
			run_status(r, r->fenced ? ERR_HELD : ERR_STOPPED);
			sched_failed(r->sched, node);
		} else if (run_is_preview(r)) {
			preview_node(r, node);
		} else {
			step_begin(r, node);
		}
	}
	return any;
}

/* A copy is safe to stop between any two chunks, and may last for days: the first
 * interrupt ends it. Not in a cutover, which goes on to its end. */
static bool stops_anywhere(const struct op *o)
{
	return o->relay && o->step->phase != PHASE_CUTOVER;
}

static void heed_interrupts(struct run *r)
{
	int now = (int)interrupts;

	if (now != r->stops && r->stops == 0) {
		report_log(r, NULL, NULL, "stopping: running steps go on to a safe point; "
			   "interrupt again to cancel them");
		if (!r->o->keep)	/* which has no other end */
			run_status(r, ERR_STOPPED);
	}
	r->stops = now;
	for (struct op *o = now ? r->ops : NULL; o;) {
		if (o->stopping || (now == 1 && !stops_anywhere(o))) {
			o = o->next;
			continue;
		}
		op_stop(o);
		o = r->ops;		/* stopping may have ended some of them */
	}
}

static void turn_until_over(struct run *r)
{
	for (;;) {
		heed_interrupts(r);
		if (!pump(r) && r->jobs == 0)
			return;
		loop_turn(r->loop, 200);
	}
}

struct sched *run_sched(struct run *r, bool free_run)
{
	bool *in = mem_alloc(r->plan->machine_count + 1);
	struct sched_options o = { .machines = in, .lo = r->lo, .hi = r->hi,
				   .free_run = free_run, .hosts = node_hosts, .arg = r };
	struct sched *s;

	for (uint32_t i = 0; i < r->plan->machine_count; i++)
		in[i] = r->machines[i].in;
	s = sched_new(r->graph, &o);
	free(in);
	return s;
}

static void start_sched(struct run *r, bool free_run)
{
	sched_free(r->sched);
	r->sched = run_sched(r, free_run);
}

/* Machines that never began because another one failed. */
static void tell_left(struct run *r)
{
	for (uint32_t i = 0; r->sched && i < r->plan->machine_count; i++) {
		struct mach *m = &r->machines[i];
		uint32_t node = r->graph->first[i];

		while (node < r->graph->first[i + 1] &&
		       sched_state_of(r->sched, node) == SCHED_OUT)
			node++;
		if (!m->in || m->failed || node == r->graph->first[i + 1] ||
		    sched_state_of(r->sched, node) != SCHED_WAITING)
			continue;
		AUTO_FREE char *why = sched_why(r->sched, node);
		report_log(r, m, NULL, "'%s' was not begun: it %s", m->name, why);
	}
}

/* ---- the kinds ----------------------------------------------------------------------------- */

/* Hold the run to a saved preview: ask everything once more, change nothing. */
static int fits_saved(struct run *r, struct err *e)
{
	enum run_kind kind = r->kind;
	enum err_kind status = r->status;
	int fits;

	r->kind = kind == RUN_CUTOVER ? RUN_CUTOVER_PREVIEW : RUN_PREVIEW;
	r->writes = false;
	r->mute = true;
	saved_begin(r);
	start_sched(r, true);
	turn_until_over(r);
	json_t *doc = saved_finish(r);
	r->doc = doc;
	r->kind = kind;
	r->writes = true;
	r->mute = false;
	if (r->status != status)
		return -1;	/* a probe failed; r->err says which */
	fits = saved_compare(r, e);
	json_decref(r->doc);
	r->doc = NULL;
	forget(r);
	load_machines(r);
	return fits;
}

static int forward(struct run *r, struct err *e)
{
	if (r->o->saved && fits_saved(r, e) < 0)
		return -1;
	if (r->kind == RUN_GO) {
		cleanup_strays(r);
		turn_until_over(r);
	}
	start_sched(r, false);
	turn_until_over(r);
	tell_left(r);
	return 0;
}

static void previews(struct run *r, json_t **out)
{
	saved_begin(r);
	if (r->kind == RUN_PREVIEW)
		cleanup_preview_strays(r);
	start_sched(r, true);
	turn_until_over(r);
	r->whole = estimate_all(r);
	if (r->kind == RUN_CUTOVER_PREVIEW)
		estimate_downtime(r);
	if (out)
		*out = saved_finish(r);
}

static void work(struct run *r, json_t **preview_out, struct err *e)
{
	int ok = 0;

	switch (r->kind) {
	case RUN_PREVIEW:
	case RUN_CUTOVER_PREVIEW:
		previews(r, preview_out);
		return;
	case RUN_GO:
	case RUN_CUTOVER:
		ok = forward(r, e);
		break;
	case RUN_ROLLBACK:
	case RUN_ROLLBACK_PREVIEW:
		rollback_begin(r);
		turn_until_over(r);
		break;
	case RUN_SYNC:
		sync_begin(r);
		turn_until_over(r);
		break;
	case RUN_CLEANUP:
		cleanup_begin(r);
		turn_until_over(r);
		break;
	case RUN_FINALIZE:
		finalize_begin(r);
		turn_until_over(r);
		break;
	}
	if (ok < 0 && err_is(e))
		run_status(r, e->kind);
}

/* ---- the whole ---------------------------------------------------------------------------------- */

static int prepare(struct run *r, struct err *e)
{
	if (choose_machines(r, e) < 0 || choose_phases(r, e) < 0)
		return -1;
	if (r->o->saved && saved_check(r, e) < 0)
		return -1;
	load_machines(r);
	return resume_admit(r, e);
}

int run_admits(const struct plan *p, const struct graph *g, struct state *s,
	       struct loop *l, const struct run_options *o, struct err *e)
{
	struct run_seams nobody = { .loop = l };
	struct run r = { .plan = p, .graph = g, .state = s, .seams = &nobody, .o = o,
			 .loop = l, .kind = o->kind, .err = e, .mute = true };
	bool none = true;	/* of several machines each was refused by itself */
	int rc;

	r.counts = json_object();
	r.machines = mem_alloc((p->machine_count + 1) * sizeof(*r.machines));
	r.known = mem_alloc((g->node_count + 1) * sizeof(*r.known));
	rc = prepare(&r, e);
	for (uint32_t i = 0; i < p->machine_count; i++)
		none = none && !r.machines[i].in;
	if (rc == 0 && none && err_is(e))
		rc = -1;
	forget(&r);
	free(r.machines);
	free(r.known);
	json_decref(r.counts);
	free(r.next);
	return rc;
}

int run_plan(const struct plan *p, const struct graph *g, struct state *s,
	     const struct run_seams *seams, const struct run_options *o,
	     json_t **preview_out, struct err *e)
{
	struct run r = { .plan = p, .graph = g, .state = s, .seams = seams, .o = o,
			 .loop = seams->loop, .kind = o->kind, .err = e };
	AUTO_ERR mine = { 0 };

	interrupts = 0;
	r.writes = !run_is_preview(&r);
	r.began_ms = loop_now(r.loop);
	r.counts = json_object();
	r.machines = mem_alloc((p->machine_count + 1) * sizeof(*r.machines));
	r.known = mem_alloc((g->node_count + 1) * sizeof(*r.known));
	r.pool = hook_pool_new();
	r.shut = shut_new();
	hosts_init(&r);
	if (prepare(&r, &mine) == 0) {
		report_start(&r);
		resume_tell_absent(&r);
		work(&r, preview_out, &mine);
	}
	if (err_is(&mine))
		run_error(&r, &mine);
	hosts_close(&r);
	next_say(&r);
	report_end(&r, (int)r.status);
	run_free(&r);
	return (int)r.status;
}
