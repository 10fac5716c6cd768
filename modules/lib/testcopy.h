/* SPDX-License-Identifier: Apache-2.0
 * testcopy - a throw-away copy of a machine behind a fence: thin overlays on the
 * sealed bases with the change set in them, a network with no way out, a QEMU. All
 * of it is temporary and in the ledger.
 *
 *   <target.dir>/<machine>/.boot/     its overlays
 *   /run/drover/@<machine>/           its sockets and pid file
 *   netns drover-<machine>            its network
 */
#ifndef DROVER_TESTCOPY_H
#define DROVER_TESTCOPY_H

#include "modules/module.h"

struct testcopy {
	const json_t *def;	/* the definition; borrowed */
	char *dir;		/* of the overlays */
	char *run;		/* run-time directory */
	char *console, *monitor, *marker;
	char fence[80];		/* the namespace */
};
#define AUTO_TESTCOPY __attribute__((cleanup(testcopy_free))) struct testcopy

/* Names only; nothing is made. -1 (told) when fact `definition` is missing. */
int testcopy_of(struct ctx *c, struct testcopy *t);
void testcopy_free(struct testcopy *t);

/* Make and launch it, not yet running (-S): its console can be listened to from the
 * first character. What an earlier attempt left goes first. cpus, memory: 0 as
 * defined. 0, -1 (told); what was made by then is in the ledger and stays. */
int testcopy_begin(struct ctx *c, const struct testcopy *t, int64_t cpus, int64_t memory);
/* Is anything of it there? Does it run? */
bool testcopy_there(const struct testcopy *t);
bool testcopy_running(const struct testcopy *t);
/* Nothing of it is there: a base that changes under an overlay corrupts it, silently. 0;
 * -1, told as "cannot VERB". Without fact `definition` none can have been made. */
int testcopy_none(struct ctx *c, const char *verb);
/* Take all of it away. Fine when there is nothing. 0, -1 (told). */
int testcopy_end(struct ctx *c, const struct testcopy *t);

#endif
