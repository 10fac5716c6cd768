/* SPDX-License-Identifier: Apache-2.0
 * hook/api - the table `drover` that a check sees.
 */
#ifndef DROVER_HOOK_API_H
#define DROVER_HOOK_API_H

#include "engine/hook/vm.h"

/* One check in its process. */
struct check {
	struct vm vm;
	int fd;			/* frames to and from the engine */
	const json_t *job;	/* {op, name, text, with, facts, machine, role, step,
				   preview, ready, memory, timeout_ms}; borrowed */
	uint64_t deadline;	/* mono ms */
	bool loading;		/* only defining functions: whoever asks is a plain check */
	bool reading_only;	/* in a preview or probe */
	int64_t last_id;	/* of calls */
	/* what it said, owned */
	char *message;		/* of drover.ok */
	json_t *findings, *changes, *facts;
};

/* Put the table into the globals; a protected call, check in vm.arg. */
int api_open(lua_State *L);

#endif
