/* SPDX-License-Identifier: Apache-2.0
 * repo - git made from the records of one plan. One thread at a time per handle.
 *
 * repo_apply() turns records into trees and commits in memory; repo_settle()
 * makes them durable, objects first, then branches by compare-and-swap, then the
 * meta ref. A handle that only applies is a reader's: it shows history as it
 * will be, and writes nothing. Equal records give equal object ids.
 *
 * A branch says by its tip's trailer `Seq:` which records it holds, and so does
 * the meta ref, so applying the journal again from anywhere is harmless.
 */
#ifndef DROVER_STATE_REPO_H
#define DROVER_STATE_REPO_H

#include "engine/state/journal.h"
#include "engine/state/store.h"

#include "engine/base/json.h"

#include <git2.h>
#include <stdbool.h>

/* The newest commit of one machine. */
struct tip {
	char *machine;		/* owned */
	char *ref;		/* refs/heads/<plan>/<machine>/main, owned */
	git_oid id;		/* newest commit; zero: none yet */
	git_oid tree;		/* its tree */
	git_oid on_disk;	/* where the branch stands in git; zero: nowhere */
	uint64_t seq;		/* the last record the commit holds */
	json_t *ride_del;	/* edits of records without a commit of their own, */
	json_t *ride_set;	/* to go with the next one; owned or NULL */
	uint64_t ride_seq;	/* the first such record; 0: none */
	uint64_t ride_last;	/* the last */
};

struct repo {
	char *dir, *plan;	/* owned */
	git_repository *git;
	struct store *store;	/* belongs to git's odb */
	struct tip **tips;	/* those looked up so far, by name */
	size_t tip_count, tip_cap;
	json_t *tip_index;	/* name -> index into tips */
	struct tip meta;	/* refs/drover/<plan>/meta; machine is NULL */
	json_t *meta_edits;	/* pointers -> values since the meta commit, owned */
	int64_t meta_at;	/* wall time of the last of them */
	size_t meta_pending;	/* records since the meta commit */
	uint64_t seq;		/* last record applied */
};

/* Make the bare repository in `dir` (an existing folder), synced whole; or
 * finish making it. */
int repo_make(const char *dir, struct err *e);
bool repo_is_made(const char *dir);
/* Sync every folder above a ref: libgit2 syncs the lowest only, which does not
 * hold the others that it made. */
int repo_sync_above(const char *dir, const char *ref);
/* Remove what a killed writer left: *.lock of refs, tmp objects. Only for the
 * holder of the state's lock. */
void repo_sweep(const char *dir);

struct repo *repo_open(const char *dir, const char *plan, struct err *e);
/* Pack loose objects when there are too many, within a bound. Only for the holder of the
 * state's lock, before anything writes. */
int repo_repack(struct repo *r, struct err *e);
void repo_free(struct repo *r);			/* NULL is harmless */
/* Forget what was looked up: another handle has moved on. */
int repo_refresh(struct repo *r, struct err *e);

/* A record of the journal; those that git holds already are passed over. */
int repo_apply(struct repo *r, const struct journal_record *rec, struct err *e);
/* Durable on return. with_meta: commit the meta edits too. */
int repo_settle(struct repo *r, bool with_meta, struct err *e);
/* After repo_settle(r, true): all records up to this one are in git. */
uint64_t repo_settled(const struct repo *r);

/* The machine's newest commit, looked up when needed; never NULL unless e is set.
 * id is zero when it has none. */
struct tip *repo_tip(struct repo *r, const char *machine, struct err *e);
/* Names of all machines with a branch (or a commit in memory): array of strings. */
json_t *repo_machines(struct repo *r, struct err *e);
/* The highest record number that any branch or the meta ref holds. */
int repo_highest(struct repo *r, uint64_t *seq, struct err *e);

/* A commit on a tip, in memory. Written by hand, not by libgit2, for its bytes
 * must follow from the record alone. */
int repo_commit(struct repo *r, struct tip *t, const git_oid *tree, int64_t at,
		const char *message, uint64_t seq, struct err *e);

/* ---- meta.c: the document is stored as one file for each machine and one for
 * each other object, so that a commit is small; what is neither (epoch, lineage)
 * stands in epoch.json. ------------------------------------------------------- */

/* The document as of the last record applied. NULL with e. */
json_t *repo_meta(struct repo *r, struct err *e);
/* Commit the edits since the last one, in memory. */
int repo_meta_commit(struct repo *r, struct err *e);

#endif
