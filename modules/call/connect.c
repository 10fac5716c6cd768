/* SPDX-License-Identifier: Apache-2.0
 * call.connect - open a TCP port, as seen from this host. Sends nothing unless told
 * to; changes nothing. A port that does not open is an answer, not a failure.
 *
 * volatile: {open, error, ms, banner}
 */
#include "engine/base/clock.h"
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "modules/lib/netns.h"
#include "modules/module.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BANNER_MAX 65536

static const struct param params[] = {
	{ .name = "host", .type = P_STR, .required = true,
	  .summary = "an IPv4 or IPv6 address; names are not resolved here" },
	{ .name = "port", .type = P_INT, .required = true, .min = 1, .max = 65535,
	  .summary = "the TCP port" },
	{ .name = "timeout", .type = P_DURATION, .dflt = "5s", .min = 1,
	  .max = 600000, .summary = "give up after this time" },
	{ .name = "send", .type = P_STR, .summary = "text to send once it is open" },
	{ .name = "banner", .type = P_SIZE, .dflt = "0", .min = 0, .max = BANNER_MAX,
	  .summary = "read an answer of at most so many bytes" },
	{ .name = "netns", .type = P_STR,
	  .summary = "connect from this network namespace" },
	{ .name = NULL },
};

struct target {
	struct sockaddr_storage addr;
	socklen_t len;
	uint64_t until;		/* mono ms */
};

static uint64_t now(void)
{
	return clock_real.mono_ms(clock_real.arg);
}

static int parse(struct ctx *c, const char *host, int port, struct target *t)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)&t->addr;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&t->addr;

	if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)port);
		t->len = sizeof(*v4);
		return 0;
	}
	if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)port);
		t->len = sizeof(*v6);
		return 0;
	}
	ctx_fail(c, "cannot connect to '%s': not an address", host);
	ctx_hint(c, "give an IPv4 or IPv6 address; the agent resolves no names");
	return -1;
}

/* 0 when `events` are there; else errno. */
static int wait_for(int fd, short events, const struct target *t)
{
	struct pollfd p = { .fd = fd, .events = events };
	uint64_t at = now();
	int rc;

	do {
		rc = poll(&p, 1, at < t->until ? (int)(t->until - at) : 0);
	} while (rc < 0 && errno == EINTR);
	return rc > 0 ? 0 : ETIMEDOUT;
}

/* 0, or the errno that says why it is not open. */
static int open_port(int fd, const struct target *t)
{
	socklen_t len = sizeof(int);
	int error = 0;

	if (connect(fd, (const struct sockaddr *)&t->addr, t->len) == 0)
		return 0;
	if (errno != EINPROGRESS)
		return errno;
	error = wait_for(fd, POLLOUT, t);
	if (error)
		return error;
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
	return error;
}

static void talk(struct ctx *c, int fd, const struct target *t)
{
	const char *text = jstr(ctx_args(c), "send", NULL);
	size_t max = (size_t)jint(ctx_args(c), "banner", 0), n = 0;
	AUTO_FREE char *buf = NULL;

	for (size_t at = 0, len = text ? strlen(text) : 0; at < len;) {
		ssize_t put = send(fd, text + at, len - at, MSG_NOSIGNAL);

		if (put > 0)
			at += (size_t)put;
		else if (errno != EAGAIN || wait_for(fd, POLLOUT, t) != 0)
			return;
	}
	if (max == 0)
		return;
	buf = mem_alloc(max + 1);
	while (n < max && wait_for(fd, POLLIN, t) == 0) {
		ssize_t got = recv(fd, buf + n, max - n, 0);

		if (got <= 0)
			break;
		n += (size_t)got;
		if (!text && memchr(buf, '\n', n))
			break;
	}
	ctx_volatile(c, "banner", jtext(buf, n));
}

static int probe(struct ctx *c, enum probe_state *state)
{
	const json_t *args = ctx_args(c);
	char fence[80];
	const char *netns = netns_wanted(c, fence);
	struct target t = { .until = now() + (uint64_t)jint(args, "timeout", 5000) };
	uint64_t began = now();
	AUTO_FD fd = -1;
	AUTO_FD ns = -1;
	int error;

	if (parse(c, jstr(args, "host", ""), (int)jint(args, "port", 0), &t) < 0)
		return -1;
	if (netns) {
		ns = netns_open(c, netns);
		if (ns < 0)
			return -1;
		if (setns(ns, CLONE_NEWNET) < 0)
			return ctx_fail_sys(c, "cannot enter the network namespace '%s'", netns);
	}
	fd = socket(t.addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return ctx_fail_sys(c, "cannot open a socket");
	error = open_port(fd, &t);
	ctx_volatile(c, "open", json_boolean(error == 0));
	ctx_volatile(c, "ms", json_integer((json_int_t)(now() - began)));
	if (error)
		ctx_volatile(c, "error", json_string(strerror(error)));
	else
		talk(c, fd, &t);
	*state = STATE_DONE;
	return 0;
}

const struct module module_call_connect = {
	.name = "call.connect",
	.summary = "open a TCP port",
	.place = ON_AT,
	.flags = MOD_READ_ONLY,
	.params = params,
	.probe = probe,
};
