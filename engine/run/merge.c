/* SPDX-License-Identifier: Apache-2.0
 * merge - the results of a step's one or two ends, made one.
 */
#include "engine/run/op.h"

#include <stdlib.h>
#include <string.h>

bool result_ok(const json_t *result)
{
	return jbool(result, "ok", false);
}

const char *result_kind(const json_t *result)
{
	return jstr(result, "error.kind", "failed");
}

bool result_cut(const json_t *result)
{
	return !strcmp(result_kind(result), "lost") || !strcmp(result_kind(result), "broken");
}

/* What is known the least counts: unknown, absent, partial, done. */
static int state_rank(const char *state)
{
	static const char *const order[] = { "unknown", "absent", "partial", "done" };

	for (size_t i = 0; i < ARRAY_LEN(order); i++)
		if (!strcmp(order[i], state))
			return (int)i;
	return 0;
}

/* Borrowed. */
static json_t *list_of(json_t *to, const char *key)
{
	json_t *list = json_object_get(to, key);

	if (!list) {
		list = json_array();
		jset(to, key, list);
	}
	return list;
}

static void add_list(json_t *to, const char *key, const json_t *from)
{
	json_t *more = json_object_get(from, key);

	if (json_is_array(more))
		json_array_extend(list_of(to, key), more);
}

/* What one end can tell only by what the other one holds: does it count? */
static bool counts(const json_t *finding, const json_t *other)
{
	const json_t *unlike = json_object_get(finding, "unlike");
	const char *theirs = jstr(json_object_get(other, "volatile"), jstr(unlike, "key", ""), NULL);

	return !unlike || (theirs && strcmp(theirs, jstr(unlike, "text", "")));
}

static void add_findings(json_t *to, const json_t *from, const json_t *other)
{
	const json_t *told = json_object_get(from, "findings");
	json_t *list = json_is_array(told) ? list_of(to, "findings") : NULL, *finding;
	size_t i;

	json_array_foreach(told, i, finding)
		if (counts(finding, other))
			json_array_append(list, finding);
}

static void add_cost(json_t *to, const json_t *from)
{
	static const char *const parts[] = { "read", "send", "write", "ms" };
	json_t *sum = json_object_get(to, "cost");

	if (!json_object_get(from, "cost"))
		return;
	if (!sum) {
		sum = json_object();
		jset(to, "cost", sum);
	}
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		jset_int(sum, parts[i], jint(sum, parts[i], 0) +
			 jint(json_object_get(from, "cost"), parts[i], 0));
}

/* The target does not see what of a disk is free: it writes no more than it is sent. */
static void bound_write(json_t *out)
{
	json_t *sum = json_object_get(out, "cost");
	int64_t send = jint(sum, "send", 0);

	if (send > 0 && jint(sum, "write", 0) > send)
		jset_int(sum, "write", send);
}

static void add_facts(json_t *to, const json_t *from, const char *prefix)
{
	json_t *facts = json_object_get(to, "facts"), *fact;
	const char *name;

	if (!facts) {
		facts = json_object();
		jset(to, "facts", facts);
	}
	json_object_foreach(json_object_get(from, "facts"), name, fact) {
		AUTO_FREE char *full = prefix ? mem_printf("%s.%s", prefix, name) :
			mem_strdup(name);
		json_object_set(facts, full, fact);
	}
}

static void add_side(json_t *to, const char *key, const char *side, const json_t *from)
{
	json_t *both = json_object_get(to, key), *mine = json_object_get(from, key);

	if (!json_is_object(mine) || json_object_size(mine) == 0)
		return;
	if (!both) {
		both = json_object();
		jset(to, key, both);
	}
	json_object_set(both, side, mine);
}

/* How near to the reason an end is: one that was stopped because the other failed is not, one
 * that saw only its stream break is where nobody knows more. */
static int reason_rank(const json_t *result)
{
	const char *kind = result_kind(result);

	return result_ok(result) ? 0 : !strcmp(kind, "cancelled") ? 1 :
		!strcmp(kind, "broken") ? 2 : 3;
}

static const struct op_end *worst_end(const struct op *o)
{
	const struct op_end *worst = NULL;
	int rank = 0;

	for (int k = 0; k < o->ends; k++)
		if (reason_rank(o->end[k].result) > rank) {
			worst = &o->end[k];
			rank = reason_rank(worst->result);
		}
	return worst;
}

/* Its error; where the ends are on two hosts it says on which. */
static json_t *error_of(const struct op *o, const struct op_end *end)
{
	json_t *error = json_copy(json_object_get(end->result, "error"));

	if (!strcmp(result_kind(end->result), "failed") && end->host != UINT32_MAX &&
	    o->end[0].host != o->end[1].host)
		jset_strf(error, "text", "host '%s': %s", o->r->plan->hosts[end->host].name,
			  jstr(error, "text", "no reason given"));
	return error;
}

static json_t *merge_two(const struct op *o)
{
	static const char *const sides[] = { "source", "target" };
	json_t *out = json_object();
	const char *state = NULL;
	const struct op_end *worst = worst_end(o);

	for (int k = 0; k < o->ends; k++) {
		const json_t *one = o->end[k].result;
		const char *mine = jstr(one, "state", NULL);

		add_list(out, "changes", one);
		add_findings(out, one, o->end[!k].result);
		add_cost(out, one);
		add_facts(out, one, o->module->place == ON_EACH ? sides[k] : NULL);
		add_side(out, "stable", sides[k], one);
		add_side(out, "volatile", sides[k], one);
		if (mine && (!state || state_rank(mine) < state_rank(state)))
			state = mine;
	}
	if (o->module->place == ON_BOTH)
		bound_write(out);
	jset_bool(out, "ok", !worst);
	if (state)
		jset_str(out, "state", state);
	if (state && !strcmp(state, "done"))	/* one end may not know that the other has it all */
		json_object_del(out, "cost");
	if (worst)
		jset(out, "error", error_of(o, worst));
	return out;
}

json_t *merge_results(const struct op *o)
{
	if (o->fault)
		return frame_failure("failed", o->fault, NULL);
	if (o->waiting)
		return frame_failure("waiting", "a person has to answer, and nobody is "
				     "there", "run it again from a terminal");
	if (o->ends == 1)
		return json_incref(o->end[0].result);
	return merge_two(o);
}
