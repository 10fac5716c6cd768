/* SPDX-License-Identifier: Apache-2.0
 * proof - read a base image back, past the page cache, and compare every chunk
 * with the digest that the source's data had.
 *
 * A proof names the generation of the map up to which it holds, and its mark: a later one
 * need read only chunks that were written after it, and composes the root from all. Of a
 * copy that was made anew in between, or whose map was put back, nothing is proven.
 *
 * A chunk that is not what was sent is dropped from the map where `mend` says so, and the
 * call fails as "damaged": the step that brought it over sends it again (`mend` of
 * modules/module.h), and the proof is asked once more.
 *
 * One that is cut off, by whatever, goes on where it was: at most 64 MiB or two seconds of
 * reading are done twice (proof_mark.c). What one proves that reads all of a disk is kept by the
 * engine before it is told: a result that is lost costs no second reading. Once all disks are
 * proven, or one is found damaged, nothing is noted at the target, and what was kept goes with
 * the step's record: whoever asks anew has it read anew.
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
	bool mend;		/* the source is there: what is damaged can be sent again */
	bool serving;		/* a target runs above it: gently */
};

/* Prove all disks of the machine at its target. 0, or -1 (told; a mismatch names offset,
 * length and history, evidence DISK.damage all of them). */
int proof_run(struct ctx *c, const struct proof_how *h);
/* probe: done when fact `out` holds for what the maps say now; the changes say
 * what would be read. */
int proof_probe(struct ctx *c, const struct proof_how *h, enum probe_state *state);
/* The copy goes: nothing is left of a proof that was cut off. -1 with e. */
int proof_mark_drop(const struct layout_disk *at, struct err *e);

#endif
