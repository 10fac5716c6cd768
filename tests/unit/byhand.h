/* SPDX-License-Identifier: Apache-2.0
 * byhand - one end of a stream made by hand: it says what no drover would say to the real end.
 */
#ifndef DROVER_TESTS_BYHAND_H
#define DROVER_TESTS_BYHAND_H

#include "modules/lib/stream_impl.h"

#include <stddef.h>
#include <stdint.h>

#define BYHAND_JUNK (128u << 10)	/* no payload here is longer */

struct byhand {
	struct pipe by_hand;		/* what the test writes to and reads from */
	struct pipe real;		/* given to the stream that is tested */
	int fd[2];			/* beneath them, in this order */
};

void byhand_meet(struct byhand *x);
void byhand_part(struct byhand *x);
/* The head as it is, whatever length it tells, and n bytes of payload. The other end may have
 * hung up by then. */
void byhand_say(struct pipe *p, const struct record *r, const void *payload, size_t n);
/* A sender's first word: a disk 'root' of that size, in such chunks. */
void byhand_open(struct pipe *p, uint64_t size, int chunk);

#endif
