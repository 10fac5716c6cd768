/* SPDX-License-Identifier: Apache-2.0
 * op - one operation of one step. A two-ended step is two calls and one result: if
 * one end fails the other is stopped.
 */
#include "engine/host/relay.h"
#include "engine/plan/vault.h"
#include "engine/run/hosts.h"
#include "engine/run/op.h"
#include "engine/run/record.h"
#include "engine/run/report.h"

#include <stdlib.h>
#include <string.h>

#define OPEN_MS 60000u		/* for a stream that is opened ahead: longer than each way takes */
#define LAST_WORDS_MS 3000	/* for the end that is the reason to say so */

static void finish(struct op *o)
{
	json_t *result = merge_results(o);

	o->finished = true;
	if (o->relay)
		budget_changed(o->r);
	o->on_done(o, result, o->arg);
	json_decref(result);
	op_unlink_free(o);
}

void op_unlink_free(struct op *o)
{
	if (!o->finished || o->holds > 0)
		return;
	*o->link = o->next;
	if (o->next)
		o->next->link = o->link;
	loop_timer_del(o->late);
	for (int k = 0; k < o->ends; k++) {
		json_decref(o->end[k].call.input);
		json_decref(o->end[k].result);
	}
	if (o->relay)
		relay_free(o->relay);
	json_decref(o->evidence);
	free(o->what);
	free(o->fault);
	free(o);
}

static void stop_end(struct op_end *end)
{
	struct run *r = end->op->r;

	if (!end->live)
		return;
	if (end->host != UINT32_MAX)
		hosts_stop_call(r, end->host, &end->call);
	else if (!r->seams->start_check)
		hook_stop(&end->call);
	else if (r->seams->stop_check)
		r->seams->stop_check(r->seams->arg, &end->call);
}

void op_stop(struct op *o)
{
	if (o->stopping || o->finished)
		return;
	o->stopping = true;
	o->holds++;		/* stopping a call that waits ends it at once */
	for (int k = 0; k < o->ends; k++)
		stop_end(&o->end[k]);
	o->holds--;
	op_unlink_free(o);
}

static void on_event(struct call *c, const json_t *event, void *arg)
{
	struct op_end *end = arg;
	AUTO_JSON *clean = final_event(end->op, event);

	(void)c;
	if (clean)
		op_event(end, clean);
}

static void on_late(void *arg)
{
	struct op *o = arg;

	o->late = NULL;
	op_stop(o);
}

static void on_result(struct call *c, const json_t *result, void *arg)
{
	struct op_end *end = arg;
	struct op *o = end->op;

	(void)c;
	if (!end->live)
		return;
	end->live = false;
	end->result = owner_check(end, final_result(o, result));
	result = end->result;
	if (!result_ok(result) && !strcmp(result_kind(result), "refused")) {
		o->r->fenced = true;
		run_status(o->r, ERR_HELD);
		rec_epoch(o->r, o->m, jget(result, "volatile.epoch"));
	}
	if (--o->left == 0)
		finish(o);
	else if (!result_ok(result) && !o->stopping && (!strcmp(result_kind(result), "cancelled") ||
							!strcmp(result_kind(result), "broken")))
		/* it ended because the other end did: that one has the reason, and says it */
		o->late = loop_timer_add(o->r->loop, LAST_WORDS_MS, on_late, o);
	else if (!result_ok(result))
		op_stop(o);
}

/* ---- checks: calls that a check makes on hosts -------------------------------------- */

struct refusal { struct call *c; json_t *result; };

static void refuse_now(void *arg)
{
	struct refusal *f = arg;

	f->c->on_result(f->c, f->result, f->c->arg);
	json_decref(f->result);
	free(f);
}

/* From the loop, as every answer. */
static void refuse(struct run *r, struct call *c, const struct err *e)
{
	struct refusal *f = mem_alloc(sizeof(*f));

	*f = (struct refusal){ c, frame_failure("failed", e->what, e->hint) };
	run_later(r, 0, refuse_now, f);
}

/* What a program is started with, everybody on its host can read. */
static int bare_secret(const struct run *r, const struct call *c, struct err *e)
{
	const char *name = vault_told_json(r->plan->vault, jget(c->input, "args.argv"));

	if (!name)
		return 0;
	err_set(e, ERR_STEP, "cannot run a program with the secret '%s' in its argv", name);
	return err_hint(e, "give it on stdin: drover.run{\"program\", input = drover.with.name}");
}

