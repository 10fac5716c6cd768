/* SPDX-License-Identifier: Apache-2.0
 * fdpass - a descriptor beside a few bytes, through a UNIX socket.
 */
#ifndef DROVER_FDPASS_H
#define DROVER_FDPASS_H

#include <stddef.h>
#include <sys/types.h>

/* The bytes, or the first of them, with `fd` beside them: how many were sent, or -1 with
 * errno. A socket of another kind sends the bytes alone. */
ssize_t fdpass_send(int sock, const void *p, size_t n, int fd);
/* At most n bytes, and the descriptor beside them, the caller's (-1: none came); 0: the end;
 * -1 with errno. */
ssize_t fdpass_recv(int sock, void *p, size_t n, int *fd);

#endif
