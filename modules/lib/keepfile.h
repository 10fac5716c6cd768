/* SPDX-License-Identifier: Apache-2.0
 * keepfile - a text file of the host, kept before it is written and put back.
 */
#ifndef DROVER_KEEPFILE_H
#define DROVER_KEEPFILE_H

#include "modules/module.h"

/* What the file holds; NULL: it is not there (errno ENOENT) or unreadable. At most
 * 1 MiB. Caller frees. */
char *keepfile_read(const char *path);
/* Keep what `path` holds, or that it is not there, under `name`; then write `text`,
 * unless it says that already. 0, -1 (told). */
int keepfile_write(struct ctx *c, const char *name, const char *path,
		   const char *text, unsigned mode);
/* Put back what was kept; nothing when nothing was. 0, -1 (told). */
int keepfile_restore(struct ctx *c, const char *name, const char *path);
/* One line of a preview, with the diff; true when the file says `text` already. */
bool keepfile_change(struct ctx *c, const char *path, const char *text);

#endif
