/* SPDX-License-Identifier: Apache-2.0
 * pass - hand a descriptor to the agent of this machine, as the stream of a step. The
 * engine does it for local hosts, `drover-agent --attach` at the end of an SSH channel.
 */
#ifndef DROVER_PASS_H
#define DROVER_PASS_H

#include "engine/base/err.h"

#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#define STREAM_SECRET 32	/* hex digits */
/* On stderr of --attach: this, the nonce, " ", the number of bytes that the step sent
 * before it closed its way out. */
#define STREAM_END "DROVER1 end "

/* What the one message says; the descriptor travels beside it. */
struct pass_greeting {
	char secret[STREAM_SECRET];
	uint32_t step;		/* this host's byte order: both are on it */
};

/* The abstract address of an agent's socket; its length. */
socklen_t pass_address(struct sockaddr_un *sun, const char *name);

/* Pass `fd` to the agent that listens on `name`. Returns the connection that ends
 * with the step, or -1 with e. */
int stream_pass(const char *name, const char *secret, uint32_t step, int fd,
		struct err *e);

#endif
