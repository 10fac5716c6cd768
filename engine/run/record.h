/* SPDX-License-Identifier: Apache-2.0
 * run/record - what the state is told and what it says: facts, findings, records.
 */
#ifndef DROVER_RUN_RECORD_H
#define DROVER_RUN_RECORD_H

#include "engine/run/priv.h"

/* ---- facts, findings --------------------------------------------------------------- */

json_t *facts_merged(const json_t *facts, const char *const *names); /* NULL: all; new */
/* Take the facts of a result. Returns the names that came, new array. */
json_t *facts_absorb(struct mach *m, uint32_t node, const json_t *result);
/* The same, told by something that is no step of the plan. */
json_t *facts_absorb_as(struct mach *m, enum phase phase, const char *key,
			const json_t *result);
/* Replace what the step had found; true when that is something else. */
bool findings_absorb(struct run *r, struct mach *m, const char *step_key,
		     const json_t *result);
/* The step is asked anew: what it found is not held against it. */
void findings_forget(struct mach *m, const char *step_key);
/* What the step found, but for what this run has told of the machine already. */
void findings_report(struct run *r, struct mach *m, const char *step_key);
/* What a finding says to do, with the plan's and the machine's names in it; NULL: nothing. Owned. */
char *findings_remedy(const struct run *r, const struct mach *m, const json_t *row);
/* Report what was found by something that is no step of the plan and has no record: but for
 * the rows of `known`, told before. The rows, new. */
json_t *findings_tell(struct run *r, struct mach *m, const char *key, const json_t *result,
		      const json_t *known);
/* The first finding of severity blocker that is not waived, of `step_key` or (NULL)
 * of any; borrowed or NULL. */
const json_t *findings_blocker(const struct mach *m, const char *step_key);
json_t *findings_tree(const struct mach *m);	/* the stable part; new */
bool finding_waived(const struct run *r, const struct mach *m, const char *code,
		    const char **reason);

/* ---- records ----------------------------------------------------------------------- */

/* A record being put together; rec_send() appends and frees it. */
struct rec {
	struct run *r;
	struct mach *m;
	json_t *set, *del, *meta, *trailers;
};
void rec_init(struct rec *c, struct run *r, struct mach *m);
void rec_set_json(struct rec *c, const char *path, const json_t *value);
void rec_meta(struct rec *c, const char *field, json_t *value); /* below the machine */
/* The step's row: `result` gives error and volatile fields, or is NULL. */
void rec_step(struct rec *c, uint32_t node, const char *status, int attempt,
	      const json_t *result, uint64_t took_ms, bool touched);
void rec_result(struct rec *c, uint32_t node, const json_t *result);
void rec_facts(struct rec *c, const json_t *names);
void rec_findings(struct rec *c);
/* With the commit: what of these findings the step told and is more than information. */
void rec_found(struct rec *c, const json_t *rows, const char *step);
void rec_evidence(struct rec *c, uint32_t node, const json_t *evidence);
/* In the name of something that is no step of the plan. */
void rec_evidence_as(struct rec *c, const char *key, const json_t *evidence);
/* Take away what a step left in the tree except its result. */
void rec_drop_step(struct rec *c, uint32_t node, bool evidence);
void rec_serves(struct rec *c, const char *who);
/* A host knows of a later epoch: the next run's is higher still. */
void rec_epoch(struct run *r, struct mach *m, const json_t *epoch);
void rec_send(struct rec *c, const char *kind, const char *step, const char *subject,
	      void (*on_durable)(void *arg, struct err *e), void *arg);
/* The text of result.json: module, state, stable fields; new. */
char *result_text(const struct plan_step *s, const json_t *result);

/* ---- the state's word -------------------------------------------------------------- */

void resume_load(struct run *r, struct mach *m);
/* Refuse or leave out machines that this kind of run cannot take. -1 with e. */
int resume_admit(struct run *r, struct err *e);
void resume_tell_absent(struct run *r);		/* once the run has begun */
const json_t *meta_of(const struct run *r, const struct mach *m);
const json_t *meta_step(const struct run *r, const struct mach *m, uint32_t node);
const char *meta_status(const struct run *r, const struct mach *m, uint32_t node);
/* The cutover step that proves the source off. */
bool step_switches_off(const struct plan_step *s);
bool meta_finished(const struct run *r, const struct mach *m, uint32_t node);
bool meta_touched(const struct run *r, const struct mach *m, uint32_t node);
const char *meta_serves(const struct run *r, const struct mach *m);

#endif
