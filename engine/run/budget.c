/* SPDX-License-Identifier: Apache-2.0
 * budget - what the plan lets streams take: over all of them, at each host, over each link,
 * and of the disks of each source. Shares change when a stream begins or ends, when the
 * hour does, and when one takes more or less than before; each sending end is told its own.
 */
#include "engine/run/hosts.h"
#include "engine/run/op.h"

#include "engine/base/share.h"
#include "engine/base/text.h"

#include <stdlib.h>
#include <time.h>

/* Indices of limits: one over all, one for each host, one for each host's disks, one for
 * each link. */
#define ALL 0
static size_t of_host(uint32_t h)
{
	return 1 + h;
}

static size_t of_disks(const struct run *r, uint32_t h)
{
	return 1 + r->plan->host_count + h;
}

static size_t of_link(const struct run *r, uint32_t link)
{
	return 1 + 2 * (size_t)r->plan->host_count + link;
}

/* The first link that leads from one to the other; -1: none. */
static int link_between(const struct run *r, uint32_t a, uint32_t b)
{
	const struct plan *p = r->plan;
	const char *x = p->hosts[a].name, *y = p->hosts[b].name;

	for (uint32_t i = 0; i < p->limits.link_count; i++) {
		const char *const *ends = p->limits.links[i].hosts;

		if ((text_glob(ends[0], x) && text_glob(ends[1], y)) ||
		    (text_glob(ends[0], y) && text_glob(ends[1], x)))
			return (int)of_link(r, i);
	}
	return -1;
}

static int minute_now(const struct run *r)
{
	time_t t = (time_t)run_wall(r);
	struct tm tm;

	return localtime_r(&t, &tm) ? tm.tm_hour * 60 + tm.tm_min : 0;
}

uint64_t budget_bandwidth(const struct run *r)
{
	return plan_rate_at(&r->plan->limits.bandwidth, minute_now(r));
}

static uint64_t *limits_now(const struct run *r, size_t *n)
{
	const struct plan *p = r->plan;
	int minute = minute_now(r);
	uint64_t *v;

	*n = of_link(r, p->limits.link_count);
	v = mem_alloc(*n * sizeof(*v));
	v[ALL] = budget_bandwidth(r);
	for (uint32_t h = 0; h < p->host_count; h++) {
		v[of_host(h)] = plan_rate_at(&p->hosts[h].bandwidth, minute);
		v[of_disks(r, h)] = plan_rate_at(&p->limits.read, minute);
	}
	for (uint32_t i = 0; i < p->limits.link_count; i++)
		v[of_link(r, i)] = plan_rate_at(&p->limits.links[i].bandwidth, minute);
	return v;
}

static bool on_one_machine(const struct run *r, uint32_t a, uint32_t b)
{
	return a == b || (r->plan->hosts[a].local && r->plan->hosts[b].local);
}

/* It has a stream, and moves something through it. */
static bool takes_part(const struct op *o)
{
	return o->relay && !o->finished && !o->ahead;
}

static struct share_user *users_of(const struct run *r, size_t *n, bool disks)
{
	struct share_user *v;
	size_t at = 0;

	*n = 0;
	for (const struct op *o = r->ops; o; o = o->next)
		*n += takes_part(o);
	v = mem_alloc((*n + 1) * sizeof(*v));
	for (const struct op *o = r->ops; o; o = o->next) {
		uint32_t a = o->end[0].host, b = o->end[1].host;

		if (!takes_part(o))
			continue;
		v[at] = (struct share_user){ .limit = { -1, -1, -1, -1 } };
		if (disks) {
			/* in a cutover the source serves nobody: the sooner the better; and
			 * a backup is no source */
			v[at].limit[0] = o->step->phase == PHASE_CUTOVER ||
				o->module->near_end ? -1 : (int)of_disks(r, a);
			v[at].want = o->reads.want;
		} else if (!on_one_machine(r, a, b)) {
			v[at].limit[0] = ALL;
			v[at].limit[1] = (int)of_host(a);
			v[at].limit[2] = (int)of_host(b);
			v[at].limit[3] = link_between(r, a, b);
			v[at].want = o->sends.want;
		}
		at++;
	}
	return v;
}

static void on_hour(void *arg)
{
	struct run *r = arg;

	r->budget_timer = NULL;
	budget_changed(r);
}

static bool has_hours(const struct plan_rates *r)
{
	return r->count > 0 && (r->count > 1 || plan_rate_at(r, 0) == 0 ||
				r->v[0].from != 0 || r->v[0].to != 24 * 60);
}

/* Look again when the next minute begins, if the plan knows hours. */
static void watch_clock(struct run *r, bool streams)
{
	bool hours = has_hours(&r->plan->limits.bandwidth) || has_hours(&r->plan->limits.read);

	for (uint32_t h = 0; h < r->plan->host_count; h++)
		hours |= has_hours(&r->plan->hosts[h].bandwidth);
	for (uint32_t i = 0; i < r->plan->limits.link_count; i++)
		hours |= has_hours(&r->plan->limits.links[i].bandwidth);
	if (!streams || !hours) {
		loop_timer_del(r->budget_timer);
		r->budget_timer = NULL;
	} else if (!r->budget_timer) {
		r->budget_timer = loop_timer_add(r->loop,
			(uint64_t)(60 - run_wall(r) % 60) * 1000, on_hour, r);
	}
}

void budget_changed(struct run *r)
{
	size_t limit_count, n, at = 0;
	AUTO_FREE uint64_t *limits = limits_now(r, &limit_count);
	AUTO_FREE struct share_user *links = users_of(r, &n, false), *disks = users_of(r, &n, true);

	share_out(limits, limit_count, links, n);
	share_out(limits, limit_count, disks, n);
	for (struct op *o = r->ops; o; o = o->next) {
		if (!takes_part(o))
			continue;
		hosts_pace(r, o->end[0].host, &o->end[0].call,
			   (struct pace_rates){ links[at].rate, disks[at].rate });
		at++;
	}
	watch_clock(r, n > 0);
}

void budget_heard(struct op_end *end, const json_t *progress)
{
	struct op *o = end->op;
	const struct pace_rates *share = &end->call.pace;
	int64_t sent = jint(progress, "sent", -1), read = jint(progress, "read", -1);
	uint64_t now = loop_now(o->r->loop);
	bool other = false;

	if (!o->relay || end != &o->end[0])
		return;
	if (sent >= 0 && share->send)
		other |= demand_learn(&o->sends, now, (uint64_t)sent, share->send);
	if (read >= 0 && share->read)
		other |= demand_learn(&o->reads, now, (uint64_t)read, share->read);
	if (other)
		budget_changed(o->r);
}
