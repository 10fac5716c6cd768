/* SPDX-License-Identifier: Apache-2.0
 * initramfs - what an initial RAM file system holds: cpio archives one after another,
 * plain or compressed (gzip, xz, lzma, zstd), as early microcode and the main image.
 */
#ifndef DROVER_INITRAMFS_H
#define DROVER_INITRAMFS_H

#include "engine/base/json.h"

#include <stdint.h>

#define INITRAMFS_MAX (256u << 20)		/* bytes of one image that are read */
#define INITRAMFS_PLAIN_MAX (1ull << 30)	/* and what it may unpack to */

/* Each name in it. 0; -1 with e when it is damaged, too large, or compressed in a way
 * that is not read here (e says so); names up to there were told. */
int initramfs_names(const void *p, size_t n,
		    void (*fn)(void *arg, const char *name), void *arg, struct err *e);
/* The kernel modules in it, sorted, '-' as '_', without path and ending. NULL with e. */
json_t *initramfs_modules(const void *p, size_t n, struct err *e);
/* "kernel/drivers/block/virtio_blk.ko.xz" -> "virtio_blk"; NULL: it is no module. Owned. */
char *initramfs_module_name(const char *path);

#endif
