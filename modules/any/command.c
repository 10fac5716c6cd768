/* SPDX-License-Identifier: Apache-2.0
 * any.command - run a program by its argv, never through a shell. `probe` tells
 * whether it is done already, `undo` takes it back; without them the step is known to
 * be done by having run, and cannot be undone.
 */
#include "engine/base/mem.h"
#include "engine/base/proc.h"
#include "modules/module.h"

#include <stdlib.h>
#include <string.h>

#define EVIDENCE_MAX (256u << 10)

static const struct param params[] = {
	{ .name = "argv", .type = P_ARGV, .required = true,
	  .summary = "the program and its arguments" },
	{ .name = "probe", .type = P_ARGV,
	  .summary = "exit 0: done already, 1: not yet, else an error; must change nothing" },
	{ .name = "undo", .type = P_ARGV, .summary = "what takes it back" },
	{ .name = "stdin", .type = P_STR, .words = PARAM_SECRET,
	  .summary = "what argv and undo read; \"secret:NAME\" keeps it out of the record" },
	{ .name = "timeout", .type = P_DURATION, .dflt = "10m", .min = 1, .max = 86400000,
	  .summary = "end it after this time" },
	{ .name = NULL },
};

/* Owned array, borrowed strings. */
static const char **words(const json_t *list)
{
	const char **out = mem_alloc((json_array_size(list) + 1) * sizeof(*out));
	json_t *word;
	size_t i;

	json_array_foreach(list, i, word)
		out[i] = json_is_string(word) ? json_string_value(word) : "";
	return out;
}

/* The exit status; -1 with e when it did not run to its end. */
static int run(struct ctx *c, const char *which, const char *evidence, struct err *e)
{
	AUTO_FREE const char **argv = words(jget(ctx_args(c), which));
	const char *input = evidence ? jstr(ctx_args(c), "stdin", NULL) : NULL;
	struct proc p = { .argv = argv, .max_output = EVIDENCE_MAX,
			  .timeout_ms = (unsigned)jint(ctx_args(c), "timeout", 600000),
			  .input = input, .input_len = input ? strlen(input) : 0,
			  .stopped = ctx_stopped, .arg = c };
	int status;

	proc_run(&p, e);
	status = p.timed_out || p.status > 128 ? -1 : p.status;
	if (evidence && p.out.len + p.err.len) {
		str_addn(&p.out, p.err.s ? p.err.s : "", p.err.len);
		ctx_evidence(c, evidence, p.out.s, p.out.len);
	}
	proc_free(&p);
	return status;
}

static bool has(struct ctx *c, const char *which)
{
	return json_array_size(jget(ctx_args(c), which)) > 0;
}

static int probe(struct ctx *c, enum probe_state *state)
{
	AUTO_FREE const char **argv = words(jget(ctx_args(c), "argv"));
	AUTO_FREE char *text = proc_argv_text(argv);
	AUTO_ERR e = {0};
	int status = ctx_kept(c, "ran", NULL) ? 0 : 1;

	if (has(c, "probe"))
		status = run(c, "probe", NULL, &e);
	if (status != 0 && status != 1) {
		ctx_hint(c, "its probe exits 0 when it is done and 1 when it is not");
		return ctx_fail_err(c, &e);
	}
	if (status == 1)
		ctx_change(c, '~', "run %s", text);
	ctx_stable(c, "done", json_boolean(status == 0));
	*state = status == 0 ? STATE_DONE : STATE_ABSENT;
	return 0;
}

static int apply(struct ctx *c)
{
	AUTO_ERR e = {0};

	if (run(c, "argv", "output", &e) != 0)
		return ctx_fail_err(c, &e);
	return has(c, "probe") ? 0 : ctx_keep(c, "ran", "yes", 3);
}

static int undo(struct ctx *c)
{
	AUTO_ERR e = {0};

	if (!has(c, "undo")) {
		ctx_log(c, "nothing to undo: the step names no `undo`");
		return 0;
	}
	return run(c, "undo", "undo", &e) == 0 ? 0 : ctx_fail_err(c, &e);
}

const struct module module_any_command = {
	.name = "any.command",
	.summary = "run a program by its argv",
	.place = ON_AT,
	.flags = MOD_REVERSIBLE | MOD_TOGETHER,
	.params = params,
	.probe = probe,
	.apply = apply,
	.undo = undo,
};
