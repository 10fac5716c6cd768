/* SPDX-License-Identifier: Apache-2.0
 * flight - the calls in flight on a link: started, stopped, each told its result once.
 */
#include "engine/host/link_impl.h"

#include "engine/host/relay.h"

#include <string.h>

static struct flight *flight_of(struct link *l, uint32_t id)
{
	struct flight *f;

	for (f = l->flights; f && f->call->id != id; f = f->next)
		;
	return f;
}

static void flight_free(struct flight *f)
{
	for (struct flight **at = &f->link->flights; *at; at = &(*at)->next)
		if (*at == f) {
			*at = f->next;
			break;
		}
	json_decref(f->early);
	free(f);
}

void flights_free(struct link *l)
{
	while (l->flights) {
		struct flight *f = l->flights;

		if (f->call->relay && !f->sent)
			relay_broken(f->call->relay, f->call->relay_end);
		flight_free(f);
	}
}

/* ---- results ------------------------------------------------------------------------ */

/* The call is over: tell it and forget it. Steals the result. */
static void finish(struct flight *f, json_t *result)
{
	struct call *c = f->call;
	AUTO_JSON *held = result;

	if (c->relay && !f->sent) {
		AUTO_JSON *drop = json_pack("{s:b}", "drop", 1);

		link_stream(f->link, c->id, drop);
		relay_broken(c->relay, c->relay_end);
	}
	c->impl = NULL;
	flight_free(f);
	c->on_result(c, held, c->arg);
}

/* End the call on the loop's next turn. Steals. */
static void finish_soon(struct flight *f, json_t *result)
{
	json_decref(f->early);
	f->early = result;
	link_soon(f->link);
}

static struct flight *next_early(struct link *l)
{
	struct flight *f;

	for (f = l->flights; f && !f->early; f = f->next)
		;
	return f;
}

static struct flight *next_opened(struct link *l)
{
	struct flight *f;

	for (f = l->flights; f && (!f->opened || f->early); f = f->next)
		;
	return f;
}

void flights_tell(struct link *l)
{
	struct flight *f;

	while ((f = next_early(l)))
		finish(f, json_incref(f->early));
	while ((f = next_opened(l))) {
		f->opened = false;
		f->call->on_open(f->call, f->call->arg);
	}
}

void flights_lose(struct link *l, const char *text)
{
	while (l->flights) {
		struct flight *f = l->flights;

		if (f->early)
			finish(f, json_incref(f->early));
		else
			finish(f, frame_failure("lost", text, NULL));
	}
}

int flight_on_event(struct link *l, struct frame *f, struct err *e)
{
	struct flight *fl = flight_of(l, f->step);

	(void)e;
	if (fl && f->body && !fl->early && fl->call->on_event)
		fl->call->on_event(fl->call, f->body, fl->call->arg);
	return 0;
}

int flight_on_result(struct link *l, struct frame *f, struct err *e)
{
	struct flight *fl = flight_of(l, f->step);

	(void)e;
	if (fl && f->body && !fl->early)
		finish(fl, json_incref(f->body));
	return 0;
}

int flight_on_stream(struct link *l, struct frame *f, struct err *e)
{
	struct flight *fl = flight_of(l, f->step);

	(void)e;
	if (fl && f->body && !fl->early && fl->call->relay)
		relay_heard(fl->call->relay, fl->call->relay_end, f->body);
	return 0;
}

/* ---- for the transport --------------------------------------------------------------- */

static json_t *pace_json(const struct call *c)
{
	json_t *pace = json_object();

	jset_int(pace, "send", (int64_t)c->pace.send);
	jset_int(pace, "read", (int64_t)c->pace.read);
	return pace;
}

/* Both ends of its stream are known, or it has none: off it goes. */
static void send_run(struct flight *f)
{
	struct call *c = f->call;
	AUTO_JSON *body = json_object();
	AUTO_ERR e = { 0 };

	jset_str(body, "module", c->module);
	jset_str(body, "op", c->op);
	jset(body, "input", c->input ? json_incref(c->input) : json_object());
	jset_bool(body, "stream", c->relay != NULL);
	jset_int(body, "timeout_ms", (int64_t)c->timeout_ms);
	if (c->relay)
		jset(body, "pace", pace_json(c));
	if (link_send(f->link, FRAME_RUN, c->id, body, &e) < 0)
		finish_soon(f, frame_failure("failed", e.what, NULL));
	else
		f->sent = true;
}

void link_run(struct link *l, uint32_t call_id)
{
	struct flight *f = flight_of(l, call_id);

	if (f && !f->sent && !f->early && !f->call->ahead)
		send_run(f);
}

void link_opened(struct link *l, uint32_t call_id)
{
	struct flight *f = flight_of(l, call_id);

	if (!f || !f->call->ahead || f->early)
		return;
	f->opened = true;
	link_soon(l);
}

void link_stream(struct link *l, uint32_t call_id, const json_t *body)
{
	if (l->state == LINK_READY)
		link_send(l, FRAME_STREAM, call_id, body, NULL);
}

void link_stream_failed(struct link *l, uint32_t call_id, struct err *why)
{
	struct flight *f = flight_of(l, call_id);

	if (f && !f->early) {
		link_send(l, FRAME_STOP, call_id, NULL, NULL);
		finish_soon(f, frame_failure("failed", why->what, why->hint));
	}
	err_clear(why);
}

void link_op_start(struct link *l, struct call *c)
{
	struct flight *f = mem_alloc(sizeof(*f));
	struct relay_party party = { 0 };

	f->link = l;
	f->call = c;
	f->next = l->flights;
	l->flights = f;
	c->id = ++l->last_id;
	c->impl = f;
	if (l->state != LINK_READY) {
		finish_soon(f, frame_failure("lost", "the host is not connected", NULL));
	} else if (!c->relay) {
		send_run(f);
	} else {
		l->ops->party(l->transport, c, &party);
		party.link = l;
		relay_join(c->relay, c->relay_end, &party);
	}
}

void link_op_ack(struct link *l, struct call *c, int64_t ack)
{
	AUTO_JSON *body = json_object();

	if (!c->impl || l->state == LINK_DOWN)
		return;
	jset_int(body, "ack", ack);
	jset_bool(body, "answer", c->answer);
	link_send(l, FRAME_ACK, c->id, body, NULL);
}

void link_op_pace(struct link *l, struct call *c)
{
	struct flight *f = c->impl;
	AUTO_JSON *body = json_object();

	if (!f || !f->sent || l->state != LINK_READY)
		return;		/* RUN will say it */
	jset(body, "pace", pace_json(c));
	link_send(l, FRAME_STREAM, c->id, body, NULL);
}

void link_op_go(struct link *l, struct call *c)
{
	struct flight *f = c->impl;

	(void)l;
	c->ahead = false;
	if (f && !f->sent && !f->early)
		send_run(f);
}

void link_op_stop(struct link *l, struct call *c)
{
	struct flight *f = c->impl;

	if (!f || f->early)
		return;
	if (f->sent)
		link_send(l, FRAME_STOP, c->id, NULL, NULL);
	else
		finish_soon(f, frame_failure("cancelled", "stopped before it was begun", NULL));
}
