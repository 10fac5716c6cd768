/* SPDX-License-Identifier: Apache-2.0
 * state - what has happened. The journal is the write-ahead log; git is made
 * from it, in order, by a thread of its own.
 *
 * A record says: this transition of this machine happened, it edits the
 * machine's tree so, and it reads so in the log. refs/heads/<plan>/<machine>/main
 * is the machine's history; refs/drover/<plan>/meta holds what is not stable:
 * step status, ledger, epoch, lineage, host facts.
 */
#ifndef DROVER_STATE_H
#define DROVER_STATE_H

#include "engine/base/err.h"
#include "engine/base/json.h"
#include "engine/base/loop.h"

#include <stdbool.h>
#include <stdint.h>

struct state;

enum state_mode {
	STATE_READ,	/* for status, log, show, diff, preview: nothing is written;
			   a missing state directory reads as an empty one */
	STATE_WRITE,	/* takes the lock; makes the directory when missing */
};

/* dir: ".drover" beside the plan unless --state. On STATE_WRITE: flock, journal
 * recovered (a torn tail is cut, anything else wrong is an error that names the
 * record), git brought up to it, epoch raised by one. Objects are verified in a
 * forked child first. ERR_HELD names pid, host, user, run and since when.
 * loop may be NULL for STATE_READ. */
struct state *state_open(const char *dir, const char *plan, enum state_mode mode,
			 struct loop *loop, struct err *e);
/* As state_open; a state directory that STATE_WRITE makes is of this lineage: the one that
 * a preview was saved with, before there was a state. NULL, or no lineage: drawn. */
struct state *state_open_as(const char *dir, const char *plan, enum state_mode mode,
			    const char *lineage, struct loop *loop, struct err *e);
/* All records durable, git complete, lock released. -1 with e when git could not
 * be completed; the journal still holds everything. */
int state_close(struct state *s, struct err *e);

const char *state_run_id(const struct state *s);	/* 8 hex, new per STATE_WRITE */
uint64_t state_epoch(const struct state *s);
/* STATE_WRITE: this process, as others are told who holds the state. */
const char *state_who(const struct state *s);
/* What recovery had to say when it was opened, a line for people; or NULL. */
const char *state_notice(const struct state *s);
/* STATE_READ: the directory is missing, or knows nothing of this plan. */
bool state_is_empty(const struct state *s);
/* Who holds the state directory now, a line for people; NULL: nobody. Caller
 * frees. */
char *state_holder(const char *dir);
/* Let others ask for it, as lock.h says: the holder looks whether it is wanted, and closes it
 * when it can; others see whether it is offered, ask until the descriptor is closed, and
 * open it meanwhile until that goes well. */
int state_offer(struct state *s, struct err *e);
bool state_wanted(const struct state *s);
bool state_offered(const char *dir);
int state_ask(const char *dir, struct err *e);
/* 32 hex, of this state directory; of one that is missing: what it might get. */
const char *state_lineage(const struct state *s);

/* One transition. Strings and JSON are copied or referenced; the caller keeps its
 * own. */
struct record {
	const char *machine;	/* NULL: meta only */
	const char *kind;	/* "begin" "probe" "intent" "outcome" "keep" "ledger"
				   "fact" "undo" "run" "note" */
	const char *step;	/* "convert.disks", or NULL */
	const char *subject;	/* the commit's first line, for people; NULL: the record
				   makes no commit of its own (keep, ledger) and its tree
				   edits ride with the next one */
	json_t *set;		/* tree path -> text (JSON string), or NULL */
	json_t *del;		/* array of tree paths or prefixes "facts/", or NULL;
				   applied before `set` */
	json_t *meta;		/* pointer -> value edits of the meta document, e.g.
				   {"machines/erp/steps/convert.disks": {...}}; null
				   deletes; or NULL. Parts are divided by '/' ("~1"
				   stands for a '/' in a part, "~0" for a '~'); but all
				   after "ledger/HOST/" is one part as it stands. What is
				   between is made as objects. */
	json_t *trailers;	/* {"Step": "...", "Host": "...", "Took": "3s"}, or NULL */
};

/* Append. on_durable comes through the loop once fdatasync has returned (or e is
 * set: nothing may be started on it). on_durable may be NULL. Order is kept. What
 * is still to be told when the state is closed is told by state_close(). When the
 * disk is full, records of kind "intent" and "begin" are refused, and the others
 * are still taken from a reserve. */
void state_append(struct state *s, const struct record *r,
		  void (*on_durable)(void *arg, struct err *e), void *arg);
/* Block until all that was appended is durable and in git (end of run, tests). */
int state_flush(struct state *s, struct err *e);

/* The meta document as of the last append: {machines:{NAME:{serves, phase,
 * steps:{"convert.disks":{status, attempt, run, error, took_ms, at}}, kept:{...}}},
 * ledger:{HOST:{"kind:name":{...}}}, lineage, epoch}. Borrowed; changes with appends. */
const json_t *state_meta(const struct state *s);
/* The machine's tree as of the last append: path -> text. Borrowed; NULL: none, or
 * it is damaged; then every later append and the closing fail and say so. */
const json_t *state_tree(const struct state *s, const char *machine);
/* The git object id of that tree (40 hex), computed without writing. */
int state_tree_id(struct state *s, const char *machine, char hex[41],
		  struct err *e);
/* The tree's id at the newest commit whose trailer says "Begins: <phase>";
 * 1 found, 0 none, -1 with e. */
int state_begin_id(struct state *s, const char *machine, const char *phase,
		   char hex[41], struct err *e);

/* ---- reading history ----------------------------------------------------- */

struct state_commit {
	const char *machine;
	char id[41], tree[41];
	int64_t when;
	const char *subject;
	const json_t *trailers;
};
/* Newest first; machine NULL: all, merged by time. fn returns nonzero to stop. */
int state_log(struct state *s, const char *machine,
	      int (*fn)(const struct state_commit *c, void *arg), void *arg,
	      struct err *e);
/* A file or listing of a tree at REV ("HEAD", "HEAD~3", a commit prefix, a phase
 * name meaning its beginning). path NULL: the list of paths. Caller frees. */
json_t *state_show(struct state *s, const char *machine, const char *rev,
		   const char *path, struct err *e);
/* Unified diff of two revisions of one machine. Caller frees. */
char *state_diff(struct state *s, const char *machine, const char *rev_a,
		 const char *rev_b, struct err *e);

#endif
