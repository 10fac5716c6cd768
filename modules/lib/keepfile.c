/* SPDX-License-Identifier: Apache-2.0
 * keepfile - a text file of the host, kept before it is written and put back.
 */
#include "modules/lib/keepfile.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEXT_MAX (1u << 20)

char *keepfile_read(const char *path)
{
	return io_read_file(AT_FDCWD, path, TEXT_MAX, NULL);
}

/* {"there": false} or {"there": true, "mode", "text"}: kept once, by the first
 * attempt. */
static int keep(struct ctx *c, const char *name, const char *path, const char *now)
{
	AUTO_JSON *o = json_object();
	AUTO_FREE char *text = NULL;
	struct stat st;

	jset_bool(o, "there", now != NULL);
	if (now && stat(path, &st) == 0) {
		jset_int(o, "mode", st.st_mode & 07777);
		jset_str(o, "text", now);
	}
	text = json_canonical(o);
	return ctx_keep(c, name, text, strlen(text));
}

int keepfile_write(struct ctx *c, const char *name, const char *path,
		   const char *text, unsigned mode)
{
	AUTO_FREE char *now = keepfile_read(path);

	if (!now && errno != ENOENT)
		return ctx_fail_sys(c, "cannot read '%s'", path);
	if (now && strcmp(now, text) == 0)
		return 0;
	if (keep(c, name, path, now) < 0)
		return -1;
	if (io_write_file(AT_FDCWD, path, text, strlen(text), (mode_t)mode) < 0)
		return ctx_fail_sys(c, "cannot write '%s'", path);
	return 0;
}

int keepfile_restore(struct ctx *c, const char *name, const char *path)
{
	size_t n = 0;
	const char *kept = ctx_kept(c, name, &n);
	AUTO_ERR e = {0};
	AUTO_JSON *o = kept ? json_parse(kept, n, &e) : NULL;
	const char *text = jstr(o, "text", "");

	if (!kept)
		return 0;
	if (!o)
		return ctx_fail_err(c, &e);
	if (!jbool(o, "there", false)) {
		if (unlink(path) < 0 && errno != ENOENT)
			return ctx_fail_sys(c, "cannot remove '%s'", path);
		return 0;
	}
	if (io_write_file(AT_FDCWD, path, text, strlen(text),
			  (mode_t)jint(o, "mode", 0600)) < 0)
		return ctx_fail_sys(c, "cannot put back '%s'", path);
	return 0;
}

bool keepfile_change(struct ctx *c, const char *path, const char *text)
{
	AUTO_FREE char *now = keepfile_read(path);

	if (now && strcmp(now, text) == 0)
		return true;
	ctx_change_text(c, path, now, text);
	return false;
}
