/* SPDX-License-Identifier: Apache-2.0
 * file - look at one file on a host: is it there, how large, whose. Changes nothing.
 * `expect` makes a finding of what is not as it should be.
 */
#include "modules/module.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static const struct param params[] = {
	{ "path", P_PATH, true, NULL, NULL, "the file to look at; a link is not followed", 0, 0 },
	{ "expect", P_ENUM, false, "any", "any|present|absent",
	  "what must be so; anything else is a blocker", 0, 0 },
	{ .name = NULL },
};

static const char *type_name(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG: return "file";
	case S_IFDIR: return "directory";
	case S_IFLNK: return "link";
	case S_IFBLK: return "block device";
	case S_IFCHR: return "character device";
	case S_IFIFO: return "pipe";
	default: return "socket";
	}
}

static int probe(struct ctx *c, enum probe_state *state)
{
	const char *path = jstr(ctx_args(c), "path", "");
	const char *expect = jstr(ctx_args(c), "expect", "any");
	struct stat st;
	bool there = lstat(path, &st) == 0;

	if (!there && errno != ENOENT && errno != ENOTDIR)
		return ctx_fail_sys(c, "cannot look at '%s'", path);
	ctx_stable(c, "exists", json_boolean(there));
	if (there) {
		ctx_stable(c, "type", json_string(type_name(st.st_mode)));
		ctx_stable(c, "mode", json_integer(st.st_mode & 07777));
		ctx_stable(c, "uid", json_integer(st.st_uid));
		ctx_stable(c, "gid", json_integer(st.st_gid));
		ctx_volatile(c, "size", json_integer(st.st_size));
		ctx_volatile(c, "mtime", json_integer(st.st_mtime));
	}
	if ((there && strcmp(expect, "absent") == 0) ||
	    (!there && strcmp(expect, "present") == 0))
		ctx_finding(c, "blocker", "file.expect", NULL, "'%s' is %s", path,
			    there ? "there, and must not be" : "not there, and must be");
	*state = STATE_DONE;
	return 0;
}

const struct module module_any_file = {
	.name = "any.file",
	.summary = "look at a file, and say when it is not as it should be",
	.place = ON_AT,
	.flags = MOD_READ_ONLY,
	.params = params,
	.probe = probe,
};
