/* SPDX-License-Identifier: Apache-2.0
 * module - what a module is, and all that it may see of drover.
 *
 * A module is one file, modules/<phase>/<verb>.c: a caption that says what it
 * changes and whether that can be undone, the parameter table, the functions,
 * the descriptor last. It runs in a child of the agent, on the host, in a
 * process group of its own. It reaches the engine only through `struct ctx`.
 *
 * The descriptor's symbol is module_<phase>_<verb>; the Makefile makes the
 * table of all modules from the tree. Modules in modules/any/ may stand in
 * every phase (name "any.check"); modules in modules/call/ are the reading and
 * running calls that checks use on a host ("call.read"), never in a plan.
 */
#ifndef DROVER_MODULE_H
#define DROVER_MODULE_H

#include "engine/base/json.h"
#include "engine/base/phase.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* ---- parameters: one row gives parser, validation, help and docs --------- */

enum param_type {
	P_STR,		/* text */
	P_BOOL,
	P_INT,
	P_SIZE,		/* "40GiB"; JSON integer of bytes */
	P_RATE,		/* "400MiB/s"; JSON integer of bytes per second */
	P_DURATION,	/* "10m"; JSON integer of milliseconds */
	P_PATH,		/* absolute path */
	P_PLACE,	/* "HOST:/path" */
	P_ENUM,		/* one of `words` */
	P_ARGV,		/* list of at least one string */
	P_LIST,		/* list of strings */
	P_MAP,		/* map of scalars (JSON object of strings, numbers, bools) */
	P_ANY,		/* any value, passed on as it stands */
};

/* It, or the map's values, may be "secret:NAME": a call gets what that stands for. */
#define PARAM_SECRET "secret:"

struct param {
	const char *name;
	enum param_type type;
	bool required;
	const char *dflt;	/* as written in a plan; NULL: absent from args */
	const char *words;	/* P_MAP: its keys, each a size; NULL: any, plain values;
				   P_ENUM: "raw|qcow2"; P_STR, P_MAP: PARAM_SECRET or NULL */
	const char *summary;	/* one line: what it means, with its unit */
	int64_t min, max;	/* P_INT, P_SIZE, P_DURATION, a P_MAP's sizes; both 0: no bound */
};

/* ---- the descriptor ------------------------------------------------------ */

enum module_place {
	ON_SOURCE,	/* the host the machine comes from */
	ON_TARGET,	/* the host it goes to */
	ON_BOTH,	/* one call at each end, joined by a stream; one outcome */
	ON_EACH,	/* one call at each end, no stream; facts get the prefix
			   "source." or "target." */
	ON_AT,		/* where the step's `at:` says; default source */
	ON_POWER,	/* the host that source.power names (`at`), else source */
	IN_ENGINE,	/* the engine does it itself (checks) */
};

#define MOD_READ_ONLY	0x01	/* probe does all; no intent, no apply */
#define MOD_REVERSIBLE	0x02	/* undo brings back what was */
#define MOD_NO_RETURN	0x04	/* after it the target serves */
#define MOD_LONG	0x08	/* minutes or more: progress is shown */
#define MOD_SOURCE_HELD	0x10	/* between it and source-off the source is quiesced */
#define MOD_TOGETHER	0x20	/* short, and apply leaves nothing behind in its process:
				   the probe after it may be asked there, at once */

enum probe_state {
	STATE_ABSENT,	/* nothing of it is there: apply would do all */
	STATE_PARTIAL,	/* begun or interrupted: apply goes on */
	STATE_DONE,	/* nothing to do */
	STATE_UNKNOWN,	/* cannot be known before an earlier step; say the bound
			   with ctx_unknown() */
};
extern const char *const probe_state_names[];	/* "absent" "partial" "done" "unknown" */

