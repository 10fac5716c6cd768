/* SPDX-License-Identifier: Apache-2.0
 * run/priv - what the files of run/ share; nobody else includes it.
 *
 *   run.c       a run from start to end: picks the machines, turns the loop
 *   hosts.c     connections: made when first needed, made again when lost
 *   place.c     where a step's calls go
 *   input.c     what a call is given
 *   op.c        one operation (probe, apply, undo) at its one or two ends
 *   op_stream.c which way the bytes of a two-ended one go
 *   final.c     what comes from hosts, without secrets
 *   events.c    what comes while an operation runs
 *   owner.c     whose word a fact is
 *   merge.c     two ends' results made one
 *   facts.c     facts, conditions, findings and waivers
 *   record.c    every record that goes to the journal
 *   phase.c     entering a phase: all its steps are asked
 *   step.c      one step forward: probe, intent, apply, probe, outcome
 *   ahead.c     the last pass's stream, open before the source stands still
 *   held.c      is the source sure to stand still until it is off
 *   alive.c     does it still answer when it is said to be off
 *   outcome.c   how a step ends: recorded, reported, or back out of the cutover
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

#include "engine/base/share.h"
#include "engine/graph/sched.h"
#include "engine/hook/hook.h"
#include "engine/run/run.h"

#define ATTEMPTS 3			/* of a step that was lost */
#define BACKOFF_MS 1000			/* before the second attempt; then doubled */
#define AWAY_MS 120000u		/* a host that was there once comes back */
#define PATIENCE_MS 300000u		/* a source that is switched on again boots */

struct run;

/* ---- machines ------------------------------------------------------------------ */

struct mach {
	struct run *r;
	uint32_t index;
	const char *name;
	bool in;			/* takes part in this run */
	bool failed;			/* stopped; what waits for it does not start */
	bool left_out;			/* selected, but there is nothing to do for it */
	char *absent;			/* why it takes no part, to be told; owned or NULL */
	bool blocked;			/* by a finding; told already */
	bool serving;			/* meta says the target serves, or may */
	int entered;			/* the last phase whose steps were all asked; -1 */
	uint64_t still_at, down_at;	/* this run's clock: since then its source stands still,
					   and nobody serves; 0: not by this run */
	json_t *facts;			/* NAME -> {stable, volatile, phase, step}; owned */
	uint64_t facts_gen;		/* raised when a fact changes */
	uint64_t world_gen;		/* raised when a step was applied or undone */
	json_t *findings;		/* array of {severity, code, text, remedy, step,
					   waived}; owned */
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
	bool estimated;
};

/* ---- hosts --------------------------------------------------------------------- */

struct run_host;
void hosts_init(struct run *r);
/* Start `c` on the host once it is ready. When it cannot be made ready, a result of
 * kind "down" comes. Never calls back from inside. */
void hosts_start(struct run *r, uint32_t host, struct call *c);
void hosts_stop_call(struct run *r, uint32_t host, struct call *c);
/* How fast the call may send and read from now on; told to the host if it runs. */
/* Off with a call that was started ahead. */
void hosts_go(struct run *r, uint32_t host, struct call *c);
void hosts_pace(struct run *r, uint32_t host, struct call *c, struct pace_rates pace);
/* Is it connected; and since which boot of its kernel (NULL: not, or it does not say)? */
bool hosts_up(const struct run *r, uint32_t host);
const char *hosts_boot(const struct run *r, uint32_t host);
/* It is asked in the hope that nobody answers: even when it was given up it is tried anew,
 * and that it is down is told as being off. Until told otherwise. */
void hosts_hope_silent(struct run *r, uint32_t host, bool hope);
/* Since then somebody there has proven to be it, whatever became of the connection. */
bool hosts_met(const struct run *r, uint32_t host);
void hosts_ack(struct run *r, uint32_t host, struct call *c, int64_t ack, bool answer);
/* Close all; turns the loop until they are closed or five seconds are over. */
void hosts_close(struct run *r);
void hosts_free(struct run *r);

/* ---- alive.c ------------------------------------------------------------------- */

