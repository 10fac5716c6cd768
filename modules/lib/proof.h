/* SPDX-License-Identifier: Apache-2.0
 * proof - read a base image back, past the page cache, and compare every chunk
 * with the digest that the source's data had.
 *
 * A proof names the generation of the map up to which it holds: a later one need
 * read only chunks that were written after it, and composes the root from all. Of a copy
 * that was made anew in between nothing is proven.
 */
#ifndef DROVER_PROOF_H
#define DROVER_PROOF_H

#include "modules/lib/layout.h"
#include "modules/module.h"

#include <stdint.h>

struct proof_how {
	/* Facts with what was proven before, NULL-terminated; the newest counts. NULL:
	 * everything is read. */
	const char *const *proven;
	const char *digests;	/* the fact whose digests must be met */
	bool last;		/* the map must hold the very pass that `digests` names */
	const char *out;	/* it is told as: {DISK: {pass, copy, generation, digest}} */
	bool evidence;		/* and put on record */
};

/* Prove all disks of the machine at its target. 0, or -1 (told; a mismatch names offset
 * and length). */
int proof_run(struct ctx *c, const struct proof_how *h);
/* probe: done when fact `out` holds for what the maps say now; the changes say
 * what would be read. */
int proof_probe(struct ctx *c, const struct proof_how *h, enum probe_state *state);

#endif