struct ctx;
struct pipe;		/* engine/base/pipe.h */
struct module {
	const char *name;		/* "convert.disks" */
	const char *summary;		/* one line, imperative */
	enum module_place place;
	unsigned flags;
	const struct param *params;	/* ends with .name == NULL */
	const char *const *wants;	/* facts it is given, NULL-terminated, or NULL */
	const char *const *tools;	/* external programs it may run, NULL-terminated */
	const char *far_end;		/* ON_BOTH: name of the P_PLACE parameter whose host is
					   the second end; NULL: the target host */
	const char *near_end;		/* the same of the first end (whose role is "source");
					   NULL: the source host */
	/* Read only, always. Reports changes that apply would make, facts,
	 * findings, stable and volatile fields. -1 with ctx_fail() when the
	 * answer cannot be had. */
	int (*probe)(struct ctx *c, enum probe_state *state);
	/* Make the change; must be repeatable after any interruption. NULL for
	 * MOD_READ_ONLY. 0, or -1 with ctx_fail(). */
	int (*apply)(struct ctx *c);
	/* Put back what was kept; repeatable. NULL: not reversible (must have
	 * no effect worth undoing, or be MOD_NO_RETURN). */
	int (*undo)(struct ctx *c);
	/* MOD_SOURCE_HELD with undo, asked before the source is switched off: make what
	 * it holds last, whatever becomes of the agent, and tell volatile "held_ms", for
	 * how long (none: until it is undone). -1 with ctx_fail() when it does not hold
	 * any more. NULL: the probe answers instead. */
	int (*hold)(struct ctx *c);
	/* ON_BOTH: bring over again what a later step found damaged (ctx_fail_damaged()) of
	 * what apply brought; with its arguments. The streams are those of an apply; told
	 * facts are not taken. 0, or -1 with ctx_fail(). NULL: nothing can be done. */
	int (*mend)(struct ctx *c);
};

extern const struct module *const modules[];	/* generated; NULL-terminated */
/* "disks" in phase convert: modules/convert/disks.c, else modules/any/. */
const struct module *module_find(enum phase phase, const char *verb);
const struct module *module_named(const char *name);	/* "convert.disks" */

/* ---- what a call is given ------------------------------------------------ */

const json_t *ctx_args(const struct ctx *c);	/* by the parameter table, typed */
/* The machine as the plan says, normalised (see engine/README.md, "spec"). */
const json_t *ctx_machine(const struct ctx *c);
const char *ctx_machine_name(const struct ctx *c);
const json_t *ctx_fact(const struct ctx *c, const char *name);	/* NULL: not known */
const char *ctx_role(const struct ctx *c);	/* "source", "target", "here", ... */
const json_t *ctx_run(const struct ctx *c);	/* {plan, run, epoch, lineage, host, step, preview, serves,
					   evidence: in whose name it is recorded,
					   accepted: [code of a finding]} */
bool ctx_is_preview(const struct ctx *c);
/* The agent, whose child this call is: what is temporary ends when it does. */
pid_t ctx_agent(const struct ctx *c);
/* The stream to the other end of an ON_BOTH apply or mend; NULL in probe and undo. It ends
 * when the other end is gone. */
struct pipe *ctx_stream(const struct ctx *c);
/* Bytes a second that this end may send through the stream, and read from the disks of a
 * source, just now; 0: as many as it can. They change while others begin and end. */
uint64_t ctx_send_rate(const struct ctx *c);
uint64_t ctx_read_rate(const struct ctx *c);
/* True once the step was told to stop: finish what is atomic, return -1. */
bool ctx_cancelled(struct ctx *c);
/* The same, as `stopped` of engine/base/proc.h asks it: a program that a call runs is
 * told to end when the call is. */
bool ctx_stopped(void *ctx);

/* ---- what a call says ---------------------------------------------------- */

int ctx_fail(struct ctx *c, const char *fmt, ...)	/* returns -1 */
	__attribute__((format(printf, 2, 3)));
int ctx_fail_sys(struct ctx *c, const char *fmt, ...)	/* ": strerror(errno)" */
	__attribute__((format(printf, 2, 3)));
