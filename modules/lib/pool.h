/* SPDX-License-Identifier: Apache-2.0
 * pool - libvirt storage pools of this host, as virsh tells of them.
 */
#ifndef DROVER_POOL_H
#define DROVER_POOL_H

#include "engine/base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct pool {
	char *dir;	/* where its files lie; NULL for one of volumes */
	char *vg;	/* its volume group; NULL for one of files */
};
#define AUTO_POOL __attribute__((cleanup(pool_free))) struct pool
void pool_free(struct pool *p);

/* It must be started, and hold files (dir, fs, netfs) or volumes (logical). */
int pool_find(const char *name, struct pool *p, struct err *e);
/* The same of a definition's text. */
int pool_read(const char *name, const char *xml, size_t n, struct pool *p, struct err *e);
/* Let libvirt see what came or went. */
int pool_refresh(const char *name, struct err *e);

#endif