static void hook_call(void *arg, const char *at, struct call *c)
{
	struct op *o = arg;
	struct place_end where;
	AUTO_FREE char *key = step_key(o->step);
	AUTO_ERR e = { 0 };

	if (place_word(o->r, o->m, at, &where, &e) < 0 || bare_secret(o->r, c, &e) < 0) {
		refuse(o->r, c, &e);
		return;
	}
	if (!c->input)
		c->input = json_object();
	jset(c->input, "machine", input_machine(o->r, o->m));
	if (!json_object_get(c->input, "facts"))
		jset(c->input, "facts", facts_merged(o->m->facts, NULL));
	jset_str(c->input, "role", where.role);
	jset(c->input, "run", input_run(o->r, where.host, key));
	hosts_start(o->r, where.host, c);
}

static void start_check(struct op *o, struct call *c)
{
	if (o->r->seams->start_check)
		o->r->seams->start_check(o->r->seams->arg, c);
	else
		hook_start(&o->env, c);
}

/* ---- starting ------------------------------------------------------------------------- */

static void deliver(void *arg)
{
	finish(arg);
}

/* The step cannot be asked at all: an argument is not known yet, or a place is
 * wrong. A probe then says unknown; anything else fails. */
static void cannot_ask(struct op *o, struct err *e)
{
	json_t *result;

	if (!strcmp(o->name, "probe") && e->kind != ERR_SYSTEM) {
		json_t *change = json_object(), *changes = json_array();

		result = json_object();
		jset_str(change, "mark", "?");
		jset_str(change, "text", e->what);
		jadd(changes, change);
		jset_bool(result, "ok", true);
		jset_str(result, "state", "unknown");
		jset(result, "changes", changes);
	} else {
		result = frame_failure("failed", e->what, e->hint);
	}
	o->ends = 1;
	o->left = 0;
	o->end[0].op = o;
	o->end[0].host = UINT32_MAX;
	o->end[0].result = result;
	run_later(o->r, 0, deliver, o);
}

static void on_open(struct call *c, void *arg)
{
	struct op_end *end = arg;
	struct op *o = end->op;

	(void)c;
	if (++o->open < 2)
		return;
	loop_timer_del(o->late);
	o->late = NULL;
	o->on_open(o, o->arg);
}

static int prepare(struct op *o, struct err *e)
{
	struct place_end where[2];
	AUTO_JSON *args = input_args(o->r, o->m, o->node, e);
	int n = args ? place_ends(o->r, o->m, o->step, args, where, e) : -1;

	if (n < 0)
		return -1;
	o->ends = o->left = n;
	for (int k = 0; k < n; k++) {
		struct op_end *end = &o->end[k];

		end->op = o;
		end->host = where[k].host;
		end->call = (struct call){
			.module = o->module->name, .op = o->name, .relay_end = k,
			.on_event = on_event, .on_result = on_result, .arg = end,
			.ahead = o->ahead, .on_open = on_open,
		};
		end->call.input = input_make(o, &where[k], args, e);
		if (!end->call.input)
			return -1;
		if (n == 1 && end->host != UINT32_MAX && !strcmp(o->name, "apply") &&
		    (o->module->flags & MOD_TOGETHER))
			jset_str(end->call.input, "then", "probe");
		if (o->judged)
			json_object_set(end->call.input, "judged", (json_t *)o->judged);
	}
	return 0;
}

static void start_ends(struct op *o)
{
	if (o->module->place == ON_BOTH &&
	    (!strcmp(o->name, "apply") || !strcmp(o->name, "mend")))
		op_stream(o);
	for (int k = 0; k < o->ends; k++) {
		o->end[k].call.relay = o->relay;
		o->end[k].live = true;
		if (o->end[k].host == UINT32_MAX)
			start_check(o, &o->end[k].call);
		else
			hosts_start(o->r, o->end[k].host, &o->end[k].call);
	}
}

