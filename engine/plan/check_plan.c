/* SPDX-License-Identifier: Apache-2.0
 * check_plan - what a plan says beside its machines, and in which order these wait for each
 * other, has to make sense too.
 */
#include "engine/plan/private.h"

#include <string.h>

static void tell_circle(struct loader *l, const uint32_t *path, uint32_t from, uint32_t n)
{
	const struct plan_machine *m = l->plan->machines;
	const struct yaml_node *node = l->plan->priv->machines[path[from]].node;
	AUTO_STR text = { 0 };

	for (uint32_t i = from; i < n; i++)
		str_addf(&text, "%s -> ", m[path[i]].name);
	str_add(&text, m[path[from]].name);
	load_error(l, yaml_get(node, "after"), "machines wait in a circle: %s", text.s);
}

void check_circles(struct loader *l)
{
	enum { NEW, OPEN, DONE };
	const struct plan *p = l->plan;
	uint32_t count = p->machine_count;
	AUTO_FREE uint8_t *state = mem_alloc(count + 1);
	AUTO_FREE uint32_t *path = mem_alloc((count + 1) * sizeof(*path));
	AUTO_FREE uint32_t *next = mem_alloc((count + 1) * sizeof(*next));

	for (uint32_t start = 0; start < count; start++) {
		uint32_t depth = 0;
		if (state[start] != NEW)
			continue;
		path[depth++] = start;
		state[start] = OPEN;
		while (depth) {
			uint32_t m = path[depth - 1];
			if (next[m] == p->machines[m].after_count) {
				state[m] = DONE;
				depth--;
				continue;
			}
			uint32_t other = p->machines[m].after[next[m]++];
			if (state[other] == NEW) {
				state[other] = OPEN;
				path[depth++] = other;
			} else if (state[other] == OPEN) {
				uint32_t from = depth;
				while (path[--from] != other)
					;
				tell_circle(l, path, from, depth);
			}
		}
	}
}

void check_accept(struct loader *l)
{
	struct plan *p = l->plan;

	p->accept = arena_alloc(l->arena, l->accept_count * sizeof(*p->accept) + 1);
	for (size_t i = 0; i < l->accept_count; i++) {
		const struct yaml_node *n = l->accept[i];
		const struct key *row = schema_key(schema_plan, "accept")->of;
		AUTO_JSON *v = NULL;
		if (!schema_value(l, row, n, SCOPE_PLAN, &v) || !schema_required(l, row, n))
			continue;
		const char *machine = jstr(v, "machine", NULL);
		if (machine && index_of(&l->machines, machine) < 0)
			hint_near(load_error(l, yaml_get(n, "machine"),
					     "no machine is called '%s'", machine),
				  names_near(&l->machines, machine));
		p->accept[p->accept_count++] = (struct plan_accept){
			.finding = arena_strdup(l->arena, jstr(v, "finding", "")),
			.machine = machine ? arena_strdup(l->arena, machine) : NULL,
			.until = jget(v, "until") ?
				arena_strdup(l->arena, jstr(v, "until", "")) : NULL,
			.reason = arena_strdup(l->arena, jstr(v, "reason", "")),
		};
	}
}

void check_unused(struct loader *l)
{
	for (uint32_t i = 0; i < l->plan->host_count; i++) {
		const struct plan_host *h = &l->plan->hosts[i];
		if (!h->used)
			err_hint(err_list_add(l->warnings, &h->at,
					      "host '%s' is used by no machine and no step",
					      h->name), "remove it, or name it where it was meant");
	}
}
