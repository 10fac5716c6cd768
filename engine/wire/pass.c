/* SPDX-License-Identifier: Apache-2.0
 * pass - one message with a secret, a step and a descriptor.
 */
#include "engine/wire/pass.h"

#include "engine/base/addr.h"
#include "engine/base/fdpass.h"
#include "engine/base/mem.h"

#include <errno.h>
#include <string.h>

socklen_t pass_address(struct sockaddr_un *sun, const char *name)
{
	return addr_local(name, sun);
}

int stream_pass(const char *name, const char *secret, uint32_t step, int fd,
		struct err *e)
{
	struct pass_greeting g = { .step = step };
	struct sockaddr_un sun;
	socklen_t len = addr_local(name, &sun);
	int conn = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (strlen(secret) != STREAM_SECRET)
		errno = EINVAL;
	else if (conn >= 0 && connect(conn, (struct sockaddr *)&sun, len) == 0) {
		memcpy(g.secret, secret, STREAM_SECRET);
		if (fdpass_send(conn, &g, sizeof(g), fd) == (ssize_t)sizeof(g))
			return conn;
	}
	err_sys(e, "cannot pass a stream to the agent");
	mem_close_fd(&conn);
	return -1;
}
