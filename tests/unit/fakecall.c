/* SPDX-License-Identifier: Apache-2.0
 * fakecall - what a module of the pretend world does when it is called, step by step.
 */
#include "tests/unit/fakecall.h"

#include <stdlib.h>
#include <string.h>

static void step_call(void *arg);

static const char *role_of(const struct fake_call *k)
{
	return jstr(k->c->input, "role", "");
}

static void end_call(struct fake_call *k, json_t *result)
{
	struct fake_host *fh = k->h->impl;
	struct fake_call **link = &fh->calls;

	while (*link != k)
		link = &(*link)->next;
	*link = k->next;
	loop_timer_del(k->timer);
	k->c->impl = NULL;
	k->c->on_result(k->c, result, k->c->arg);
	json_decref(result);
	free(k);
}

void fakecall_fail(struct fake_call *k, const char *kind, const char *text)
{
	end_call(k, json_pack("{s:b, s:{s:s, s:s}}", "ok", 0, "error", "kind", kind,
			      "text", text));
}

static void send_event(struct fake_call *k, json_t *event)
{
	k->awaits = jint(event, "ack", 0);
	k->c->on_event(k->c, event, k->c->arg);
	json_decref(event);
}

void fakecall_again(struct fake_call *k)
{
	bool slow = k->rule->slow_ms && !k->rule->takes && k->stage == 4 && !strcmp(k->c->op, "apply");

	k->timer = loop_timer_add(k->f->loop, slow ? (uint64_t)k->rule->slow_ms : 1, step_call,
				  k);
}

static int value_of(struct fake_call *k)
{
	return k->rule->var ? fake_get(k->f, k->rule->var) : k->rule->to;
}

static bool mine(const struct fake_call *k)
{
	return k->rule->var && (!k->rule->role || !strcmp(k->rule->role, role_of(k)));
}

static bool given_all(const struct fake_call *k)
{
	return json_object_size(json_object_get(k->c->input, "facts")) > 0;
}

static bool told(const struct fake_call *k)
{
	return json_object_get(json_object_get(k->c->input, "facts"), k->rule->fact);
}

static json_t *probe_result(struct fake_call *k)
{
	const struct fake_rule *r = k->rule;
	bool unknown = r->asks_only || (r->unknown_without && !given_all(k)) ||
		(r->known_after && !fake_get(k->f, r->known_after));
	bool done = r->ran ? jget(k->c->input, "kept.old") != NULL :
		!mine(k) || (value_of(k) == r->to && (!r->by_fact || told(k)));
	json_t *o = json_object(), *changes = json_array();

	jset_bool(o, "ok", true);
	jset_str(o, "state", unknown ? "unknown" : done ? "done" :
		 value_of(k) == -1 ? "partial" : "absent");
	if (!done)
		jadd(changes, json_pack("{s:s, s:o, s:o*}", "mark",
			unknown ? "?" : value_of(k) == -1 ? "~" : "+", "text",
			json_sprintf(unknown ? "%s" : "%s becomes %d", r->var, r->to), "bound",
			unknown && r->bound ? json_pack("{s:s, s:I}", "what", r->bound, "max",
							(json_int_t)r->bound_max) : NULL));
	jset(o, "changes", changes);
	jset(o, "stable", json_pack("{s:i}", "value", mine(k) ? value_of(k) : 0));
	jset(o, "volatile", json_pack("{s:i, s:i}", "calls", k->f->w->boundaries,
				      "target_writes", 4096));
	if (r->send && mine(k) && !done)
		jset(o, "cost", json_pack("{s:I, s:I}", "send", (json_int_t)r->send, "write",
					  (json_int_t)r->write));
	if (r->reads && !mine(k))
		jset(o, "cost", json_pack("{s:I}", "read", (json_int_t)r->reads));
	if (!strcmp(role_of(k), "source"))
		jset_str(json_object_get(o, "volatile"), "since", k->f->since);
	if (r->finding)
		jset(o, "findings", json_pack("[{s:s, s:s, s:s, s:b, s:o*}]", "severity",
			"blocker", "code", r->finding, "text", "it stands in the way", "now",
			r->finding_now, "unlike", r->finding_unlike ? json_pack("{s:s, s:s}",
			"key", "since", "text", r->finding_unlike) : NULL));
	if (r->fact && !r->by_fact && done && !unknown)
		jset(o, "facts", json_pack("{s:{s:{s:i}, s:{s:i}}}", r->fact, "stable",
			"cpus", 2, "volatile", "free", k->f->w->boundaries));
	if (r->live)
		jset_bool(jget(o, "facts.machine.stable"), "live", true);
	return o;
}

