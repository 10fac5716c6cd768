/* SPDX-License-Identifier: Apache-2.0
 * test_attach - `drover-agent --attach` between what sshd gave it and the socket of a step:
 * here we are sshd, the engine behind it, the agent and the step.
 */
#include "engine/base/addr.h"
#include "engine/base/fdpass.h"
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/host/link.h"
#include "engine/wire/frame.h"
#include "engine/wire/pass.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <endian.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define NONCE "00112233445566778899aabbccddeeff"
#define SECRET "ffeeddccbbaa99887766554433221100"
#define STEP 7
#define BYTES (3u << 20)	/* more than may be sent ungranted */
#define LOT 99991u		/* announced at once: no multiple of a page */

struct attached {
	pid_t pid, step;
	int in, out, words;	/* our ends of its stdin, stdout and stderr */
	int conn;		/* the agent's: its end is the step's */
};

static void make_pair(bool pipes, int fd[2])
{
	int rc = pipes ? pipe2(fd, O_CLOEXEC) :
		 socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd);

	assert_int_equal(rc, 0);
}

static pid_t run_agent(const char *name, int in, int out, int words)
{
	size_t n;
	const void *blob = link_agent_blob(&n);
	int exe = memfd_create("agent", MFD_CLOEXEC);
	char *argv[] = { "drover-agent", "--attach", (char *)name, "7", NONCE, NULL };
	pid_t pid;

	assert_true(exe >= 0);
	assert_int_equal(io_write_full(exe, blob, n), 0);
	pid = fork();
	if (pid == 0) {
		dup2(in, 0);
		dup2(out, 1);
		dup2(words, 2);
		fexecve(exe, argv, environ);
		_exit(127);
	}
	close(exe);
	return pid;
}

/* A step that says back what it heard, once that was all. */
static void be_the_step(int sock)
{
	uint8_t *all = mem_alloc(BYTES);
	char more;

	if (io_read_full(sock, all, BYTES) <= 0 || read(sock, &more, 1) != 0 ||
	    io_write_full(sock, all, BYTES) < 0)
		_exit(1);
	_exit(0);
}

static void attach(struct attached *a, bool pipes)
{
	static const char hello[] = FRAME_PREAMBLE NONCE "\n";
	int in[2], out[2], words[2], listener, sock;
	char name[40] = "drover-test-", came[sizeof(hello)] = "";
	struct pass_greeting g;
	struct sockaddr_un sun;
	uint8_t raw[8];

	io_random(raw, sizeof(raw));
	io_hex(raw, sizeof(raw), name + strlen(name));
	listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&sun, addr_local(name, &sun)), 0);
	assert_int_equal(listen(listener, 1), 0);
	make_pair(pipes, in);
	make_pair(pipes, out);
	make_pair(true, words);
	a->pid = run_agent(name, in[0], out[1], words[1]);
	close(in[0]);
	close(out[1]);
	close(words[1]);
	a->in = in[1];
	a->out = out[0];
	a->words = words[0];
	assert_true(io_read_full(a->out, came, sizeof(hello) - 1) > 0);
	assert_string_equal(came, hello);
	assert_int_equal(io_write_full(a->in, SECRET "\n", STREAM_SECRET + 1), 0);
	a->conn = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_int_equal(fdpass_recv(a->conn, &g, sizeof(g), &sock), sizeof(g));
	assert_memory_equal(g.secret, SECRET, STREAM_SECRET);
	assert_int_equal(g.step, STEP);
	a->step = fork();
	if (a->step == 0)
		be_the_step(sock);
	close(sock);
	close(listener);
}

static void say(struct attached *a, uint32_t w)
{
	w = htobe32(w);
	assert_int_equal(io_write_full(a->in, &w, sizeof(w)), 0);
}

static void wait_ended_well(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* Grants stand between the lots, as they do when the other end sends, too. */
static void send_all(struct attached *a, const uint8_t *all)
{
	for (uint32_t at = 0; at < BYTES;) {
		uint32_t n = BYTES - at < LOT ? BYTES - at : LOT;

		say(a, n);
		assert_int_equal(io_write_full(a->in, all + at, n), 0);
		say(a, STREAM_GRANT | 1);
		at += n;
	}
	say(a, 0);
}

static void hear_all(struct attached *a, uint8_t *all)
{
	for (uint32_t at = 0; at < BYTES;) {
		ssize_t n = read(a->out, all + at, BYTES - at);

		assert_true(n > 0);
		at += (uint32_t)n;
		say(a, STREAM_GRANT | (uint32_t)n);
	}
}

static void carries_all(bool pipes)
{
	uint8_t *sent = mem_alloc(BYTES), *heard = mem_alloc(BYTES);
	AUTO_FREE char *want = mem_printf(STREAM_END NONCE " %u\n", BYTES);
	char said[128] = "";
	struct attached a;

	attach(&a, pipes);
	io_random(sent, BYTES);
	send_all(&a, sent);
	hear_all(&a, heard);
	assert_memory_equal(heard, sent, BYTES);
	assert_true(io_read_full(a.words, said, strlen(want)) > 0);
	assert_string_equal(said, want);
	wait_ended_well(a.step);
	close(a.conn);
	wait_ended_well(a.pid);
	close(a.in);
	close(a.out);
	close(a.words);
	free(sent);
	free(heard);
}

static void all_goes_both_ways_through_pipes(void **state)
{
	(void)state;
	carries_all(true);
}

static void all_goes_both_ways_through_sockets(void **state)
{
	(void)state;
	carries_all(false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_goes_both_ways_through_pipes),
		cmocka_unit_test(all_goes_both_ways_through_sockets),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
