/* SPDX-License-Identifier: Apache-2.0
 * sched - a heap of ready nodes; those that a limit holds back are parked with
 * that limit and come back, one by one, when a place is free.
 */
#include "engine/graph/sched.h"

#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX

/* A min-heap of nodes by their number in `seq`. */
struct heap { uint32_t *v; size_t count, cap; };

/* Something of which only so many can be in use; waiters in order. */
struct gate {
	uint32_t limit;			/* 0: none */
	uint32_t used;
	struct heap parked;
};

struct sched_node {
	uint8_t state;			/* enum sched_state */
	uint32_t waits;			/* for how many nodes of its machine */
	uint32_t seq;			/* when it became ready */
};

struct sched_machine {
	bool in;			/* takes part */
	bool failed;
	uint32_t waits;			/* for how many machines */
	uint32_t left;			/* nodes not done yet */
	int phase;			/* whose place it holds, or -1 */
	uint32_t *next;			/* machines that wait for it; owned */
	size_t next_count, next_cap;
};

struct sched {
	const struct graph *g;
	struct sched_options o;
	struct sched_node *nodes;
	struct sched_machine *machines;
	struct gate phases[PHASE_COUNT];
	struct gate *hosts;
	struct heap ready;
	uint32_t seq;
	uint32_t running;
};

/* ---- the heap ------------------------------------------------------------------ */

static bool before(const struct sched *s, uint32_t a, uint32_t b)
{
	return s->nodes[a].seq < s->nodes[b].seq;
}

static void heap_push(const struct sched *s, struct heap *h, uint32_t node)
{
	size_t i;

	h->v = mem_grow(h->v, h->count, &h->cap, sizeof(*h->v));
	for (i = h->count++; i > 0 && before(s, node, h->v[(i - 1) / 2]); i = (i - 1) / 2)
		h->v[i] = h->v[(i - 1) / 2];
	h->v[i] = node;
}

static uint32_t heap_pop(const struct sched *s, struct heap *h)
{
	uint32_t top, last;
	size_t i = 0;

	if (h->count == 0)
		return NONE;
	top = h->v[0];
	last = h->v[--h->count];
	for (size_t kid; (kid = 2 * i + 1) < h->count; i = kid) {
		if (kid + 1 < h->count && before(s, h->v[kid + 1], h->v[kid]))
			kid++;
		if (!before(s, h->v[kid], last))
			break;
		h->v[i] = h->v[kid];
	}
	h->v[i] = last;
	return top;
}

/* ---- becoming ready -------------------------------------------------------------- */

static const struct plan_step *step_of(const struct sched *s, uint32_t node)
{
	return s->g->nodes[node].step;
}

static bool takes_part(const struct sched *s, uint32_t node)
{
	int ph = (int)step_of(s, node)->phase;

	return s->machines[s->g->nodes[node].machine].in &&
	       ph >= s->o.lo && ph <= s->o.hi;
}

static void look_ready(struct sched *s, uint32_t node)
{
	struct sched_node *n = &s->nodes[node];

	if (n->state != SCHED_WAITING || n->waits ||
	    s->machines[s->g->nodes[node].machine].waits)
		return;
	n->state = SCHED_READY;
	n->seq = s->seq++;
	heap_push(s, &s->ready, node);
}

static void machine_done(struct sched *s, uint32_t m);

static void machine_open(struct sched *s, uint32_t m)
{
	if (s->machines[m].left == 0) {
		machine_done(s, m);
		return;
	}
	for (uint32_t i = s->g->first[m]; i < s->g->first[m + 1]; i++)
		look_ready(s, i);
}

/* The chain of machines without any node is walked by recursion; a plan has none
 * unless phases are left out, and then its depth is that of `after`. */
static void machine_done(struct sched *s, uint32_t m)
{
	for (size_t k = 0; k < s->machines[m].next_count; k++) {
		uint32_t other = s->machines[m].next[k];

		if (--s->machines[other].waits == 0)
			machine_open(s, other);
	}
}

/* ---- limits ------------------------------------------------------------------------ */

static bool gate_full(const struct gate *gate)
{
	return gate->limit && gate->used >= gate->limit;
}

static void hosts_of(const struct sched *s, uint32_t node, uint32_t host[2])
{
	host[0] = host[1] = NONE;
	if (s->o.hosts && !s->o.free_run &&
	    (step_of(s, node)->module->flags & MOD_LONG))
		s->o.hosts(s->o.arg, node, host);
	if (host[1] == host[0])
		host[1] = NONE;
}

static struct gate *closed_gate(struct sched *s, uint32_t node)
{
	uint32_t host[2];
	int ph = (int)step_of(s, node)->phase;

	if (s->o.free_run)
		return NULL;
	if (s->machines[s->g->nodes[node].machine].phase != ph &&
	    gate_full(&s->phases[ph]))
		return &s->phases[ph];
	hosts_of(s, node, host);
	for (int k = 0; k < 2; k++)
		if (host[k] != NONE && gate_full(&s->hosts[host[k]]))
			return &s->hosts[host[k]];
	return NULL;
}

