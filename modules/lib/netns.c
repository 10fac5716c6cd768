/* SPDX-License-Identifier: Apache-2.0
 * netns - reach a network namespace by name or by path.
 */
#include "modules/lib/netns.h"

#include "engine/base/mem.h"
#include "engine/base/text.h"
#include "modules/lib/fence.h"
#include "modules/module.h"

#include <fcntl.h>
#include <string.h>

const char *netns_wanted(const struct ctx *c, char buf[80])
{
	const char *netns = jstr(ctx_args(c), "netns", NULL), *role = ctx_role(c);

	if (netns || !role || strcmp(role, "fence") != 0)
		return netns;
	fence_name(ctx_machine_name(c), buf);
	return buf;
}

int netns_open(struct ctx *c, const char *name)
{
	AUTO_FREE char *path = NULL;
	int fd;

	if (name[0] == '/')
		path = mem_strdup(name);
	else if (text_name_ok(name))
		path = mem_printf("/run/netns/%s", name);
	else
		return ctx_fail(c, "cannot enter the network namespace '%s': not a name", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return ctx_fail_sys(c, "cannot enter the network namespace '%s'", name);
	return fd;
}
