/* SPDX-License-Identifier: Apache-2.0
 * run - the only place that sees graph, hosts and state together. A preview is a
 * run that only probes; rollback is a run that undoes.
 *
 * All that a person or a program sees of it leaves as report events (JSON
 * objects, engine/README.md "report events"); screen and --json only render them.
 */
#ifndef DROVER_RUN_H
#define DROVER_RUN_H

#include "engine/base/err.h"
#include "engine/base/loop.h"
#include "engine/graph/graph.h"
#include "engine/host/host.h"
#include "engine/state/state.h"

#include <stdbool.h>

enum run_kind {
	RUN_PREVIEW,		/* probe everything up to validate; change nothing */
	RUN_GO,			/* up to and including validate (or --until) */
	RUN_CUTOVER,		/* the cutover phase */
	RUN_CUTOVER_PREVIEW,
	RUN_ROLLBACK,		/* to before `phase` (PHASE_ASSESS: the start) */
	RUN_ROLLBACK_PREVIEW,
	RUN_SYNC,		/* further passes while the source serves */
	RUN_CLEANUP,		/* remove what the ledger calls temporary */
	RUN_FINALIZE,		/* merge overlays, drop undo material */
};

struct run_seams {
	struct loop *loop;
	/* host_new, or a fake's */
	struct host *(*make_host)(struct loop *l, const char *name,
				  const json_t *spec);
	/* A check: like host_ops.start, but in the engine. NULL: engine/hook, whose
	 * calls on hosts then go through this run's connections. */
	void (*start_check)(void *arg, struct call *c);
	/* Stop such a check; NULL: it cannot be stopped. */
	void (*stop_check)(void *arg, struct call *c);
	/* Ask a person; 1 yes, 0 no, -1 nobody there. NULL: nobody. */
	int (*ask)(void *arg, const char *question);
	/* The same without waiting, used instead when given: the hosts are served while
	 * a person thinks. answered(who, 1 | 0 | -1) comes from the loop, once, and not
	 * after run_plan() has returned. */
	void (*ask_later)(void *arg, const char *question,
			  void (*answered)(void *who, int answer), void *who);
	/* Every report event; borrowed. */
	void (*report)(void *arg, const json_t *event);
	void *arg;
};

struct run_options {
	enum run_kind kind;
	const char *selector;		/* --machine; NULL: all */
	int only, until;		/* phases, or -1 */
	int phase;			/* rollback to before this phase */
	bool discard_target_writes;
	bool keep;			/* sync goes on until it is interrupted */
	const json_t *saved;		/* the saved preview to hold the run to, or NULL */
};

/* Runs the loop until done. Returns the exit status (enum err_kind as int); e
 * holds what is worth saying beyond the steps' own reported errors. When `saved`
 * is wanted from a preview, *preview_out receives the document (caller owns). */
int run_plan(const struct plan *p, const struct graph *g, struct state *s,
	     const struct run_seams *seams, const struct run_options *o,
	     json_t **preview_out, struct err *e);
/* Would it take the machines that `o` chooses? Nothing is asked of a host, nothing written.
 * 0, or -1 with why not: before a person is asked to confirm what is refused anyway. */
int run_admits(const struct plan *p, const struct graph *g, struct state *s,
	       struct loop *l, const struct run_options *o, struct err *e);
/* SIGINT/SIGTERM: first call stops scheduling and lets steps reach a safe point,
 * second call cancels them. Async-signal-safe. */
void run_interrupt(void);

/* What to type once a cutover has begun, both to go on and to go back: `over`, all of its
 * steps are done; `serves` is whom the record names; `typed`, the plan and its options. New. */
char *run_after_cutover(const char *typed, const char *serves, bool over);

/* Let the host have the plan's secrets: before it is opened. */
void run_host_secrets(struct host *h, const struct plan *p);
/* Say it to a person of this plan: secrets taken out, and its file where a hint says
 * "drover VERB PLAN". */
void run_err_final(const struct plan *p, struct err *e);

#endif