static int64_t kept_value(struct fake_call *k)
{
	return strtol(jstr(k->c->input, "kept.old.text", "0"), NULL, 10);
}

/* As an agent: what was judged is asked first, when it may be old. */
static bool moved(struct fake_call *k)
{
	const json_t *judged = jget(k->c->input, "judged");
	AUTO_JSON *now = judged ? probe_result(k) : NULL;

	return judged && !json_equal(judged, now);
}

/* As an agent: the probe's answer comes with that of the apply, when it is wanted. */
static json_t *then_probe(struct fake_call *k)
{
	return jget(k->c->input, "then") && !k->rule->ran ? probe_result(k) : NULL;
}

/* NULL: nothing; else new. */
static json_t *noticed(const struct fake_call *k)
{
	const struct fake_rule *r = k->rule;

	if (!r->notices || (r->role && strcmp(r->role, role_of(k))))
		return NULL;
	return json_pack("[{s:s, s:s, s:s}]", "severity", "warning", "code", r->notices, "text",
			 "it was noticed");
}

/* A sending end, as long as it is at it: some of what it could send, by its share. */
static bool sends(struct fake_call *k)
{
	const struct fake_rule *r = k->rule;
	uint64_t share = k->c->pace.send;

	if (!r->takes || k->c->relay_end != 0 || k->sent_ms >= r->slow_ms)
		return false;
	k->sent += (share && share < r->takes ? share : r->takes) / 4;
	k->sent_ms += 250;
	send_event(k, json_pack("{s:s, s:I, s:I, s:s, s:s, s:I}", "e", "progress", "done",
		(json_int_t)k->sent, "total", (json_int_t)(r->takes * (uint64_t)r->slow_ms), "unit",
		"bytes", "what", "root", "sent", (json_int_t)k->sent));
	k->timer = loop_timer_add(k->f->loop, 250, step_call, k);
	return true;
}

/* Before an apply changes anything: true when it ended or asked, and is not gone on with. */
static bool halts(struct fake_call *k)
{
	const struct fake_rule *r = k->rule;

	if (r->harm && !r->role && fake_get(k->f, r->harm) > 0)
		end_call(k, json_pack("{s:b, s:{s:s, s:s}, s:[{s:s, s:s, s:s}]}", "ok", 0,
			"error", "kind", "damaged", "text", "byte 0 is not what was sent",
			"findings", "severity", "blocker", "code", "disk.damaged", "text",
			"byte 0"));
	else if (moved(k))
		fakecall_fail(k, "moved", "it is not as it was when it was asked");
	else if (r->ask)
		send_event(k, json_pack("{s:s, s:s, s:i}", "e", "ask", "question", "is it off?",
					"ack", 7));
	else
		return false;
	return true;
}

static void send_ledger(struct fake_call *k, const char *op, int ack)
{
	const struct fake_rule *r = k->rule;

	send_event(k, json_pack("{s:s, s:s, s:s, s:s, s:i}", "e", "ledger", "op", op, "kind",
				r->leaves ? r->leaves : "file", "name", r->ledger, "ack", ack));
}

static json_t *apply_result(struct fake_call *k)
{
	const struct fake_rule *r = k->rule;

	if (r->by_fact && mine(k))
		return json_pack("{s:b, s:{s:{s:{s:i}}}}", "ok", 1, "facts", r->fact, "stable",
				 "pass", r->to);
	if (r->still)
		return json_pack("{s:b, s:{s:s, s:i}}", "ok", 1, "volatile", "still", r->still,
				 "still_ms", 0);
	return json_pack("{s:b, s:o*, s:o*}", "ok", 1, "after", then_probe(k), "findings",
			 noticed(k));
}

