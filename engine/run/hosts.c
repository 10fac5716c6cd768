/* SPDX-License-Identifier: Apache-2.0
 * hosts - one connection for each host that a run needs, made when the first call
 * wants it and made again when it was lost. Calls wait meanwhile.
 */
#include "engine/run/hosts.h"
#include "engine/run/op.h"
#include "engine/run/record.h"
#include "engine/run/report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum link_state {
	LINK_IDLE,		/* not wanted yet, or lost and not wanted since */
	LINK_OPENING,		/* connecting, or waiting to try again */
	LINK_READY,
	LINK_GONE,		/* given up; `why` says the reason */
	LINK_CLOSED,
};

struct run_host {
	struct run *r;
	uint32_t index;
	struct host *h;			/* NULL, or perhaps dead (freed at the next try) */
	enum link_state state;
	bool was_ready;			/* once in this run */
	bool noted;			/* its notes were told */
	bool met;			/* a connection that is over had proven who is there */
	bool hoped_silent;		/* nothing is wrong with it when it does not answer */
	bool patient;			/* this series of tries waits for a booting host */
	int tries;			/* since it was last ready */
	uint64_t since_ms;		/* the first of them */
	struct call **wait;		/* calls to start once it is ready */
	size_t wait_count, wait_cap;
	struct err why;
};

void hosts_init(struct run *r)
{
	r->hosts = mem_alloc((r->plan->host_count + 1) * sizeof(*r->hosts));
	for (uint32_t h = 0; h < r->plan->host_count; h++) {
		r->hosts[h].r = r;
		r->hosts[h].index = h;
	}
}

static void tell(struct run_host *rh, const char *state, const struct err *e)
{
	json_t *o = json_object();

	jset_str(o, "host", rh->r->plan->hosts[rh->index].name);
	jset_str(o, "state", state);
	if (e && err_is(e)) {
		jset_str(o, "error", e->what);
		jset_str(o, "hint", e->hint);
	}
	report(rh->r, "host", o);
}

/* ---- secrets ------------------------------------------------------------------- */

static const char *host_secret(const void *plan, const char *ref, struct err *e)
{
	return plan_secret(plan, ref, e);
}

void run_host_secrets(struct host *h, const struct plan *p)
{
	h->secret = host_secret;
	h->secrets = p;
}

/* ---- calls that wait -------------------------------------------------------------- */

static void fail_waiting(struct run_host *rh, const char *kind)
{
	struct call **wait = rh->wait;
	size_t n = rh->wait_count;
	AUTO_FREE char *text = mem_printf("host '%s': %s",
		rh->r->plan->hosts[rh->index].name,
		rh->why.what ? rh->why.what : "not reachable");
	AUTO_JSON *result = frame_failure(kind, text, rh->why.hint);

	rh->wait = NULL;
	rh->wait_count = rh->wait_cap = 0;
	for (size_t i = 0; i < n; i++)
		wait[i]->on_result(wait[i], result, wait[i]->arg);
	free(wait);
}

static void fail_gone(void *arg)
{
	struct run_host *rh = arg;

	if (rh->state == LINK_GONE)
		fail_waiting(rh, "down");
}

static void queue(struct run_host *rh, struct call *c)
{
	rh->wait = mem_grow(rh->wait, rh->wait_count, &rh->wait_cap, sizeof(*rh->wait));
	rh->wait[rh->wait_count++] = c;
}

/* ---- the connection --------------------------------------------------------------- */

/* Once in a run. */
static void tell_notes(struct run_host *rh)
{
	json_t *one;
	size_t i;

	json_array_foreach(rh->noted ? NULL : rh->h->notes, i, one)
		report_log(rh->r, NULL, NULL, "host %s: %s", rh->r->plan->hosts[rh->index].name,
			   json_string_value(one));
	rh->noted = true;
}

static void on_ready(struct host *h, void *arg)
{
	struct run_host *rh = arg;
	struct call **wait = rh->wait;
	size_t n = rh->wait_count;

	rh->state = LINK_READY;
	rh->was_ready = true;
	rh->tries = 0;
	tell(rh, "ready", NULL);
	tell_notes(rh);
	rh->wait = NULL;
	rh->wait_count = rh->wait_cap = 0;
	for (size_t i = 0; i < n; i++)
		h->ops->start(h, wait[i]);
	free(wait);
}

