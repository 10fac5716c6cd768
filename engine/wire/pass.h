/* SPDX-License-Identifier: Apache-2.0
 * pass - hand a descriptor to the agent of this machine, as the stream of a step. The
 * engine does it for local hosts, `drover-agent --attach` at the end of an SSH channel.
 *
 * That channel, after the preamble and the secret: the step's bytes come as they are, no
 * more than are granted, STREAM_CREDIT of them from the start. To it go words, u32
 * big-endian: STREAM_GRANT and a number of bytes that may come beside those; 0, nothing will
 * follow for the step; else so many bytes for it.
 */
#ifndef DROVER_PASS_H
#define DROVER_PASS_H

#include "engine/base/err.h"

#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#define STREAM_SECRET 32	/* hex digits */
#define STREAM_CREDIT (768u << 10)
#define STREAM_GRANT 0x80000000u
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
