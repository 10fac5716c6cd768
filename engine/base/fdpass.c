/* SPDX-License-Identifier: Apache-2.0
 * fdpass - SCM_RIGHTS of one descriptor.
 */
#include "engine/base/fdpass.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

union control { char buf[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; };

ssize_t fdpass_send(int sock, const void *p, size_t n, int fd)
{
	union control ctl = { { 0 } };
	struct iovec iov = { (void *)p, n };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1,
			      .msg_control = ctl.buf, .msg_controllen = sizeof(ctl.buf) };
	struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
	ssize_t put;

	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(h), &fd, sizeof(fd));
	do {
		put = sendmsg(sock, &msg, MSG_NOSIGNAL);
	} while (put < 0 && errno == EINTR);
	return put;
}

ssize_t fdpass_recv(int sock, void *p, size_t n, int *fd)
{
	union control ctl;
	struct iovec iov = { p, n };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1,
			      .msg_control = ctl.buf, .msg_controllen = sizeof(ctl.buf) };
	struct cmsghdr *h;
	ssize_t got;

	*fd = -1;
	do {
		got = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	} while (got < 0 && errno == EINTR);
	h = got >= 0 ? CMSG_FIRSTHDR(&msg) : NULL;
	if (h && h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS &&
	    h->cmsg_len == CMSG_LEN(sizeof(*fd)))
		memcpy(fd, CMSG_DATA(h), sizeof(*fd));
	return got;
}
