/* SPDX-License-Identifier: Apache-2.0
 * stream_slots - memory that both ends of a stream see, where both are processes of one
 * machine and nothing but a socket is between them: chunks are read into it at one end and
 * written to the target out of it at the other, and only their numbers travel.
 *
 * It cannot be made shorter or longer by either end, so no access to it can fail.
 */
#ifndef DROVER_STREAM_SLOTS_H
#define DROVER_STREAM_SLOTS_H

#include "engine/base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define SLOTS_MAX 1024u
#define NO_SLOT UINT32_MAX

struct slots {
	uint8_t *p;		/* page-aligned */
	uint32_t size, count;	/* bytes of a slot, a multiple of 4096; how many */
	bool *taken;		/* of each: it is in somebody's hands; guarded by who has them */
	int fd;			/* where it was made: to be passed on; else -1 */
};

/* Make them, to be read here and written by who is given the descriptor. NULL: this system
 * has no memory of the kind. */
struct slots *slots_new(uint32_t size, uint32_t count);
/* To write to those of a descriptor (taken over), which must be what slots_new() made of so
 * many. NULL with e. */
struct slots *slots_of(int fd, uint32_t size, uint32_t count, struct err *e);
void slots_free(struct slots *s);		/* NULL is harmless */

void *slots_at(const struct slots *s, uint32_t slot);
/* One that nobody has; NO_SLOT: there is none. */
uint32_t slots_take(struct slots *s);
/* This very one; false: it is beyond them all, or in somebody's hands. */
bool slots_take_this(struct slots *s, uint64_t slot);
/* It is nobody's any more; false: it is beyond them all, or was nobody's before. */
bool slots_give_back(struct slots *s, uint64_t slot);

#endif
