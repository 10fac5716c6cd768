/* SPDX-License-Identifier: Apache-2.0
 * attach - between the socket of a step and the channel that sshd gave us. One process for
 * each way: what the engine grants comes in one and counts in the other.
 */
#include "engine/agent/attach.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/wire/frame.h"
#include "engine/wire/pass.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define BUFFER (256u << 10)

/* ---- one way --------------------------------------------------------------------- */

/* One of its ends is the step's socket, which does not block, the other what sshd gave us. */
struct way {
	int from, to;
	uint8_t *copy;		/* BUFFER bytes, where it cannot be done without; or NULL */
};

static void wait_for(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	poll(&p, 1, -1);
}

static ssize_t copy_some(const struct way *w, size_t n)
{
	ssize_t got = read(w->from, w->copy, n < BUFFER ? n : BUFFER);

	for (ssize_t put = 0; put < got;) {
		ssize_t more = write(w->to, w->copy + put, (size_t)(got - put));

		if (more < 0 && errno == EAGAIN)
			wait_for(w->to, POLLOUT);
		else if (more < 0 && errno != EINTR)
			return -1;
		put += more > 0 ? more : 0;
	}
	return got;
}

/* At most n bytes, once there are some; 0: the end. Their pages change hands, nobody copies
 * them. But splice(2) must not wait: it would with the pipe's lock held, and sshd, which only
 * wants to look whether there is something to read, would sleep with it, and all its channels. */
static ssize_t carry_some(struct way *w, size_t n)
{
	for (;;) {
		ssize_t got = w->copy ? copy_some(w, n) :
			splice(w->from, NULL, w->to, NULL, n, SPLICE_F_NONBLOCK);

		if (got >= 0)
			return got;
		if (errno == EAGAIN) {
			wait_for(w->from, POLLIN);
			wait_for(w->to, POLLOUT);
		} else if (errno == EINVAL && !w->copy) {
			w->copy = mem_alloc(BUFFER);	/* no pipe, or before Linux 4.2 */
		} else if (errno != EINTR) {
			return -1;
		}
	}
}

/* ---- from the engine ------------------------------------------------------------- */

static int carry_bytes(struct way *w, uint32_t left)
{
	while (left > 0) {
		ssize_t n = carry_some(w, left);

		if (n <= 0)
			return -1;
		left -= (uint32_t)n;
	}
	return 0;
}

/* grants: to who sends, bytes more, u32 each. */
static void carry_in(int sock, int grants)
{
	struct way way = { .from = 0, .to = sock };
	uint32_t w;

	while (io_read_full(0, &w, sizeof(w)) > 0) {
		w = be32toh(w);
		if (w & STREAM_GRANT) {
			w &= ~STREAM_GRANT;
			/* who sends no more needs none */
			(void)!write(grants, &w, sizeof(w));
		} else if (w == 0) {
			shutdown(sock, SHUT_WR);
		} else if (carry_bytes(&way, w) < 0) {
			break;
		}
	}
	shutdown(sock, SHUT_WR);
	free(way.copy);
}

/* ---- to the engine --------------------------------------------------------------- */

/* What may be sent now; waits while that is nothing. An engine that is gone holds nobody
 * back: writing to it tells. */
static uint64_t wait_credit(int grants, uint64_t credit)
{
	struct pollfd p = { .fd = grants, .events = POLLIN };
	uint32_t more[64];

	for (;;) {
		int ready = poll(&p, 1, credit > 0 ? 0 : -1);
		ssize_t n;

		if (ready == 0)
			return credit;
		n = ready < 0 ? 0 : read(grants, more, sizeof(more));
		if (ready > 0 && n <= 0)
			return UINT64_MAX;
		for (size_t i = 0; i < (size_t)n / sizeof(more[0]); i++)
			credit += more[i];
	}
}

/* Until the step has said its last byte, which is told on stderr: a sudo above us holds
 * our stdout, and sshd's end of file would come only when all is over. */
static void carry_out(int sock, int grants, const char *nonce)
{
	uint64_t credit = STREAM_CREDIT, total = 0;
	struct way way = { .from = sock, .to = 1 };
	ssize_t n;

	do {
		credit = wait_credit(grants, credit);
		n = carry_some(&way, credit < STREAM_CREDIT ? credit : STREAM_CREDIT);
		credit -= n > 0 ? (uint64_t)n : 0;
		total += n > 0 ? (uint64_t)n : 0;
	} while (n > 0);
	free(way.copy);
	shutdown(sock, SHUT_RD);	/* where nobody hears it any more, the step learns it */
	dprintf(2, STREAM_END "%s %llu\n", nonce, (unsigned long long)total);
	close(1);
}

/* ---- both ------------------------------------------------------------------------ */

/* sshd must only see us end when the step does. */
static void wait_for_end(int conn)
{
	char end;

	while (read(conn, &end, 1) < 0 && errno == EINTR)
		;
}

static void carry(int sock, int conn, const char *nonce)
{
	int grants[2];
	pid_t pid;

	signal(SIGPIPE, SIG_IGN);
	/* wide: fewer turns for the step and for sshd */
	io_widen(sock);
	fcntl(0, F_SETPIPE_SZ, 1 << 20);
	fcntl(1, F_SETPIPE_SZ, 1 << 20);
	if (io_set_nonblock(sock) < 0 || pipe2(grants, O_CLOEXEC) < 0)
		return;
	pid = fork();
	if (pid == 0) {
		close(1);
		close(conn);
		close(grants[0]);
		carry_in(sock, grants[1]);
		_exit(0);
	}
	close(0);
	close(grants[1]);
	carry_out(sock, grants[0], nonce);
	wait_for_end(conn);
	if (pid > 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
}

int attach_run(const char *name, const char *step, const char *nonce)
{
	AUTO_FREE char *hello = mem_printf(FRAME_PREAMBLE "%s\n", nonce);
	char secret[STREAM_SECRET + 1];
	AUTO_ERR e = { 0 };
	int pair[2], conn;

	/* only now may the secret come: sudo would have taken it for a password */
	if (io_write_full(1, hello, strlen(hello)) < 0 ||
	    io_read_full(0, secret, sizeof(secret)) <= 0)
		return 1;
	secret[STREAM_SECRET] = '\0';
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return 1;
	conn = stream_pass(name, secret, (uint32_t)strtoul(step, NULL, 10), pair[1], &e);
	if (conn < 0) {
		err_print(stderr, &e);
		return 1;
	}
	close(pair[1]);
	carry(pair[0], conn, nonce);
	return 0;
}
