/* SPDX-License-Identifier: Apache-2.0
 * fakehost - hosts that exist only in memory.
 */
#include "tests/unit/fakehost.h"

#include "engine/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- the world ------------------------------------------------------------------ */

static struct fake_var *var_of(struct fake_world *w, const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_LEN(w->vars) && w->vars[i].name[0]; i++)
		if (!strcmp(w->vars[i].name, name))
			return &w->vars[i];
	assert_true(i < ARRAY_LEN(w->vars));
	snprintf(w->vars[i].name, sizeof(w->vars[i].name), "%s", name);
	return &w->vars[i];
}

static struct fake_seen *seen_of(struct fake_world *w, const char *module,
				 const char *role)
{
	size_t i;

	for (i = 0; i < ARRAY_LEN(w->seen) && w->seen[i].module[0]; i++)
		if (!strcmp(w->seen[i].module, module) && !strcmp(w->seen[i].role, role))
			return &w->seen[i];
	assert_true(i < ARRAY_LEN(w->seen));
	snprintf(w->seen[i].module, sizeof(w->seen[i].module), "%s", module);
	snprintf(w->seen[i].role, sizeof(w->seen[i].role), "%s", role);
	return &w->seen[i];
}

static void broken(struct fake_world *w, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static void broken(struct fake_world *w, const char *fmt, ...)
{
	va_list ap;

	if (w->broken[0])
		return;
	va_start(ap, fmt);
	vsnprintf(w->broken, sizeof(w->broken), fmt, ap);
	va_end(ap);
}

int fake_get(const struct fake *f, const char *var)
{
	return var_of(f->w, var)->value;
}

/* Nobody may ever see both of them serve. */
void fake_set(struct fake *f, const char *var, int value)
{
	var_of(f->w, var)->value = value;
	if (fake_get(f, "a.serving") == 1 && fake_get(f, "b.serving") == 1)
		broken(f->w, "source and target serve at once, after %s = %d", var, value);
}

void fake_strike(struct fake *f, enum fault fault, int at)
{
	f->w->fault = fault;
	f->w->countdown = at;
	f->w->boundaries = 0;
}

/* Whether the fault strikes here. */
static bool boundary(struct fake *f)
{
	f->w->boundaries++;
	if (f->w->fault == FAULT_NONE || --f->w->countdown != 0)
		return false;
	if (f->w->fault == FAULT_KILL)
		_exit(FAKE_KILLED);
	return true;
}

int fake_applies(const struct fake *f, const char *module)
{
	int n = 0;

	for (size_t i = 0; i < ARRAY_LEN(f->w->seen); i++)
		if (!strcmp(f->w->seen[i].module, module))
			n += f->w->seen[i].applies;
	return n;
}

int fake_probes(const struct fake *f, const char *module)
{
	int n = 0;

	for (size_t i = 0; i < ARRAY_LEN(f->w->seen); i++)
		if (!strcmp(f->w->seen[i].module, module))
			n += f->w->seen[i].probes;
	return n;
}

/* ---- one call ------------------------------------------------------------------------ */

struct fake_call {
	struct fake *f;
	struct host *h;
	struct call *c;
	const struct fake_rule *rule;
	struct loop_timer *timer;
	int stage;
	int64_t awaits;			/* an acknowledgement; 0: none */
	bool stop;
	uint64_t sent;			/* bytes, of a rule that takes some */
	int sent_ms;
	struct fake_call *next;
};

struct fake_host {
	struct fake *f;
	struct fake_call *calls;
	bool closing;
};

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

static void end_error(struct fake_call *k, const char *kind, const char *text)
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

static void again(struct fake_call *k)
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
		jadd(changes, json_pack("{s:s, s:o, s:o*}", "mark", unknown ? "?" : "+", "text",
			json_sprintf(unknown ? "%s" : "%s becomes %d", r->var, r->to), "bound",
			unknown && r->bound ? json_pack("{s:s, s:I}", "what", r->bound, "max",
							(json_int_t)r->bound_max) : NULL));
	jset(o, "changes", changes);
	jset(o, "stable", json_pack("{s:i}", "value", mine(k) ? value_of(k) : 0));
	jset(o, "volatile", json_pack("{s:i, s:i}", "calls", k->f->w->boundaries,
				      "target_writes", 4096));
	if (r->send && mine(k) && !done)
		jset(o, "cost", json_pack("{s:I}", "send", (json_int_t)r->send));
	if (r->finding)
		jset(o, "findings", json_pack("[{s:s, s:s, s:s, s:b}]", "severity", "blocker",
			"code", r->finding, "text", "it stands in the way", "now",
			r->finding_now));
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

/* Apply: keep what was, half the change, the rest of it. A boundary before each. */
static void step_apply(struct fake_call *k)
{
	const struct fake_rule *r = k->rule;

	if (k->stage == 0 && r->harm && !r->role && fake_get(k->f, r->harm) > 0) {
		end_call(k, json_pack("{s:b, s:{s:s, s:s}, s:[{s:s, s:s, s:s}]}", "ok", 0,
			"error", "kind", "damaged", "text", "byte 0 is not what was sent",
			"findings", "severity", "blocker", "code", "disk.damaged", "text",
			"byte 0"));
		return;
	}
	switch (k->stage++) {
	case 0:
		if (moved(k)) {
			end_error(k, "moved", "it is not as it was when it was asked");
			return;
		}
		if (r->ask) {
			send_event(k, json_pack("{s:s, s:s, s:i}", "e", "ask", "question",
						"is it off?", "ack", 7));
			return;
		}
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
			send_event(k, json_pack("{s:s, s:s, s:s, s:s, s:i}", "e", "ledger",
				"op", "add", "kind", r->leaves ? r->leaves : "file", "name",
				r->ledger, "ack", 2));
			return;
		}
		/* fall through */
	case 3:
		k->stage = 4;
		if (mine(k))
			fake_set(k->f, r->var, -1);
		send_event(k, json_pack("{s:s, s:i, s:i, s:s, s:s}", "e", "progress",
			"done", 1, "total", 2, "unit", "bytes", "what", "root"));
		again(k);
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
		again(k);
		return;
	case 5:
		if (r->ledger && !r->leaves) {
			send_event(k, json_pack("{s:s, s:s, s:s, s:s, s:i}", "e", "ledger",
				"op", "del", "kind", "file", "name", r->ledger, "ack", 3));
			return;
		}
		/* fall through */
	default:
		end_call(k, r->by_fact && mine(k) ?
			json_pack("{s:b, s:{s:{s:{s:i}}}}", "ok", 1, "facts", r->fact, "stable",
				  "pass", r->to) :
			r->still ?
			json_pack("{s:b, s:{s:s, s:i}}", "ok", 1, "volatile", "still", r->still,
				  "still_ms", 0) :
			json_pack("{s:b, s:o*}", "ok", 1, "after", then_probe(k)));
	}
}

