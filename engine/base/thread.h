/* SPDX-License-Identifier: Apache-2.0
 * thread - threads that cannot fail to start: none is like no memory.
 */
#ifndef DROVER_THREAD_H
#define DROVER_THREAD_H

#include <pthread.h>

/* A limit on tasks may be reached for a moment: it tries for a second, then the process ends
 * with status MEM_NONE and the reason on stderr. */
void thread_start(pthread_t *t, void *(*work)(void *arg), void *arg);

#endif
