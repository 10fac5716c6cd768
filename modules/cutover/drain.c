/* SPDX-License-Identifier: Apache-2.0
 * cutover.drain - stop the named services of the running source, so that nothing is
 * written that the last pass would have to leave behind. Undo starts again those that
 * ran.
 */
#include "engine/base/mem.h"
#include "engine/base/proc.h"
#include "modules/module.h"

#include <string.h>

#define STOP_MS 300000

static const struct param params[] = {
	{ .name = "services", .type = P_LIST,
	  .summary = "systemd units to stop, in this order; none: nothing to drain" },
	{ .name = NULL },
};
static const char *const tools[] = { "systemctl", NULL };

static int systemctl(struct ctx *c, const char *verb, const char *unit, unsigned ms,
		     struct err *e)
{
	const char *const argv[] = { "systemctl", verb, "--", unit, NULL };
	struct proc p = { .argv = argv, .timeout_ms = ms, .stopped = ctx_stopped, .arg = c };
	int rc = proc_run(&p, e);

	proc_free(&p);
	return rc;
}

/* A call that was stopped must not believe it. */
static bool is_active(struct ctx *c, const char *unit)
{
	return systemctl(c, "is-active", unit, 30000, NULL) == 0;
}

static int need_systemctl(struct ctx *c, const json_t *units)
{
	AUTO_FREE char *tool = proc_which("systemctl");

	return json_array_size(units) == 0 || tool ? 0 : ctx_need_tool(c, "systemctl");
}

static int probe(struct ctx *c, enum probe_state *state)
{
	const json_t *units = jget(ctx_args(c), "services"), *unit;
	json_t *active = json_array();
	size_t i;

	ctx_stable(c, "active", active);
	if (need_systemctl(c, units) < 0)
		return -1;
	json_array_foreach(units, i, unit) {
		const char *name = json_string_value(unit);

		if (!is_active(c, name))
			continue;
		ctx_change(c, '~', "service %s: stopped", name);
		jadd(active, json_string(name));
	}
	if (ctx_cancelled(c))
		return -1;
	if (json_array_size(units) == 0)
		ctx_change(c, '=', "nothing to drain");
	*state = json_array_size(active) == 0 ? STATE_DONE :
		 json_array_size(active) < json_array_size(units) ? STATE_PARTIAL : STATE_ABSENT;
	return 0;
}

/* Those that ran when the first attempt began. */
static json_t *were_active(struct ctx *c, const json_t *units)
{
	json_t *list = json_array(), *unit;
	size_t i;

	json_array_foreach(units, i, unit)
		if (is_active(c, json_string_value(unit)))
			json_array_append(list, unit);
	return list;
}

static int apply(struct ctx *c)
{
	const json_t *units = jget(ctx_args(c), "services"), *unit;
	AUTO_JSON *active = NULL;
	AUTO_FREE char *text = NULL;
	size_t i;

	if (need_systemctl(c, units) < 0)
		return -1;
	active = were_active(c, units);
	if (ctx_cancelled(c))
		return -1;
	text = json_canonical(active);
	if (ctx_keep(c, "active", text, strlen(text)) < 0)
		return -1;
	json_array_foreach(active, i, unit) {
		AUTO_ERR e = {0};

		ctx_progress(c, i, json_array_size(active), "services", json_string_value(unit));
		if (systemctl(c, "stop", json_string_value(unit), STOP_MS, &e) < 0)
			return ctx_fail_err(c, &e);
	}
	return 0;
}

static int undo(struct ctx *c)
{
	size_t n = 0, i;
	const char *kept = ctx_kept(c, "active", &n);
	AUTO_ERR e = {0};
	AUTO_JSON *active = kept ? json_parse(kept, n, &e) : NULL;

	if (kept && !active)
		return ctx_fail_err(c, &e);
	for (i = json_array_size(active); i-- > 0;) {	/* last stopped, first started */
		const char *unit = json_string_value(json_array_get(active, i));

		if (unit && systemctl(c, "start", unit, STOP_MS, &e) < 0)
			return ctx_fail_err(c, &e);
	}
	return 0;
}

const struct module module_cutover_drain = {
	.name = "cutover.drain",
	.summary = "stop the named services of the source",
	.place = ON_SOURCE,
	.flags = MOD_REVERSIBLE | MOD_TOGETHER,
	.params = params,
	.tools = tools,
	.probe = probe,
	.apply = apply,
	.undo = undo,
};
