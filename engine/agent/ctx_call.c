/* SPDX-License-Identifier: Apache-2.0
 * ctx - run one call: probe, apply, undo, hold or mend of one module, and send its RESULT.
 */
#include "engine/agent/ctx.h"
#include "engine/agent/epoch.h"

#include "engine/base/mem.h"
#include "engine/wire/frame.h"

#include <string.h>

static int no_such(struct ctx *c, const struct module *m, const char *op)
{
	ctx_fail(c, "cannot %s '%s': the module has no such operation", op,
		 m->name);
	return -1;
}

static bool needs_stream(const struct module *m, const char *op)
{
	return m->place == ON_BOTH && (strcmp(op, "apply") == 0 || strcmp(op, "mend") == 0);
}

static int run_op(struct ctx *c, const struct module *m, const char *op,
		  const char **state_name)
{
	enum probe_state state = STATE_UNKNOWN;

	if (strcmp(op, "probe") == 0) {
		if (!m->probe)
			return no_such(c, m, op);
		if (m->probe(c, &state) < 0)
			return -1;
		*state_name = probe_state_names[state];
		return 0;
	}
	if (epoch_claim(c) < 0)
		return -1;
	if (needs_stream(m, op) && !c->stream)
		return ctx_fail(c, "cannot %s '%s': there is no other end", op, m->name);
	if (strcmp(op, "apply") == 0)
		return m->apply ? m->apply(c) : no_such(c, m, op);
	if (strcmp(op, "undo") == 0)
		return m->undo ? m->undo(c) : no_such(c, m, op);
	if (strcmp(op, "hold") == 0)
		return m->hold ? m->hold(c) : no_such(c, m, op);
	if (strcmp(op, "mend") == 0)
		return m->mend ? m->mend(c) : no_such(c, m, op);
	return no_such(c, m, op);
}

/* The engine sent an apply on an answer that may be old: unless the probe still gives it,
 * nothing is done. NULL: go on. */
static json_t *moved(const struct ctx *c, const struct module *m)
{
	const json_t *judged = json_object_get(c->input, "judged");
	AUTO_JSON *now = NULL;
	struct ctx *first;
	const char *state = NULL;
	int rc;

	if (!judged)
		return NULL;
	first = ctx_next(c);
	rc = run_op(first, m, "probe", &state);
	now = ctx_result(first, rc == 0, state);
	ctx_free(first);
	if (rc == 0 && json_equal(now, judged))
		return NULL;
	return ctx_result_error("moved", "it is not as it was when it was asked", NULL);
}

/* What the probe says now that an apply ended well. NULL: the engine has to ask, with the
 * facts that were told or after what went wrong. */
static json_t *probe_after(const struct ctx *c, const struct module *m)
{
	struct ctx *next;
	const char *state = NULL;
	json_t *result = NULL;

	if (strcmp(jstr(c->input, "then", ""), "probe") || json_object_size(c->facts) > 0)
		return NULL;
	next = ctx_next(c);
	if (run_op(next, m, "probe", &state) == 0 && !ctx_cancelled(next))
		result = ctx_result(next, true, state);
	ctx_free(next);
	return result;
}

/* The RESULT to the agent; one that does not fit is an error, but for the want of what
 * the engine can ask for itself. */
static int tell(const struct ctx *c, json_t *result)
{
	AUTO_JSON *error = NULL;
	AUTO_ERR e = { 0 };

	if (frame_write_fd(c->fd, FRAME_RESULT, c->step, result, NULL) == 0)
		return 0;
	json_object_del(result, "after");
	if (frame_write_fd(c->fd, FRAME_RESULT, c->step, result, &e) == 0)
		return 0;
	error = ctx_result_error("failed", e.what, NULL);
	frame_write_fd(c->fd, FRAME_RESULT, c->step, error, NULL);
	return -1;
}

int ctx_call(struct ctx *c, const char *module, const char *op)
{
	const struct module *m = module_named(module);
	const char *state = NULL;
	AUTO_JSON *result = NULL;
	json_t *after = NULL;
	int rc;

	if (m && strcmp(op, "apply") == 0 && (result = moved(c, m)) != NULL)
		return tell(c, result) < 0 ? -1 : 0;
	if (m)
		rc = run_op(c, m, op, &state);
	else
		rc = ctx_fail(c, "cannot run '%s': this agent has no such module",
			      module);
	if (rc < 0 && !c->text && ctx_cancelled(c))
		ctx_set_failure(c, "cancelled", 0, "stopped");
	result = ctx_result(c, rc == 0, state);
	if (rc == 0 && strcmp(op, "apply") == 0)
		after = probe_after(c, m);
	if (after)
		jset(result, "after", after);
	return tell(c, result) < 0 || rc < 0 ? -1 : 0;
}
