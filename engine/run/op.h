/* SPDX-License-Identifier: Apache-2.0
 * run/op - one operation (probe, apply, undo) at its one or two ends: what it is given,
 * and what comes of it.
 */
#ifndef DROVER_RUN_OP_H
#define DROVER_RUN_OP_H

#include "engine/base/share.h"
#include "engine/hook/hook.h"
#include "engine/run/hosts.h"
#include "engine/run/priv.h"
#include "engine/wire/frame.h"

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
	int holds;			/* who needs it still: records on their way to disk, questions
					 * without an answer, a stop under way */
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
/* A probe for an answer that is written down: asked again when it was cut off (result_cut()),
 * ATTEMPTS times in all, or once when it failed. on_done() once, with the last answer. Not
 * `quiet`: each asking is told. */
void op_ask(struct run *r, struct mach *m, uint32_t node, bool quiet,
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
struct op *op_apply_as(struct run *r, struct mach *m, uint32_t node,
		       const struct module *module, const char *as,
		       void (*on_done)(struct op *, const json_t *, void *), void *arg);
/* Only open the stream of a two-ended step's apply, which op_apply_if() then goes on with.
 * on_open() once it stands; on_done() if it cannot be had, or is gone before that. NULL: the
 * step cannot be asked yet. */
struct op *op_open(struct run *r, struct mach *m, uint32_t node,
		   void (*on_open)(struct op *o, void *arg),
		   void (*on_done)(struct op *, const json_t *, void *), void *arg);
/* What is open ahead of this step; of any of the machine's (node UINT32_MAX). Or NULL. */
struct op *op_ahead(const struct run *r, const struct mach *m, uint32_t node);
void op_stop(struct op *o);
void op_unlink_free(struct op *o);	/* once finished and without holds */
void op_event(struct op_end *end, const json_t *event);		/* events.c */
void op_stream(struct op *o);		/* op_stream.c: it is to have one */

/* ---- results ----------------------------------------------------------------------- */

/* final.c: a result or event as the run may see it; new. An event that must not be
 * recorded stops the operation: NULL. */
json_t *final_result(const struct op *o, const json_t *result);
json_t *final_event(struct op *o, const json_t *event);
/* The result kinds: "failed" when none is said. */
const char *result_kind(const json_t *result);
/* It ended with its connection, by no fault of its own: after a probe it is worth another try. */
bool result_cut(const json_t *result);
bool result_ok(const json_t *result);
json_t *merge_results(const struct op *o);	/* merge.c; new */
/* The result, or an error in its place when this end tells what is not its to tell. Takes
 * it over. */
json_t *owner_check(const struct op_end *end, json_t *result);

/* ---- what a call is given ---------------------------------------------------------- */

/* The machine as its calls see it: the plan's words, and the disks of a domain as assess
 * saw them. New; NULL when it cannot be described. */
json_t *input_machine(const struct run *r, const struct mach *m);
/* The call's input, for the one who is asked there; NULL with e when the machine cannot be
 * described. */
json_t *input_make(const struct op *o, const struct place_end *at, json_t *args, struct err *e);
json_t *input_args(const struct run *r, const struct mach *m, uint32_t node,
		   struct err *e);
/* `host`: who is asked; UINT32_MAX: the engine itself. `step` may be NULL. New. */
json_t *input_run(const struct run *r, uint32_t host, const char *step);
/* The step's kept material: NAME -> {text|base64}; new. */
json_t *kept_get(const struct run *r, const struct mach *m, const char *step_key);
/* "steps/convert.disks/undo/etc%2Ffstab"; new. */
char *kept_path(const char *step_key, const char *name, bool binary);
bool kept_has(const struct run *r, const struct mach *m, const char *step_key,
	      const char *name);

/* ---- what its streams may take ----------------------------------------------------- */

/* A stream has begun or ended: tell all their shares of what the plan allows. */
void budget_changed(struct run *r);
/* An end told its progress, perhaps with what it has sent and read. */
void budget_heard(struct op_end *end, const json_t *progress);
/* What all streams together may take at this hour; 0: no limit. */
uint64_t budget_bandwidth(const struct run *r);

#endif
