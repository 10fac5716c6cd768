/* SPDX-License-Identifier: Apache-2.0
 * verb_log - drover log PLAN: what happened, newest first.
 */
#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/cli/cli.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* A commit is told while it is walked: a long history is not held in memory. */
struct telling {
	struct cli *c;
	unsigned long left;	/* lines still to come */
	unsigned long told;
	size_t width;		/* of the machine column */
};

static bool wanted(struct cli *c, const char *machine)
{
	int i = plan_find_machine(c->plan, machine);

	/* A machine that has left the plan still has its history. */
	return i < 0 ? !c->opt[OPT_MACHINE] : cli_wants(c, (uint32_t)i);
}

static void tell_json(struct cli *c, const struct state_commit *k, const char *when)
{
	json_t *o = json_object();

	jset_str(o, "machine", k->machine);
	jset_str(o, "id", k->id);
	jset_str(o, "tree", k->tree);
	jset_str(o, "when", when);
	jset_str(o, "subject", k->subject);
	jset(o, "trailers", json_deep_copy(k->trailers));
	cli_json(c, "commit", o);
}

static void tell_trailers(struct cli *c, const json_t *trailers)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)trailers, key, v) {
		AUTO_STR line = { 0 };

		str_add_safe(&line, key);
		str_add(&line, ": ");
		str_add_safe(&line, json_string_value(v) ? json_string_value(v) : "");
		fprintf(c->out, "    %s\n", line.s);
	}
}

static void tell_line(struct telling *t, const struct state_commit *k, const char *when)
{
	struct cli *c = t->c;
	AUTO_STR subject = { 0 };

	str_add_safe(&subject, k->subject);
	fprintf(c->out, "%s%.10s %.8s%s  %-*s  %s%.10s%s  %s\n", cli_color(c, C_DIM), when,
		when + 11, cli_color(c, C_OFF), (int)t->width, k->machine,
		cli_color(c, C_YELLOW), k->id, cli_color(c, C_OFF),
		subject.s ? subject.s : "");
	if (c->verbose)
		tell_trailers(c, k->trailers);
}

static int on_commit(const struct state_commit *k, void *arg)
{
	struct telling *t = arg;
	char when[21];

	if (!wanted(t->c, k->machine))
		return 0;
	clock_iso(k->when, when);
	if (t->c->json)
		tell_json(t->c, k, when);
	else
		tell_line(t, k, when);
	t->told++;
	return --t->left == 0;
}

static int parse_limit(struct cli *c, unsigned long *limit)
{
	const char *text = c->opt[OPT_LIMIT];
	AUTO_ERR e = { 0 };
	char *end;

	*limit = ULONG_MAX;
	if (!text)
		return 0;
	*limit = strtoul(text, &end, 10);
	if (*text >= '0' && *text <= '9' && !*end && *limit > 0)
		return 0;
	err_set(&e, ERR_USAGE, "cannot use --limit '%s': it is no number of lines from 1",
		text);
	err_hint(&e, "for example: drover log %s -n 20", c->args[0]);
	return cli_fail(c, &e);
}

int verb_log(struct cli *c)
{
	struct telling t = { .c = c };
	AUTO_ERR e = { 0 };
	int status = parse_limit(c, &t.left);

	if (status || (status = cli_load_plan(c, c->args[0])) ||
	    (status = cli_open_state(c, STATE_READ)))
		return status;
	for (uint32_t i = 0; i < c->plan->machine_count; i++)
		if (strlen(c->plan->machines[i].name) > t.width)
			t.width = strlen(c->plan->machines[i].name);
	if (state_log(c->state, NULL, on_commit, &t, &e) < 0)
		return cli_fail(c, &e);
	if (!t.told && !c->json)
		fprintf(c->out, "Nothing is recorded%s%s yet.\nNext: drover run %s\n",
			c->opt[OPT_MACHINE] ? " of " : "",
			c->opt[OPT_MACHINE] ? c->opt[OPT_MACHINE] : "", c->plan->typed);
	return 0;
}
