/* SPDX-License-Identifier: Apache-2.0
 * giterr - libgit2's last error as ours.
 */
#include "engine/state/giterr.h"
#include "engine/base/mem.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

int giterr(struct err *e, const char *fmt, ...)
{
	const git_error *g = git_error_last();
	const char *why = g && g->message ? g->message : "git gives no reason";
	AUTO_FREE char *what = NULL;
	va_list ap;

	va_start(ap, fmt);
	what = mem_vprintf(fmt, ap);
	va_end(ap);
	err_set(e, ERR_SYSTEM, "%s: %s", what, why);
	if (e && strstr(why, strerror(ENOSPC)))
		e->sys = ENOSPC;
	return -1;
}
