/* SPDX-License-Identifier: Apache-2.0
 * place - where a step's calls go.
 */
#include "engine/run/hosts.h"

#include <stdlib.h>
#include <string.h>

static struct place_end source_of(const struct run *r, const struct mach *m)
{
	return (struct place_end){ r->plan->machines[m->index].source_host, "source" };
}

static struct place_end target_of(const struct run *r, const struct mach *m)
{
	return (struct place_end){ r->plan->machines[m->index].target_host, "target" };
}

static int named_host(const struct run *r, const char *name, struct place_end *out,
		      struct err *e)
{
	int h = plan_find_host(r->plan, name);

	if (h < 0)
		return err_set(e, ERR_PLAN, "cannot place the step at '%s': no host has "
			       "this name", name);
	*out = (struct place_end){ (uint32_t)h, r->plan->hosts[h].name };
	return 0;
}

int place_word(const struct run *r, const struct mach *m, const char *at,
	       struct place_end *out, struct err *e)
{
	if (!strcmp(at, "source")) {
		*out = source_of(r, m);
	} else if (!strcmp(at, "target")) {
		*out = target_of(r, m);
	} else if (!strcmp(at, "fence")) {
		*out = target_of(r, m);		/* the test copy's network is there */
		out->role = "fence";
	} else {
		return named_host(r, at, out, e);
	}
	return 0;
}

/* source.power is {METHOD: {...}}; `at` in it names the host that can switch. A
 * person is asked from wherever the engine has an agent of its own. */
static int power_place(const struct run *r, const struct mach *m,
		       struct place_end *out, struct err *e)
{
	json_t *power = jget(plan_machine_spec(r->plan, m->index), "source.power");
	json_t *method;
	const char *name;

	*out = source_of(r, m);
	json_object_foreach(power, name, method) {
		const char *at = jstr(method, "at", NULL);

		if (at)
			return place_word(r, m, at, out, e);
		if (strcmp(name, "manual"))
			continue;
		for (uint32_t h = 0; h < r->plan->host_count; h++)
			if (r->plan->hosts[h].local) {
				*out = (struct place_end){ h, r->plan->hosts[h].name };
				return 0;
			}
	}
	return 0;
}

/* An end of a two-ended step: the host of "HOST:/path", where the module has a parameter
 * for that; else `out` stays what it is. */
static int place_of(const struct run *r, const struct plan_step *s, const json_t *args,
		    const char *param, struct place_end *out, struct err *e)
{
	const char *at = param ? jstr(args ? args : s->args, param, NULL) : NULL;
	const char *colon = at ? strchr(at, ':') : NULL, *role = out->role;

	if (!at)
		return 0;
	if (!colon)
		return err_set(e, ERR_PLAN, "cannot read '%s': HOST:/path is meant", at);
	AUTO_FREE char *host = mem_strndup(at, (size_t)(colon - at));
	if (named_host(r, host, out, e) < 0)
		return -1;
	out->role = role;
	return 0;
}

int place_ends(const struct run *r, const struct mach *m, const struct plan_step *s,
	       const json_t *args, struct place_end out[2], struct err *e)
{
	out[0] = source_of(r, m);
	out[1] = target_of(r, m);
	switch (s->module->place) {
	case ON_SOURCE:
		return 1;
	case ON_TARGET:
		out[0] = out[1];
		return 1;
	case ON_BOTH:
		return place_of(r, s, args, s->module->near_end, &out[0], e) < 0 ||
			place_of(r, s, args, s->module->far_end, &out[1], e) < 0 ? -1 : 2;
	case ON_EACH:
		return 2;
	case ON_AT:
		if (s->at && place_word(r, m, s->at, &out[0], e) < 0)
			return -1;
		return 1;
	case ON_POWER:
		return power_place(r, m, &out[0], e) < 0 ? -1 : 1;
	case IN_ENGINE:
		out[0] = (struct place_end){ UINT32_MAX, s->at ? s->at : "source" };
		return 1;
	}
	return err_set(e, ERR_SYSTEM, "cannot place '%s': unknown kind of place",
		       s->module->name);
}