static struct op *op_new(struct run *r, struct mach *m, uint32_t node, const char *name,
			 void (*on_done)(struct op *, const json_t *, void *), void *arg)
{
	struct op *o = mem_alloc(sizeof(*o));

	o->r = r;
	o->m = m;
	o->node = node;
	o->step = r->graph->nodes[node].step;
	o->module = o->step->module;
	o->name = name;
	o->on_done = on_done;
	o->arg = arg;
	o->evidence = json_object();
	o->env = (struct hook_env){ r->loop, hook_call, o, r->pool };
	o->next = r->ops;
	o->link = &r->ops;
	if (o->next)
		o->next->link = &o->next;
	r->ops = o;
	return o;
}

static struct op *begin(struct op *o)
{
	AUTO_ERR e = { 0 };

	if (prepare(o, &e) < 0)
		cannot_ask(o, &e);
	else
		start_ends(o);
	return o;
}

struct op *op_start(struct run *r, struct mach *m, uint32_t node, const char *name,
		    void (*on_done)(struct op *, const json_t *, void *), void *arg)
{
	return begin(op_new(r, m, node, name, on_done, arg));
}

/* ---- ahead ------------------------------------------------------------------------------ */

static void on_not_open(void *arg)
{
	struct op *o = arg;

	o->late = NULL;
	o->fault = mem_printf("cannot open the stream of '%s': no answer within %u s",
			      o->module->name, OPEN_MS / 1000);
	op_stop(o);
}

struct op *op_open(struct run *r, struct mach *m, uint32_t node,
		   void (*opened)(struct op *o, void *arg),
		   void (*on_done)(struct op *, const json_t *, void *), void *arg)
{
	struct op *o = op_new(r, m, node, "apply", on_done, arg);
	AUTO_ERR e = { 0 };

	o->ahead = true;
	o->on_open = opened;
	if (prepare(o, &e) == 0) {
		o->late = loop_timer_add(r->loop, OPEN_MS, on_not_open, o);
		start_ends(o);
		return o;
	}
	o->finished = true;
	op_unlink_free(o);
	return NULL;
}

struct op *op_ahead(const struct run *r, const struct mach *m, uint32_t node)
{
	struct op *o;

	for (o = r->ops; o; o = o->next)
		if (o->ahead && o->m == m && (node == UINT32_MAX || o->node == node) &&
		    !o->stopping && !o->finished)
			break;
	return o;
}

/* Its stream stood before what it is to do was known. False: it is not to be used. */
static bool renew(struct op *o, const json_t *judged)
{
	AUTO_ERR e = { 0 };
	struct place_end where[2];
	AUTO_JSON *args = input_args(o->r, o->m, o->node, &e);

	if (!args || o->open < 2 || place_ends(o->r, o->m, o->step, args, where, &e) != 2)
		return false;
	for (int k = 0; k < 2; k++)
		if (where[k].host != o->end[k].host)
			return false;
	for (int k = 0; k < 2; k++) {
		AUTO_JSON *in = input_make(o, &where[k], args, &e);

		if (!in)
			return false;
		if (judged)
			json_object_set(in, "judged", (json_t *)judged);
		json_decref(o->end[k].call.input);
		o->end[k].call.input = json_incref(in);
	}
	return true;
}

static void go(struct op *o)
{
	o->ahead = false;
	budget_changed(o->r);
	for (int k = 0; k < 2; k++)
		hosts_go(o->r, o->end[k].host, &o->end[k].call);
}

struct op *op_apply_if(struct run *r, struct mach *m, uint32_t node, const json_t *judged,
		       void (*on_done)(struct op *, const json_t *, void *), void *arg)
{
	struct op *o = op_ahead(r, m, node);

	if (o && renew(o, judged)) {
		o->on_done = on_done;
		o->arg = arg;
		go(o);
		return o;
	}
	if (o)
		op_stop(o);
	o = op_new(r, m, node, "apply", on_done, arg);
	o->judged = judged;
	return begin(o);
}

struct op *op_apply_as(struct run *r, struct mach *m, uint32_t node,
		       const struct module *module, const char *as,
		       void (*on_done)(struct op *, const json_t *, void *), void *arg)
{
	struct op *o = op_new(r, m, node, "apply", on_done, arg);

	o->module = module;
	o->as = as;
	return begin(o);
}

struct op *op_probe_bare(struct run *r, struct mach *m, uint32_t node,
			 void (*on_done)(struct op *, const json_t *, void *), void *arg)
{
	struct op *o = op_new(r, m, node, "probe", on_done, arg);

	o->bare = o->quiet = true;
	return begin(o);
}
