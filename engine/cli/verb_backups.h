/* SPDX-License-Identifier: Apache-2.0
 * verb_backups - what its files share: the places of a plan's backups, and what is done there.
 */
#ifndef DROVER_CLI_VERB_BACKUPS_H
#define DROVER_CLI_VERB_BACKUPS_H

#include "engine/cli/ask_host.h"

#define BACKUPS_CALL "call.backups"	/* the module that answers at a place */

/* A place of backups that the plan names; only once each. */
struct place_of {
	uint32_t host;		/* of the plan */
	char *path;		/* owned */
};

struct places {
	struct place_of *v;	/* owned */
	size_t count, cap;
};

/* Shows what goes first, at every place, and asks once. `all` is what lies there: not needed
 * for it, the places know what is too old. The exit status, its error told. */
int backups_prune(struct cli *c, struct places *p, const json_t *all);

#endif
