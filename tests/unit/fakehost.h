/* SPDX-License-Identifier: Apache-2.0
 * fakehost - hosts that exist only in memory, for tests of engine/run: virtual time,
 * a pretend world of numbers, and faults that strike at the k-th boundary.
 *
 * The world lies in shared memory, so that it outlives an engine that is killed: a
 * test forks, the child runs the engine and dies at a boundary, the parent looks.
 */
#ifndef DROVER_TEST_FAKEHOST_H
#define DROVER_TEST_FAKEHOST_H

#include "engine/run/run.h"
#include "modules/module.h"

enum fault {
	FAULT_NONE,
	FAULT_KILL,		/* the engine dies: _exit(FAKE_KILLED) */
	FAULT_LOSE,		/* the connection is lost; calls end as "lost" */
	FAULT_FAIL,		/* the call fails */
};
#define FAKE_KILLED 99

/* What a module of the pretend world does: it turns one number of the world. */
struct fake_rule {
	const char *module;
	const char *role;	/* at this end (or NULL: at any); other ends do nothing */
	const char *var;	/* "b.disk"; NULL: nothing is turned */
	int to;			/* what apply makes it; half way it is -1 */
	const char *fact;	/* told by the probe once done (or by one without a var) */
	bool unknown_without;	/* says unknown unless it was given all it wants */
	const char *known_after;	/* says unknown until this var is turned */
	const char *finding;	/* a blocker of this code, always */
	bool finding_now;	/* ... that is of the moment */
	const char *finding_unlike;	/* ... where the other end tells another `since`; or NULL */
	const char *notices;	/* a warning of this code, told by apply at `role` */
	const char *ledger;	/* a temporary thing of this name, while it runs */
	const char *leaves;	/* the kind of that thing, when it stays behind */
	bool live;		/* fact machine says that the source runs from its own disk */
	bool by_fact;		/* done only while it is given the fact it told */
	bool evidence;
	bool ask;		/* asks a person before it does anything */
	bool ran;		/* nothing tells that it is done but what was kept */
	const char *bound;	/* of its '?' line: "send" or "changes"; NULL: none */
	int64_t bound_max;
	uint64_t send, write;	/* what its probe says apply costs, until it is done */
	uint64_t reads;		/* what the other end's probe says apply reads, done or not */
	bool asks_only;		/* its probe never knows; apply asks and is content */
	int held_ms;		/* hold: told, when it is not 0 */
	int slow_ms;		/* what apply takes */
	const char *still;	/* apply tells that the source stands still, so */
	const char *harm;	/* while this var is above 0 apply finds damaged what it needs;
				   a mend of who has the same takes one away */
	uint64_t takes;		/* bytes a second that it sends meanwhile, if it may */
};

struct fake_var { char name[24]; int value; };
struct fake_seen { char module[32], role[16]; int probed, probes, applies, undos; };

struct fake_world {
	struct fake_var vars[32];
	struct fake_seen seen[64];
	enum fault fault;
	int countdown;			/* the fault strikes when this comes to 0 */
	int boundaries;			/* passed so far */
	bool down[8];			/* by first letter of the host's name, 'a' = 0 */
	bool mute[8];			/* so too: it answers no call */
	bool keyed[8];			/* a new connection gets no further than its key */
	uint64_t paces[32];		/* told to sending ends, in order */
	uint64_t reads[32];		/* and how fast they may read */
	int pace_count;
	enum { STREAMS, NO_STREAM, SILENT_STREAM } streams;	/* that are opened ahead */
	int open_ahead;			/* ends of streams that wait for their step */
	char broken[200];		/* the first invariant that was broken */
};

struct fake {
	struct fake_world *w;		/* shared */
	const struct fake_rule *rules;	/* end with .module == NULL */
	struct clock_fake clock;
	struct loop *loop;
	struct json_t *events;		/* all report events, array */
	bool boundary_at_reports;	/* the engine's own events count too */
	int64_t later_s;		/* by so much the next engine begins later */
	int64_t wall_s;			/* by so much its clock on the wall was set */
	const char *boot;		/* of the engine's machine; NULL: always the same */
	int answer;			/* to what is asked: 1, 0, -1 nobody */
	const char *since;		/* what probes at a source tell as such; or NULL */
	const struct json_t *input;	/* of the call that begins; borrowed */
	/* Before each call begins: a test may turn the world. NULL: nobody does. */
	void (*on_call)(struct fake *f, const char *module, const char *op);
};

struct fake *fake_new(const struct fake_rule *rules);
void fake_free(struct fake *f);
/* The engine's memory is gone; the world stays. */
void fake_restart(struct fake *f);
struct run_seams fake_seams(struct fake *f);

int fake_get(const struct fake *f, const char *var);
void fake_set(struct fake *f, const char *var, int value);
void fake_strike(struct fake *f, enum fault fault, int at);
int fake_applies(const struct fake *f, const char *module);
int fake_probes(const struct fake *f, const char *module);
/* The text of the k-th event with t == type whose `key` is `value` (NULL: any). */
const json_t *fake_event(const struct fake *f, const char *type, const char *key,
			 const char *value);
int fake_events(const struct fake *f, const char *type, const char *key,
		const char *value);

/* A plan with fake steps: made from text by plan_load, steps put in by hand. */
struct fake_step {
	const char *machine;
	enum phase phase;
	const char *id;
	const struct module *module;
	const char *const *needs;
	const char *when;
	const char *at;
};
struct fake_plan {
	struct plan *plan;
	struct graph *graph;
	struct plan_step *steps;
	const struct plan_step **lists;
	char dir[64];			/* temporary; holds plan and state */
	char state_dir[80];
};
/* steps end with .machine == NULL, machine by machine, in order. Fails the test when
 * the plan is wrong. */
void fake_plan_make(struct fake_plan *p, const char *text, const struct fake_step *steps);
void fake_plan_free(struct fake_plan *p);	/* removes the directory too */

#endif
