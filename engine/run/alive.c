/* SPDX-License-Identifier: Apache-2.0
 * alive - does a host still answer that is said to be switched off? Asked over its
 * connection, if that still stands, or else a new one. Silence is what is hoped for, and
 * proves nothing by itself; an answer proves that it is on.
 */
#include "engine/run/hosts.h"
#include "engine/run/op.h"

#include <stdlib.h>
#include <string.h>

#define ASK_MS 2000		/* for the agent that answered all the time */
#define LOGIN_MS 5000		/* for a new connection up to the host's key */

struct asking {
	struct run *r;
	uint32_t host;
	struct call call;
	struct loop_timer *timer;	/* until silence will do, or NULL */
	bool anew;			/* over a new connection */
	/* NULL once it was told: the call may still be under way. */
	void (*told)(void *arg, enum alive how, const char *boot);
	void *arg;
	struct asking *next, **link;	/* in run->askings */
};

static void unlink_free(struct asking *a)
{
	*a->link = a->next;
	if (a->next)
		a->next->link = a->link;
	loop_timer_del(a->timer);
	json_decref(a->call.input);
	free(a);
}

void alive_free(struct run *r)
{
	while (r->askings)
		unlink_free(r->askings);
}

static void tell(struct asking *a, bool answered)
{
	void (*told)(void *, enum alive, const char *) = a->told;

	a->told = NULL;
	loop_timer_del(a->timer);
	a->timer = NULL;
	hosts_hope_silent(a->r, a->host, false);
	told(a->arg, answered ? ALIVE_AGENT : a->anew && hosts_met(a->r, a->host) ?
	     ALIVE_KEY : ALIVE_SILENT, answered ? hosts_boot(a->r, a->host) : NULL);
}

static void begin(void *arg);

/* Whatever an agent says, it is there. The old connection may have ended for another
 * reason: a new one tells more. */
static void on_result(struct call *c, const json_t *result, void *arg)
{
	struct asking *a = arg;
	const char *kind = result_kind(result);
	bool none = !result_ok(result) && (!strcmp(kind, "lost") || !strcmp(kind, "down") ||
					   !strcmp(kind, "cancelled"));

	(void)c;
	if (a->told && !a->anew && !strcmp(kind, "lost")) {
		run_later(a->r, 0, begin, a);
		return;
	}
	if (a->told)
		tell(a, !none);
	unlink_free(a);
}

static void on_event(struct call *c, const json_t *event, void *arg)
{
	(void)c;
	(void)event;
	(void)arg;
}

static void on_late(void *arg)
{
	struct asking *a = arg;

	a->timer = NULL;
	tell(a, false);
	hosts_stop_call(a->r, a->host, &a->call);	/* may end it at once */
}

static void begin(void *arg)
{
	struct asking *a = arg;

	if (!a->told) {
		unlink_free(a);
		return;
	}
	loop_timer_del(a->timer);
	a->anew = !hosts_up(a->r, a->host);
	hosts_hope_silent(a->r, a->host, true);
	a->timer = loop_timer_add(a->r->loop, a->anew ? LOGIN_MS : ASK_MS, on_late, a);
	hosts_start(a->r, a->host, &a->call);
}

static json_t *input(struct run *r, uint32_t host)
{
	json_t *in = json_pack("{s:{}, s:{}, s:{}, s:{}, s:s}", "args", "machine", "facts",
			       "kept", "role", "source");

	jset(in, "run", input_run(r, host, NULL));
	return in;
}

void alive_ask(struct run *r, uint32_t host,
	       void (*told)(void *arg, enum alive how, const char *boot), void *arg)
{
	struct asking *a = mem_alloc(sizeof(*a));

	*a = (struct asking){ .r = r, .host = host, .told = told, .arg = arg,
			      .next = r->askings, .link = &r->askings };
	if (a->next)
		a->next->link = &a->next;
	r->askings = a;
	a->call = (struct call){ .module = "call.hello", .op = "probe", .input = input(r, host),
				 .on_event = on_event, .on_result = on_result, .arg = a };
	begin(a);
}
