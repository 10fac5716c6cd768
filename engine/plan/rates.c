/* SPDX-License-Identifier: Apache-2.0
 * rates - a limit that may be another one at other hours. */
#include "engine/plan/private.h"

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
