/* SPDX-License-Identifier: Apache-2.0
 * nbd_impl - what the parts of the NBD client share: handshake (nbd_hello.c), requests
 * (nbd.c) and replies (nbd_reply.c).
 */
#ifndef DROVER_NBD_IMPL_H
#define DROVER_NBD_IMPL_H

#include "modules/lib/nbd.h"

#include <pthread.h>

enum { NBD_READ_ONLY = 2, NBD_SEND_FLUSH = 4, NBD_SEND_ZEROES = 64 };

/* One that is under way; it lives on the stack of who asks. */
struct nbd_req {
	uint64_t handle, at;
	uint32_t len;
	void *buf;		/* where read data goes */
	uint32_t error;		/* the server's errno */
	uint64_t run;		/* block status: length of the first run; of a bitmap, all */
	bool dirty;		/* it asks for the bitmap */
	void (*each)(void *arg, uint64_t at, uint64_t len);	/* of that */
	void *arg;		/* for each */
	bool zero, done;
	struct nbd_req *next;
};

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
	struct nbd_req *waiting;
};

/* The connection is of no use any more; the first reason stays. Always -1. */
int nbd_broken(struct nbd *n, const char *why);
/* Read one reply, or a piece of one, and give it to whose it is. Only who has set `reading`. */
void nbd_read_reply(struct nbd *n);
/* It waits no more: answered, or given up. */
void nbd_finish(struct nbd *n, struct nbd_req *r);

#endif
