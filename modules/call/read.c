/* SPDX-License-Identifier: Apache-2.0
 * call.read - a file's content. Changes nothing.
 *
 * volatile: {text | base64, size, truncated}
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "modules/module.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct param params[] = {
	{ .name = "path", .type = P_PATH, .required = true,
	  .summary = "the file to read" },
	{ .name = "max", .type = P_SIZE, .dflt = "1MiB", .min = 1, .max = 8 << 20,
	  .summary = "read at most so many bytes" },
	{ .name = NULL },
};

static void tell(struct ctx *c, const char *p, size_t n, bool truncated)
{
	json_t *text = memchr(p, '\0', n) ? NULL : json_stringn(p, n);

	if (text) {
		ctx_volatile(c, "text", text);
	} else {
		AUTO_FREE char *b64 = io_base64(p, n);

		ctx_volatile(c, "base64", json_string(b64));
	}
	ctx_volatile(c, "size", json_integer((json_int_t)n));
	ctx_volatile(c, "truncated", json_boolean(truncated));
}

static int probe(struct ctx *c, enum probe_state *state)
{
	const char *path = jstr(ctx_args(c), "path", "");
	size_t max = (size_t)jint(ctx_args(c), "max", 1 << 20), n = 0;
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	AUTO_FREE char *buf = NULL;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return ctx_fail_sys(c, "cannot read '%s'", path);
	if (!S_ISREG(st.st_mode))
		return ctx_fail(c, "cannot read '%s': it is not a regular file", path);
	buf = mem_alloc(max + 1);
	while (n <= max) {
		ssize_t got = read(fd, buf + n, max + 1 - n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return ctx_fail_sys(c, "cannot read '%s'", path);
		if (got == 0)
			break;
		n += (size_t)got;
	}
	tell(c, buf, n < max ? n : max, n > max);
	*state = STATE_DONE;
	return 0;
}

const struct module module_call_read = {
	.name = "call.read",
	.summary = "read a file",
	.place = ON_AT,
	.flags = MOD_READ_ONLY,
	.params = params,
	.probe = probe,
};