/* A place may be free behind this gate: let its first waiter try again. */
static void gate_wake(struct sched *s, struct gate *gate)
{
	uint32_t node;

	if (gate_full(gate) || (node = heap_pop(s, &gate->parked)) == NONE)
		return;
	s->nodes[node].state = SCHED_READY;
	heap_push(s, &s->ready, node);
}

static void gate_leave(struct sched *s, struct gate *gate)
{
	gate->used--;
	gate_wake(s, gate);
}

static void leave_phase(struct sched *s, struct sched_machine *m)
{
	if (m->phase < 0)
		return;
	gate_leave(s, &s->phases[m->phase]);
	m->phase = -1;
}

static void park(struct sched *s, uint32_t node, struct gate *at)
{
	uint32_t host[2];

	s->nodes[node].state = SCHED_PARKED;
	heap_push(s, &at->parked, node);
	/* It was perhaps woken by another gate, whose place it does not use. */
	if (at != &s->phases[step_of(s, node)->phase])
		gate_wake(s, &s->phases[step_of(s, node)->phase]);
	hosts_of(s, node, host);
	for (int k = 0; k < 2; k++)
		if (host[k] != NONE && &s->hosts[host[k]] != at)
			gate_wake(s, &s->hosts[host[k]]);
}

static void enter(struct sched *s, uint32_t node)
{
	struct sched_machine *m = &s->machines[s->g->nodes[node].machine];
	int ph = (int)step_of(s, node)->phase;
	uint32_t host[2];

	if (m->phase != ph) {
		m->phase = ph;
		s->phases[ph].used++;
	}
	hosts_of(s, node, host);
	for (int k = 0; k < 2; k++)
		if (host[k] != NONE)
			s->hosts[host[k]].used++;
	s->nodes[node].state = SCHED_RUNNING;
	s->running++;
}

uint32_t sched_next(struct sched *s)
{
	uint32_t node;

	while ((node = heap_pop(s, &s->ready)) != NONE) {
		struct gate *gate = closed_gate(s, node);

		if (!gate) {
			enter(s, node);
			return node;
		}
		park(s, node, gate);
	}
	return NONE;
}

/* ---- endings -------------------------------------------------------------------------- */

static void leave_hosts(struct sched *s, uint32_t node)
{
	uint32_t host[2];

	hosts_of(s, node, host);
	for (int k = 0; k < 2; k++)
		if (host[k] != NONE)
			gate_leave(s, &s->hosts[host[k]]);
	s->running--;
}

/* Whether a later node of the same machine and phase takes part. */
static bool phase_goes_on(const struct sched *s, uint32_t node)
{
	uint32_t m = s->g->nodes[node].machine;

	for (uint32_t i = s->g->first[m]; i < s->g->first[m + 1]; i++)
		if (step_of(s, i)->phase == step_of(s, node)->phase &&
		    s->nodes[i].state != SCHED_OUT && s->nodes[i].state != SCHED_DONE)
			return true;
	return false;
}

void sched_done(struct sched *s, uint32_t node)
{
	const struct graph_node *n = &s->g->nodes[node];
	struct sched_machine *m = &s->machines[n->machine];

	s->nodes[node].state = SCHED_DONE;
	leave_hosts(s, node);
	if (!phase_goes_on(s, node))
		leave_phase(s, m);
	for (uint32_t k = 0; k < n->out_count; k++) {
		uint32_t other = s->g->edges[n->out + k];

		if (s->g->nodes[other].machine != n->machine)
			continue;	/* machines wait for machines, see below */
		if (s->nodes[other].state == SCHED_WAITING) {
			s->nodes[other].waits--;
			look_ready(s, other);
		}
	}
	if (--m->left == 0)
		machine_done(s, n->machine);
}

void sched_failed(struct sched *s, uint32_t node)
{
	struct sched_machine *m = &s->machines[s->g->nodes[node].machine];

	s->nodes[node].state = SCHED_FAILED;
	m->failed = true;
	leave_hosts(s, node);
	leave_phase(s, m);
}

/* ---- making ---------------------------------------------------------------------------- */

static void count_waits(struct sched *s)
{
	for (uint32_t i = 0; i < s->g->node_count; i++) {
		const struct graph_node *n = &s->g->nodes[i];

		if (s->nodes[i].state == SCHED_OUT)
			continue;
		s->machines[n->machine].left++;
		for (uint32_t k = 0; k < n->out_count; k++) {
			uint32_t other = s->g->edges[n->out + k];

			if (s->g->nodes[other].machine == n->machine &&
			    s->nodes[other].state != SCHED_OUT)
				s->nodes[other].waits++;
		}
	}
}

static void link_machines(struct sched *s)
{
	const struct plan *p = s->g->plan;

	for (uint32_t m = 0; m < p->machine_count && !s->o.free_run; m++)
		for (uint32_t a = 0; a < p->machines[m].after_count; a++) {
			struct sched_machine *b = &s->machines[p->machines[m].after[a]];

			if (!s->machines[m].in || !b->in)
				continue;
			b->next = mem_grow(b->next, b->next_count, &b->next_cap,
					   sizeof(*b->next));
			b->next[b->next_count++] = m;
			s->machines[m].waits++;
		}
}

