/* SPDX-License-Identifier: Apache-2.0
 * tlspipe - a pipe over one TLS connection, in the process whose stream it is: what it
 * reads and writes is decrypted and encrypted where it lies, by nobody in between.
 */
#ifndef DROVER_TLSPIPE_H
#define DROVER_TLSPIPE_H

#include "engine/agent/tls.h"
#include "engine/base/pipe.h"

#include <pthread.h>

#define TLS_RECORD (16u << 10)		/* plain bytes in one, at most */

struct tlspipe {
	struct pipe pipe;		/* first: what others know of it */
	struct tls *tls;		/* borrowed */
	pthread_mutex_t lock;		/* OpenSSL: one thread at a time */
	uint8_t small[TLS_RECORD];	/* parts that would not fill a record, put together */
};

/* Over a connection whose handshake is done, best one that is wide. Never fails. */
void tlspipe_init(struct tlspipe *p, struct tls *t);

#endif
