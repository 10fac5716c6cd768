/* SPDX-License-Identifier: Apache-2.0
 * relay - the two ends of a two-ended step are joined: on one machine, directly, or through
 * the engine.
 */
#include "engine/host/relay_impl.h"

#include "engine/base/mem.h"
#include "engine/host/direct.h"
#include "engine/host/link.h"
#include "engine/host/shut.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct relay *relay_new(struct loop *loop)
{
	struct relay *r = mem_alloc(sizeof(*r));

	r->loop = loop;
	r->way = WAY_RELAY;
	for (int i = 0; i < 2; i++)
		r->ends[i] = (struct end){ .relay = r, .fd = -1 };
	return r;
}

void relay_way(struct relay *r, enum stream_way way,
	       void (*told)(void *arg, bool direct, const char *how), void *arg)
{
	r->way = way;
	r->told = told;
	r->told_arg = arg;
}

void relay_knows(struct relay *r, struct shut *s)
{
	r->shut = s;
}

static const char *name_of(const struct relay *r, int end)
{
	return link_host_name(r->ends[end].party.link);
}

void relay_free(struct relay *r)
{
	if (!r)
		return;
	loop_timer_del(r->again);
	direct_free(r->direct);
	for (int i = 0; i < 2; i++) {
		relay_end_close(&r->ends[i]);
		free(r->ends[i].buf);
	}
	free(r);
}

uint64_t relay_bytes(const struct relay *r)
{
	return r->bytes;
}

/* ---- joining --------------------------------------------------------------------------- */

/* Give one half of a new socketpair away, keep the other. */
static void give_half(struct end *e)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
		e->broken = true;
		return;
	}
	e->fd = pair[0];
	relay_end_open(e);
	e->party.give(e->party.arg, e->party.id, pair[1]);
}

static void open_end(struct relay *r, int i)
{
	struct end *e = &r->ends[i];

	if (e->party.give)
		give_half(e);
	else
		e->party.open(e->party.arg, e->party.id, r, i);
}

/* Through the engine. */
static void open_ends(struct relay *r)
{
	open_end(r, 0);
	open_end(r, 1);
	relay_pump(r);
}

static void tell(struct relay *r, bool direct, const char *how)
{
	if (r->told)
		r->told(r->told_arg, direct, how);
}

/* There is no other way: both calls end. */
static void give_up(struct relay *r, const char *how)
{
	for (int i = 0; i < 2; i++) {
		struct relay_party *p = &r->ends[i].party;
		AUTO_ERR e = { 0 };

		err_set(&e, ERR_SYSTEM, "cannot open a direct stream: %s", how);
		err_hint(&e, "open TCP between the two hosts (hosts: data names address and "
			 "ports), or say stream: auto");
		link_stream_failed(p->link, p->id, &e);
	}
}

/* Not directly. */
static void go_through(struct relay *r, const char *why, const char *when)
{
	AUTO_FREE char *how = mem_printf(RELAY_INSTEAD ": %s%s", why, when);

	tell(r, false, how);
	open_ends(r);
}

static void on_met(void *arg, bool up, const char *how)
{
	struct relay *r = arg;

	r->meeting = false;
	if (up) {
		tell(r, true, how);
		for (int i = 0; i < 2; i++) {
			link_run(r->ends[i].party.link, r->ends[i].party.id);
			link_opened(r->ends[i].party.link, r->ends[i].party.id);
		}
	} else if (r->way == WAY_DIRECT) {
		give_up(r, how);
	} else {
		if (r->shut)
			shut_add(r->shut, name_of(r, 0), name_of(r, 1), how, loop_now(r->loop));
		go_through(r, how, "");
	}
}

/* Both halves are for this machine. */
static bool join_here(struct relay *r)
{
	struct end *a = &r->ends[0], *b = &r->ends[1];
	AUTO_FREE char *how = NULL;
	int pair[2];

	if (!a->party.give || !b->party.give ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return false;
	a->party.give(a->party.arg, a->party.id, pair[0]);
	b->party.give(b->party.arg, b->party.id, pair[1]);
	how = a->party.link == b->party.link ?
		mem_printf("directly on '%s', from process to process", name_of(r, 0)) :
		mem_printf("directly from '%s' to '%s', from process to process", name_of(r, 0),
			   name_of(r, 1));
	tell(r, true, how);
	return true;
}

static void start(struct relay *r)
{
	struct end *a = &r->ends[0], *b = &r->ends[1];
	struct relay_party party[2] = { a->party, b->party };
	const char *why;

	r->started = true;
	if (join_here(r))
		return;
	if (r->way == WAY_RELAY) {
		tell(r, false, "through the engine, as the plan says");
		open_ends(r);
		return;
	}
	why = r->way == WAY_AUTO && r->shut ?
		shut_why(r->shut, name_of(r, 0), name_of(r, 1), loop_now(r->loop)) : NULL;
	if (why) {
		go_through(r, why, " (tried before)");
		return;
	}
	r->meeting = true;
	r->direct = direct_begin(r->loop, party, r->way == WAY_AUTO ? DIRECT_AUTO_MS :
				 DIRECT_ONLY_MS, on_met, r);
}

/* The other end is gone for good: this one sees the end of its stream. */
static void end_alone(struct end *e)
{
	relay_end_finish(e);
	relay_end_close(e);
}

void relay_join(struct relay *r, int end, const struct relay_party *p)
{
	struct end *e = &r->ends[end & 1], *other = &r->ends[!(end & 1)];

	e->party = *p;
	e->joined = true;
	if (other->joined)
		start(r);
	else if (other->broken)
		relay_broken(r, !(end & 1));
}

void relay_opened(struct relay *r, int end, const struct relay_pipe *pipe, void *arg)
{
	struct end *e = &r->ends[end & 1];

	e->pipe = pipe;
	e->pipe_arg = arg;
	relay_end_open(e);
	if (r->ends[!(end & 1)].broken)
		end_alone(e);
	else
		relay_pump(r);
}

void relay_ready(struct relay *r, int end)
{
	(void)end;
	relay_pump(r);
}

void relay_heard(struct relay *r, int end, const json_t *body)
{
	if (r->meeting)
		direct_heard(r->direct, end, body);
}

void relay_broken(struct relay *r, int end)
{
	struct end *e = &r->ends[end & 1], *other = &r->ends[!(end & 1)];
	bool waits = other->joined && (!r->started || r->meeting);

	e->broken = true;
	if (r->meeting) {
		r->meeting = false;
		direct_cancel(r->direct);
		r->direct = NULL;
	}
	relay_end_close(e);
	if (waits) {
		r->started = true;
		open_end(r, !(end & 1));
	}
	if (other->open)
		end_alone(other);
}
