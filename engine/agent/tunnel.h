/* SPDX-License-Identifier: Apache-2.0
 * tunnel - the process that carries one direct stream: between a socket of the step and
 * one or more TLS connections to the agent at the other end.
 *
 *   direct.c  begins and ends it, in the agent      meet.c    listens or connects
 *   tls.c     one connection, one key               tunnel.c  moves the bytes, in order
 */
#ifndef DROVER_TUNNEL_H
#define DROVER_TUNNEL_H

#include "engine/agent/tls.h"
#include "engine/base/addr.h"

#include <stddef.h>

#define TUNNEL_PATHS 8		/* connections of one stream at most */

/* What the engine said. */
struct meeting {
	bool listens;
	struct addr at;			/* where to listen, or whom to connect to (port `from`) */
	uint8_t key[TLS_KEY];
	uint64_t wait_ms;		/* to be joined within */
};

/* How it came about. */
struct met {
	struct tls_context *context;	/* of all paths */
	struct tls *path[TUNNEL_PATHS];
	int paths;
	unsigned strangers;		/* that were turned away */
	uint64_t rtt_ms;		/* of the first handshake; the listener does not know */
};

/* Get the connections. `ctl` is the agent's: its end means that nobody wants it any
 * more. The listener tells its port through told_port(arg, port) as soon as it listens.
 * 0, or -1 with e; met_free() in any case. Blocks. */
int meet(const struct meeting *m, int ctl, void (*told_port)(void *arg, int port), void *arg,
	 struct met *out, struct err *e);
void met_free(struct met *m);

/* Carry bytes until both ways have ended, the other end is gone, or `ctl` ends (what
 * the step has said by then is still sent). Closes `local`. */
void tunnel_carry(struct met *m, int local, int ctl);

#endif
