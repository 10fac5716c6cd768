/* SPDX-License-Identifier: Apache-2.0
 * freeze_priv - what the files of freeze share; nobody else includes it.
 *
 *   freeze.c         the step's side: begin, ask, end
 *   freeze_release.c letting go of one, also when no watchdog is left
 *   freeze_mounts.c  which mounts stand on the machine's disks, and in what order
 *   freeze_hold.c    freezing, thawing, and the last means
 *   freeze_dog.c     the watchdog: what it is told, when it ends
 *   freeze_keep.c    the keeper: who takes over when the watchdog is killed
 */
#ifndef DROVER_FREEZE_PRIV_H
#define DROVER_FREEZE_PRIV_H

#include "engine/base/json.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define FREEZE_MAX 64		/* mounts */
#define FREEZE_NAME "drover-freeze-"	/* begins the name of a watchdog's abstract socket */
#define FREEZE_ANSWER 256	/* bytes of what the watchdog says */

struct freeze_mount {
	char *dir;		/* where it is mounted; owned */
	char *fs;		/* its kind; owned */
	dev_t dev;		/* one entry for each file system */
	unsigned long flags;	/* MS_NOSUID ..., for a remount */
	int level;		/* how many loops it stands on */
	int depth;		/* of dir; the root's is 0 */
	int fd;			/* dir, opened before anything is frozen; -1 */
};

/* Those on the disks of fact `machine`, in the order in which they are frozen. -1
 * with e; the caller frees what came. */
int freeze_mounts(const json_t *machine, struct freeze_mount **mounts, size_t *n,
		  struct err *e);
void freeze_mounts_free(struct freeze_mount *mounts, size_t n);

enum freeze_phase { FREEZE_BEGINS, FREEZE_HELD, FREEZE_OVER };

/* What watchdog and keeper both know: it outlives each of them. */
struct freeze_shared {
	_Atomic uint64_t until;		/* mono ms: it ends by itself then */
	_Atomic int phase;		/* enum freeze_phase */
	atomic_bool sealed;		/* it lasts until then, whatever becomes of the agent */
	atomic_bool lost;		/* somebody else thawed some of it */
	atomic_bool last_means;		/* the kernel's emergency thaw was needed */
	/* by mount; true before it is tried, so that who takes over knows */
	atomic_bool frozen[FREEZE_MAX];
	atomic_bool read_only[FREEZE_MAX];	/* it has no freeze: remounted */
};

struct freeze_dog {
	struct freeze_mount *mounts;
	size_t n;
	int listener;		/* where it is told what to do */
	int agent;		/* pidfd of the agent, or -1 */
	pid_t agent_pid;
	int report;		/* one line goes here: "ok", or what failed */
	unsigned deadline_ms;
	/* set by the keeper */
	struct freeze_shared *shared;
	pid_t keeper;
	int sysrq, kmsg;	/* /proc/sysrq-trigger, /dev/kmsg; or -1 */
};

/* Could it be the name of one? */
bool freeze_named(const char *name);
/* Say one word to the watchdog, take its answer. False: there is none any more. */
bool freeze_say(const char *name, const char *word, char out[FREEZE_ANSWER]);

/* All of them, or none and `why`: 0, -1. */
int freeze_all(struct freeze_dog *d, char why[FREEZE_ANSWER]);
/* In reverse order. False: some was not frozen any more, or did not thaw; when it did
 * not, the kernel's emergency thaw was used, which lets go of all freezes there are. */
bool freeze_thaw_all(struct freeze_dog *d);
/* Is all of it frozen, as the kernel says? What somebody thawed marks it as lost. */
bool freeze_lasts(struct freeze_dog *d);
/* The kernel's emergency thaw; only for when FITHAW fails or does not return. */
void freeze_last_means(struct freeze_dog *d, const char *why);

/* The watchdog's whole life, in a process of its own; never returns. It ends when the
 * freeze is over; left alone by its keeper it becomes one. */
_Noreturn void freeze_dog(struct freeze_dog *d);
/* The keeper's: starts the watchdog, and another one in its place when it is killed. */
_Noreturn void freeze_keep(struct freeze_dog *d);
/* The same, for a watchdog that has lost its keeper. */
_Noreturn void freeze_keep_on(struct freeze_dog *d);

#endif