int ctx_fail_err(struct ctx *c, struct err *e);		/* takes e over */
void ctx_hint(struct ctx *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* The same, of what an earlier step brought over and what came to harm: that step's `mend`
 * is asked, then this one again, a few times; what is said here is told at the end of it. */
int ctx_fail_damaged(struct ctx *c, struct err *e);
/* A tool is missing: names the Debian package. Returns -1. */
int ctx_need_tool(struct ctx *c, const char *tool);

/* Cheap to call often: sent at most four times a second. total 0: unknown. */
void ctx_progress(struct ctx *c, uint64_t done, uint64_t total,
		  const char *unit, const char *what);
/* What a copy tells beside its progress, with the next one that is sent. */
struct ctx_flow {
	unsigned pass;			/* 0: not known yet */
	uint64_t done, total;		/* bytes read, to be read of the disk under way, where there are others */
	uint64_t sent, read;		/* bytes since the call began: through the stream, and
					   from the disks of the source */
};
void ctx_flow(struct ctx *c, const struct ctx_flow *f);
void ctx_log(struct ctx *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* One line of a preview. mark: '+' created, '~' changed, '-' removed,
 * '=' unchanged, '?' unknown until an earlier step (text names the bound),
 * '.' left out on purpose. */
void ctx_change(struct ctx *c, char mark, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* A '?' line with its bound: at most `max` of `what`, which is "read", "send" or "write"
 * (bytes, as ctx_cost() tells them once it is known) or "changes" (lines); it is put
 * behind the text. A run that is held to a saved preview stops before it does more. */
void ctx_unknown(struct ctx *c, const char *what, uint64_t max, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* A '~' (or '+' with before NULL, '-' with after NULL) line with a diff. */
void ctx_change_text(struct ctx *c, const char *path, const char *before,
		     const char *after);
/* What apply would cost; adds up. */
void ctx_cost(struct ctx *c, uint64_t read, uint64_t send, uint64_t write,
	      uint64_t ms);
/* severity: "blocker" "warning" "info" "unknown"; code: "net.mtu"; remedy: what
 * to do about it, or NULL. */
void ctx_finding(struct ctx *c, const char *severity, const char *code,
		 const char *remedy, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
/* The same, of what is so just now and need not be so again when a rollback asks: people see
 * it, a blocker blocks, the tree does not have it. */
void ctx_finding_now(struct ctx *c, const char *severity, const char *code,
		     const char *remedy, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
/* Of the finding told last, in the probe of a two-ended step: it counts only where the other
 * end, asked at the same time, tells volatile `key` ("since.root") as another text. */
void ctx_finding_unlike(struct ctx *c, const char *key, const char *text);
/* Tell a fact: stable fields go in the tree, volatile ones do not. Steals both;
 * volatile_part may be NULL. Later modules see both merged. */
void ctx_set_fact(struct ctx *c, const char *name, json_t *stable,
		  json_t *volatile_part);
/* The step's own result: what probe saw. Equal worlds must give equal stable
 * fields: rollback compares them. Steals. */
void ctx_stable(struct ctx *c, const char *key, json_t *value);
void ctx_volatile(struct ctx *c, const char *key, json_t *value);
/* Evidence: a named text that proves the result (console, digests). <= 1 MiB. */
void ctx_evidence(struct ctx *c, const char *name, const void *p, size_t n);

/* Ask the person at the terminal to confirm what no program can prove ("is db1
 * switched off?"). Never answered by -y. 1 yes, 0 no; -1 (already told, the run
 * ends with status 6, waiting) when nobody is there to ask. */
int ctx_ask(struct ctx *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* ---- durable before the effect ------------------------------------------- */

/* Keep undo material under a name, in the engine's state. Returns once it is
 * durable. The first copy wins: a later keep of the same name is ignored.
 * <= 8 MiB. -1 (already told) when the engine is gone. */
int ctx_keep(struct ctx *c, const char *name, const void *p, size_t n);
/* What was kept, also by earlier attempts; NULL when nothing was. Borrowed. */
const char *ctx_kept(struct ctx *c, const char *name, size_t *n);

/* The ledger of things made on hosts that cleanup must take away again: enter
 * a thing before it is made, strike it when it is gone. kind: "process" "file"
 * "netns" "domain" "unit" "freeze" "snapshot" "port" "tracker" "checkpoint"
 * "lvm-snapshot"; name: unique on the host.
 * `lasting` things belong to the result (the target's disk); cleanup leaves
 * them, rollback takes them. Durable on return. */
int ctx_ledger_add(struct ctx *c, const char *kind, const char *name,
		   bool lasting, json_t *detail /* steals; may be NULL */);
int ctx_ledger_del(struct ctx *c, const char *kind, const char *name);

#endif
