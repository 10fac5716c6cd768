/* SPDX-License-Identifier: Apache-2.0
 * badsectors - a disk that cannot be read everywhere: what is lost is read as zeros, and
 * told.
 */
#ifndef DROVER_BADSECTORS_H
#define DROVER_BADSECTORS_H

#include "modules/lib/disk.h"

/* A stretch that could not be read; multiples of DISK_ALIGN, but for the disk's end. */
struct bad_run { uint64_t at, len; };

struct badsectors {
	struct bad_run *v;	/* owned; in the order of reading, at most BAD_RUNS of them */
	size_t count, cap;
	uint64_t bytes;		/* all, also those that are not in the list */
};

#define BAD_RUNS 1000u		/* more are only counted */

/* The same disk, in which a read that ends in EIO or ENODATA of the device is tried again
 * in small pieces, and what still cannot be read is zeros and noted in `b`, which the
 * caller owns and looks at once the disk is closed. Takes `d`. */
struct disk *badsectors_zero(struct disk *d, struct badsectors *b);
void badsectors_free(struct badsectors *b);
#define AUTO_BADSECTORS __attribute__((cleanup(badsectors_free))) struct badsectors

/* Is this error one of the medium? */
bool badsectors_is(const struct err *e);

#endif