enum alive {
	ALIVE_SILENT,		/* no answer, for some seconds */
	ALIVE_KEY,		/* its SSH server is there */
	ALIVE_AGENT,		/* an agent answers */
};
/* Ask the host once more; told() comes from the loop, in a few seconds at most, with the
 * boot of the kernel that answered (NULL: not known). */
void alive_ask(struct run *r, uint32_t host,
	       void (*told)(void *arg, enum alive how, const char *boot), void *arg);
void alive_free(struct run *r);		/* of a run that is over, after hosts_free() */

/* ---- places -------------------------------------------------------------------- */

struct place_end {
	uint32_t host;			/* index; UINT32_MAX: in the engine */
	const char *role;		/* "source" "target" "fence" or the host's name */
};
/* Where the step's calls go; 1 or 2, or -1 with e. `args` may be NULL when the far
 * end is not yet known: the target host then. */
int place_ends(const struct run *r, const struct mach *m, const struct plan_step *s,
	       const json_t *args, struct place_end out[2], struct err *e);
/* A word of `at:` as a host: "source", "target", "fence", a host's name. */
int place_word(const struct run *r, const struct mach *m, const char *at,
	       struct place_end *out, struct err *e);

/* ---- operations ---------------------------------------------------------------- */

struct op;
struct op_end {
	struct op *op;
	struct call call;
	uint32_t host;			/* UINT32_MAX: in the engine */
	bool live;			/* started, and no result yet */
	json_t *result;			/* owned; NULL until it came */
};

struct op {
	struct run *r;
	struct mach *m;
	uint32_t node;
	const struct plan_step *step;
	const char *name;		/* "probe" "apply" "undo" "hold" "mend" */
	const char *as;			/* in whose name it leaves evidence, when not the
					   step's; borrowed */
	const struct module *module;
	const json_t *judged;		/* see op_apply_if(); borrowed while it begins */
	struct op_end end[2];
	int ends;
	int left;			/* ends without a result */
	int acks;			/* records on their way to disk for this op */
	bool bare;			/* sees nothing of what the step kept or told */
	bool quiet;			/* its progress and log are not reported */
	bool stopping;			/* told to stop */
	struct loop_timer *late;	/* until the second end is told to stop, or a stream
					   that is opened ahead has to stand; or NULL */
	bool waiting;			/* asked a person, and nobody was there */
	bool ahead;			/* only its stream is open yet */
	int open;			/* ends of it that stand */
	void (*on_open)(struct op *o, void *arg);	/* once both do */
	bool finished;			/* on_done was called */
	char *fault;			/* what the module did wrong, or NULL; owned */
	struct relay *relay;
	struct demand sends, reads;	/* of its sending end */
	struct hook_env env;		/* of a check */
	json_t *evidence;		/* NAME -> text; owned */
	uint64_t began_ms;		/* first progress, for rate and time left */
	uint64_t began_done;
	char *what;			/* of the last progress; owned */
	/* The result, borrowed; the op is freed afterwards. */
	void (*on_done)(struct op *o, const json_t *result, void *arg);
	void *arg;
	struct op *next, **link;	/* in run->ops */
};

/* Ask `name` of the node's module. The answer comes through on_done, exactly once,
 * from the loop. */
struct op *op_start(struct run *r, struct mach *m, uint32_t node, const char *name,
		    void (*on_done)(struct op *, const json_t *, void *), void *arg);
/* A probe after an undo: nothing that was kept is shown to it, since all of that goes
 * with the undo's record. Quiet. */
struct op *op_probe_bare(struct run *r, struct mach *m, uint32_t node,
			 void (*on_done)(struct op *, const json_t *, void *), void *arg);
/* An apply on an answer from before other steps were applied: the probe is asked first, in
 * the same call, and unless it still gives that answer nothing is done and the result is an
 * error of kind "moved". For modules with MOD_TOGETHER. NULL: as op_start(). */
struct op *op_apply_if(struct run *r, struct mach *m, uint32_t node, const json_t *judged,
		       void (*on_done)(struct op *, const json_t *, void *), void *arg);
/* Another module's apply in the place of the node's, with its arguments; `as` is the
 * name in which it leaves evidence. */
