/* SPDX-License-Identifier: Apache-2.0
 * copy_impl - what the two files of the source's end of a copy share.
 */
#ifndef DROVER_COPY_IMPL_H
#define DROVER_COPY_IMPL_H

#include "modules/lib/checkpoint.h"
#include "modules/lib/copy.h"
#include "modules/lib/snapshot.h"
#include "modules/lib/warm.h"

struct sending {
	struct ctx *c;
	const struct copy_how *how;
	uint64_t before;	/* bytes that were read in this pass, of disks that are done */
	uint64_t ahead;		/* that will be, of disks behind this one; 0 if it is not read whole */
	json_t *foretold;	/* disk -> bytes, of those that were looked at for `ahead`; borrowed */
	uint64_t sent, read;	/* bytes of this call: disks that are done */
	const char *disk;
	bool held;		/* the source stands still in this pass */
	struct checkpoint_pass *at;	/* of the domain's disks in this pass, or NULL */
	struct snapshot_pass *snaps;	/* of the volumes among them, or NULL */
	json_t *report;		/* disk -> list of passes */
	struct warm_pass pass;	/* what this pass sums up to, all disks */
	uint64_t begun;		/* it, by the clock that only goes on */
	json_t *passes;		/* of fact `warm`; borrowed */
};

/* One disk, one pass; adds to s->before, s->report and s->pass. The pass it was, or 0 with e,
 * which the other end was told. */
uint32_t copy_send_disk(struct sending *s, const char *name, const json_t *spec,
			struct err *e);

#endif
