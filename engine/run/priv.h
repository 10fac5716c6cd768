/* SPDX-License-Identifier: Apache-2.0
 * run/priv - the run and its machines. What its files share beside stands in hosts.h, op.h,
 * record.h, step.h, preview.h, back.h and report.h; nobody outside of run/ includes these.
 *
 *   run.c       a run from start to end: picks the machines, turns the loop
 *   hosts.c     connections: made when first needed, made again when lost
 *   place.c     where a step's calls go
 *   input.c     what a call is given
 *   op.c        one operation (probe, apply, undo) at its one or two ends
 *   op_stream.c which way the bytes of a two-ended one go
 *   budget.c    what its streams may take
 *   final.c     what comes from hosts, without secrets
 *   events.c    what comes while an operation runs
 *   owner.c     whose word a fact is
 *   merge.c     two ends' results made one
 *   facts.c     facts, conditions, findings and waivers
 *   record.c    every record that goes to the journal
 *   phase.c     entering a phase: all its steps are asked
 *   step.c      one step forward: probe, intent, apply, probe, outcome
 *   ahead.c     the last pass's stream, open before the source stands still
 *   mend.c      what an earlier step brought over, brought over again
 *   held.c      is the source sure to stand still until it is off
 *   alive.c     does it still answer when it is said to be off
 *   outcome.c   how a step ends: recorded, reported, or back out of the cutover
 *   figures.c   what a cutover cost
 *   undo.c      one machine backward: rollback and the back-out of a cutover
 *   rebuild.c   a tree made of the probes' answers, compared with the one before
 *   rollback.c  all machines backward; what going back would lose
 *   resume.c    what the state says of a machine; what may go on
 *   preview.c   the run that only probes
 *   estimate.c  how long it will take
 *   bound.c     what a line marked '?' admits
 *   saved.c     a preview as a document; does the world still fit it
 *   sync.c      further passes while the source serves
 *   cleanup.c   the ledger's temporary things; finalize
 *   report.c    what leaves as events
 *   next.c      what to type now
 *
 * Everything runs on the loop's thread. A job is whatever keeps the run from being
 * over: a step, a machine on its way back, a thing being cleaned up. Jobs end through
 * their own callbacks and count themselves down in run->jobs.
 */
#ifndef DROVER_RUN_PRIV_H
#define DROVER_RUN_PRIV_H

#include "engine/graph/sched.h"
#include "engine/run/run.h"

#define ATTEMPTS 3			/* of a step that was lost */
#define BACKOFF_MS 1000			/* before the second attempt; then doubled */
#define AWAY_MS 120000u		/* a host that was there once comes back */
#define PATIENCE_MS 300000u		/* a source that is switched on again boots */

struct run;

/* ---- machines ---------------------------------------------------------------------- */

struct mach {
	struct run *r;
	uint32_t index;
	const char *name;
	bool in;			/* takes part in this run */
	bool failed;			/* stopped; what waits for it does not start */
	bool left_out;			/* selected, but there is nothing to do for it */
	char *absent;			/* why it takes no part, to be told; owned or NULL */
	bool blocked;			/* by a finding; told already */
	bool fell_back;			/* its streams do not go directly; told already */
	bool serving;			/* meta says the target serves, or may */
	int entered;			/* the last phase whose steps were all asked; -1 */
	uint64_t still_at, down_at;	/* this run's clock: since then its source stands still,
					   and nobody serves; 0: not by this run */
	json_t *facts;			/* NAME -> {stable, volatile, phase, step}; owned */
	uint64_t facts_gen;		/* raised when a fact changes */
	uint64_t world_gen;		/* raised when a step was applied or undone */
	json_t *findings;		/* array of {severity, code, text, remedy, step,
					   waived}; owned */
	json_t *told;			/* array of those told by this run; NULL: none */
};

/* How long something will take; all 0: no time. */
struct estimate {
	uint64_t ms;			/* as likely less as more */
	uint64_t ms90;			/* less in nine of ten cases */
	uint32_t samples;		/* it was measured so often; 0: assumed */
};

/* What is known of a node in this run. */
struct known {
	json_t *answer;			/* the last probe's result; owned or NULL */
	json_t *evidence;		/* what came with it; owned or NULL */
	uint64_t facts_gen, world_gen;	/* of the machine, when it was asked */
	struct estimate estimate;	/* of a preview */
	uint64_t amount;		/* bytes that its time depends on; of a preview */
	bool foretold;			/* its probe told its time: amount is what it will bring */
	bool estimated;
};

/* ---- the run ----------------------------------------------------------------------- */

struct run {
	const struct plan *plan;
	const struct graph *graph;
	struct state *state;
	const struct run_seams *seams;
	const struct run_options *o;
	struct loop *loop;
	enum run_kind kind;		/* what is being done now */
	bool writes;			/* records go to the state */
	bool mute;			/* nothing is reported (asking for a saved preview) */
	bool backward;			/* hosts may be booting: wait for them */
	bool fenced;			/* a host was taken over by another run: all ends */
	int lo, hi;			/* phases that take part */
	int jobs;			/* what is under way */
	int stops;			/* interrupts already seen */
	uint64_t began_ms;
	enum err_kind status;
	struct sched *sched;
	struct mach *machines;
	struct known *known;		/* by node */
	struct run_host *hosts;
	struct op *ops;			/* all that run */
	struct asking *askings;		/* of alive.c */
	struct shut *shut;		/* pairs of hosts that cannot meet directly */
	struct hook_pool *pool;		/* of checks */
	struct loop_timer *budget_timer;	/* until shares are looked at again, or NULL */
	struct later *laters;		/* timers that have not fired */
	json_t *counts;
	uint64_t bytes;
	struct estimate whole;		/* of a preview */
	uint32_t measured, assumed;	/* steps of it with samples, and without */
	json_t *doc;			/* the preview being written down, or NULL */
	char doc_hash[65];		/* of the saved preview this run is held to */
	uint32_t *waits;		/* going back: by machine, for how many others */
	struct err *err;		/* the caller's */
	char *next;			/* what to type, or NULL; owned */
};

/* The nodes of this run; free_run as in sched.h. New. */
struct sched *run_sched(struct run *r, bool free_run);
/* "drover run PLAN" -> "drover run erp.yaml"; new, or NULL when it says no such thing. */
char *run_name_plan(const char *hint, const char *file);
/* "convert.disks"; new. */
char *step_key(const struct plan_step *s);
bool run_is_preview(const struct run *r);
bool run_stopping(const struct run *r);
bool run_has_cutover(const struct run *r);	/* any machine of the run has such steps */
/* At the end of a run that nobody told more: what its kind and outcome suggest. */
void next_say(struct run *r);
/* What a command that follows has after its verb: the plan, and the machines that this run was
 * for, since a switch of all is not what follows a run of one. Owned. */
char *next_typed(const struct run *r);
/* The same, for what is said of one machine. Owned. */
char *next_typed_of(const struct run *r, const struct mach *m);
void run_next(struct run *r, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* Keep the first error for the caller; moves e. */
void run_error(struct run *r, struct err *e);
int64_t run_wall(const struct run *r);
/* Run fn(arg) from the loop after ms. */
void run_later(struct run *r, uint64_t ms, void (*fn)(void *arg), void *arg);

#endif
