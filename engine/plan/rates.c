/* SPDX-License-Identifier: Apache-2.0
 * rates - a limit that may be another one at other hours. */
#include "engine/plan/private.h"

#include "engine/base/text.h"

#include <stdlib.h>

#define DAY (24 * 60)

/* "06:30" as minutes; it was checked by the table. */
static int minutes(const json_t *v, const char *key, int dflt)
{
	const char *s = jstr(v, key, NULL);

	return s ? atoi(s) * 60 + atoi(s + 3) : dflt;
}

struct plan_rates rates_read(struct loader *l, const json_t *value)
{
	size_t n = json_is_array(value) ? json_array_size(value) : json_is_integer(value), i;
	struct plan_rate *v = arena_alloc(l->arena, (n + 1) * sizeof(*v));
	const json_t *one;

	if (json_is_integer(value))
		v[0] = (struct plan_rate){ (uint64_t)json_integer_value(value), 0, DAY };
	json_array_foreach((json_t *)(uintptr_t)value, i, one)
		v[i] = (struct plan_rate){ (uint64_t)jint(one, "rate", 0),
					   minutes(one, "from", 0), minutes(one, "to", DAY) };
	return (struct plan_rates){ v, (uint32_t)n };
}

static bool any_host(const struct plan *p, const char *glob)
{
	for (uint32_t i = 0; i < p->host_count; i++)
		if (text_glob(glob, p->hosts[i].name))
			return true;
	return false;
}

/* Its ends, both; false when they were told to be wrong. */
static bool link_ends(struct loader *l, const struct yaml_node *n, const json_t *typed,
		      const char *ends[2])
{
	const struct yaml_node *at = yaml_get(n, "hosts");
	const json_t *list = jget(typed, "hosts");

	if (json_array_size(list) != 2) {
		err_hint(load_error(l, at, "a link has two ends"), "for example: hosts: [db1, \"kvm*\"]");
		return false;
	}
	for (size_t i = 0; i < 2; i++) {
		ends[i] = arena_strdup(l->arena, json_string_value(json_array_get(list, i)));
		if (any_host(l->plan, ends[i]))
			continue;
		hint_near(load_error(l, at->items[i], "no host is called '%s'", ends[i]),
			  names_near(&l->hosts, ends[i]));
		return false;
	}
	return true;
}

void links_read(struct loader *l)
{
	const struct yaml_node *n = yaml_get(yaml_get(l->root, "limits"), "links");
	const struct key *row = schema_key(schema_key(schema_plan, "limits")->of, "links")->of;
	uint32_t count = n && n->kind == YAML_LIST ? n->count : 0;
	struct plan_limits *limits = &l->plan->limits;
	struct plan_link *v = arena_alloc(l->arena, (count + 1) * sizeof(*v));

	limits->links = v;
	for (uint32_t i = 0; i < count; i++) {
		struct plan_link *link = &v[limits->link_count];
		AUTO_JSON *typed = NULL;

		/* what has a wrong type was told with the limits */
		if (!schema_value(l, row, n->items[i], SCOPE_PLAN, &typed) ||
		    !link_ends(l, n->items[i], typed, link->hosts))
			continue;
		link->bandwidth = rates_read(l, jget(typed, "bandwidth"));
		limits->link_count++;
	}
}

uint64_t plan_rate_at(const struct plan_rates *r, int minute)
{
	for (uint32_t i = 0; i < r->count; i++) {
		const struct plan_rate *p = &r->v[i];
		bool holds = p->from < p->to ? minute >= p->from && minute < p->to :
			minute >= p->from || minute < p->to;

		if (holds)
			return p->rate;
	}
	return 0;
}
