/* SPDX-License-Identifier: Apache-2.0
 * maprig - maps of digests at here.h's path, and chunks that are known by their number. What
 * fails, fails the test.
 */
#ifndef DROVER_TESTS_MAPRIG_H
#define DROVER_TESTS_MAPRIG_H

#include "modules/lib/map.h"
#include "tests/unit/here.h"

#define CHUNK (64u << 10)
#define CHUNKS 3000u		/* of the disk; the last one is shorter */

/* A map whose first pass has begun; one whose first pass is whole; and one whose second has
 * begun then. */
struct map *mr_fresh(struct here *h);
struct map *mr_whole(struct here *h);
struct map *mr_second_pass(struct here *h);
/* Close m, if any, and open what is there. */
struct map *mr_reopen(struct here *h, struct map *m, bool write);

/* What chunk i holds, one digest for each salt. */
void mr_digest(uint64_t i, unsigned salt, uint8_t out[SHA256_LEN]);
/* Write n chunks, and enter them. */
void mr_put(struct map *m, uint64_t from, uint64_t n, unsigned salt);
void mr_assert_has(struct map *m, uint64_t i, unsigned salt);

#endif
