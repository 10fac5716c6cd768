/* SPDX-License-Identifier: Apache-2.0
 * pace - go no faster than so many bytes a second: a bucket that fills with time and may
 * be overdrawn by one piece, which is paid back before the next goes.
 */
#ifndef DROVER_PACE_H
#define DROVER_PACE_H

#include <stdint.h>

struct pace {
	double bytes;		/* in the bucket; below zero: owed */
	uint64_t at;		/* ns, when that was so; 0: never used */
};

/* How long to wait before the next piece may go, by what `rate` is now (0: no limit).
 * Ask again after waiting: the rate may be another one. 0: go. */
uint64_t pace_wait_ns(struct pace *p, uint64_t now_ns, uint64_t rate);
/* A piece of so many bytes goes. */
void pace_spend(struct pace *p, uint64_t bytes);

#endif