/* Apply: keep what was, half the change, the rest of it. A boundary before each. */
static void step_apply(struct fake_call *k)
{
	const struct fake_rule *r = k->rule;

	switch (k->stage++) {
	case 0:
		if (halts(k))
			return;
		/* fall through */
	case 1:
		k->stage = 2;
		if (mine(k)) {	/* always: the engine keeps the first copy */
			send_event(k, json_pack("{s:s, s:s, s:o, s:i}", "e", "keep", "name",
				"old", "text", json_sprintf("%d", value_of(k)), "ack", 1));
			return;
		}
		/* fall through */
	case 2:
		k->stage = 3;
		if (r->ledger) {
			send_ledger(k, "add", 2);
			return;
		}
		/* fall through */
	case 3:
		k->stage = 4;
		if (mine(k))
			fake_set(k->f, r->var, -1);
		send_event(k, json_pack("{s:s, s:i, s:i, s:s, s:s}", "e", "progress",
			"done", 1, "total", 2, "unit", "bytes", "what", "root"));
		fakecall_again(k);
		return;
	case 4:
		if (sends(k)) {
			k->stage = 4;
			return;
		}
		if (mine(k))
			fake_set(k->f, r->var, r->to);
		if (r->evidence)
			send_event(k, json_pack("{s:s, s:s, s:s}", "e", "evidence", "name",
						"console", "text", "login:"));
		fakecall_again(k);
		return;
	case 5:
		if (r->ledger && !r->leaves) {
			send_ledger(k, "del", 3);
			return;
		}
		/* fall through */
	default:
		end_call(k, apply_result(k));
	}
}

/* It holds as long as the world is as its apply made it. */
static void step_hold(struct fake_call *k)
{
	if (mine(k) && value_of(k) != k->rule->to)
		fakecall_fail(k, "failed", "it was let go");
	else if (k->rule->held_ms)
		end_call(k, json_pack("{s:b, s:{s:i}}", "ok", 1, "volatile", "held_ms",
				      k->rule->held_ms));
	else
		end_call(k, json_pack("{s:b}", "ok", 1));
}

/* Both ends are asked; the one at the target counts. */
static void step_mend(struct fake_call *k)
{
	const struct fake_rule *r = k->rule;

	if (r->harm && mine(k))
		fake_set(k->f, r->harm, fake_get(k->f, r->harm) - 1);
	end_call(k, json_pack("{s:b}", "ok", 1));
}

static void step_undo(struct fake_call *k)
{
	if (k->stage++ == 0) {
		if (mine(k) && jget(k->c->input, "kept.old"))
			fake_set(k->f, k->rule->var, (int)kept_value(k));
		fakecall_again(k);
		return;
	}
	end_call(k, json_pack("{s:b}", "ok", 1));
}

static void lose(struct host *h)
{
	struct fake_host *fh = h->impl;
	AUTO_ERR e = { 0 };

	h->ready = false;
	while (fh->calls)
		fakecall_fail(fh->calls, "lost", "the connection is gone");
	err_set(&e, ERR_SYSTEM, "connection lost");
	h->on_down(h, &e, h->arg);
}

static void step_call(void *arg)
{
	struct fake_call *k = arg;

	k->timer = NULL;
	if (fakecall_boundary(k->f)) {
		if (k->f->w->fault == FAULT_LOSE)
			lose(k->h);
		else
			fakecall_fail(k, "failed", "it broke");
		return;
	}
	if (k->stop)
		fakecall_fail(k, "cancelled", "stopped");
	else if (!strcmp(k->c->op, "probe"))
		end_call(k, probe_result(k));
	else if (!strcmp(k->c->op, "apply"))
		step_apply(k);
	else if (!strcmp(k->c->op, "hold"))
		step_hold(k);
	else if (!strcmp(k->c->op, "mend"))
		step_mend(k);
	else
		step_undo(k);
}