static bool passing(int sys)
{
	return sys == ECONNREFUSED || sys == ETIMEDOUT || sys == EHOSTUNREACH ||
	       sys == ENETUNREACH || sys == ECONNRESET || sys == EPIPE;
}

/* Whether another try may help. A preview does not keep people waiting. */
static bool worth_trying(const struct run_host *rh)
{
	if (rh->patient && rh->r->stops < 2)
		return loop_now(rh->r->loop) - rh->since_ms < PATIENCE_MS;
	if (run_stopping(rh->r) || run_is_preview(rh->r))
		return false;
	/* while nobody is served a minute is dear */
	if (rh->was_ready && (rh->r->kind == RUN_GO || rh->r->kind == RUN_SYNC))
		return loop_now(rh->r->loop) - rh->since_ms < AWAY_MS;
	return rh->tries < ATTEMPTS && (rh->was_ready || passing(rh->why.sys));
}

static void open_link(void *arg);

/* A source that was proven off has every right to be silent. */
static bool is_switched_off(const struct run_host *rh)
{
	const struct run *r = rh->r;

	for (uint32_t m = 0; m < r->plan->machine_count; m++) {
		if (!r->machines[m].in || r->plan->machines[m].source_host != rh->index)
			continue;
		for (uint32_t i = r->graph->first[m]; i < r->graph->first[m + 1]; i++)
			if (step_switches_off(r->graph->nodes[i].step) &&
			    meta_finished(r, &r->machines[m], i))
				return true;
	}
	return false;
}

static void tell_down(struct run_host *rh)
{
	if (!rh->hoped_silent && (rh->wait_count > 0 || !is_switched_off(rh)))
		tell(rh, "down", &rh->why);
	else if (!rh->hoped_silent || rh->tries == 0)	/* once */
		tell(rh, "off", NULL);
}

static void on_down(struct host *h, struct err *e, void *arg)
{
	struct run_host *rh = arg;
	int shift;

	if (rh->state == LINK_CLOSED)
		return;
	rh->met = rh->met || h->met;
	err_clear(&rh->why);
	err_move(&rh->why, e);
	run_err_final(rh->r->plan, &rh->why);
	tell_down(rh);
	if (rh->tries++ == 0)
		rh->since_ms = loop_now(rh->r->loop);
	if (rh->wait_count == 0) {
		rh->state = LINK_IDLE;
		return;
	}
	if (!worth_trying(rh)) {
		rh->state = LINK_GONE;
		fail_waiting(rh, "down");
		return;
	}
	rh->state = LINK_OPENING;
	shift = rh->tries - 1 < 4 ? rh->tries - 1 : 4;
	run_later(rh->r, (uint64_t)BACKOFF_MS << shift, open_link, rh);
}

static void on_closed(struct host *h, void *arg)
{
	struct run_host *rh = arg;

	(void)h;
	rh->state = LINK_CLOSED;
}

static void open_link(void *arg)
{
	struct run_host *rh = arg;
	const struct plan_host *ph = &rh->r->plan->hosts[rh->index];

	if (rh->state == LINK_CLOSED)
		return;
	host_free(rh->h);
	rh->h = NULL;
	err_clear(&rh->why);
	rh->state = LINK_OPENING;
	tell(rh, "connecting", NULL);
	rh->h = rh->r->seams->make_host(rh->r->loop, ph->name, ph->spec);
	run_host_secrets(rh->h, rh->r->plan);
	rh->h->on_ready = on_ready;
	rh->h->on_down = on_down;
	rh->h->on_closed = on_closed;
	rh->h->arg = rh;
	rh->h->ops->open(rh->h);
}

/* Going back a source may just have been switched on: once, a host that was given
 * up is waited for as long as a boot takes. */
static bool reopen(struct run_host *rh)
{
	if (rh->state == LINK_IDLE) {
		rh->patient = rh->r->backward;
		return true;
	}
	if (rh->state == LINK_GONE && rh->r->backward && !rh->patient) {
		rh->patient = true;
		rh->tries = 0;
		return true;
	}
	return false;
}

