/* SPDX-License-Identifier: Apache-2.0
 * test_relay - what the engine has in hand of a stream that it relays, between two pipes of
 * the test's own.
 */
#include "engine/base/mem.h"
#include "engine/host/relay.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

struct side {
	struct relay *relay;
	int end;
	uint64_t has;		/* bytes that it would still send */
	uint64_t took;		/* that were read from it */
	uint64_t room;		/* bytes that it would still take */
	uint64_t got;		/* that were written to it */
	bool finished, closed;
};

static ssize_t side_read(void *arg, void *buf, size_t n)
{
	struct side *s = arg;

	if (s->has == 0)
		return -1;
	n = n < s->has ? n : s->has;
	memset(buf, 'x', n);
	s->has -= n;
	s->took += n;
	return (ssize_t)n;
}

static ssize_t side_write(void *arg, const void *p, size_t n)
{
	struct side *s = arg;

	(void)p;
	n = n < s->room ? n : s->room;
	s->room -= n;
	s->got += n;
	return (ssize_t)n;
}

static void side_finish(void *arg)
{
	((struct side *)arg)->finished = true;
}

static void side_close(void *arg)
{
	((struct side *)arg)->closed = true;
}

static void side_open(void *arg, uint32_t id, struct relay *r, int end)
{
	static const struct relay_pipe pipe = { .read = side_read, .write = side_write,
		.finish = side_finish, .close = side_close };

	(void)id;
	relay_opened(r, end, &pipe, arg);
}

static struct relay *join(struct loop *loop, struct side *from, struct side *to)
{
	struct relay *r = relay_new(loop);
	struct side *both[] = { from, to };

	for (int i = 0; i < 2; i++) {
		struct relay_party p = { .open = side_open, .arg = both[i] };

		relay_join(r, i, &p);
	}
	return r;
}

#define MUCH (64u << 20)

static void a_slow_end_holds_the_other_back(void **state)
{
	struct loop *loop = loop_new(&clock_real);
	struct side from = { .has = MUCH }, to = { .room = 100 };
	struct relay *r = join(loop, &from, &to);

	(void)state;
	for (int i = 0; i < 100; i++)
		relay_ready(r, i & 1);
	assert_int_equal(to.got, 100);
	assert_true(from.took - to.got <= 1u << 20);	/* in hand */
	assert_false(to.finished);
	to.room = 2 * (uint64_t)MUCH;
	while (!to.closed) {
		relay_ready(r, 1);
		if (!to.closed)
			loop_turn(loop, 0);
	}
	assert_int_equal(to.got, MUCH);
	assert_true(to.finished && from.closed);
	relay_free(r);
	loop_free(loop);
}

static void an_end_that_is_gone_ends_the_other(void **state)
{
	struct loop *loop = loop_new(&clock_real);
	struct side from = { .has = MUCH }, to = { .room = 100 };
	struct relay *r = join(loop, &from, &to);

	(void)state;
	relay_broken(r, 1);
	assert_true(from.closed && to.closed);
	assert_int_equal(to.got, 100);
	relay_free(r);
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_slow_end_holds_the_other_back),
		cmocka_unit_test(an_end_that_is_gone_ends_the_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
