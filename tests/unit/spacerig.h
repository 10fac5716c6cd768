/* SPDX-License-Identifier: Apache-2.0
 * spacerig - disks of which not all is in use, looked at and copied as a migration does it.
 * What fails, fails the test.
 */
#ifndef DROVER_TESTS_SPACERIG_H
#define DROVER_TESTS_SPACERIG_H

#include "modules/lib/freespace.h"
#include "tests/unit/guestkit.h"

#include <stdint.h>

#define MIB (1ull << 20)

/* What stands where nobody needs it. */
extern const char space_junk[4096];

/* The test's state is a kit. */
int space_set_up(void **state);
int space_tear_down(void **state);
/* A raw disk, and what of it is free. The caller's. */
struct disk *space_look(const char *path, struct freespace *f);
/* So many bytes of it are free; all else is copied into an empty file. */
void space_copy_rest(const char *path, uint64_t least, uint64_t most, const char *to);

#endif
