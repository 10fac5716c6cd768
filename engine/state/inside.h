/* SPDX-License-Identifier: Apache-2.0
 * inside - what state.c, open.c and history.c share.
 */
#ifndef DROVER_STATE_INSIDE_H
#define DROVER_STATE_INSIDE_H

#include "engine/state/lock.h"
#include "engine/state/repo.h"
#include "engine/state/state.h"
#include "engine/state/writer.h"

/* An edit of a machine's tree that git may not have yet. */
struct ahead {
	uint64_t seq;
	bool commits;		/* the record makes a commit */
	json_t *del, *set;	/* owned or NULL */
};

/* What is known of one machine's tree in memory. */
struct mach {
	json_t *tree;		/* path -> text; NULL: nobody has asked yet */
	struct ahead *v;	/* while tree is NULL: edits since git's last commit */
	size_t n, cap;
};

struct state {
	char *dir, *plan;	/* owned */
	enum state_mode mode;
	struct loop *loop;	/* borrowed; NULL in STATE_READ */
	char run[9];		/* 8 hex */
	char lineage[LINEAGE_HEX];
	uint64_t epoch;
	char *notice;		/* owned or NULL */
	struct lock lock;
	char *who;		/* of the lock: this process; owned */
	struct writer *writer;	/* STATE_WRITE */
	struct repo *view;	/* for reading; in STATE_READ with the journal applied.
				   NULL: the directory is missing */
	uint64_t seq;		/* the last record appended */
	struct err damage;	/* a tree could not be read: nothing more is appended */
	json_t *meta;		/* owned */
	json_t *index;		/* machine -> place in machs */
	struct mach *machs;
	size_t mach_count, mach_cap;
};

struct mach *mach_of(struct state *s, const char *name);	/* made when missing */
/* Copies del and set. */
void ahead_add(struct mach *m, uint64_t seq, bool commits, const json_t *del,
	       const json_t *set);
/* Tell of s->damage. Returns -1. */
int damage_tell(const struct state *s, struct err *e);
/* The view shows all that was appended: waits for git when there is need. */
int state_view(struct state *s, struct err *e);

#endif
