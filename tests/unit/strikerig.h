/* SPDX-License-Identifier: Apache-2.0
 * strikerig - one small raw disk, its copy and its undo, any change of which may be struck
 * (strike.h). What fails, fails the test.
 */
#ifndef DROVER_TESTS_STRIKERIG_H
#define DROVER_TESTS_STRIKERIG_H

#include "engine/base/json.h"
#include "tests/unit/strike.h"

#include <stdbool.h>

#define SK_CHUNK (64u << 10)
#define SK_SIZE (7u * SK_CHUNK + 4096)	/* no multiple of the chunk */

struct strikerig {
	struct strike *strike;	/* of the program that it runs in */
	char dir[64];		/* holds all of it; gone at the end */
	char *src, *home, *base;	/* the source image; where its copy goes, and the copy */
	char *from, *to;	/* devices that end with the test instead of src and base, or NULL */
	char said[300];		/* why the last call ended badly */
	bool came;		/* the strike, in the last copy */
};

int sk_set_up(void **state);
int sk_tear_down(void **state);

/* The input of one end's call, the caller's. */
json_t *sk_input(const struct strikerig *r, const char *role);
/* Both ends of an apply; the target's undo. The change `at` is struck, from 0; -1: none. True: it
 * (of a copy, the target's end) ended well. */
bool sk_copies(struct strikerig *r, int at);
bool sk_undoes(struct strikerig *r, int at);

/* The source holds something else, in the chunk k % 7. */
void sk_scribble(struct strikerig *r, int k);
void sk_assert_equal(const struct strikerig *r);
/* A loop device with sectors of 4096 bytes over one of its files, owned; NULL: none can be made. */
char *sk_loop(const char *file);
/* It is no more, if there is one. */
void sk_loop_end(char **dev);

/* An entry in the table of tests, once strike_begin() was called. For after <cmocka.h>. */
#define STRUCK(f) { #f, f, sk_set_up, sk_tear_down, strike }

#endif
