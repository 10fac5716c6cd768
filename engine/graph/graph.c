/* SPDX-License-Identifier: Apache-2.0
 * graph - edges of a plan, as arrays. Three kinds: a machine's steps follow each
 * other as written, `needs` adds edges within a machine, and the last step of a
 * machine comes before the first of those that are `after` it.
 */
#include "engine/graph/graph.h"

#include <stdlib.h>
#include <string.h>

/* Edges beside the chains: from -> to. */
struct extra { uint32_t from, to; };
struct extras { struct extra *v; size_t count, cap; };

static void extra_add(struct extras *x, uint32_t from, uint32_t to)
{
	x->v = mem_grow(x->v, x->count, &x->cap, sizeof(*x->v));
	x->v[x->count++] = (struct extra){ from, to };
}

static struct err *new_error(struct err_list *l)
{
	l->v = mem_grow(l->v, l->count, &l->cap, sizeof(*l->v));
	memset(&l->v[l->count], 0, sizeof(l->v[0]));
	return &l->v[l->count++];
}

static void place_nodes(struct graph *g)
{
	const struct plan *p = g->plan;
	uint32_t n = 0;

	g->first = mem_alloc((p->machine_count + 1) * sizeof(*g->first));
	for (uint32_t m = 0; m < p->machine_count; m++) {
		g->first[m] = n;
		n += p->machines[m].step_count;
	}
	g->first[p->machine_count] = g->node_count = n;
	g->nodes = mem_alloc((n ? n : 1) * sizeof(*g->nodes));
	for (uint32_t m = 0, i = 0; m < p->machine_count; m++)
		for (uint32_t s = 0; s < p->machines[m].step_count; s++, i++) {
			g->nodes[i].machine = m;
			g->nodes[i].step = p->machines[m].steps[s];
		}
}

/* "disks" is looked for in the step's own phase first, "convert.disks" anywhere. */
static uint32_t find_need(const struct graph *g, uint32_t node, const char *need)
{
	uint32_t m = g->nodes[node].machine;
	const char *dot = strchr(need, '.');
	uint32_t found = graph_find(g, m, g->nodes[node].step->phase, need);

	if (found != UINT32_MAX || !dot)
		return found;
	for (int ph = 0; ph < PHASE_COUNT; ph++)
		if (strlen(phase_names[ph]) == (size_t)(dot - need) &&
		    !strncmp(need, phase_names[ph], (size_t)(dot - need)))
			return graph_find(g, m, (enum phase)ph, dot + 1);
	return UINT32_MAX;
}

static void collect_needs(const struct graph *g, struct extras *x,
			  struct err_list *errors)
{
	for (uint32_t i = 0; i < g->node_count; i++) {
		const struct plan_step *s = g->nodes[i].step;

		for (const char *const *need = s->needs; need && *need; need++) {
			uint32_t from = find_need(g, i, *need);

			if (from != UINT32_MAX) {
				extra_add(x, from, i);
				continue;
			}
			struct err *e = new_error(errors);
			err_set(e, ERR_PLAN, "cannot order '%s.%s': machine '%s' has "
				"no step '%s'", phase_names[s->phase], s->id,
				g->plan->machines[g->nodes[i].machine].name, *need);
			err_at(e, &s->place);
		}
	}
}

static void collect_after(const struct graph *g, struct extras *x)
{
	for (uint32_t m = 0; m < g->plan->machine_count; m++) {
		const struct plan_machine *pm = &g->plan->machines[m];

		for (uint32_t a = 0; a < pm->after_count; a++) {
			uint32_t before = pm->after[a];

			if (pm->step_count && g->plan->machines[before].step_count)
				extra_add(x, g->first[before + 1] - 1, g->first[m]);
		}
	}
}

static bool has_next(const struct graph *g, uint32_t i)
{
	return i + 1 < g->node_count && g->nodes[i + 1].machine == g->nodes[i].machine;
}

static void fill_edges(struct graph *g, const struct extras *x)
{
	uint32_t at = 0, *next = mem_alloc((g->node_count + 1) * sizeof(*next));

	for (uint32_t i = 0; i < g->node_count; i++)
		if (has_next(g, i))
			g->nodes[i].out_count++;
	for (size_t k = 0; k < x->count; k++)
		g->nodes[x->v[k].from].out_count++;
	for (uint32_t i = 0; i < g->node_count; i++) {
		g->nodes[i].out = next[i] = at;
		at += g->nodes[i].out_count;
	}
	g->edge_count = at;
	g->edges = mem_alloc((at ? at : 1) * sizeof(*g->edges));
	for (uint32_t i = 0; i < g->node_count; i++)
		if (has_next(g, i)) {
			g->edges[next[i]++] = i + 1;
			g->nodes[i + 1].in_count++;
		}
	for (size_t k = 0; k < x->count; k++) {
		g->edges[next[x->v[k].from]++] = x->v[k].to;
		g->nodes[x->v[k].to].in_count++;
	}
	free(next);
}

/* Kahn's way; returns how many nodes could be ordered. `left` keeps the counts
 * of those that could not. */
static uint32_t order_nodes(struct graph *g, uint32_t *left)
{
	uint32_t head = 0, tail = 0;

	g->order = mem_alloc((g->node_count ? g->node_count : 1) * sizeof(*g->order));
	for (uint32_t i = 0; i < g->node_count; i++) {
		left[i] = g->nodes[i].in_count;
		if (left[i] == 0)
			g->order[tail++] = i;
	}
	while (head < tail) {
		const struct graph_node *n = &g->nodes[g->order[head++]];

		for (uint32_t k = 0; k < n->out_count; k++)
			if (--left[g->edges[n->out + k]] == 0)
				g->order[tail++] = g->edges[n->out + k];
	}
	return tail;
}

