/* SPDX-License-Identifier: Apache-2.0
 * run/step - forward: a step on its way, and a phase that is entered.
 */
#ifndef DROVER_RUN_STEP_H
#define DROVER_RUN_STEP_H

#include "engine/run/record.h"

/* A step may be applied on an answer from before other steps were: its call asks once more. */
enum trust {
	TRUST_NONE,			/* it was asked after the last one */
	TRUST_OLD,			/* the next apply relies on such an answer */
	TRUST_MOVED,			/* that did not stand: nothing was applied */
};

/* One step on its way. */
struct job {
	struct run *r;
	struct mach *m;
	uint32_t node;
	const struct plan_step *s;
	char *key;			/* "convert.disks"; owned */
	int attempt;
	uint64_t began_ms;
	uint64_t asked_ms;		/* when what holds the source was asked */
	int mends;			/* how often what it needs was mended */
	uint64_t held_until;		/* it stands still for certain until then; 0: no limit */
	json_t *before;			/* the answer that apply acted on; owned */
	json_t *applied;		/* apply's result; owned */
	json_t *evidence;		/* NAME -> text; owned */
	json_t *fact_names;		/* facts to write with the outcome; owned */
	/* what is said once the outcome is durable */
	const char *status;		/* "done" "unchanged" "skipped" */
	const char *serves;		/* who does from now on, or NULL */
	json_t *figures;		/* of the cutover whose target serves now, or NULL; owned */
	uint64_t took_ms;
	/* what waits until the source was asked once more */
	json_t *answer;			/* owned */
	bool touched;
	enum trust trust;
	bool was_touched;		/* before the last intent */
	bool released;			/* the next step began already; see release() */
};

void step_begin(struct run *r, uint32_t node);	/* a node that sched gave */
/* Write the intent, then apply. */
void step_intend(struct job *j);
/* A lost call: after a pause the step is asked again. False: it is to fail. */
bool step_try_again(struct job *j, const json_t *result);
void step_again(void *job);		/* ask it anew, from its probe on */
/* Apply found damaged what earlier steps brought over: they mend it, then the step is
 * asked again. False: nobody can, or it was done often enough, or it is not that. */
bool mend_begin(struct job *j);

/* Where the step makes the source stand still, the stream of what then reads it is opened
 * first. True: step_intend() follows by itself, or the job fails. */
bool ahead_begin(struct job *j);
/* Nobody will use what is open ahead of this step; of any of the machine's (UINT32_MAX). */
void ahead_drop(struct run *r, const struct mach *m, uint32_t node);

/* The step that makes the source stand still. */
bool held_takes(const struct plan_step *s);
/* The step is about to write its intent: what an earlier hold read is forgotten, and how
 * long this one lasts is written down. */
void held_intend(struct job *j, struct rec *c);
/* Before the source is switched off, or taken for off: is it still held? True: the answer
 * goes on with the job. */
bool held_ask(struct job *j, const json_t *result);
/* True: the source is off, but later than it was sure to stand still; told. */
bool held_too_long(struct job *j);
/* True: it was off, and is on; what it wrote since is in no pass; told. */
bool held_was_on_again(struct job *j);
/* True: the target would start, and no step before proved the source off; told. */
bool held_unproven(struct job *j);
/* The step has succeeded, unless it is the one that switches off a source that still
 * answers: that one has failed. */
void held_succeed(struct job *j, const json_t *answer, const char *status, bool touched);
/* The source is off: its freezes leave the ledger. */
void held_off(const struct job *j, struct rec *c);

/* Whether anything of the step was ever applied, as far as is known. */
bool job_touched(const struct job *j);
void job_free(struct job *j);
uint64_t job_took(const struct job *j);
/* What a call brought, for the outcome. */
void job_evidence(struct job *j, const json_t *evidence);
void job_facts(struct job *j, const json_t *result);
/* The endings; each records, reports and frees the job. */
void job_fail(struct job *j, const json_t *result);
void job_fail_text(struct job *j, const char *kind, const char *text, const char *hint);
void job_succeed(struct job *j, const json_t *answer, const char *status, bool touched);
void job_skip(struct job *j);

/* ---- phases ------------------------------------------------------------------------ */

/* Ask all steps of the phase and write its beginning, unless an earlier run did;
 * then then(arg, ok). Not ok: a host is silent (phase_silent() has what is to be told),
 * or a blocker stands, or the record could not be written; those are told already. */
void phase_enter(struct run *r, struct mach *m, int phase,
		 void (*then)(void *arg, bool ok), void *arg);
/* Has it begun? If a step did not answer then, or was in the way, and none did anything, it is as
 * if it had not. */
bool phase_stands(const struct run *r, const struct mach *m, int phase);
/* What was found as it began, and as later ones did, goes with this record. */
void phase_forget(struct run *r, struct mach *m, int phase, struct rec *c);
/* Is what is known of it that its host cannot be reached, or was lost again and again? */
bool known_silent(const struct run *r, uint32_t node);
/* The first such answer of a phase's last asking; NULL: all hosts answered. */
const json_t *phase_silent(const struct run *r, const struct mach *m, int phase);
/* Say that a finding keeps the machine from going on; false when none does. */
bool phase_blocked(struct run *r, struct mach *m, const char *verb);
void known_set(struct run *r, struct mach *m, uint32_t node, const json_t *answer,
	       const json_t *evidence);
/* Ask all steps of a phase at once; answers end in known[]. Then then(arg). */
void phase_ask(struct run *r, struct mach *m, int phase, bool quiet,
	       void (*then)(void *arg), void *arg);

/* ---- further passes ---------------------------------------------------------------- */

void sync_begin(struct run *r);
/* The machine's first step from `node` on that copied disks; UINT32_MAX: none. */
uint32_t sync_next(const struct run *r, const struct mach *m, uint32_t node);

#endif