/* Only open the stream of a two-ended step's apply, which op_apply_if() then goes on with.
 * on_open() once it stands; on_done() if it cannot be had, or is gone before that. NULL: the
 * step cannot be asked yet. */
struct op *op_open(struct run *r, struct mach *m, uint32_t node,
		   void (*on_open)(struct op *o, void *arg),
		   void (*on_done)(struct op *, const json_t *, void *), void *arg);
/* What is open ahead of this step; of any of the machine's (node UINT32_MAX). Or NULL. */
struct op *op_ahead(const struct run *r, const struct mach *m, uint32_t node);
struct op *op_apply_as(struct run *r, struct mach *m, uint32_t node,
		       const struct module *module, const char *as,
		       void (*on_done)(struct op *, const json_t *, void *), void *arg);
void op_stop(struct op *o);
void op_unlink_free(struct op *o);	/* once finished and without acks */
void op_event(struct op_end *end, const json_t *event);		/* events.c */
void op_stream(struct op *o);		/* op_stream.c: it is to have one */
/* final.c: a result or event as the run may see it; new. An event that must not be
 * recorded stops the operation: NULL. */
json_t *final_result(const struct op *o, const json_t *result);
json_t *final_event(struct op *o, const json_t *event);
/* The result kinds: "failed" when none is said. */
const char *result_kind(const json_t *result);
/* It ended with its connection, by no fault of its own: after a probe it is worth another try. */
bool result_cut(const json_t *result);
bool result_ok(const json_t *result);
json_t *result_error(const char *kind, const char *text, const char *hint);
json_t *merge_results(const struct op *o);	/* merge.c; new */
/* The result, or an error in its place when this end tells what is not its to tell. Takes
 * it over. */
json_t *owner_check(const struct op_end *end, json_t *result);

/* The machine as its calls see it: the plan's words, and the disks of a domain as assess
 * saw them. New; NULL when it cannot be described. */
json_t *input_machine(const struct run *r, const struct mach *m);
/* The call's input; NULL with e when the machine cannot be described. */
json_t *input_make(const struct op *o, const char *role, json_t *args, struct err *e);
json_t *input_args(const struct run *r, const struct mach *m, uint32_t node,
		   struct err *e);
json_t *input_run(const struct run *r, const char *step);
/* The step's kept material: NAME -> {text|base64}; new. */
json_t *kept_get(const struct run *r, const struct mach *m, const char *step_key);
/* "steps/convert.disks/undo/etc%2Ffstab"; new. */
char *kept_path(const char *step_key, const char *name, bool binary);
bool kept_has(const struct run *r, const struct mach *m, const char *step_key,
	      const char *name);

/* ---- budget.c ------------------------------------------------------------------- */

/* A stream has begun or ended: tell all their shares of what the plan allows. */
void budget_changed(struct run *r);
/* An end told its progress, perhaps with what it has sent and read. */
void budget_heard(struct op_end *end, const json_t *progress);
/* What all streams together may take at this hour; 0: no limit. */
uint64_t budget_bandwidth(const struct run *r);

/* ---- facts, findings ----------------------------------------------------------- */

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
void findings_report(struct run *r, struct mach *m, const char *step_key);
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

/* ---- records ------------------------------------------------------------------- */

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

/* ---- forward ------------------------------------------------------------------- */

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
/* Ask all steps of the phase and write its beginning, unless an earlier run did;
 * then then(arg, ok). Not ok: a host is silent (phase_silent() has what is to be told),
 * or a blocker stands, or the record could not be written; those are told already. */
void phase_enter(struct run *r, struct mach *m, int phase,
		 void (*then)(void *arg, bool ok), void *arg);
/* The answer in place of a host that cannot be reached, of a phase's last asking; NULL:
 * all hosts answered. */
const json_t *phase_silent(const struct run *r, const struct mach *m, int phase);
/* Say that a finding keeps the machine from going on; false when none does. */
bool phase_blocked(struct run *r, struct mach *m, const char *verb);
void known_set(struct run *r, struct mach *m, uint32_t node, const json_t *answer,
	       const json_t *evidence);
/* Ask all steps of a phase at once; answers end in known[]. Then then(arg). */
void phase_ask(struct run *r, struct mach *m, int phase, bool quiet,
	       void (*then)(void *arg), void *arg);
