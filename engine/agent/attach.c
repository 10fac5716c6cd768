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
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define BUFFER (256u << 10)

/* Not by splice(2), in either direction: it waits for one of the two with the pipe's lock
 * held, and sshd, which only wants to look whether there is something to read, then sleeps
 * with it, and all its channels do. */
static ssize_t read_some(int fd, void *buf, size_t n)
{
	ssize_t got;

	do
		got = read(fd, buf, n);
	while (got < 0 && errno == EINTR);
	return got;
}

/* ---- from the engine ------------------------------------------------------------- */

struct incoming {
	int grants;		/* to who sends: bytes more, u32 each */
	uint8_t word[4];	/* the one that comes, and ... */
	size_t have;		/* ... how much of it */
	uint32_t left;		/* bytes of the stream that it announced */
	bool over;		/* the last of them came */
};

static void on_word(struct incoming *in)
{
	uint32_t w;

	memcpy(&w, in->word, sizeof(w));
	w = be32toh(w);
	in->have = 0;
	if (w & STREAM_GRANT) {
		w &= ~STREAM_GRANT;
		/* who sends no more needs none */
		(void)!write(in->grants, &w, sizeof(w));
	} else if (w == 0) {
		in->over = true;
	} else {
		in->left = w;
	}
}

/* What of these bytes is for the step comes together at their beginning; its length. */
static size_t sort_out(struct incoming *in, uint8_t *p, size_t n)
{
	size_t out = 0, i = 0;

	while (i < n) {
		size_t k = n - i < in->left ? n - i : in->left;

		memmove(p + out, p + i, k);
		out += k;
		i += k;
		in->left -= (uint32_t)k;
		if (k > 0)
			continue;
		in->word[in->have++] = p[i++];
		if (in->have == sizeof(in->word))
			on_word(in);
	}
	return out;
}

static void carry_in(int sock, int grants)
{
	struct incoming in = { .grants = grants };
	static uint8_t buf[BUFFER];
	ssize_t n;

	while ((n = read_some(0, buf, sizeof(buf))) > 0) {
		size_t ours = sort_out(&in, buf, (size_t)n);

		if (io_write_full(sock, buf, ours) < 0)
			break;
		if (in.over)
			shutdown(sock, SHUT_WR);
	}
	shutdown(sock, SHUT_WR);
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
		n = ready < 0 ? 0 : read_some(grants, more, sizeof(more));
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
	static uint8_t buf[BUFFER];
	ssize_t n;

	do {
		credit = wait_credit(grants, credit);
		n = read_some(sock, buf, credit < sizeof(buf) ? credit : sizeof(buf));
		if (n <= 0 || io_write_full(1, buf, (size_t)n) < 0)
			break;
		credit -= (uint64_t)n;
		total += (uint64_t)n;
	} while (true);
	shutdown(sock, SHUT_RD);	/* where nobody hears it any more, the step learns it */
	dprintf(2, STREAM_END "%s %llu\n", nonce, (unsigned long long)total);
	close(1);
}

/* ---- both ------------------------------------------------------------------------ */

/* sshd must only see us end when the step does. */
static void wait_for_end(int conn)
{
	char end;

	read_some(conn, &end, 1);
}

static void carry(int sock, int conn, const char *nonce)
{
	int grants[2];
	pid_t pid;

	signal(SIGPIPE, SIG_IGN);
	/* wide pipes: fewer turns for sshd */
	fcntl(0, F_SETPIPE_SZ, 1 << 20);
	fcntl(1, F_SETPIPE_SZ, 1 << 20);
	if (pipe2(grants, O_CLOEXEC) < 0)
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
