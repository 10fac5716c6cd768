/* SPDX-License-Identifier: Apache-2.0
 * nbd_impl - what the two halves of the NBD client share: handshake
 * (nbd_hello.c) and transmission (nbd.c).
 */
#ifndef DROVER_NBD_IMPL_H
#define DROVER_NBD_IMPL_H

#include "modules/lib/nbd.h"

#include <pthread.h>

enum { NBD_READ_ONLY = 2, NBD_SEND_FLUSH = 4, NBD_SEND_ZEROES = 64 };

struct req;

struct nbd {
	int fd;			/* owned */
	uint64_t size;
	uint16_t flags;		/* what the server can */
	bool structured;	/* structured replies are agreed */
	bool status;		/* base:allocation is agreed */
	bool dirty;		/* a dirty bitmap is agreed */
	uint32_t status_id, dirty_id;	/* what answers call them */
	bool go;		/* the handshake is over */
	pthread_mutex_t sending;	/* held while a request is written */
	pthread_mutex_t lock;	/* guards all below; never held while waiting */
	pthread_cond_t turn;	/* a reply was read, or the reader's place is free */
	bool reading;		/* somebody reads replies */
	bool dead;
	const char *why;	/* why it is dead; static */
	uint64_t handles;	/* the last one used */
	struct req *waiting;
};

#endif
