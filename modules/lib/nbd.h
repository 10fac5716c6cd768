/* SPDX-License-Identifier: Apache-2.0
 * nbd - a small NBD client on a connected socket: fixed newstyle, structured
 * replies and base:allocation where the server has them, several requests in
 * flight (one per calling thread).
 *
 * Whoever waits reads the replies for all. A reply that breaks the protocol ends
 * the connection: every call then fails with the same error.
 */
#ifndef DROVER_NBD_H
#define DROVER_NBD_H

#include "engine/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NBD_MAX_REQUEST (32u << 20)	/* bytes of one read or write */

struct nbd;

/* Handshake on `fd`, which nbd takes over (also on failure). */
struct nbd *nbd_new(int fd, const char *export, struct err *e);
/* The same, with a dirty bitmap that the server exports under this name (QEMU's context
 * "qemu:dirty-bitmap:NAME"); an error when it has none. */
struct nbd *nbd_new_dirty(int fd, const char *export, const char *bitmap, struct err *e);
/* Say goodbye and free; NULL is harmless. */
void nbd_free(struct nbd *n);

uint64_t nbd_size(const struct nbd *n);
bool nbd_read_only(const struct nbd *n);

/* Thread-safe. Errors carry the server's errno in e->sys. */
int nbd_read(struct nbd *n, void *buf, uint32_t len, uint64_t at, struct err *e);
int nbd_write(struct nbd *n, const void *buf, uint32_t len, uint64_t at,
	      struct err *e);
int nbd_zero(struct nbd *n, uint64_t at, uint64_t len, struct err *e);
int nbd_flush(struct nbd *n, struct err *e);
/* The run at `at`: its length and whether it reads as zeros. A server that cannot
 * tell says: all data. */
int nbd_extent(struct nbd *n, uint64_t at, uint64_t *len, bool *zero,
	       struct err *e);

/* What the bitmap says of the bytes from `at` on: each(at, len) for every run that it
 * calls written, in order, inside the disk. Returns how far it told, 0 with e. */
uint64_t nbd_dirty(struct nbd *n, uint64_t at,
		   void (*each)(void *arg, uint64_t at, uint64_t len), void *arg,
		   struct err *e);

#endif
