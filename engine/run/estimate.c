/* SPDX-License-Identifier: Apache-2.0
 * estimate - how long it will take. Steps that were applied leave samples in the state,
 * bytes and milliseconds, beside the machines, so that they outlive a rollback: a
 * rehearsal measures what the real run will need. Without samples a rate is assumed.
 */
#include "engine/run/op.h"
#include "engine/run/preview.h"
#include "engine/run/record.h"
#include "engine/run/report.h"
#include "engine/run/step.h"

#include <stdlib.h>
#include <string.h>

#define SAMPLES 9			/* of a kind of step; the newest */
#define ENOUGH 3			/* samples that tell how much they vary */
#define ASSUMED_RATE (100u << 20)	/* bytes a second: a link of 1 Gbit/s */
#define ASSUMED_LONG_MS 60000		/* a step without bytes: a boot, a shutdown */
#define ASSUMED_SHORT_MS 1000

/* What was measured of one kind of step tells of another. */
static const struct { const char *name, *like; } likes[] = {
	{ "cutover.pass", "convert.disks" },
	{ "cutover.proof", "validate.disks" },
	{ "cutover.readback", "validate.disks" },
	{ "cutover.start", "validate.boot" },
};

/* A module's name; commands and checks differ, so those have their own. */
static char *kind_of(const struct plan_step *s)
{
	return strncmp(s->module->name, "any.", 4) ? mem_strdup(s->module->name) : step_key(s);
}

/* Bytes that the probe told, or at most will tell later. */
static int64_t bytes_of(const json_t *result, const char *what)
{
	int64_t sum = jint(json_object_get(result, "cost"), what, 0);
	json_t *line;
	size_t i;

	json_array_foreach(json_object_get(result, "changes"), i, line)
		if (!strcmp(jstr(line, "bound.what", ""), what))
			sum += jint(line, "bound.max", 0);
	return sum;
}

uint64_t estimate_amount(const json_t *result)
{
	int64_t send = bytes_of(result, "send"), read = bytes_of(result, "read");
	int64_t write = bytes_of(result, "write");

	if (send > 0 || jint(json_object_get(result, "cost"), "ms", 0) > 0)
		return (uint64_t)send;
	return (uint64_t)(read > write ? read : write);
}

/* ---- what was measured ------------------------------------------------------------ */

static const json_t *samples_of(const struct run *r, const char *kind)
{
	const json_t *rates = r->state ? json_object_get(state_meta(r->state), "rates") : NULL;
	const json_t *mine = json_object_get(rates, kind);

	for (size_t i = 0; !mine && i < ARRAY_LEN(likes); i++)
		if (!strcmp(likes[i].name, kind))
			mine = json_object_get(rates, likes[i].like);
	return mine;
}

void estimate_learn(struct rec *c, const struct job *j)
{
	AUTO_FREE char *kind = kind_of(j->s);
	AUTO_FREE char *field = mem_printf("rates/%s", kind);
	const json_t *rates = json_object_get(state_meta(c->r->state), "rates");
	json_t *all;

	/* What went on with something, or was lost in between, tells nothing; nor does what was
	 * foretold by the step itself. */
	if (jint(json_object_get(j->before, "cost"), "ms", 0) > 0 || !j->applied || j->attempt > 1 || !strcmp(jstr(j->before, "state", ""), "partial"))
		return;
	all = json_is_array(json_object_get(rates, kind)) ?
		json_copy(json_object_get(rates, kind)) : json_array();
	while (json_array_size(all) >= SAMPLES)
		json_array_remove(all, 0);
	jadd(all, json_pack("[I, I]", (json_int_t)estimate_amount(j->before), (json_int_t)job_took(j)));
	jset(c->meta, field, all);
}

/* ---- one step --------------------------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* What a step's time depends on. */
struct amount {
	uint64_t bytes;
	bool known;		/* 0 bytes are none, not of unknown number */
};

static uint64_t scaled(const json_t *sample, struct amount a)
{
	uint64_t then = (uint64_t)json_integer_value(json_array_get(sample, 0));
	uint64_t ms = (uint64_t)json_integer_value(json_array_get(sample, 1));

	return then && a.known ? (uint64_t)((double)ms * (double)a.bytes / (double)then) : ms;
}

/* Who reads back what steps of this phase, before it, bring. */
static const struct { const char *name; int phase; } readers[] = {
	{ "validate.disks", PHASE_CONVERT },
	{ "cutover.proof", PHASE_CUTOVER },
};

/* How much there will be to read back, where no probe can tell it before it is copied: what is
 * brought in this preview. */
static struct amount to_read_back(const struct run *r, uint32_t node)
{
	const struct graph *g = r->graph;
	const char *name = g->nodes[node].step->module->name;
	struct amount sum = { 0 };
	size_t k = 0;

	while (k < ARRAY_LEN(readers) && strcmp(readers[k].name, name))
		k++;
	for (uint32_t i = g->first[g->nodes[node].machine]; k < ARRAY_LEN(readers) && i < node; i++)
		if ((int)g->nodes[i].step->phase == readers[k].phase) {
			sum.bytes += r->known[i].amount;
			sum.known = sum.known || r->known[i].foretold || sum.bytes;
		}
	return sum;
}

