/* SPDX-License-Identifier: Apache-2.0
 * A pipe over one TLS connection: read and written at once, ended one way, cut, let go of,
 * and heard to its last word.
 */
#include "engine/agent/tlspipe.h"
#include "engine/base/io.h"
#include "engine/base/mem.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define SOME (3u << 20)		/* more than any socket takes at once */

struct end {
	struct tls_context *context;
	struct tls *tls;
	struct tlspipe p;
	int rc;
};

struct pair { struct end end[2]; };

static void *shake(void *arg)
{
	struct end *e = arg;
	AUTO_ERR why = { 0 };

	while ((e->rc = tls_shake(e->tls, &why)) == 0) {
		struct pollfd f = { tls_fd(e->tls), tls_wants(e->tls), 0 };

		poll(&f, 1, -1);
	}
	return NULL;
}

/* Two ends of a TCP connection. */
static void connect_pair(int fd[2])
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(l, (struct sockaddr *)&at, len) | listen(l, 1), 0);
	assert_int_equal(getsockname(l, (struct sockaddr *)&at, &len), 0);
	fd[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd[0], (struct sockaddr *)&at, len), 0);
	fd[1] = accept(l, NULL, NULL);
	assert_true(fd[1] >= 0);
	io_set_nonblock(fd[0]);
	io_set_nonblock(fd[1]);
	close(l);
}

/* The handshake is done, and no more. */
static int set_up_narrow(void **state)
{
	static const uint8_t key[TLS_KEY] = { 1, 2, 3 };
	struct pair *r = mem_alloc(sizeof(*r));
	pthread_t t;
	int fd[2];

	signal(SIGPIPE, SIG_IGN);
	connect_pair(fd);
	for (int i = 0; i < 2; i++) {
		r->end[i].context = tls_context_new(i == 1, key, NULL);
		r->end[i].tls = tls_new(r->end[i].context, fd[i], NULL);
		assert_non_null(r->end[i].tls);
	}
	assert_int_equal(pthread_create(&t, NULL, shake, &r->end[0]), 0);
	shake(&r->end[1]);
	pthread_join(t, NULL);
	for (int i = 0; i < 2; i++)
		assert_int_equal(r->end[i].rc, 1);
	*state = r;
	return 0;
}

static void widen(struct end *e)
{
	assert_int_equal(tls_widen(e->tls, dup(tls_fd(e->tls))), 0);
	tlspipe_init(&e->p, e->tls);
}

static int set_up(void **state)
{
	struct pair *r;

	set_up_narrow(state);
	r = *state;
	widen(&r->end[0]);
	widen(&r->end[1]);
	return 0;
}

static int tear_down(void **state)
{
	struct pair *r = *state;

	for (int i = 0; i < 2; i++) {
		tls_free(r->end[i].tls);
		tls_context_free(r->end[i].context);
	}
	free(r);
	return 0;
}

static struct pipe *pipe_of(struct pair *r, int i)
{
	return &r->end[i].p.pipe;
}

static uint8_t *junk_new(uint32_t seed)
{
	uint8_t *p = mem_alloc(SOME);

	for (size_t i = 0; i < SOME; i++)
		p[i] = (uint8_t)((i + seed) * 2654435761u >> 13);
	return p;
}

/* One thread's work; `what` is written, or compared with what is read. */
struct job {
	struct pipe *pipe;
	const uint8_t *what;
	unsigned times;			/* SOME bytes each */
	int rc;				/* of the last call */
	bool equal;
};

/* In parts as a record's: a head, a digest, and the rest. */
static void *write_all(void *arg)
{
	struct job *j = arg;
	uint8_t *p = (uint8_t *)j->what;
	struct iovec v[3] = { { p, 24 }, { p + 24, 32 }, { p + 56, SOME - 56 } };

	for (unsigned i = 0; i < j->times && j->rc == 0; i++)
		j->rc = pipe_writev_full(j->pipe, v, 3);
	return NULL;
}

