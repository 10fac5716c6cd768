/* SPDX-License-Identifier: Apache-2.0
 * freeze_priv - what the files of freeze share; nobody else includes it.
 *
 *   freeze.c         the step's side: begin, ask, end
 *   freeze_mounts.c  which mounts stand on the machine's disks, and in what order
 *   freeze_dog.c     the watchdog
 */
#ifndef DROVER_FREEZE_PRIV_H
#define DROVER_FREEZE_PRIV_H

#include "engine/base/json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define FREEZE_MAX 64		/* mounts */

struct freeze_mount {
	char *dir;		/* where it is mounted; owned */
	char *fs;		/* its kind; owned */
	dev_t dev;		/* one entry for each file system */
	unsigned long flags;	/* MS_NOSUID ..., for a remount */
	int level;		/* how many loops it stands on */
	int depth;		/* of dir; the root's is 0 */
	/* the watchdog's */
	int fd;			/* dir, opened before anything is frozen; -1 */
	bool frozen;
	bool read_only;		/* it could not freeze: remounted */
};

/* Those on the disks of fact `machine`, in the order in which they are frozen. -1
 * with e; the caller frees what came. */
int freeze_mounts(const json_t *machine, struct freeze_mount **mounts, size_t *n,
		  struct err *e);
void freeze_mounts_free(struct freeze_mount *mounts, size_t n);

struct freeze_dog {
	struct freeze_mount *mounts;
	size_t n;
	int listener;		/* where it is told what to do */
	int agent;		/* pidfd of the agent, or -1 */
	pid_t agent_pid;
	int report;		/* one line goes here: "ok", or what failed */
	unsigned deadline_ms;
};
/* The watchdog's whole life, in a process of its own; never returns. */
_Noreturn void freeze_dog(struct freeze_dog *d);

#endif
