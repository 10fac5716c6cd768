/* SPDX-License-Identifier: Apache-2.0
 * call.exec - run a program by its argv. What it changes is the program's affair
 * and cannot be undone from here; never part of a preview.
 *
 * volatile: {status, out, err, timed_out}; a status other than 0 is an answer.
 */
#include "engine/base/mem.h"
#include "engine/base/proc.h"
#include "modules/lib/netns.h"
#include "modules/lib/tools.h"
#include "modules/module.h"

#include <string.h>

#define OUTPUT_MAX (1u << 20)

static const struct param params[] = {
	{ .name = "argv", .type = P_ARGV, .required = true,
	  .summary = "the program and its arguments; no shell" },
	{ .name = "input", .type = P_STR, .summary = "what it reads from stdin" },
	{ .name = "timeout", .type = P_DURATION, .dflt = "60s", .min = 1,
	  .max = 86400000, .summary = "ended after this time" },
	{ .name = "netns", .type = P_STR,
	  .summary = "run it in this network namespace" },
	{ .name = NULL },
};

static const char **argv_of(const json_t *list)
{
	size_t n = json_array_size(list);
	const char **argv = mem_alloc((n + 1) * sizeof(*argv));

	for (size_t i = 0; i < n; i++)
		argv[i] = json_string_value(json_array_get(list, i));
	return argv;
}

static int check_argv(struct ctx *c, const json_t *list)
{
	const json_t *item;
	size_t i;

	if (json_array_size(list) == 0)
		return ctx_fail(c, "cannot run a program: argv is empty");
	json_array_foreach(list, i, item)
		if (!json_is_string(item))
			return ctx_fail(c, "cannot run a program: argv holds something that is no text");
	return 0;
}

static void tell(struct ctx *c, const struct proc *p)
{
	ctx_volatile(c, "status", json_integer(p->status));
	ctx_volatile(c, "out", jtext(p->out.s ? p->out.s : "", p->out.len));
	ctx_volatile(c, "err", jtext(p->err.s ? p->err.s : "", p->err.len));
	ctx_volatile(c, "timed_out", json_boolean(p->timed_out));
}

static int apply(struct ctx *c)
{
	const json_t *args = ctx_args(c), *list = json_object_get(args, "argv");
	char fence[80];
	const char *netns = netns_wanted(c, fence);
	const char *input = jstr(args, "input", NULL);
	AUTO_FREE const char **argv = NULL;
	AUTO_FREE char *found = NULL;
	AUTO_FD ns = -1;
	AUTO_ERR e = { 0 };
	struct proc p = { 0 };
	bool ran;

	if (check_argv(c, list) < 0)
		return -1;
	if (netns && (ns = netns_open(c, netns)) < 0)
		return -1;
	argv = argv_of(list);
	found = strchr(argv[0], '/') ? mem_strdup(argv[0]) : proc_which(argv[0]);
	if (!found)
		return ctx_need_tool(c, argv[0]);
	p.argv = (const char *const *)argv;
	p.input = input;
	p.input_len = input ? strlen(input) : 0;
	p.timeout_ms = (unsigned)jint(args, "timeout", 60000);
	p.max_output = OUTPUT_MAX;
	p.netns_fd = ns;
	p.stopped = ctx_stopped;
	p.arg = c;
	p.status = -1;
	ran = (proc_run(&p, &e) == 0 || p.status >= 0) && !ctx_cancelled(c);
	if (ran)
		tell(c, &p);
	proc_free(&p);
	return ran ? 0 : ctx_fail_err(c, &e);
}

static int probe(struct ctx *c, enum probe_state *state)
{
	const json_t *list = json_object_get(ctx_args(c), "argv");
	AUTO_FREE const char **argv = NULL;
	AUTO_FREE char *text = NULL;

	if (check_argv(c, list) < 0)
		return -1;
	argv = argv_of(list);
	text = proc_argv_text((const char *const *)argv);
	ctx_change(c, '+', "run %s", text);
	*state = STATE_ABSENT;
	return 0;
}

const struct module module_call_exec = {
	.name = "call.exec",
	.summary = "run a program",
	.place = ON_AT,
	.params = params,
	.probe = probe,
	.apply = apply,
};
