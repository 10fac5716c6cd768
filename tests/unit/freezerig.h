/* SPDX-License-Identifier: Apache-2.0
 * freezerig - two file systems on loop devices of the test's own, in a mount namespace of its
 * own, and the calls of cutover.quiesce that freeze them. Needs root. The machine's own file
 * systems are never touched.
 */
#ifndef DROVER_TESTS_FREEZERIG_H
#define DROVER_TESTS_FREEZERIG_H

#include "engine/base/json.h"

#include <stdbool.h>
#include <sys/types.h>

struct fz_world {
	char dir[64];		/* holds all of it; gone at the end */
	char *loop[2];		/* /dev/loopN */
	char *mount[2];		/* an ext4 at dir/a, and another one */
	pid_t guard;		/* who takes it all away when the test is killed; 0: none */
	json_t *input;		/* of the next call; what the calls kept is put in; NULL:
				   this machine cannot have what the test wants */
};

extern bool fz_can_run;		/* else each test is skipped */

/* Once, before all tests: may they run here? Goes into a mount namespace of its own. */
void fz_look(void);
/* The second is an ext4 below the first; an ext4 in a file of the first; an NTFS, which no
 * kernel freezes, below the first. */
int fz_set_up(void **state);
int fz_set_up_nested(void **state);
int fz_set_up_unfrozen(void **state);
int fz_tear_down(void **state);
/* From now on: when this process ends before fz_tear_down(), or lives longer than `ms` and is
 * killed for it, a process of its own thaws and takes away what the test made. Set up does it. */
void fz_guard(struct fz_world *w, int ms);
/* Is it frozen just now, as the kernel says? */
bool fz_frozen(const char *dir);
/* A write waits as long as the file system is frozen: no clock is needed. */
void fz_wait_for_thaw(const char *dir);
/* One operation of cutover.quiesce; its result, the caller's. */
json_t *fz_call(struct fz_world *w, const char *op);
/* The same, which must end well. */
void fz_must(struct fz_world *w, const char *op);
void fz_state_is(struct fz_world *w, const char *want);
/* Keeper and watchdog, once both are there. */
void fz_find_pair(const struct fz_world *w, pid_t *keeper, pid_t *dog);

#endif
