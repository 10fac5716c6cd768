/* SPDX-License-Identifier: Apache-2.0
 * fakehost - hosts that exist only in memory: the seam by which an engine has them.
 */
#include "tests/unit/fakecall.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

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
	struct fake_seen *s = fakecall_seen(f->w, c->module, jstr(c->input, "role", ""));

	if (!strcmp(c->op, "probe")) {
		s->probed = 1;
		s->probes++;
	} else if (!strcmp(c->op, "apply")) {
		if (!s->probed && !jget(c->input, "judged") && strncmp(c->module, "call.", 5))
			fakecall_broken(f->w, "%s at %s was applied without a probe before",
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

static void run_call(struct fake_call *k)
{
	struct call *c = k->c;

	k->f->input = c->input;
	if (k->f->on_call)
		k->f->on_call(k->f, c->module, c->op);
	note(k->f, c);
	if (c->relay_end == 0)
		fake_pace(k->h, c);
	if (!k->f->w->mute[k->h->name[0] - 'a'])
		fakecall_again(k);
}

/* Its end of the stream stands, or cannot be had. */
static void opened(void *arg)
{
	struct fake_call *k = arg;

	k->timer = NULL;
	if (k->stop || k->f->w->streams == NO_STREAM) {
		fakecall_fail(k, k->stop ? "cancelled" : "failed", "cannot open a stream");
		return;
	}
	if (k->f->w->streams == SILENT_STREAM)
		return;
	k->open = true;
	k->f->w->open_ahead++;
	k->f->input = k->c->input;
	if (k->f->on_call)
		k->f->on_call(k->f, k->c->module, "open");
	k->c->on_open(k->c, k->c->arg);
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
	if (c->ahead)
		k->timer = loop_timer_add(h->loop, 1, opened, k);
	else
		run_call(k);
}

static void fake_go(struct host *h, struct call *c)
{
	struct fake_call *k = c->impl;

	(void)h;
	if (!k)
		return;
	k->f->w->open_ahead--;
	run_call(k);
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
		fakecall_fail(k, "failed", "the answer was no");
	else
		fakecall_again(k);
}

static void fake_stop(struct host *h, struct call *c)
{
	struct fake_call *k = c->impl;

	if (!k)
		return;
	k->stop = true;
	if (c->ahead && !k->timer) {
		k->f->w->open_ahead -= k->open;
		k->timer = loop_timer_add(h->loop, 1, opened, k);
		return;
	}
	if (!k->timer && !k->f->w->mute[h->name[0] - 'a'])
		fakecall_again(k);
}

static void say_closed(void *arg)
{
	struct host *h = arg;

	h->on_closed(h, h->arg);
}

static void fake_close(struct host *h)
{
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
	fake_open, fake_start, fake_ack, fake_stop, fake_go, fake_pace, fake_close, fake_host_free,
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
		fakecall_boundary(f);
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
