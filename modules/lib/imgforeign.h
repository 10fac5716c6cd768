/* SPDX-License-Identifier: Apache-2.0
 * imgforeign - look at images of other hypervisors before any program opens them: vmdk,
 * vhdx, vpc, vdi.
 *
 * What is refused: an image that stands on another one, and a vmdk that names anything but
 * files in its own folder, by plain names. A vmdk of several files lists its extents; a
 * program that opens it is shown these and nothing else.
 */
#ifndef DROVER_IMGFOREIGN_H
#define DROVER_IMGFOREIGN_H

#include "engine/base/err.h"

#include <stdbool.h>
#include <stddef.h>

#define IMG_EXTENTS_MAX 100

struct img_files {
	char *names[IMG_EXTENTS_MAX];	/* of extents beside the image; owned */
	size_t count;
};
#define AUTO_IMG_FILES __attribute__((cleanup(img_files_free))) struct img_files
void img_files_free(struct img_files *f);

/* Is it a format of this page? */
bool imgforeign_is(const char *format);
/* 0 with its extents (a single file has none); -1 with e: not of that format, damaged,
 * or refused. */
int imgforeign_check(const char *path, const char *format, struct img_files *f,
		     struct err *e);

#endif