void preview_node(struct run *r, uint32_t node);
/* Report what a probe said it would change; counts them. */
void preview_show(struct run *r, struct mach *m, uint32_t node, const json_t *result);

/* ---- backward ------------------------------------------------------------------ */

/* Bring the machine to before `phase`. `backout`: because a cutover step failed. */
void undo_start(struct run *r, struct mach *m, int phase, bool backout);
/* Say what that would undo, what stays and what would be lost. */
void undo_preview(struct run *r, struct mach *m);
/* How much the target wrote since it serves, asked of its host; then then(arg). */
void lost_ask(struct run *r, struct mach *m, void (*then)(void *arg), void *arg);

/* The machine's tree as it must be before `phase`, built from what the probes say
 * now: asks them, writes it down, compares. Then then(arg, equal). `whole`: earlier
 * phases are asked again too. */
void rebuild_start(struct run *r, struct mach *m, int phase, bool whole,
		   void (*then)(void *arg, bool equal), void *arg);
void rollback_begin(struct run *r);	/* all machines, in the order of `after` */
void rollback_machine_over(struct run *r, struct mach *m, bool ok);

/* ---- the state's word ------------------------------------------------------------ */

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

/* ---- bounds -------------------------------------------------------------------------- */

/* "at most 4.0 GiB to read": of a '?' line; new. */
char *bound_text(const json_t *line);
/* How many lines the '?' of a step {changes, cost, state} admit beside those said. */
int64_t bound_admits(const json_t *step);
/* Does the step {changes, cost, state} as it would be done now stay within what it said
 * then? `new_lines` of its changes were not said. -1 with *how (caller frees). */
int bound_holds(const json_t *then, const json_t *now, int64_t new_lines, char **how);

/* ---- estimates ---------------------------------------------------------------------- */

/* How long the step will take that gave this answer to its probe. */
struct estimate estimate_step(const struct run *r, uint32_t node, const json_t *result);
/* All nodes together, by their estimates, under the plan's limits. */
struct estimate estimate_all(struct run *r);
/* Report how long each machine will be served by nobody, and what the plan allows. */
void estimate_downtime(struct run *r);
/* Put down with its outcome how long a step took. */
void estimate_learn(struct rec *c, const struct job *j);

/* Note with the outcome of a cutover's step what that cost by now. */
void figures_note(struct rec *c, struct job *j);

/* ---- the rest -------------------------------------------------------------------- */

void sync_begin(struct run *r);
/* The machine's first step from `node` on that copied disks; UINT32_MAX: none. */
uint32_t sync_next(const struct run *r, const struct mach *m, uint32_t node);
void cleanup_begin(struct run *r);
/* Before a run: end what follows a source for a step that the plan no longer has. A preview
 * says so. */
void cleanup_strays(struct run *r);
void cleanup_preview_strays(struct run *r);
void finalize_begin(struct run *r);

/* Report events. `o` is stolen. */
void report(struct run *r, const char *type, json_t *o);
json_t *report_step_new(struct run *r, struct mach *m, uint32_t node);
void report_step(struct run *r, struct mach *m, uint32_t node, const char *state,
		 int attempt, uint64_t took_ms, const json_t *result);
/* A step that was cut waits for its next attempt. */
void report_again(struct run *r, struct mach *m, uint32_t node, int attempt, uint64_t took_ms,
		  const json_t *result);
void report_start(struct run *r);
void report_log(struct run *r, struct mach *m, const char *step, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void report_serves(struct run *r, struct mach *m, const char *who);
void report_end(struct run *r, int status);
void run_status(struct run *r, enum err_kind kind);	/* the worst one stays */
void count_add(struct run *r, const char *what, int64_t n);

/* ---- the run ------------------------------------------------------------------------ */

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
	bool undone;			/* a rollback found a difference */
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
void run_next(struct run *r, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* Keep the first error for the caller; moves e. */
void run_error(struct run *r, struct err *e);
int64_t run_wall(const struct run *r);
/* Run fn(arg) from the loop after ms. */
void run_later(struct run *r, uint64_t ms, void (*fn)(void *arg), void *arg);

#endif
