/* SPDX-License-Identifier: Apache-2.0
 * chain - lists of steps laid over each other: recipe, defaults, machine. A step
 * with an id that is there already merges into it; a new one is placed. */
#include "engine/plan/private.h"

#include "engine/base/io.h"
#include "engine/base/text.h"

#include <string.h>

/* A phase's list while it is being laid over. */
struct laying {
	struct loader *l;
	enum phase phase;
	struct step_src **v;		/* room for all that may come */
	uint32_t count;
	struct step_src **waiting;	/* to be placed */
	uint32_t waiting_count;
};

static int find(struct step_src *const *v, uint32_t count, const char *id)
{
	for (uint32_t i = 0; i < count; i++)
		if (strcmp(v[i]->id, id) == 0)
			return (int)i;
	return -1;
}

static void insert(struct laying *y, uint32_t at, struct step_src *s)
{
	memmove(y->v + at + 1, y->v + at, (y->count - at) * sizeof(*y->v));
	y->v[at] = s;
	y->count++;
}

static void take_out(struct laying *y, uint32_t at)
{
	y->count--;
	memmove(y->v + at, y->v + at + 1, (y->count - at) * sizeof(*y->v));
}

/* `own` over `old`: the parameters of both, the place of the new one. */
static struct step_src *merge(struct loader *l, const struct step_src *old,
			      struct step_src *own)
{
	if (strcmp(old->verb, own->verb) != 0) {
		err_hint(load_error(l, own->node, "step '%s' is '%s' already, not '%s'",
				    own->id, old->verb, own->verb),
			 "give it another id; the first is in %s, line %u",
			 old->node->file->name, old->node->line);
		return NULL;
	}
	if (!yaml_get(own->args, "skip"))
		own->skip = old->skip;
	own->args = yaml_merge(l->arena, old->args, own->args);
	own->recipe = old->recipe;
	return own;
}

/* Steps that follow the same step keep the order in which they were written. */
static uint32_t place_after(const struct laying *y, uint32_t at, const char *id)
{
	for (at++; at < y->count && y->v[at]->after &&
		   strcmp(y->v[at]->after, id) == 0; at++)
		;
	return at;
}

static bool place_one(struct laying *y, struct step_src *s)
{
	const char *id = s->before ? s->before : s->after;
	int at = find(y->v, y->count, id);

	if (at < 0)
		return false;
	insert(y, s->before ? (uint32_t)at : place_after(y, (uint32_t)at, id), s);
	return true;
}

/* What could not be placed waits for an id that is not there, or in a circle. */
static void tell_unplaced(struct laying *y)
{
	const struct step_src *at[64];

	for (uint32_t i = 0; i < y->waiting_count; i++) {
		const struct step_src *s = y->waiting[i];
		const char *word = s->before ? "before" : "after";
		const char *id = s->before ? s->before : s->after;
		const struct yaml_node *node = yaml_get(s->args, word);
		uint32_t n = 0;
		int next = find(y->waiting, y->waiting_count, id);
		if (next < 0) {
			struct names ids = { 0 };
			for (uint32_t k = 0; k < y->count; k++)
				*names_slot(&ids, y->v[k]->id) = y;
			hint_near(load_error(y->l, node, "no step of %s is called '%s'",
					     phase_names[y->phase], id), names_near(&ids, id));
			names_free(&ids);
			continue;
		}
		/* Walk until a step comes again; tell each circle at its first member. */
		AUTO_STR path = { 0 };
		bool first = true;
		for (const struct step_src *w = s; n < ARRAY_LEN(at); ) {
			at[n++] = w;
			str_addf(&path, "%s -> ", w->id);
			next = find(y->waiting, y->waiting_count, w->before ? w->before :
				    w->after);
			if (next < 0)
				break;
			w = y->waiting[next];
			first &= (uint32_t)next >= i;
			if (w == s && first) {
				str_add(&path, s->id);
				load_error(y->l, node, "steps are placed in a circle: %s",
					   path.s);
			}
			if (w == s)
				break;
		}
	}
}

