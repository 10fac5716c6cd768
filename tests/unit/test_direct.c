/* SPDX-License-Identifier: Apache-2.0
 * Direct streams: two ends with the same key find each other and carry bytes; nobody
 * else gets in or keeps them out.
 */
#include "engine/agent/tunnel.h"
#include "engine/base/io.h"
#include "engine/base/mem.h"

#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define LONG_MS 300000		/* nothing here waits for it to pass */

/* One end, in a process of its own as in the agent. */
struct end {
	pid_t pid;
	int ctl, local;
	int ported[2];		/* a pipe: the listener's port */
	int result[2];		/* a pipe: struct told */
};

struct told {
	int rc, paths;
	unsigned strangers;
	char why[120];
};

static uint8_t key_a[TLS_KEY] = { 1, 2, 3 }, key_b[TLS_KEY] = { 1, 2, 4 };

static void on_port(void *arg, int port)
{
	struct end *e = arg;

	io_write_full(e->ported[1], &port, sizeof(port));
}

static _Noreturn void end_main(struct end *e, const struct meeting *m, int ctl, int local)
{
	struct told t = { 0 };
	AUTO_ERR why = { 0 };
	struct met met;

	signal(SIGPIPE, SIG_IGN);
	t.rc = meet(m, ctl, on_port, e, &met, &why);
	t.paths = met.paths;
	t.strangers = met.strangers;
	snprintf(t.why, sizeof(t.why), "%s", why.what ? why.what : "");
	io_write_full(e->result[1], &t, sizeof(t));
	if (t.rc == 0)
		tunnel_carry(&met, local, ctl);
	met_free(&met);
	_exit(0);
}

static void end_start(struct end *e, const struct meeting *m)
{
	int ctl[2], local[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ctl), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, local), 0);
	assert_int_equal(pipe(e->ported) | pipe(e->result), 0);
	e->pid = fork();
	if (e->pid == 0) {
		/* what the test and the other ends hold would keep sockets open */
		for (int fd = 3; fd < 256; fd++)
			if (fd != ctl[1] && fd != local[1] && fd != e->ported[1] &&
			    fd != e->result[1])
				close(fd);
		end_main(e, m, ctl[1], local[1]);
	}
	close(ctl[1]);
	close(local[1]);
	close(e->ported[1]);
	close(e->result[1]);
	e->ctl = ctl[0];
	e->local = local[0];
}

static int end_port(struct end *e)
{
	int port = 0;

	assert_int_equal(io_read_full(e->ported[0], &port, sizeof(port)), sizeof(port));
	return port;
}

static struct told end_told(struct end *e)
{
	struct told t;

	assert_int_equal(io_read_full(e->result[0], &t, sizeof(t)), sizeof(t));
	return t;
}

static void end_over(struct end *e)
{
	mem_close_fd(&e->ctl);
	mem_close_fd(&e->local);
	close(e->ported[0]);
	close(e->result[0]);
	waitpid(e->pid, NULL, 0);
}

static struct meeting listening(const uint8_t *key)
{
	struct meeting m = { .listens = true, .wait_ms = LONG_MS };

	addr_parse("127.0.0.1", &m.at);
	memcpy(m.key, key, TLS_KEY);
	return m;
}

static struct meeting connecting(int port, const uint8_t *key)
{
	struct meeting m = { .wait_ms = LONG_MS };

	addr_parse("127.0.0.1", &m.at);
	m.at.from = m.at.to = (uint16_t)port;
	memcpy(m.key, key, TLS_KEY);
	return m;
}

struct pour { int fd; uint64_t bytes; };

static uint8_t pattern(uint64_t i)
{
	return (uint8_t)(i * 2654435761u >> 13);
}

static void *pour_main(void *arg)
{
	struct pour *p = arg;
	uint8_t buf[50000];

	for (uint64_t at = 0; at < p->bytes;) {
		size_t n = p->bytes - at < sizeof(buf) ? (size_t)(p->bytes - at) : sizeof(buf);

		for (size_t i = 0; i < n; i++)
			buf[i] = pattern(at + i);
		if (io_write_full(p->fd, buf, n) < 0)
			break;
		at += n;
	}
	shutdown(p->fd, SHUT_WR);
	return NULL;
}