struct sched *sched_new(const struct graph *g, const struct sched_options *o)
{
	struct sched *s = mem_alloc(sizeof(*s));
	const struct plan *p = g->plan;

	s->g = g;
	s->o = *o;
	s->nodes = mem_alloc((g->node_count + 1) * sizeof(*s->nodes));
	s->machines = mem_alloc((p->machine_count + 1) * sizeof(*s->machines));
	s->hosts = mem_alloc((p->host_count + 1) * sizeof(*s->hosts));
	for (int ph = 0; ph < PHASE_COUNT; ph++)
		s->phases[ph].limit = p->limits.phase[ph];
	for (uint32_t h = 0; h < p->host_count; h++)
		s->hosts[h].limit = p->limits.host;
	for (uint32_t m = 0; m < p->machine_count; m++) {
		s->machines[m].in = !o->machines || o->machines[m];
		s->machines[m].phase = -1;
	}
	for (uint32_t i = 0; i < g->node_count; i++)
		s->nodes[i].state = takes_part(s, i) ? SCHED_WAITING : SCHED_OUT;
	count_waits(s);
	link_machines(s);
	/* Those that wait for nobody now; opening may make others ready, later. */
	bool *open = mem_alloc(p->machine_count + 1);
	for (uint32_t m = 0; m < p->machine_count; m++)
		open[m] = s->machines[m].in && s->machines[m].waits == 0;
	for (uint32_t m = 0; m < p->machine_count; m++)
		if (open[m])
			machine_open(s, m);
	free(open);
	return s;
}

void sched_free(struct sched *s)
{
	if (!s)
		return;
	for (uint32_t m = 0; m < s->g->plan->machine_count; m++)
		free(s->machines[m].next);
	for (uint32_t h = 0; h < s->g->plan->host_count; h++)
		free(s->hosts[h].parked.v);
	for (int ph = 0; ph < PHASE_COUNT; ph++)
		free(s->phases[ph].parked.v);
	free(s->hosts);
	free(s->machines);
	free(s->nodes);
	free(s->ready.v);
	free(s);
}

/* ---- why --------------------------------------------------------------------------------- */

enum sched_state sched_state_of(const struct sched *s, uint32_t node)
{
	return (enum sched_state)s->nodes[node].state;
}

uint32_t sched_running(const struct sched *s)
{
	return s->running;
}

static char *why_waiting(const struct sched *s, uint32_t node)
{
	uint32_t m = s->g->nodes[node].machine;
	const struct plan_machine *pm = &s->g->plan->machines[m];

	for (uint32_t a = 0; s->machines[m].waits && a < pm->after_count; a++) {
		const struct sched_machine *b = &s->machines[pm->after[a]];

		if (b->in && (b->failed || b->left || b->waits))
			return mem_printf("waits for machine '%s'%s",
					  s->g->plan->machines[pm->after[a]].name,
					  b->failed ? ", which is not done" : "");
	}
	for (uint32_t i = s->g->first[m]; i < s->g->first[m + 1]; i++) {
		const struct graph_node *n = &s->g->nodes[i];

		for (uint32_t k = 0; k < n->out_count; k++)
			if (s->g->edges[n->out + k] == node &&
			    s->nodes[i].state != SCHED_DONE &&
			    s->nodes[i].state != SCHED_OUT)
				return mem_printf("waits for %s.%s%s",
					phase_names[n->step->phase], n->step->id,
					s->nodes[i].state == SCHED_FAILED ?
						", which is not done" : "");
	}
	return mem_strdup("waits");
}

static char *why_parked(const struct sched *s, uint32_t node)
{
	int ph = (int)step_of(s, node)->phase;
	uint32_t host[2];

	if (s->machines[s->g->nodes[node].machine].phase != ph &&
	    gate_full(&s->phases[ph]))
		return mem_printf("waits: %u machines are in %s (limits.%s: %u)",
				  s->phases[ph].used, phase_names[ph],
				  phase_names[ph], s->phases[ph].limit);
	hosts_of(s, node, host);
	for (int k = 0; k < 2; k++)
		if (host[k] != NONE && gate_full(&s->hosts[host[k]]))
			return mem_printf("waits: %u long steps run on host '%s' "
					  "(limits.host: %u)",
					  s->hosts[host[k]].used,
					  s->g->plan->hosts[host[k]].name,
					  s->hosts[host[k]].limit);
	return mem_strdup("may run now");
}

char *sched_why(const struct sched *s, uint32_t node)
{
	switch ((enum sched_state)s->nodes[node].state) {
	case SCHED_OUT:		return mem_strdup("takes no part");
	case SCHED_WAITING:	return why_waiting(s, node);
	case SCHED_PARKED:	return why_parked(s, node);
	case SCHED_READY:	return mem_strdup("may run now");
	case SCHED_RUNNING:	return mem_strdup("runs");
	case SCHED_DONE:	return mem_strdup("is done");
	case SCHED_FAILED:	return mem_strdup("failed");
	}
	return mem_strdup("");
}