static void place_waiting(struct laying *y)
{
	bool moved = true;

	while (moved && y->waiting_count) {
		uint32_t left = 0;
		moved = false;
		for (uint32_t i = 0; i < y->waiting_count; i++) {
			if (place_one(y, y->waiting[i]))
				moved = true;
			else
				y->waiting[left++] = y->waiting[i];
		}
		y->waiting_count = left;
	}
	tell_unplaced(y);
}

/* One of the list's own steps: into the place of its namesake, or waiting. */
static void lay_one(struct laying *y, struct step_src *s)
{
	int at = find(y->v, y->count, s->id);

	if (at >= 0) {
		s = merge(y->l, y->v[at], s);
		if (!s)
			return;
		y->v[at] = s;
		if (!s->before && !s->after)
			return;
		take_out(y, (uint32_t)at);
	}
	if (s->before || s->after)
		y->waiting[y->waiting_count++] = s;
	else
		insert(y, y->count, s);
}

static void lay_list(struct laying *y, const struct yaml_node *list, bool recipe)
{
	struct names own = { 0 };

	for (uint32_t i = 0; i < list->count; i++) {
		struct step_src *s = step_read(y->l, y->phase, list->items[i]);
		if (!s)
			continue;
		void **slot = names_slot(&own, s->id);
		const struct step_src *first = *slot;
		if (first) {
			err_hint(load_error(y->l, s->node, "two steps are called '%s'", s->id),
				 "give one an id: - %s: { id: NAME }; the first is in line %u",
				 s->verb, first->node->line);
			continue;
		}
		*slot = s;
		s->recipe = recipe;
		lay_one(y, s);
	}
	names_free(&own);
	place_waiting(y);
}

static bool has_lists(const struct yaml_node *n)
{
	for (int p = 0; n && p < PHASE_COUNT; p++)
		if (yaml_get(n, phase_names[p]))
			return true;
	return false;
}

struct chain *chain_over(struct loader *l, struct chain *base,
			 const struct yaml_node *lists, bool recipe)
{
	if (base && !has_lists(lists))
		return base;
	struct chain *c = arena_alloc(l->arena, sizeof(*c));
	for (int p = 0; p < PHASE_COUNT; p++) {
		const struct yaml_node *list = yaml_get(lists, phase_names[p]);
		uint32_t have = base ? base->count[p] : 0;
		c->src[p] = base ? base->src[p] : NULL;
		c->count[p] = have;
		if (!list || list->kind != YAML_LIST || !list->count)
			continue;
		struct laying y = { .l = l, .phase = (enum phase)p, .count = have };
		y.v = arena_alloc(l->arena, (have + list->count) * sizeof(*y.v));
		y.waiting = arena_alloc(l->arena, list->count * sizeof(*y.waiting));
		if (have)
			memcpy(y.v, base->src[p], have * sizeof(*y.v));
		lay_list(&y, list, recipe);
		c->src[p] = y.v;
		c->count[p] = y.count;
	}
	return c;
}

/* ---- compiling ------------------------------------------------------------------ */

/* Index of the step that `need` names from step `from`; -1. */
static int find_need(const struct chain *c, uint32_t from, const char *need)
{
	const char *dot = strchr(need, '.');
	AUTO_FREE char *phase = mem_strndup(need, dot ? (size_t)(dot - need) : 0);
	int p = dot ? phase_of(phase) : -1;
	int found = -1;

	for (uint32_t i = 0; i < c->step_count; i++) {
		const struct plan_step *s = c->steps[i];
		bool here = p >= 0 ? (int)s->phase == p && strcmp(s->id, dot + 1) == 0 :
				     strcmp(s->id, need) == 0;
		if (here && (p >= 0 || s->phase == c->steps[from]->phase))
			return (int)i;
		if (here && found < 0)
			found = (int)i;
	}
	return found;
}

