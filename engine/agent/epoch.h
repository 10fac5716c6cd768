/* SPDX-License-Identifier: Apache-2.0
 * epoch - which engine may change this host. Each run of a plan has an epoch, higher than
 * the one before; the host remembers the highest for each state, by its lineage, in a tmpfs:
 *
 *	/run/drover-epochs/LINEAGE.PLAN	{epoch, run, holder, agents: [{pid, started, host}]}
 *
 * An engine that sleeps through another's take-over, or works on an old copy of the state,
 * is refused. Of a run that it replaces the steps still at work are ended and waited for:
 * every step holds a record lock on the byte of its epoch for as long as it lives.
 *
 * A run whose connection was lost comes back with a new agent, while the one before may not
 * know of the loss and its steps are at work: the agents before it of the same host of the plan
 * are ended and waited for too. Two hosts of a plan may be one machine: their agents do not mind
 * each other.
 */
#ifndef DROVER_EPOCH_H
#define DROVER_EPOCH_H

#include "engine/agent/ctx.h"

/* In a step's process, before it changes anything. 0: it may, and holds its epoch until the
 * process ends. -1: refused, or older steps do not end; already told. */
int epoch_claim(struct ctx *c);
/* In the agent, of a step that was stopped: the RESULT that says which newer run has taken
 * the host over, or NULL when none has. `run` as in the step's input. Caller owns. */
json_t *epoch_lost(const json_t *run);

#endif
