/* SPDX-License-Identifier: Apache-2.0
 * verb_diff - drover diff PLAN [REV [REV]]: what changed between two points.
 */
#include "engine/base/mem.h"
#include "engine/cli/cli.h"
#include "engine/cli/one_machine.h"

#include <string.h>

static enum color line_color(const char *line)
{
	if (!strncmp(line, "+++", 3) || !strncmp(line, "---", 3) || !strncmp(line, "diff ", 5))
		return C_BOLD;
	return *line == '+' ? C_GREEN : *line == '-' ? C_RED : *line == '@' ? C_BLUE : C_OFF;
}

static void print_diff(struct cli *c, const char *text)
{
	for (const char *p = text; *p;) {
		size_t n = strcspn(p, "\n");
		AUTO_FREE char *line = mem_strndup(p, n);
		AUTO_STR safe = { 0 };
		enum color k = line_color(line);

		str_add_safe(&safe, line);
		fprintf(c->out, "%s%s%s\n", k == C_OFF ? "" : cli_color(c, k),
			c->tty_out ? (safe.s ? safe.s : "") : line,
			k == C_OFF ? "" : cli_color(c, C_OFF));
		p += n + (p[n] == '\n');
	}
}

int verb_diff(struct cli *c)
{
	const char *machine = NULL;
	/* none: the newest transition; one: from there to now */
	const char *from = c->arg_count > 1 ? c->args[1] : "HEAD~1";
	const char *to = c->arg_count > 2 ? c->args[2] : "HEAD";
	AUTO_FREE char *text = NULL;
	AUTO_ERR e = { 0 };
	int status = cli_load_plan(c, c->args[0]);

	if (status || (status = cli_one_machine(c, &machine)) ||
	    (status = cli_open_state(c, STATE_READ)))
		return status;
	text = state_diff(c->state, machine, from, to, &e);
	if (!text)
		return cli_fail(c, &e);
	if (c->json) {
		json_t *o = json_object();

		jset_str(o, "machine", machine);
		jset_str(o, "from", from);
		jset_str(o, "to", to);
		jset_str(o, "diff", text);
		cli_json(c, "diff", o);
	} else if (*text) {
		print_diff(c, text);
	} else {
		fprintf(c->out, "%s: no difference between %s and %s\n", machine, from, to);
	}
	return 0;
}