static bool check_needs(struct loader *l, const struct chain *c, uint32_t i,
			const struct step_src *src)
{
	const struct plan_step *s = c->steps[i];
	bool ok = true;

	for (size_t k = 0; s->needs && s->needs[k]; k++) {
		const struct yaml_node *at = yaml_get(src->args, "needs")->items[k];
		int need = find_need(c, i, s->needs[k]);
		if (need >= 0 && (uint32_t)need < i)
			continue;
		ok = false;
		if (need >= 0) {
			const struct plan_step *n = c->steps[need];
			err_hint(load_error(l, at, "steps wait in a circle: %s.%s -> %s.%s%s%s%s%s",
					    phase_names[s->phase], s->id,
					    phase_names[n->phase], n->id,
					    n == s ? "" : " -> ",
					    n == s ? "" : phase_names[s->phase],
					    n == s ? "" : ".", n == s ? "" : s->id),
				 "the steps of a machine run in the order written; a step can "
				 "only need one that stands before it");
			continue;
		}
		struct names ids = { 0 };
		for (uint32_t n = 0; n < c->step_count; n++) {
			const char *phase = phase_names[c->steps[n]->phase];
			*names_slot(&ids, c->steps[n]->id) = l;
			*names_slot(&ids, arena_printf(l->arena, "%s.%s", phase,
						       c->steps[n]->id)) = l;
		}
		hint_near(load_error(l, at, "no step is called '%s'", s->needs[k]),
			  names_near(&ids, s->needs[k]));
		names_free(&ids);
	}
	return ok;
}

/* A step behind the fence needs the copy that validate.boot keeps there. */
static bool check_fence(struct loader *l, const struct chain *c, uint32_t i,
			const struct step_src *src)
{
	bool there = false;

	if (!c->steps[i]->at || strcmp(c->steps[i]->at, "fence") != 0)
		return true;
	for (uint32_t k = 0; k < i; k++) {
		const char *name = c->steps[k]->module->name;
		if (strcmp(name, "validate.boot") == 0)
			there = jbool(c->steps[k]->args, "keep", false);
		else if (strcmp(name, "validate.release") == 0)
			there = false;
	}
	if (!there)
		err_hint(load_error(l, yaml_get(src->args, "at"), "nothing runs behind the "
				    "fence when step '%s' comes", src->id),
			 "keep the test copy: validate: [ boot: { keep: true }, %s: { after: "
			 "boot, at: fence, ... }, release ]", src->verb);
	return there;
}

bool chain_compile(struct loader *l, struct chain *c)
{
	struct sha256 *h;
	uint32_t all = 0;
	bool ok = true;

	if (c->tried)
		return c->steps != NULL;
	c->tried = true;
	for (int p = 0; p < PHASE_COUNT; p++)
		all += c->count[p];
	const struct step_src **from = arena_alloc(l->arena, (2 * all + 1) * sizeof(*from));
	const struct plan_step **steps = arena_alloc(l->arena, (2 * all + 1) * sizeof(*steps));
	h = sha256_new();
	for (int p = 0; p < PHASE_COUNT; p++)
		for (uint32_t i = 0; i < c->count[p]; i++) {
			struct step_src *s = c->src[p][i];
			if (s->skip)
				continue;
			const struct plan_step *step = step_compile(l, s);
			ok &= step != NULL;
			if (!step)
				continue;
			c->needs_power |= step->module->place == ON_POWER;
			sha256_add(h, s->digest, sizeof(s->digest));
			from[c->step_count] = s;
			steps[c->step_count++] = step;
		}
	sha256_end(h, c->digest);
	c->steps = steps;
	seed_add(l, c, from);
	for (uint32_t i = 0; i < c->step_count; i++) {
		ok &= check_needs(l, c, i, from[i]);
		ok &= check_fence(l, c, i, from[i]);
	}
	ok &= sense_check(l, c, from);
	if (!ok)
		c->steps = NULL;
	return ok;
}
