/* SPDX-License-Identifier: Apache-2.0
 * task - a program that outlives the step that started it. It is known by its
 * marker: one whole argument that nothing else has, such as its pid file's path.
 * A pid may be somebody else's by now; a marker is not.
 */
#ifndef DROVER_TASK_H
#define DROVER_TASK_H

#include "engine/base/err.h"

#include <stdbool.h>
#include <sys/types.h>

/* Start a program that nothing of ours will end or wait for: in a session of its own,
 * in the network namespace netns_fd (-1: ours), its output in the file `log`. 0 once
 * it runs; -1 with e. */
int task_start(const char *const *argv, const char *log, int netns_fd, struct err *e);
/* Have work(arg) done by a process that nothing of ours will end or wait for either: in a
 * session of its own, with one end of a pipe at 0 and nothing else open. It reads there if it
 * `listens`, else it writes. Our end, to be closed by the caller; -1 with e. */
int task_fork(void (*work)(void *arg), void *arg, bool listens, struct err *e);
/* The process that has `marker` as one of its arguments; 0: none. Zombies do not
 * count. */
pid_t task_find(const char *marker);
/* End it: SIGTERM, SIGKILL after grace_ms. True when none is left. */
bool task_end(const char *marker, unsigned grace_ms);
void task_sleep_ms(unsigned ms);

#endif