void hosts_start(struct run *r, uint32_t host, struct call *c)
{
	struct run_host *rh = &r->hosts[host];

	if (rh->state == LINK_READY) {
		rh->h->ops->start(rh->h, c);
		return;
	}
	queue(rh, c);
	if (reopen(rh)) {
		rh->state = LINK_OPENING;
		run_later(r, 0, open_link, rh);
	} else if (rh->state == LINK_GONE) {
		run_later(r, 0, fail_gone, rh);
	}
}

bool hosts_up(const struct run *r, uint32_t host)
{
	return r->hosts[host].state == LINK_READY;
}

const char *hosts_boot(const struct run *r, uint32_t host)
{
	return hosts_up(r, host) ? jstr(r->hosts[host].h->hello, "boot", NULL) : NULL;
}

void hosts_hope_silent(struct run *r, uint32_t host, bool hope)
{
	struct run_host *rh = &r->hosts[host];

	rh->hoped_silent = hope;
	if (!hope)
		return;
	rh->met = false;
	if (rh->state == LINK_GONE && rh->wait_count == 0) {
		rh->state = LINK_IDLE;
		rh->tries = 0;
	}
}

bool hosts_met(const struct run *r, uint32_t host)
{
	const struct run_host *rh = &r->hosts[host];

	return rh->met || (rh->state == LINK_OPENING && rh->h && rh->h->met);
}

void hosts_stop_call(struct run *r, uint32_t host, struct call *c)
{
	struct run_host *rh = &r->hosts[host];

	for (size_t i = 0; i < rh->wait_count; i++)
		if (rh->wait[i] == c) {
			AUTO_JSON *result = frame_failure("cancelled", "stopped before "
							 "it began", NULL);
			rh->wait[i] = rh->wait[--rh->wait_count];
			c->on_result(c, result, c->arg);
			return;
		}
	if (rh->state == LINK_READY)
		rh->h->ops->stop(rh->h, c);
}

void hosts_go(struct run *r, uint32_t host, struct call *c)
{
	struct run_host *rh = &r->hosts[host];

	c->ahead = false;
	if (rh->state == LINK_READY)
		rh->h->ops->go(rh->h, c);
}

void hosts_pace(struct run *r, uint32_t host, struct call *c, struct pace_rates pace)
{
	struct run_host *rh = &r->hosts[host];

	if (c->pace.send == pace.send && c->pace.read == pace.read)
		return;
	c->pace = pace;
	if (rh->state == LINK_READY)
		rh->h->ops->pace(rh->h, c);
}

void hosts_ack(struct run *r, uint32_t host, struct call *c, int64_t ack, bool answer)
{
	struct run_host *rh = &r->hosts[host];

	c->answer = answer;
	if (rh->state == LINK_READY)
		rh->h->ops->ack(rh->h, c, ack);
}

static bool closing(const struct run *r)
{
	for (uint32_t h = 0; h < r->plan->host_count; h++)
		if (r->hosts[h].h && r->hosts[h].state == LINK_READY)
			return true;
	return false;
}

static void ring(void *arg)
{
	*(bool *)arg = true;
}

void hosts_close(struct run *r)
{
	bool late = false;
	struct loop_timer *timer = loop_timer_add(r->loop, 5000, ring, &late);

	for (uint32_t h = 0; h < r->plan->host_count; h++) {
		struct run_host *rh = &r->hosts[h];

		if (rh->state == LINK_READY)
			rh->h->ops->close(rh->h);
		else
			rh->state = LINK_CLOSED;
	}
	while (!late && closing(r))
		loop_turn(r->loop, 200);
	if (!late)
		loop_timer_del(timer);
}

void hosts_free(struct run *r)
{
	for (uint32_t h = 0; r->hosts && h < r->plan->host_count; h++) {
		host_free(r->hosts[h].h);
		free(r->hosts[h].wait);
		err_clear(&r->hosts[h].why);
	}
	free(r->hosts);
	r->hosts = NULL;
}
