/* SPDX-License-Identifier: Apache-2.0
 * sense - steps that are well written and can never do what they are there for: in an
 * order that fails, or waiting for what does not come. */
#include "engine/plan/private.h"

#include "engine/base/text.h"

#include <string.h>

/* ---- order ---------------------------------------------------------------------- */

/* `then` needs what `first` leaves. */
struct order {
	const char *first, *then;	/* modules */
	const char *why;
	bool strict;			/* without `first` it fails; else only before it */
};

static const struct order orders[] = {
	{ "cutover.quiesce", "cutover.pass",
	  "what the source writes after its last pass would be lost", false },
	{ "cutover.pass", "cutover.proof", "it reads back what the last pass wrote", true },
	{ "cutover.pass", "cutover.replay", "a pass ends every overlay of the one before", false },
	{ "cutover.off", "cutover.start",
	  "a target starts only when its source is proven off", true },
	{ "cutover.pass", "cutover.readback", "it reads back what the last pass wrote", true },
};

/* The first step of a module from `i` on; step_count: none. */
static uint32_t next_of(const struct chain *c, uint32_t i, const char *module)
{
	while (i < c->step_count && strcmp(c->steps[i]->module->name, module) != 0)
		i++;
	return i;
}

/* Not where a recipe has it, which is in order. */
static bool is_moved(const struct step_src *s)
{
	return !s->recipe || s->before || s->after;
}

static bool misplaced(struct loader *l, const struct order *o, const struct step_src *first,
		      const struct step_src *then)
{
	if (is_moved(first) && !is_moved(then))
		err_hint(load_error(l, first->node, "%s comes after %s: %s", o->first, o->then,
				    o->why), "put it before that: %s: { before: %s }", first->id,
			 then->id);
	else
		err_hint(load_error(l, then->node, "%s comes before %s: %s", o->then, o->first,
				    o->why), "put it behind that: %s: { after: %s }", then->id,
			 first->id);
	return false;
}

/* The plan's own step of this verb that says `skip`, or NULL. */
static const struct step_src *skipped(const struct chain *c, enum phase p, const char *verb)
{
	for (uint32_t i = 0; i < c->count[p]; i++)
		if (c->src[p][i]->skip && strcmp(c->src[p][i]->verb, verb) == 0)
			return c->src[p][i];
	return NULL;
}

static bool missing(struct loader *l, const struct chain *c, const struct order *o,
		    const struct step_src *then)
{
	const char *verb = strchr(o->first, '.') + 1;
	const struct step_src *gone = skipped(c, then->phase, verb);
	struct err *e = load_error(l, gone ? gone->node : then->node, "%s comes without %s: %s",
				   o->then, o->first, o->why);

	if (gone)
		err_hint(e, "leave that out too: %s: { skip: true }", then->id);
	else
		err_hint(e, "put `- %s` before it", verb);
	return false;
}

/* Strict: each `then` has a `first` before it. Else: the last of each are in order. */
static bool is_ordered(struct loader *l, const struct chain *c, const struct step_src **from,
		       const struct order *o)
{
	uint32_t first = next_of(c, 0, o->first), then = next_of(c, 0, o->then), next;

	if (then == c->step_count || (first == c->step_count && !o->strict))
		return true;
	if (!o->strict) {
		while ((next = next_of(c, first + 1, o->first)) < c->step_count)
			first = next;
		while ((next = next_of(c, then + 1, o->then)) < c->step_count)
			then = next;
	}
	if (first == c->step_count)
		return missing(l, c, o, from[then]);
	return first < then || misplaced(l, o, from[first], from[then]);
}

/* ---- what does not come ----------------------------------------------------------- */

/* Changes are counted in chunks: less than one is none at all. */
static void judge_until(struct loader *l, const struct plan_step *s, const struct step_src *src)
{
	const json_t *changed = jget(s->args, "until.changed");
	int64_t chunk = jint(s->args, "chunk", 0);
	char is[24], least[24];

	if (!l->warnings || !json_is_integer(changed) || json_integer_value(changed) >= chunk)
		return;
	text_size((uint64_t)json_integer_value(changed), is);
	text_size((uint64_t)chunk, least);
	err_hint(load_warning(l, yaml_get(yaml_get(src->args, "until"), "changed"),
			      "what a pass changed is counted in chunks of %s: %s is enough only "
			      "when it changed nothing at all", least, is),
		 "sizes have units: until: { changed: 64MiB }");
}

bool sense_check(struct loader *l, const struct chain *c, const struct step_src **from)
{
	bool ok = true;

	for (size_t i = 0; i < ARRAY_LEN(orders); i++)
		ok &= is_ordered(l, c, from, &orders[i]);
	for (uint32_t i = 0; (i = next_of(c, i, "convert.disks")) < c->step_count; i++)
		judge_until(l, c->steps[i], from[i]);
	return ok;
}
