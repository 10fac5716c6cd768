/* SPDX-License-Identifier: Apache-2.0
 * staterig - a state in a folder of its own, and what tests do with it. What fails, fails
 * the test.
 */
#ifndef DROVER_TESTS_STATERIG_H
#define DROVER_TESTS_STATERIG_H

#include "engine/state/state.h"

struct fix {
	char root[64];		/* a temporary folder */
	char dir[96];		/* the state in it */
	struct loop *loop;
};

int st_setup(void **state);
int st_teardown(void **state);

struct state *st_open(struct fix *f, enum state_mode mode);
void st_close(struct state *s);
void st_flush(struct state *s);
/* Opening must fail with a hint, and `message` must be in what is said. */
void st_open_fails(struct fix *f, enum state_mode mode, enum err_kind kind,
		   const char *message);
/* An outcome; set is "path=text" or NULL, trailers JSON or NULL. */
void st_put(struct state *s, const char *machine, const char *subject, const char *set,
	    const char *trailers);
void st_put_meta(struct state *s, const char *edits);
void st_put_del(struct state *s, const char *machine, const char *path);
/* git's own opinion: stdout of `git A B C` in the state; caller frees. */
char *st_git(struct fix *f, const char *a, const char *b, const char *c);
void st_fsck(struct fix *f);
/* For state_log(): counts in *(int *)arg. */
int st_count(const struct state_commit *c, void *arg);
int st_log_length(struct state *s, const char *machine);

/* For state_append(): what was told of its records. */
struct st_heard {
	int n;			/* times */
	char *error;		/* the first one; the test's to free */
};
void st_hear(void *arg, struct err *e);

#endif
