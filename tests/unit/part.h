/* SPDX-License-Identifier: Apache-2.0
 * part - how much of a long test is run: all of it, or with DROVER_TEST_QUICK in the
 * environment (make check) a bounded part.
 */
#ifndef DROVER_TESTS_PART_H
#define DROVER_TESTS_PART_H

#include <stdlib.h>

static inline int test_part(int whole, int quick)
{
	return getenv("DROVER_TEST_QUICK") ? quick : whole;
}

#endif
