/* SPDX-License-Identifier: Apache-2.0
 * imgcheck - look at an image's header before any program opens the image.
 *
 * A qcow2 may name other files (a backing file, a data file) that the program
 * would open on its behalf: such an image from outside reads whatever its maker
 * likes. It is refused, and so is one with features that are not known here.
 */
#ifndef DROVER_IMGCHECK_H
#define DROVER_IMGCHECK_H

#include "engine/base/err.h"

#include <stdint.h>

/* 0 and the size of the disk within; -1 with e: no qcow2, damaged, or refused. */
int imgcheck_qcow2(const char *path, uint64_t *size, struct err *e);
/* "qcow2", "vmdk", "vhdx", "vpc", "vdi", "luks" when the file begins as one does,
 * else NULL. For questions only: a raw disk may begin with anything. */
const char *imgcheck_looks_like(const char *path);

#endif
