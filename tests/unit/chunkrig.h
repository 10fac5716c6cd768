/* SPDX-License-Identifier: Apache-2.0
 * chunkrig - a store of chunks in a folder of its own, and chunks that are known by a number.
 * What fails, fails the test.
 */
#ifndef DROVER_TESTS_CHUNKRIG_H
#define DROVER_TESTS_CHUNKRIG_H

#include "modules/lib/chunkstore.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define CHUNKRIG_LEN 8192u		/* of every chunk */

struct chunkrig {
	char place[64];		/* the store's folder; gone at the end */
	struct chunkstore *s;	/* open, or NULL */
};

/* Of a test: a store that is empty and takes chunks. */
int chunkrig_set_up(void **state);
int chunkrig_tear_down(void **state);
/* Close it, if it is open, and open it so. */
void chunkrig_reopen(struct chunkrig *r, enum chunkstore_mode mode);

/* The n-th chunk: no two alike, and zstd has no part in it. */
void chunkrig_plain(unsigned n, uint8_t out[CHUNKRIG_LEN]);
/* Put the n-th chunk; the bytes that it added. */
uint64_t chunkrig_put(struct chunkstore *s, unsigned n);
/* It is there, byte for byte; else *e says why not. */
bool chunkrig_is_whole(struct chunkstore *s, unsigned n, struct err *e);
/* It is wanted by the next sweep; false: there is no such chunk. */
bool chunkrig_mark(struct chunkstore *s, unsigned n);

/* How many files a folder of the store has; the bytes in them are added to *bytes, if any. */
size_t chunkrig_files(const struct chunkrig *r, const char *sub, uint64_t *bytes);
/* Flip a bit of the byte at `at` of the one file of that folder. */
void chunkrig_flip(const struct chunkrig *r, const char *sub, off_t at);

#endif
