/* SPDX-License-Identifier: Apache-2.0
 * call.stat - what a path is. Changes nothing; a missing path is an answer too.
 *
 * volatile: {exists, kind, size, mode, uid, gid, mtime, target}
 */
#include "modules/module.h"

#include <errno.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct param params[] = {
	{ .name = "path", .type = P_PATH, .required = true,
	  .summary = "the path to look at" },
	{ .name = "follow", .type = P_BOOL, .dflt = "true",
	  .summary = "look at what a link points to" },
	{ .name = NULL },
};

static const char *kind_of(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG: return "file";
	case S_IFDIR: return "dir";
	case S_IFLNK: return "link";
	case S_IFBLK: return "block";
	case S_IFCHR: return "char";
	case S_IFIFO: return "fifo";
	default: return "socket";
	}
}

static int probe(struct ctx *c, enum probe_state *state)
{
	const char *path = jstr(ctx_args(c), "path", "");
	bool follow = jbool(ctx_args(c), "follow", true);
	char target[PATH_MAX];
	struct stat st;
	ssize_t n;

	*state = STATE_DONE;
	if ((follow ? stat(path, &st) : lstat(path, &st)) < 0) {
		if (errno != ENOENT && errno != ENOTDIR)
			return ctx_fail_sys(c, "cannot look at '%s'", path);
		ctx_volatile(c, "exists", json_false());
		return 0;
	}
	ctx_volatile(c, "exists", json_true());
	ctx_volatile(c, "kind", json_string(kind_of(st.st_mode)));
	ctx_volatile(c, "size", json_integer(st.st_size));
	ctx_volatile(c, "mode", json_integer(st.st_mode & 07777));
	ctx_volatile(c, "uid", json_integer(st.st_uid));
	ctx_volatile(c, "gid", json_integer(st.st_gid));
	ctx_volatile(c, "mtime", json_integer(st.st_mtime));
	if (S_ISLNK(st.st_mode) &&
	    (n = readlink(path, target, sizeof(target))) >= 0)
		ctx_volatile(c, "target", jtext(target, (size_t)n));
	return 0;
}

const struct module module_call_stat = {
	.name = "call.stat",
	.summary = "look at a path",
	.place = ON_AT,
	.flags = MOD_READ_ONLY,
	.params = params,
	.probe = probe,
};
