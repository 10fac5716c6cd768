/* SPDX-License-Identifier: Apache-2.0
 * thread - start a thread, or end the process.
 */
#include "engine/base/thread.h"

#include "engine/base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TRIES 20
#define PAUSE_MS 50

void thread_start(pthread_t *t, void *(*work)(void *arg), void *arg)
{
	const struct timespec pause = { .tv_nsec = PAUSE_MS * 1000000L };
	int rc = pthread_create(t, NULL, work, arg);

	for (int i = 1; rc == EAGAIN && i < TRIES; i++) {
		nanosleep(&pause, NULL);
		rc = pthread_create(t, NULL, work, arg);
	}
	if (rc == 0)
		return;
	dprintf(2, "drover: cannot start a thread: %s; what is recorded is safe, run the same "
		"command again\n", strerror(rc));
	_exit(MEM_NONE);
}
