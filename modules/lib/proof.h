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

/* Prove all disks of the machine at its target. `fact_in` is the fact with what was
 * proven before (NULL: read everything), `digests` the fact whose digests must be
 * met, `fact_out` what the proof is told as: {DISK: {pass, copy, generation, digest}}.
 * After an earlier proof (`fact_in`) the map must hold the very pass that `digests` names.
 * 0, or -1 (told; a mismatch names offset and length). */
int proof_run(struct ctx *c, const char *fact_in, const char *digests,
	      const char *fact_out);
/* probe: done when fact `fact_out` holds for what the maps say now; the changes say
 * what would be read. */
int proof_probe(struct ctx *c, const char *fact_in, const char *fact_out,
		enum probe_state *state);

#endif