static void *read_all(void *arg)
{
	struct job *j = arg;
	AUTO_FREE uint8_t *buf = mem_alloc(SOME);

	j->equal = true;
	for (unsigned i = 0; i < j->times && j->equal; i++) {
		j->rc = pipe_read_full(j->pipe, buf, SOME);
		j->equal = j->rc == 1 && memcmp(buf, j->what, SOME) == 0;
	}
	return NULL;
}

static void both_ends_read_and_write_at_once(void **state)
{
	struct pair *r = *state;
	AUTO_FREE uint8_t *there = junk_new(1), *back = junk_new(7);
	unsigned times = TLS_REKEY / SOME + 2;
	struct job w[2] = { { pipe_of(r, 0), there, times, 0, false },
			    { pipe_of(r, 1), back, 4, 0, false } };
	struct job l[2] = { { pipe_of(r, 1), there, times, 0, false },
			    { pipe_of(r, 0), back, 4, 0, false } };
	pthread_t t[4];

	for (int i = 0; i < 2; i++) {
		assert_int_equal(pthread_create(&t[2 * i], NULL, write_all, &w[i]), 0);
		assert_int_equal(pthread_create(&t[2 * i + 1], NULL, read_all, &l[i]), 0);
	}
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(w[i].rc, 0);
		assert_true(l[i].equal);
	}
	/* so much went one way that a second key was needed */
	assert_int_equal(tls_keys(r->end[0].tls), 2);
	assert_int_equal(tls_keys(r->end[1].tls), 1);
}

static void one_way_ends_and_the_other_goes_on(void **state)
{
	struct pair *r = *state;
	char buf[8];

	assert_int_equal(pipe_write_full(pipe_of(r, 0), "last", 4), 0);
	pipe_end(pipe_of(r, 0));
	assert_int_equal(pipe_wait(pipe_of(r, 1), -1), 1);
	assert_int_equal(pipe_read_full(pipe_of(r, 1), buf, 4), 1);
	assert_memory_equal(buf, "last", 4);
	assert_int_equal(pipe_read(pipe_of(r, 1), buf, 1), 0);
	assert_int_equal(pipe_write_full(pipe_of(r, 1), "answer", 6), 0);
	assert_int_equal(pipe_read_full(pipe_of(r, 0), buf, 6), 1);
	assert_memory_equal(buf, "answer", 6);
	assert_int_equal(pipe_write_full(pipe_of(r, 0), "more", 4), -1);
}

static void what_poll_cannot_see_is_not_waited_for(void **state)
{
	struct pair *r = *state;
	char buf[4];

	assert_int_equal(pipe_wait(pipe_of(r, 1), 0), 0);
	assert_int_equal(pipe_write_full(pipe_of(r, 0), "abcd", 4), 0);
	assert_int_equal(pipe_wait(pipe_of(r, 1), -1), 1);
	assert_int_equal(pipe_read_full(pipe_of(r, 1), buf, 1), 1);
	/* the rest of the record is in OpenSSL's hands */
	assert_int_equal(pipe_wait(pipe_of(r, 1), -1), 1);
	assert_int_equal(pipe_read_full(pipe_of(r, 1), buf, 3), 1);
	assert_memory_equal(buf, "bcd", 3);
}

static void a_cut_is_no_end(void **state)
{
	struct pair *r = *state;
	char c;

	shutdown(tls_fd(r->end[0].tls), SHUT_RDWR);
	assert_int_equal(pipe_wait(pipe_of(r, 1), -1), 1);
	assert_int_equal(pipe_read(pipe_of(r, 1), &c, 1), -1);
	assert_int_equal(errno, ECONNRESET);
}

/* As a stop does, out of a signal handler. */
static void who_waits_is_let_go(void **state)
{
	struct pair *r = *state;
	AUTO_FREE uint8_t *junk = junk_new(1);
	struct job w = { pipe_of(r, 0), junk, 1000, 0, false };
	struct job l = { pipe_of(r, 0), junk, 1, 0, false };
	pthread_t t[2];

	assert_int_equal(pthread_create(&t[0], NULL, write_all, &w), 0);
	assert_int_equal(pthread_create(&t[1], NULL, read_all, &l), 0);
	shutdown(tls_fd(r->end[0].tls), SHUT_RDWR);
	pthread_join(t[0], NULL);
	pthread_join(t[1], NULL);
	assert_int_equal(w.rc, -1);
	assert_int_equal(l.rc, -1);
}

