/* SPDX-License-Identifier: Apache-2.0
 * io - files, whole reads and writes, digests, random bytes. EINTR never
 * leaves this file; every length from outside has a bound.
 */
#ifndef DROVER_IO_H
#define DROVER_IO_H

#include "engine/base/err.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* n bytes, 0 at end of file before the first byte, -1 with errno (EPIPE: the
 * stream ended in the middle). */
ssize_t io_read_full(int fd, void *buf, size_t n);
int io_write_full(int fd, const void *buf, size_t n);
int io_pread_full(int fd, void *buf, size_t n, uint64_t at);
int io_pwrite_full(int fd, const void *buf, size_t n, uint64_t at);

/* The whole file, NUL-terminated, at most `max` bytes (EFBIG beyond); caller
 * frees. NULL with errno. `len` may be NULL. dirfd may be AT_FDCWD. */
char *io_read_file(int dirfd, const char *path, size_t max, size_t *len);
/* Written beside, fsynced, renamed, directory fsynced. */
int io_write_file(int dirfd, const char *path, const void *p, size_t n,
		  mode_t mode);
/* Names made or removed in this directory are durable on return. */
int io_sync_dir(const char *path);
/* The directory that the file is in. */
int io_sync_parent(const char *path);
/* mkdir -p; existing directories are fine. */
int io_mkdirs(const char *path, mode_t mode);
/* rm -r, never following links, never crossing file systems. */
int io_remove_tree(const char *path);
int io_set_nonblock(int fd);
int io_set_cloexec(int fd);
/* A socket that chunks of a disk are sent through: whole ones may wait in it, so that sender
 * and receiver take turns less often. Best effort. */
void io_widen(int fd);

#define SHA256_LEN 32
#define SHA256_HEX 65
struct sha256;			/* a running digest (libcrypto) */
struct sha256 *sha256_new(void);
void sha256_add(struct sha256 *h, const void *p, size_t n);
void sha256_end(struct sha256 *h, uint8_t out[SHA256_LEN]);	/* frees h */
void sha256_of(const void *p, size_t n, uint8_t out[SHA256_LEN]);
void io_hex(const uint8_t *p, size_t n, char *out);	/* 2n+1 bytes */
int io_unhex(const char *s, uint8_t *out, size_t n);	/* 0, or -1 */
void sha256_hex(const void *p, size_t n, char out[SHA256_HEX]);

char *io_base64(const void *p, size_t n);			/* caller frees */
void *io_unbase64(const char *s, size_t *n);	/* NULL if it is not base64 */

void io_random(void *p, size_t n);		/* getrandom(2) */

#endif