/* ---- cycles ------------------------------------------------------------------ */

/* For each node left over, one node left over that it waits for. */
static uint32_t *find_reasons(const struct graph *g, const uint32_t *left)
{
	uint32_t *why = mem_alloc(g->node_count * sizeof(*why));

	for (uint32_t i = 0; i < g->node_count; i++)
		for (uint32_t k = 0; left[i] && k < g->nodes[i].out_count; k++)
			why[g->edges[g->nodes[i].out + k]] = i;
	return why;
}

static void add_stop(struct str *text, struct str *places, const char *name,
		     const struct place *at, bool last)
{
	str_addf(text, "%s%s", text->len ? " -> " : "", name);
	if (!last && at->file)
		str_addf(places, "%s%s at %s:%u:%u", places->len ? ", " : "", name,
			 at->file, at->line, at->column);
}

/* `from` is on the cycle that `why` leads around, backwards. A cycle over several
 * machines is told by their names, one within a machine by its steps. */
static void tell_cycle(const struct graph *g, const uint32_t *why, uint32_t from,
		       struct err_list *errors)
{
	uint32_t *ring = NULL, machine = g->nodes[from].machine;
	size_t n = 0, cap = 0;
	bool many = false;
	AUTO_STR text = { 0 }, places = { 0 };
	uint32_t at = from;

	do {
		ring = mem_grow(ring, n, &cap, sizeof(*ring));
		ring[n++] = at;
		many = many || g->nodes[at].machine != machine;
		at = why[at];
	} while (at != from);

	uint32_t told = UINT32_MAX;
	for (size_t k = n; k-- > 0;) {
		const struct plan_step *s = g->nodes[ring[k]].step;
		const struct plan_machine *m =
			&g->plan->machines[g->nodes[ring[k]].machine];
		AUTO_FREE char *name = many ? mem_strdup(m->name) :
			mem_printf("%s.%s", phase_names[s->phase], s->id);

		if (many && told == g->nodes[ring[k]].machine)
			continue;
		told = g->nodes[ring[k]].machine;
		add_stop(&text, &places, name, many ? &m->at : &s->place, false);
	}
	const struct graph_node *start = &g->nodes[ring[n - 1]];
	const struct plan_machine *m = &g->plan->machines[start->machine];
	bool closed = many && g->nodes[ring[0]].machine == start->machine;
	AUTO_FREE char *name = many ? mem_strdup(m->name) :
		mem_printf("%s.%s", phase_names[start->step->phase], start->step->id);
	if (!closed)
		add_stop(&text, &places, name, &m->at, true);

	struct err *e = new_error(errors);
	if (many)
		err_set(e, ERR_PLAN, "cannot order the machines: each waits for the "
			"one before: %s", text.s);
	else
		err_set(e, ERR_PLAN, "cannot order the steps of '%s': each waits for "
			"the one before: %s", m->name, text.s);
	err_at(e, many ? &m->at : &start->step->place);
	if (places.len)
		err_hint(e, "take one of these waits away: %s", places.s);
	free(ring);
}

static void tell_cycles(const struct graph *g, const uint32_t *left,
			struct err_list *errors)
{
	uint32_t *why = find_reasons(g, left);
	uint32_t *seen = mem_alloc(g->node_count * sizeof(*seen)), walk = 0;

	for (uint32_t i = 0; i < g->node_count; i++) {
		uint32_t at = i;

		if (!left[i] || seen[i])
			continue;
		for (walk++; !seen[at]; at = why[at])
			seen[at] = walk;
		if (seen[at] == walk)
			tell_cycle(g, why, at, errors);
	}
	free(seen);
	free(why);
}

/* A machine that is after itself has no edge between two steps' ends when it has
 * only one step; such loops are seen here, for any number of steps. */
static void tell_self(const struct graph *g, struct err_list *errors)
{
	for (uint32_t m = 0; m < g->plan->machine_count; m++)
		for (uint32_t a = 0; a < g->plan->machines[m].after_count; a++) {
			const struct plan_machine *pm = &g->plan->machines[m];

			if (pm->after[a] != m)
				continue;
			struct err *e = new_error(errors);
			err_set(e, ERR_PLAN, "cannot order the machines: each waits "
				"for the one before: %s -> %s", pm->name, pm->name);
			err_at(e, &pm->at);
		}
}

struct graph *graph_build(const struct plan *p, struct err_list *errors)
{
	struct graph *g = mem_alloc(sizeof(*g));
	struct extras x = { 0 };
	size_t before = errors->count;

	g->plan = p;
	place_nodes(g);
	collect_needs(g, &x, errors);
	tell_self(g, errors);
	if (errors->count == before) {
		collect_after(g, &x);
		fill_edges(g, &x);

		uint32_t *left = mem_alloc((g->node_count + 1) * sizeof(*left));
		if (order_nodes(g, left) < g->node_count)
			tell_cycles(g, left, errors);
		free(left);
	}
	free(x.v);
	if (errors->count == before)
		return g;
	graph_free(g);
	return NULL;
}

void graph_free(struct graph *g)
{
	if (!g)
		return;
	free(g->nodes);
	free(g->first);
	free(g->edges);
	free(g->order);
	free(g);
}

uint32_t graph_find(const struct graph *g, uint32_t machine, enum phase phase,
		    const char *id)
{
	for (uint32_t i = g->first[machine]; i < g->first[machine + 1]; i++)
		if (g->nodes[i].step->phase == phase && !strcmp(g->nodes[i].step->id, id))
			return i;
	return UINT32_MAX;
}
