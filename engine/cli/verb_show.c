/* SPDX-License-Identifier: Apache-2.0
 * verb_show - drover show PLAN [REV [PATH]]: what was known of a machine.
 */
#include "engine/base/mem.h"
#include "engine/cli/cli.h"
#include "engine/cli/one_machine.h"

#include <string.h>

/* A file goes out as it is; on a terminal its control characters are escaped,
 * for part of it came from guests. */
static void print_text(struct cli *c, const char *text)
{
	for (const char *p = text; *p;) {
		size_t n = strcspn(p, "\n");
		AUTO_FREE char *line = mem_strndup(p, n);
		AUTO_STR safe = { 0 };

		str_add_safe(&safe, line);
		fprintf(c->out, "%s%s", c->tty_out ? (safe.s ? safe.s : "") : line,
			p[n] ? "\n" : "");
		p += n + (p[n] == '\n');
	}
}

static void print_list(struct cli *c, const json_t *paths)
{
	size_t i;
	json_t *v;

	json_array_foreach((json_t *)paths, i, v)
		fprintf(c->out, "%s\n", json_string_value(v));
}

int verb_show(struct cli *c)
{
	const char *machine = NULL;
	const char *rev = c->arg_count > 1 ? c->args[1] : "HEAD";
	const char *path = c->arg_count > 2 ? c->args[2] : NULL;
	AUTO_JSON *got = NULL;
	AUTO_ERR e = { 0 };
	int status = cli_load_plan(c, c->args[0]);

	if (status || (status = cli_one_machine(c, &machine)) ||
	    (status = cli_open_state(c, STATE_READ)))
		return status;
	got = state_show(c->state, machine, rev, path, &e);
	if (!got)
		return cli_fail(c, &e);
	if (c->json) {
		json_t *o = json_object();

		jset_str(o, "machine", machine);
		jset_str(o, "rev", rev);
		jset_str(o, "path", path);
		jset(o, path ? "text" : "paths", json_incref(got));
		cli_json(c, "show", o);
	} else if (path) {
		print_text(c, json_string_value(got));
	} else {
		print_list(c, got);
	}
	return 0;
}