/* Bytes until the end of file; they must be the pattern. */
static uint64_t drain(int fd)
{
	uint8_t buf[70000];
	uint64_t at = 0;
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		for (ssize_t i = 0; i < n; i++)
			if (buf[i] != pattern(at + (uint64_t)i))
				fail_msg("byte %llu is another", (unsigned long long)at);
		at += (uint64_t)n;
	}
	return at;
}

/* Both ways at once, of unequal length, each ended on its own. */
static void both_ways(struct end *a, struct end *b)
{
	struct pour there = { a->local, 30000001 }, back = { b->local, 7654321 };
	pthread_t t[2];

	pthread_create(&t[0], NULL, pour_main, &there);
	pthread_create(&t[1], NULL, pour_main, &back);
	assert_int_equal(drain(b->local), there.bytes);
	assert_int_equal(drain(a->local), back.bytes);
	pthread_join(t[0], NULL);
	pthread_join(t[1], NULL);
}

static void meet_well(struct end *a, struct end *b)
{
	struct meeting l = listening(key_a), c;

	end_start(a, &l);
	c = connecting(end_port(a), key_a);
	end_start(b, &c);
	assert_int_equal(end_told(a).rc, 0);
	assert_int_equal(end_told(b).rc, 0);
}

static void bytes_go_both_ways_whole(void **state)
{
	struct end a, b;

	(void)state;
	meet_well(&a, &b);
	both_ways(&a, &b);
	end_over(&a);
	end_over(&b);
}

static void the_other_end_sees_a_death(void **state)
{
	struct end a, b;
	char c;

	(void)state;
	meet_well(&a, &b);
	kill(a.pid, SIGKILL);
	assert_int_equal(read(b.local, &c, 1), 0);
	end_over(&a);
	end_over(&b);
	meet_well(&a, &b);
	kill(b.pid, SIGKILL);
	assert_int_equal(read(a.local, &c, 1), 0);
	end_over(&a);
	end_over(&b);
}

static int knock(int port)
{
	struct sockaddr_storage ss;
	socklen_t n = addr_socket("127.0.0.1", (uint16_t)port, &ss);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&ss, n), 0);
	return fd;
}

static void strangers_get_nothing_and_harm_nobody(void **state)
{
	static const char http[] = "GET / HTTP/1.0\r\n\r\n";
	struct meeting l = listening(key_a), c;
	struct end a, b, wrong;
	struct told t;
	int silent[40], port;
	char buf[256];

	(void)state;
	end_start(&a, &l);
	port = end_port(&a);
	/* one that talks something else is sent away */
	silent[0] = knock(port);
	assert_int_equal(write(silent[0], http, sizeof(http)), sizeof(http));
	while (read(silent[0], buf, sizeof(buf)) > 0)
		;
	close(silent[0]);
	/* so is one with another key */
	c = connecting(port, key_b);
	end_start(&wrong, &c);
	t = end_told(&wrong);
	assert_int_equal(t.rc, -1);
	assert_non_null(strstr(t.why, "the TLS handshake failed"));
	end_over(&wrong);
	/* more who say nothing than there are places for */
	for (size_t i = 0; i < ARRAY_LEN(silent); i++)
		silent[i] = knock(port);
	c = connecting(port, key_a);
	end_start(&b, &c);
	assert_int_equal(end_told(&b).rc, 0);
	t = end_told(&a);
	assert_int_equal(t.rc, 0);
	assert_true(t.strangers >= 2);
	for (size_t i = 0; i < ARRAY_LEN(silent); i++)
		close(silent[i]);
	both_ways(&a, &b);
	end_over(&a);
	end_over(&b);
}

static void one_who_listens_without_the_key_is_not_talked_to(void **state)
{
	struct meeting l = listening(key_b), c;
	struct end a, b;
	struct told t;

	(void)state;
	end_start(&a, &l);
	c = connecting(end_port(&a), key_a);
	end_start(&b, &c);
	t = end_told(&b);
	assert_int_equal(t.rc, -1);
	end_over(&b);
	end_over(&a);		/* closing its ctl is what ends the listener */
}

static void nothing_listens_once_they_have_met(void **state)
{
	struct meeting l = listening(key_a), c;
	struct sockaddr_storage ss;
	struct end a, b;
	int port, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	end_start(&a, &l);
	port = end_port(&a);
	c = connecting(port, key_a);
	end_start(&b, &c);
	assert_int_equal(end_told(&a).rc, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&ss,
				 addr_socket("127.0.0.1", (uint16_t)port, &ss)), -1);
	close(fd);
	end_over(&a);
	end_over(&b);
}

