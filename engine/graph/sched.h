/* SPDX-License-Identifier: Apache-2.0
 * sched - who may run now, and why not. A data structure only: it knows no host,
 * no clock and no state; run/ takes nodes from it and tells it how they ended.
 *
 * A machine's nodes run one after another. A machine takes a place in a phase when
 * its first node of that phase is taken, and gives it back when the last one has
 * ended; `limits.PHASE` counts these places. `limits.host` counts long nodes by
 * host. Ready nodes are taken in the order in which they became ready; equal plans
 * and equal endings give equal orders. All operations cost O(log n) at most,
 * except sched_why().
 */
#ifndef DROVER_SCHED_H
#define DROVER_SCHED_H

#include "engine/graph/graph.h"

struct sched_options {
	const bool *machines;	/* by machine: takes part; NULL: all do */
	int lo, hi;		/* phases that take part, both included */
	bool free_run;		/* no limits, and no machine waits for another (preview) */
	/* The hosts on which a long node works; UINT32_MAX: none. NULL: no node
	 * counts on any host. */
	void (*hosts)(void *arg, uint32_t node, uint32_t host[2]);
	void *arg;
};

enum sched_state {
	SCHED_OUT,		/* takes no part */
	SCHED_WAITING,		/* for other nodes */
	SCHED_READY,
	SCHED_PARKED,		/* ready, but a limit is reached */
	SCHED_RUNNING,
	SCHED_DONE,
	SCHED_FAILED,
};

struct sched;
struct sched *sched_new(const struct graph *g, const struct sched_options *o);
void sched_free(struct sched *s);		/* NULL is harmless */

/* Take the next node that may run; it is RUNNING then. UINT32_MAX: none now. */
uint32_t sched_next(struct sched *s);
void sched_done(struct sched *s, uint32_t node);
/* The machine stops here: what waits for it is never ready. */
void sched_failed(struct sched *s, uint32_t node);

enum sched_state sched_state_of(const struct sched *s, uint32_t node);
uint32_t sched_running(const struct sched *s);	/* how many run now */
/* "waits for convert.disks", "waits for machine 'erp-db', which is not done", "waits:
 * 4 machines are in convert (limits.convert: 4)". Caller frees. */
char *sched_why(const struct sched *s, uint32_t node);

#endif
