/* SPDX-License-Identifier: Apache-2.0
 * guestrig - a small guest in an image, and the calls that move it, as the agent makes them.
 * What fails, fails the test. For before <cmocka.h>.
 */
#ifndef DROVER_TESTS_GUESTRIG_H
#define DROVER_TESTS_GUESTRIG_H

#include "engine/base/io.h"
#include "engine/base/json.h"
#include "tests/unit/guestkit.h"

#define AT ((uint64_t)1 << 20)		/* of the file system in its disk */

struct guestrig {
	struct kit *k;
	json_t *input;			/* of the next call */
	json_t *result, *events;	/* of the last one */
};

/* A machine whose image src.raw is not made yet. */
int gr_up(void **state);
int gr_down(void **state);
char *gr_in_dir(struct guestrig *t, const char *name);	/* a path; the caller's */
/* The files of a Debian; a disk of that name with what is in the tree; a plan of one. */
void gr_fill(struct kit *k);
void gr_disk(struct guestrig *t, const char *name);
void gr_plan(struct guestrig *t, const char *image, const char *format);
/* Its journal was not replayed. */
void gr_dirty(struct guestrig *t, const char *image);

/* Facts and what was kept go into the next call's input, as the engine does it. Did it end
 * well? */
bool gr_call(struct guestrig *t, const char *module, const char *op);
void gr_good(struct guestrig *t, const char *module, const char *op);	/* it must */
const char *gr_fact(struct guestrig *t, const char *path);		/* "" if it is not there */
json_t *gr_first(struct guestrig *t, const char *path);	/* of a fact that is a list */
const json_t *gr_finding(struct guestrig *t, const char *code);	/* of the last call; or NULL */
void gr_digest(const char *path, char hex[SHA256_HEX]);
/* The base is where convert.disks would have put it. */
void gr_make_base(struct guestrig *t);
void gr_assess_and_reconfigure(struct guestrig *t);

#endif