static void nobody_listens(void **state)
{
	struct meeting c = connecting(1, key_a);
	struct end b;

	(void)state;
	end_start(&b, &c);
	assert_string_equal(end_told(&b).why, "cannot connect: Connection refused");
	end_over(&b);
}

/* ---- a far link: both ways 50 ms late ---------------------------------------------- */

struct far { int from, to; };

static void *far_main(void *arg)
{
	struct far *f = arg;
	char buf[65536];
	ssize_t n;

	while ((n = read(f->from, buf, sizeof(buf))) > 0) {
		struct timespec late = { 0, 50000000 };

		nanosleep(&late, NULL);
		if (io_write_full(f->to, buf, (size_t)n) < 0)
			break;
	}
	shutdown(f->to, SHUT_WR);
	return NULL;
}

/* A process through which everything goes late; ends when killed. */
static pid_t far_link(int listener, int port)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	for (int f = 3; f < 256; f++)
		if (f != listener)
			close(f);
	for (;;) {
		int in = accept(listener, NULL, NULL), out = knock(port);
		struct far *f = mem_alloc(2 * sizeof(*f));
		pthread_t t;

		f[0] = (struct far){ in, out };
		f[1] = (struct far){ out, in };
		pthread_create(&t, NULL, far_main, &f[0]);
		pthread_create(&t, NULL, far_main, &f[1]);
	}
}

static void a_far_end_is_reached_by_several_connections(void **state)
{
	struct meeting l = listening(key_a), c;
	struct sockaddr_storage ss;
	socklen_t n = addr_socket("127.0.0.1", 0, &ss);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), status;
	struct pour there;
	struct end a, b;
	struct told t;
	pthread_t pouring;
	pid_t far;

	(void)state;
	end_start(&a, &l);
	assert_int_equal(bind(fd, (struct sockaddr *)&ss, n) | listen(fd, 16), 0);
	getsockname(fd, (struct sockaddr *)&ss, &n);
	far = far_link(fd, end_port(&a));
	c = connecting(ntohs(((struct sockaddr_in *)&ss)->sin_port), key_a);
	end_start(&b, &c);
	t = end_told(&b);
	assert_int_equal(t.rc, 0);
	assert_true(t.paths > 1);
	assert_int_equal(end_told(&a).paths, t.paths);
	there = (struct pour){ a.local, 5000001 };
	pthread_create(&pouring, NULL, pour_main, &there);
	assert_int_equal(drain(b.local), there.bytes);
	pthread_join(pouring, NULL);
	end_over(&a);
	end_over(&b);
	kill(far, SIGKILL);
	waitpid(far, &status, 0);
	close(fd);
}

/* ---- addresses ------------------------------------------------------------------------ */

static void addresses_are_read_and_nothing_else_is(void **state)
{
	static const struct { const char *text, *address; int from, to; } good[] = {
		{ "10.9.0.11", "10.9.0.11", 0, 0 },
		{ "10.9.0.11:7000", "10.9.0.11", 7000, 7000 },
		{ "10.9.0.11:7000-7099", "10.9.0.11", 7000, 7099 },
		{ "fd00::11", "fd00::11", 0, 0 },
		{ "[fd00::11]:7000-7001", "fd00::11", 7000, 7001 },
	};
	static const char *const bad[] = { "", "db1", "10.9.0", "10.9.0.11:", "10.9.0.11:0",
		"10.9.0.11:70000", "10.9.0.11:7-6", "10.9.0.11:7-", "[fd00::11", "[fd00::11]7" };
	struct addr a;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		assert_int_equal(addr_parse(good[i].text, &a), 0);
		assert_string_equal(a.text, good[i].address);
		assert_int_equal(a.from, good[i].from);
		assert_int_equal(a.to, good[i].to);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(addr_parse(bad[i], &a), -1);
		assert_string_equal(a.text, "");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_go_both_ways_whole),
		cmocka_unit_test(the_other_end_sees_a_death),
		cmocka_unit_test(strangers_get_nothing_and_harm_nobody),
		cmocka_unit_test(one_who_listens_without_the_key_is_not_talked_to),
		cmocka_unit_test(nothing_listens_once_they_have_met),
		cmocka_unit_test(nobody_listens),
		cmocka_unit_test(a_far_end_is_reached_by_several_connections),
		cmocka_unit_test(addresses_are_read_and_nothing_else_is),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
