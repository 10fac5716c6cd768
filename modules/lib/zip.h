/* SPDX-License-Identifier: Apache-2.0
 * zip - how hard to compress: not at all when the link takes data faster than it can be
 * compressed, harder the slower the link is. Decided by what happens: while those who
 * compress mostly wait for the link the next level up is tried, while they hardly ever do
 * the next one down, and what was tried stays if it was better.
 */
#ifndef DROVER_ZIP_H
#define DROVER_ZIP_H

#include <stdbool.h>
#include <stdint.h>

#define ZIP_STEPS 6		/* none, and five levels of zstd */

/* What was seen in one stretch of data. */
struct zip_seen {
	double rate;		/* plain bytes per ns; 0: nothing yet */
	double shrunk;		/* bytes sent for each plain byte */
};

struct zip {
	unsigned threads;	/* that compress and send */
	int step;		/* now taken */
	int from;		/* what it is tried against; == step: no trial */
	struct zip_seen before;	/* at `from` */
	int refused;		/* the step that was tried last and not kept; -1: none */
	unsigned rest;		/* stretches until it may be tried again */
	uint64_t begin, plain, sent, waited;	/* of this stretch; ns and bytes */
	unsigned pieces;
};

void zip_begin(struct zip *z, unsigned threads, uint64_t now_ns);
/* The level of zstd to take; 0: do not compress. */
int zip_level(const struct zip *z);
/* A thread has sent `plain` bytes as `sent`, and waited so long for the link. */
void zip_note(struct zip *z, uint64_t now_ns, uint64_t plain, uint64_t sent,
	      uint64_t waited_ns);

#endif
