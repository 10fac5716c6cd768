/* SPDX-License-Identifier: Apache-2.0
 * tls - TLS 1.3 with one key that both ends were given beforehand: no certificate, no
 * name, no ticket, and nothing of the host's OpenSSL configuration. Whoever does not
 * have the key gets nowhere, at either end. Sockets are non-blocking.
 */
#ifndef DROVER_TLS_H
#define DROVER_TLS_H

#include "engine/base/err.h"

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define TLS_REKEY (64u << 20)	/* bytes written under one key */
#define TLS_KEY 32		/* bytes: the pre-shared key, for SHA-256 */

struct tls_context;		/* of all connections of one stream */
struct tls;			/* one connection */

/* NULL with e. */
struct tls_context *tls_context_new(bool listens, const uint8_t key[TLS_KEY],
				    struct err *e);
void tls_context_free(struct tls_context *c);	/* wipes the key; NULL is harmless */

/* The descriptor is the connection's from now on. NULL with e: it was closed. */
struct tls *tls_new(struct tls_context *c, int fd, struct err *e);
void tls_free(struct tls *t);			/* closes it; NULL is harmless */
int tls_fd(const struct tls *t);
/* From now on it is `fd`, a duplicate of the old one, which is closed, and many records go in
 * one call of the kernel: what is written waits for tls_flush(). -1 with errno. */
int tls_widen(struct tls *t, int fd);

/* 1: the other end has the key; 0: wait for tls_wants(); -1 with e. */
int tls_shake(struct tls *t, struct err *e);
/* Bytes; 0: wait for tls_wants(); -1: the other end has finished, or is gone. */
ssize_t tls_read(struct tls *t, void *buf, size_t n);
ssize_t tls_write(struct tls *t, const void *p, size_t n);
/* All that was written is the kernel's: 1; 0: wait for tls_wants(); -1: the other end is gone. */
int tls_flush(struct tls *t);
#define TLS_BATCH (256u << 10)	/* bytes that are best written before that */
/* What poll(2) must see before the last call that gave 0 is made again. */
short tls_wants(const struct tls *t);
/* The other end said that nothing more comes: it was not cut off. */
bool tls_ended(const struct tls *t);
/* There are bytes that poll(2) does not see any more. */
bool tls_pending(const struct tls *t);
/* How many keys it has written with: a new one each TLS_REKEY bytes, long before what may
 * go under one of AES-GCM (RFC 8446, 5.5). */
unsigned tls_keys(const struct tls *t);
/* Say that nothing more comes. */
void tls_finish(struct tls *t);

#endif
