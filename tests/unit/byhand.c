/* SPDX-License-Identifier: Apache-2.0
 * byhand - see the header.
 */
#include "tests/unit/byhand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <sys/socket.h>
#include <unistd.h>

void byhand_meet(struct byhand *x)
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, x->fd), 0);
	pipe_of_socket(&x->by_hand, x->fd[0]);
	pipe_of_socket(&x->real, x->fd[1]);
}

void byhand_part(struct byhand *x)
{
	close(x->fd[0]);
	close(x->fd[1]);
}

void byhand_say(struct pipe *p, const struct record *r, const void *payload, size_t n)
{
	uint8_t head[RECORD_HEAD];

	record_head(r, head);
	if (pipe_write_full(p, head, sizeof(head)) == 0 && n)
		pipe_write_full(p, payload, n);
}

void byhand_open(struct pipe *p, uint64_t size, int chunk)
{
	AUTO_JSON *open = json_pack("{s:s,s:I,s:i}", "disk", "root", "size", (json_int_t)size,
				    "chunk", chunk);

	assert_int_equal(record_write_json(p, REC_OPEN, open), 0);
}
