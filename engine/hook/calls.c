/* SPDX-License-Identifier: Apache-2.0
 * calls - what a check asks of hosts, made by the engine on its behalf. A check waits
 * for one answer at a time.
 */
#include "engine/hook/hook_priv.h"

#include <stdlib.h>
#include <string.h>

#define CALLS_MAX 10000		/* of one check */

struct asked {
	struct hook *h;		/* NULL: the check is over, the answer goes nowhere */
	struct call call;
	int64_t id;
};

/* What a check may ask. Those that only read are probes, and all there is for one. A
 * fetch is made beside the engine, in a process of its own. */
static const struct { const char *name, *module, *op; } calls[] = {
	{ "read", "call.read", "probe" }, { "stat", "call.stat", "probe" },
	{ "list", "call.list", "probe" }, { "connect", "call.connect", "probe" },
	{ "exec", "call.exec", "apply" }, { "fetch", NULL, "probe" },
};

static void on_call_event(struct call *c, const json_t *event, void *arg)
{
	(void)c;
	(void)event;
	(void)arg;
}

static void answer(struct hook *h, int64_t id, const json_t *result)
{
	AUTO_JSON *o = json_object();

	jset_int(o, "id", id);
	jset_bool(o, "ok", jbool(result, "ok", false));
	if (jbool(result, "ok", false))
		json_object_set(o, "result", jget(result, "volatile"));
	else
		jset_str(o, "error", jstr(result, "error.text", "no reason given"));
	hook_send(h, FRAME_ACK, o);
}

static void on_call_result(struct call *c, const json_t *result, void *arg)
{
	struct asked *a = arg;

	if (a->h) {
		a->h->asked = NULL;
		answer(a->h, a->id, result);
	}
	json_decref(c->input);
	free(a);
}

static int find_call(const struct hook *h, const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(calls); i++)
		if (strcmp(calls[i].name, name) == 0 &&
		    (strcmp(calls[i].op, "probe") == 0 || strcmp(h->c->op, "probe") != 0))
			return (int)i;
	return -1;
}

void calls_start(struct hook *h, const json_t *ev)
{
	int i = find_call(h, jstr(ev, "call", ""));
	struct asked *a;

	if (i < 0 || h->asked) {
		hook_finish(h, hook_failure("failed", NULL, "%s: a call that does not exist",
					    h->name));
		return;
	}
	if (++h->calls > CALLS_MAX) {
		hook_finish(h, hook_failure("failed", NULL, "%s: more than %d calls", h->name,
					    CALLS_MAX));
		return;
	}
	a = mem_alloc(sizeof(*a));
	a->h = h;
	a->id = jint(ev, "id", 0);
	a->call = (struct call){ .module = calls[i].module, .op = calls[i].op,
		.timeout_ms = h->timeout_ms, .on_event = on_call_event,
		.on_result = on_call_result, .arg = a };
	a->call.input = json_object();
	json_object_set(a->call.input, "args", jget(ev, "args"));
	h->asked = a;
	if (calls[i].module)
		h->env.start_call(h->env.arg, jstr(ev, "at", "source"), &a->call);
	else
		hook_fetch(h, &a->call);
}

void calls_forget(struct hook *h)
{
	struct asked *a = h->asked;

	if (!a)
		return;
	a->h = NULL;
	h->asked = NULL;
	if (!a->call.module)
		hook_stop(&a->call);
}