/* The other end has said things that nobody reads any more: that must not cost it what is
 * still on its way to it. */
static void the_last_words_get_across(void **state)
{
	struct pair *r = *state;
	AUTO_FREE uint8_t *junk = junk_new(3);
	struct job w = { pipe_of(r, 0), junk, 1, 0, false };
	struct job l = { pipe_of(r, 1), junk, 1, 0, false };
	pthread_t t;
	char c;

	assert_int_equal(pipe_write_full(pipe_of(r, 1), "unread", 6), 0);
	assert_int_equal(pthread_create(&t, NULL, read_all, &l), 0);
	write_all(&w);
	pipe_finish(pipe_of(r, 0));
	/* gone without having read: the other end's system is told to forget it all */
	tls_free(r->end[0].tls);
	r->end[0].tls = NULL;
	pthread_join(t, NULL);
	assert_int_equal(w.rc, 0);
	assert_true(l.equal);
	assert_int_equal(pipe_read(pipe_of(r, 1), &c, 1), 0);
}

/* The other end speaks as soon as it may: what came with the greeting is the step's. */
static void what_was_read_ahead_is_not_lost(void **state)
{
	struct pair *r = *state;
	char buf[64] = "";
	ssize_t n = 0;

	for (int i = 0; i < 3; i++)
		assert_int_equal(tls_write(r->end[0].tls, "greeting", 8), 8);
	while (n == 0)
		n = tls_read(r->end[1].tls, buf, 8);
	assert_int_equal(n, 8);
	widen(&r->end[1]);
	assert_int_equal(pipe_wait(pipe_of(r, 1), -1), 1);
	assert_int_equal(pipe_read_full(pipe_of(r, 1), buf + 8, 16), 1);
	assert_string_equal(buf, "greetinggreetinggreeting");
	widen(&r->end[0]);
	assert_int_equal(pipe_write_full(pipe_of(r, 1), "answer", 6), 0);
	assert_int_equal(pipe_read_full(pipe_of(r, 0), buf, 6), 1);
}

/* What goes on its way to the other end, which reads it. */
static void pass_on(struct pair *r, size_t n)
{
	AUTO_FREE char *buf = mem_alloc(n);

	assert_int_equal(pipe_write_full(pipe_of(r, 0), buf, n), 0);
	assert_int_equal(pipe_read_full(pipe_of(r, 1), buf, n), 1);
}

/* Also amid a new key a full socket is something to wait for, whoever asks. */
static void a_new_key_waits_for_a_full_socket(void **state)
{
	struct pair *r = *state;
	struct tls *t = r->end[0].tls;
	char some[16 << 10] = "";

	for (size_t put = 0; put < TLS_REKEY - sizeof(some); put += sizeof(some))
		pass_on(r, sizeof(some));
	while (send(tls_fd(t), some, sizeof(some), 0) > 0)
		;	/* until it is full: nobody reads that */
	assert_int_equal(tls_write(t, some, sizeof(some)), sizeof(some));
	assert_int_equal(tls_keys(t), 2);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(tls_write(t, some, sizeof(some)), 0);
		assert_int_equal(tls_wants(t), POLLOUT);
		assert_int_equal(tls_read(t, some, 1), 0);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(both_ends_read_and_write_at_once),
		TEST(a_new_key_waits_for_a_full_socket),
		TEST(one_way_ends_and_the_other_goes_on),
		TEST(what_poll_cannot_see_is_not_waited_for),
		TEST(a_cut_is_no_end),
		TEST(who_waits_is_let_go),
		TEST(the_last_words_get_across),
		cmocka_unit_test_setup_teardown(what_was_read_ahead_is_not_lost, set_up_narrow,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
