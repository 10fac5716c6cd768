/* SPDX-License-Identifier: Apache-2.0
 * run/preview - what would happen, how long it will take, and does a saved preview still hold.
 */
#ifndef DROVER_RUN_PREVIEW_H
#define DROVER_RUN_PREVIEW_H

#include "engine/run/step.h"

void preview_node(struct run *r, uint32_t node);
/* Report what a probe said it would change; counts them. */
void preview_show(struct run *r, struct mach *m, uint32_t node, const json_t *result);

/* ---- saved previews ---------------------------------------------------------------- */

void saved_begin(struct run *r);			/* a document to fill */
void saved_add(struct run *r, struct mach *m, uint32_t node, const json_t *result);
json_t *saved_finish(struct run *r);			/* new */
/* Before a run: does the document fit plan, build and state. -1 with e. */
int saved_check(struct run *r, struct err *e);
/* At a step's turn: are its changes those that were saved. -1 with e. */
int saved_holds(const struct run *r, const struct mach *m, uint32_t node,
		const json_t *result, struct err *e);
/* Compare what was just asked with the document. -1 with e. */
int saved_compare(const struct run *r, struct err *e);

/* ---- bounds ------------------------------------------------------------------------ */

/* "at most 4.0 GiB to read": of a '?' line; new. */
char *bound_text(const json_t *line);
/* How many lines the '?' of a step {changes, cost, state} admit beside those said. */
int64_t bound_admits(const json_t *step);
/* Does the step {changes, cost, state} as it would be done now stay within what it said
 * then? `new_lines` of its changes were not said. -1 with *how (caller frees). */
int bound_holds(const json_t *then, const json_t *now, int64_t new_lines, char **how);

/* ---- estimates --------------------------------------------------------------------- */

/* Bytes that the time of the step depends on that gave this answer; 0: none, or not known. */
uint64_t estimate_amount(const json_t *result);
/* How long it will take. */
struct estimate estimate_step(const struct run *r, uint32_t node, const json_t *result);
/* All nodes together, by their estimates, under the plan's limits. */
struct estimate estimate_all(struct run *r);
/* Report how long each machine will be served by nobody, and what the plan allows. */
void estimate_downtime(struct run *r);
/* Put down with its outcome how long a step took. */
void estimate_learn(struct rec *c, const struct job *j);

/* Note with the outcome of a cutover's step what that cost by now. */
void figures_note(struct rec *c, struct job *j);

#endif