static struct estimate assume(const struct module *m, struct amount a)
{
	struct estimate e = { .ms = a.known ? a.bytes * 1000 / ASSUMED_RATE :
		m->flags & MOD_LONG ? ASSUMED_LONG_MS : ASSUMED_SHORT_MS };

	e.ms90 = 2 * e.ms;
	return e;
}

struct estimate estimate_step(const struct run *r, uint32_t node, const json_t *result)
{
	const struct plan_step *s = r->graph->nodes[node].step;
	AUTO_FREE char *kind = kind_of(s);
	const json_t *samples = samples_of(r, kind);
	uint64_t v[SAMPLES], bytes = estimate_amount(result);
	struct amount a = bytes ? (struct amount){ bytes, true } : to_read_back(r, node);
	struct estimate e = { 0 };
	size_t n = json_array_size(samples);
	const char *state = jstr(result, "state", "");

	if (!s->module->apply || !strcmp(state, "done") || !strcmp(state, "skipped"))
		return e;
	if (jint(json_object_get(result, "cost"), "ms", 0) > 0) {	/* its own word */
		e.ms = (uint64_t)jint(json_object_get(result, "cost"), "ms", 0);
		e.ms90 = 2 * e.ms;
		return e;
	}
	if (n == 0)
		return assume(s->module, a);
	n = n > SAMPLES ? SAMPLES : n;
	for (size_t i = 0; i < n; i++)
		v[i] = scaled(json_array_get(samples, i), a);
	qsort(v, n, sizeof(*v), by_size);
	e.samples = (uint32_t)n;
	e.ms = v[n / 2];
	e.ms90 = n < ENOUGH ? 2 * v[n - 1] : v[(9 * n + 9) / 10 - 1];
	return e;
}

/* ---- all of it: the scheduler itself, with the clock turned by hand ---------------- */

struct event { uint64_t at; uint32_t node; };
struct heap { struct event *v; size_t count, cap; };

static void heap_add(struct heap *h, struct event e)
{
	size_t i;

	h->v = mem_grow(h->v, h->count, &h->cap, sizeof(*h->v));
	for (i = h->count++; i && h->v[(i - 1) / 2].at > e.at; i = (i - 1) / 2)
		h->v[i] = h->v[(i - 1) / 2];
	h->v[i] = e;
}

static struct event heap_take(struct heap *h)
{
	struct event first = h->v[0], last = h->v[--h->count];
	size_t i = 0, k;

	while ((k = 2 * i + 1) < h->count) {
		k += k + 1 < h->count && h->v[k + 1].at < h->v[k].at;
		if (h->v[k].at >= last.at)
			break;
		h->v[i] = h->v[k];
		i = k;
	}
	h->v[i] = last;
	return first;
}

static uint64_t simulate(struct run *r, bool slow)
{
	struct sched *s = run_sched(r, false);
	struct heap h = { 0 };
	struct event now = { 0 };

	for (;;) {
		while ((now.node = sched_next(s)) != UINT32_MAX) {
			const struct estimate *e = &r->known[now.node].estimate;

			heap_add(&h, (struct event){ now.at + (slow ? e->ms90 : e->ms),
						     now.node });
		}
		if (!h.count)
			break;
		now = heap_take(&h);
		sched_done(s, now.node);
	}
	free(h.v);
	sched_free(s);
	return now.at;
}

struct estimate estimate_all(struct run *r)
{
	uint64_t rate = budget_bandwidth(r);
	uint64_t least = rate ? (uint64_t)((double)r->bytes * 1000 / (double)rate) : 0;
	struct estimate e = { .ms = simulate(r, false), .ms90 = simulate(r, true) };

	e.ms = e.ms < least ? least : e.ms;
	e.ms90 = e.ms90 < least ? least : e.ms90;
	return e;
}

/* ---- the downtime ------------------------------------------------------------------ */

/* From the step that takes the source away to the one after which the target serves. */
static bool downtime_of(const struct run *r, const struct mach *m, struct estimate *sum)
{
	bool down = false;

	for (uint32_t i = r->graph->first[m->index]; i < r->graph->first[m->index + 1]; i++) {
		unsigned flags = r->graph->nodes[i].step->module->flags;
		const struct estimate *e = &r->known[i].estimate;

		down = down || (flags & MOD_SOURCE_HELD);
		if (!down || !r->known[i].estimated)
			continue;
		sum->ms += e->ms;
		sum->ms90 += e->ms90;
		if (flags & MOD_NO_RETURN)
			return true;
	}
	return false;
}

void estimate_downtime(struct run *r)
{
	for (uint32_t i = 0; i < r->plan->machine_count; i++) {
		struct mach *m = &r->machines[i];
		struct estimate sum = { 0 };
		int64_t allowed = jint(plan_machine_spec(r->plan, i), "downtime_ms", 0);
		json_t *o;

		if (!m->in || m->failed || !downtime_of(r, m, &sum))
			continue;
		o = json_object();
		jset_str(o, "machine", m->name);
		jset_int(o, "ms", (int64_t)sum.ms);
		jset_int(o, "ms90", (int64_t)sum.ms90);
		if (allowed)
			jset_int(o, "allowed_ms", allowed);
		report(r, "downtime", o);
	}
}