/* It holds as long as the world is as its apply made it. */
static void step_hold(struct fake_call *k)
{
	if (mine(k) && value_of(k) != k->rule->to)
		end_error(k, "failed", "it was let go");
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
		again(k);
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
		end_error(fh->calls, "lost", "the connection is gone");
	err_set(&e, ERR_SYSTEM, "connection lost");
	h->on_down(h, &e, h->arg);
}

static void step_call(void *arg)
{
	struct fake_call *k = arg;

	k->timer = NULL;
	if (boundary(k->f)) {
		if (k->f->w->fault == FAULT_LOSE)
			lose(k->h);
		else
			end_error(k, "failed", "it broke");
		return;
	}
	if (k->stop)
		end_error(k, "cancelled", "stopped");
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

/* ---- the seam --------------------------------------------------------------------------- */

static void come_up(void *arg)
{
	struct host *h = arg;
	struct fake_host *fh = h->impl;
	AUTO_FREE char *var = NULL;
	AUTO_ERR e = { 0 };

	h->met = !fh->f->w->down[h->name[0] - 'a'];
	if (!h->met || fh->f->w->keyed[h->name[0] - 'a']) {
		err_set(&e, ERR_SYSTEM, "connection refused");
		e.sys = ECONNREFUSED;
		h->on_down(h, &e, h->arg);
		return;
	}
	var = mem_printf("%s.boot", h->name);
	h->hello = json_pack("{s:o}", "boot", json_sprintf("boot %d", fake_get(fh->f, var)));
	h->ready = true;
	h->on_ready(h, h->arg);
}

static void fake_open(struct host *h)
{
	loop_timer_add(h->loop, 1, come_up, h);
}

static const struct fake_rule *rule_of(const struct fake *f, const char *module)
{
	const struct fake_rule *r;

	for (r = f->rules; r->module && strcmp(r->module, module); r++)
		;
	if (!r->module)
		fail_msg("no rule for module '%s'", module);
	return r;
}

static void note(struct fake *f, const struct call *c)
{
	struct fake_seen *s = seen_of(f->w, c->module, jstr(c->input, "role", ""));

	if (!strcmp(c->op, "probe")) {
		s->probed = 1;
		s->probes++;
	} else if (!strcmp(c->op, "apply")) {
		if (!s->probed && !jget(c->input, "judged") && strncmp(c->module, "call.", 5))
			broken(f->w, "%s at %s was applied without a probe before",
			       c->module, s->role);
		s->probed = 0;
		s->applies++;
	} else if (strcmp(c->op, "hold") && strcmp(c->op, "mend")) {
		s->probed = 0;
		s->undos++;
	}
}

static void fake_pace(struct host *h, struct call *c)
{
	struct fake_world *w = ((struct fake_host *)h->impl)->f->w;

	if (!c->impl || !c->relay || w->pace_count == (int)ARRAY_LEN(w->paces))
		return;
	w->reads[w->pace_count] = c->pace.read;
	w->paces[w->pace_count++] = c->pace.send;
}

static void fake_start(struct host *h, struct call *c)
{
	struct fake_host *fh = h->impl;
	struct fake_call *k = mem_alloc(sizeof(*k));

	k->f = fh->f;
	k->h = h;
	k->c = c;
	k->rule = rule_of(fh->f, c->module);
	k->next = fh->calls;
	fh->calls = k;
	c->impl = k;
	fh->f->input = c->input;
	if (fh->f->on_call)
		fh->f->on_call(fh->f, c->module, c->op);
	note(fh->f, c);
	if (c->relay_end == 0)
		fake_pace(h, c);
	if (!fh->f->w->mute[h->name[0] - 'a'])
		again(k);
}

static void fake_ack(struct host *h, struct call *c, int64_t ack)
{
	struct fake_call *k = c->impl;

	(void)h;
	if (!k || ack != k->awaits) {
		fail_msg("an acknowledgement that nobody waits for");
		return;
	}
	k->awaits = 0;
	if (ack == 7 && !c->answer)
		end_error(k, "failed", "the answer was no");
	else
		again(k);
}

static void fake_stop(struct host *h, struct call *c)
{
	struct fake_call *k = c->impl;

	if (!k)
		return;
	k->stop = true;
	if (!k->timer && !k->f->w->mute[h->name[0] - 'a'])
		again(k);
}

static void say_closed(void *arg)
{
	struct host *h = arg;

	h->on_closed(h, h->arg);
}

static void fake_close(struct host *h)
{
	struct fake_host *fh = h->impl;

	fh->closing = true;
	loop_timer_add(h->loop, 0, say_closed, h);
}

static void fake_host_free(struct host *h)
{
	struct fake_host *fh = h->impl;

	while (fh->calls) {
		struct fake_call *k = fh->calls;

		fh->calls = k->next;
		loop_timer_del(k->timer);
		free(k);
	}
	free(fh);
}

static const struct host_ops fake_ops = {
	fake_open, fake_start, fake_ack, fake_stop, fake_pace, fake_close, fake_host_free,
};

/* The only pointer that reaches make_host is the loop: the fake stands behind its
 * clock's argument, which is its first... and so it is found. */
static struct fake *of_loop(const struct loop *l)
{
	struct clock_fake *c = loop_clock(l)->arg;

	return (struct fake *)((char *)c - offsetof(struct fake, clock));
}

static struct host *make_host(struct loop *l, const char *name, const json_t *spec)
{
	struct host *h = mem_alloc(sizeof(*h));
	struct fake_host *fh = mem_alloc(sizeof(*fh));

	(void)spec;
	fh->f = of_loop(l);
	h->name = mem_strdup(name);
	h->ops = &fake_ops;
	h->loop = l;
	h->impl = fh;
	return h;
}

static int on_ask(void *arg, const char *question)
{
	(void)question;
	return ((struct fake *)arg)->answer;
}

static void on_report(void *arg, const json_t *event)
{
	struct fake *f = arg;

	jadd(f->events, json_deep_copy(event));
	if (f->boundary_at_reports && f->w->fault == FAULT_KILL)
		boundary(f);
}

struct run_seams fake_seams(struct fake *f)
{
	return (struct run_seams){ .loop = f->loop, .make_host = make_host, .ask = on_ask,
				   .report = on_report, .arg = f };
}

struct fake *fake_new(const struct fake_rule *rules)
{
	struct fake *f = mem_alloc(sizeof(*f));

	f->rules = rules;
	f->w = mmap(NULL, sizeof(*f->w), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(f->w != MAP_FAILED);
	f->answer = -1;
	fake_restart(f);
	return f;
}

void fake_restart(struct fake *f)
{
	loop_free(f->loop);
	json_decref(f->events);
	clock_fake_init(&f->clock);
	f->clock.wall0_s = 1770000000 + f->wall_s;
	f->clock.now_ms += (uint64_t)f->later_s * 1000;
	if (f->boot)
		f->clock.boot = f->boot;
	f->loop = loop_new(&f->clock.clock);
	f->events = json_array();
}

void fake_free(struct fake *f)
{
	loop_free(f->loop);
	json_decref(f->events);
	munmap(f->w, sizeof(*f->w));
	free(f);
}

const json_t *fake_event(const struct fake *f, const char *type, const char *key,
			 const char *value)
{
	json_t *e;
	size_t i;

	json_array_foreach(f->events, i, e)
		if (!strcmp(jstr(e, "t", ""), type) &&
		    (!value || !strcmp(jstr(e, key, ""), value)))
			return e;
	return NULL;
}

int fake_events(const struct fake *f, const char *type, const char *key,
		const char *value)
{
	json_t *e;
	size_t i;
	int n = 0;

	json_array_foreach(f->events, i, e)
		n += !strcmp(jstr(e, "t", ""), type) &&
		     (!value || !strcmp(jstr(e, key, ""), value));
	return n;
}

/* ---- plans ------------------------------------------------------------------------------- */

static void put_steps(struct fake_plan *p, const struct fake_step *steps)
{
	size_t n = 0;

	while (steps[n].machine)
		n++;
	p->steps = mem_alloc((n + 1) * sizeof(*p->steps));
	p->lists = mem_alloc((n + 1) * sizeof(*p->lists));
	for (size_t i = 0; i < n; i++) {
		int m = plan_find_machine(p->plan, steps[i].machine);

		assert_true(m >= 0);
		p->steps[i] = (struct plan_step){
			.phase = steps[i].phase, .id = steps[i].id, .verb = steps[i].id,
			.module = steps[i].module, .args = json_object(),
			.needs = steps[i].needs, .when = steps[i].when, .at = steps[i].at,
			.place = { "erp.yaml", 7, 9, "    - step" },
		};
		p->lists[i] = &p->steps[i];
		if (i == 0 || strcmp(steps[i].machine, steps[i - 1].machine)) {
			p->plan->machines[m].steps = &p->lists[i];
			p->plan->machines[m].step_count = 0;
		}
		p->plan->machines[m].step_count++;
	}
}

void fake_plan_make(struct fake_plan *p, const char *text, const struct fake_step *steps)
{
	struct err_list errors = { 0 };
	AUTO_FREE char *file = NULL;

	memset(p, 0, sizeof(*p));
	/* Memory where there is some: a thousand states are synced here. */
	snprintf(p->dir, sizeof(p->dir), "%s/drover-test.XXXXXX",
		 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	assert_non_null(mkdtemp(p->dir));
	snprintf(p->state_dir, sizeof(p->state_dir), "%s/.drover", p->dir);
	file = mem_printf("%s/erp.yaml", p->dir);
	assert_int_equal(io_write_file(AT_FDCWD, file, text, strlen(text), 0600), 0);
	p->plan = plan_load(file, &errors);
	for (size_t i = 0; i < errors.count; i++)
		err_print(stderr, &errors.v[i]);
	assert_non_null(p->plan);
	put_steps(p, steps);
	p->graph = graph_build(p->plan, &errors);
	assert_non_null(p->graph);
	err_list_free(&errors);
}

void fake_plan_free(struct fake_plan *p)
{
	graph_free(p->graph);
	for (size_t i = 0; p->steps && p->steps[i].module; i++)
		json_decref(p->steps[i].args);
	free(p->steps);
	free(p->lists);
	plan_free(p->plan);
	io_remove_tree(p->dir);
}
