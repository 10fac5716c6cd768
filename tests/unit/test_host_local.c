/* SPDX-License-Identifier: Apache-2.0
 * test_host_local - the real agent as a child of this program.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "tests/unit/hosttest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static json_t *local_spec(void)
{
	return json_pack("{s:s, s:b}", "name", "here", "local", 1);
}

struct fixture {
	struct loop *loop;
	struct hosttest host;
};

static int setup(void **state)
{
	struct fixture *f = mem_alloc(sizeof(*f));
	AUTO_JSON *spec = local_spec();

	f->loop = loop_new(&clock_real);
	hosttest_open(&f->host, f->loop, spec);
	*state = f;
	return f->host.ready ? 0 : -1;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	hosttest_close(&f->host);
	loop_free(f->loop);
	free(f);
	return 0;
}

static void the_agent_says_who_it_is(void **state)
{
	struct fixture *f = *state;
	const json_t *hello = f->host.host->hello;

	assert_string_equal(jstr(hello, "version", ""), DROVER_VERSION);
	assert_string_equal(jstr(hello, "uname.system", ""), "Linux");
	assert_int_equal(jint(hello, "uid", -1), geteuid());
	assert_int_equal(strlen(jstr(hello, "build", "")), 64);
	assert_true(jint(hello, "pid", 0) > 1);
}

static void a_call_returns_what_the_module_says(void **state)
{
	struct fixture *f = *state;
	AUTO_JSON *r = hosttest_call(&f->host, "call.stat", "probe",
				     json_pack("{s:s}", "path", "/proc"));

	assert_true(jbool(r, "ok", false));
	assert_string_equal(jstr(r, "state", ""), "done");
	assert_string_equal(jstr(r, "volatile.kind", ""), "dir");
}

static void many_calls_run_at_once(void **state)
{
	struct fixture *f = *state;
	struct calltest calls[40] = { { 0 } };

	for (size_t i = 0; i < ARRAY_LEN(calls); i++)
		calltest_start(&calls[i], &f->host, "call.stat", "probe", "here",
			       json_pack("{s:s}", "path", "/"));
	for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
		calltest_wait(&calls[i]);
		assert_true(jbool(calls[i].result, "ok", false));
		calltest_clear(&calls[i]);
	}
}

static void an_unknown_module_is_an_error(void **state)
{
	struct fixture *f = *state;
	AUTO_JSON *r = hosttest_call(&f->host, "call.nothing", "probe", NULL);

	assert_string_equal(jstr(r, "error.kind", ""), "failed");
	assert_string_equal(jstr(r, "error.text", ""),
			    "cannot run 'call.nothing': this agent has no such module");
}

static void a_stopped_call_is_cancelled(void **state)
{
	struct fixture *f = *state;
	struct calltest c = { 0 };

	calltest_start(&c, &f->host, "call.exec", "apply", "here",
		       json_pack("{s:[s,s]}", "argv", "sleep", "1000"));
	f->host.host->ops->stop(f->host.host, &c.call);
	calltest_wait(&c);
	assert_string_equal(jstr(c.result, "error.kind", "ok"), "cancelled");
	assert_string_equal(jstr(c.result, "error.text", ""), "'call.exec' was stopped");
	calltest_clear(&c);
}

static void a_call_that_takes_too_long_is_ended(void **state)
{
	struct fixture *f = *state;
	struct calltest c = { .call.timeout_ms = 50 };

	calltest_start(&c, &f->host, "call.exec", "apply", "here",
		       json_pack("{s:[s,s]}", "argv", "sleep", "1000"));
	calltest_wait(&c);
	assert_string_equal(jstr(c.result, "error.kind", "ok"), "timeout");
	assert_string_equal(jstr(c.result, "error.text", ""),
			    "'call.exec' had no result after 50 ms");
	calltest_clear(&c);
}

static void a_killed_agent_loses_its_calls_and_is_down(void **state)
{
	struct fixture *f = *state;
	struct calltest c = { 0 };

	calltest_start(&c, &f->host, "call.exec", "apply", "here",
		       json_pack("{s:[s,s]}", "argv", "sleep", "1000"));
	kill((pid_t)jint(f->host.host->hello, "pid", 0), SIGKILL);
	calltest_wait(&c);
	assert_string_equal(jstr(c.result, "error.kind", ""), "lost");
	assert_true(f->host.down);
	assert_string_equal(f->host.why.what,
			    "cannot reach 'here' any more: the connection ended");
	assert_string_equal(f->host.why.host, "here");
	calltest_clear(&c);
}

static void a_call_on_a_host_that_is_down_is_lost(void **state)
{
	struct fixture *f = *state;
	struct calltest c = { 0 };

	kill((pid_t)jint(f->host.host->hello, "pid", 0), SIGKILL);
	while (!f->host.down)
		loop_turn(f->loop, -1);
	calltest_start(&c, &f->host, "call.stat", "probe", "here", NULL);
	assert_null(c.result);
	calltest_wait(&c);
	assert_string_equal(jstr(c.result, "error.kind", ""), "lost");
	calltest_clear(&c);
}

static void on_way(void *arg, bool direct, const char *how)
{
	assert_true(direct);
	assert_string_equal(how, "directly from 'here' to 'there', from process to process");
	*(bool *)arg = true;
}

static void a_stream_joins_two_calls(void **state)
{
	struct fixture *f = *state;
	AUTO_JSON *spec = json_pack("{s:s, s:b}", "name", "there", "local", 1);
	struct hosttest other;
	struct calltest a = { 0 }, b = { 0 };
	struct relay *relay = relay_new(f->loop);
	bool told = false;

	relay_way(relay, WAY_AUTO, on_way, &told);
	hosttest_open(&other, f->loop, spec);
	assert_true(other.ready);
	a.call.relay = b.call.relay = relay;
	b.call.relay_end = 1;
	calltest_start(&b, &other, "call.link", "apply", "target",
		       json_pack("{s:i}", "bytes", 20000000));
	calltest_start(&a, &f->host, "call.link", "apply", "source",
		       json_pack("{s:i}", "bytes", 20000000));
	calltest_wait(&a);
	calltest_wait(&b);
	assert_true(jbool(a.result, "ok", false));
	assert_true(jbool(b.result, "ok", false));
	assert_string_equal(jstr(a.result, "volatile.digest", "a"),
			    jstr(b.result, "volatile.digest", "b"));
	assert_true(told);
	calltest_clear(&a);
	calltest_clear(&b);
	relay_free(relay);
	hosttest_close(&other);
}

static void a_stream_ends_when_the_other_host_dies(void **state)
{
	struct fixture *f = *state;
	AUTO_JSON *spec = local_spec();
	struct hosttest other;
	struct calltest a = { 0 }, b = { 0 };
	struct relay *relay = relay_new(f->loop);

	hosttest_open(&other, f->loop, spec);
	a.call.relay = b.call.relay = relay;
	b.call.relay_end = 1;
	kill((pid_t)jint(other.host->hello, "pid", 0), SIGKILL);
	while (!other.down)
		loop_turn(f->loop, -1);
	calltest_start(&b, &other, "call.link", "apply", "target", NULL);
	calltest_start(&a, &f->host, "call.link", "apply", "source",
		       json_pack("{s:i}", "bytes", 20000000));
	calltest_wait(&b);
	calltest_wait(&a);
	assert_string_equal(jstr(b.result, "error.kind", ""), "lost");
	assert_string_equal(jstr(a.result, "error.text", ""),
			    "cannot send to the other end: Broken pipe");
	calltest_clear(&a);
	calltest_clear(&b);
	relay_free(relay);
	hosttest_close(&other);
}

static void closing_before_it_is_up_is_fine(void **state)
{
	struct loop *loop = loop_new(&clock_real);
	AUTO_JSON *spec = local_spec();
	struct hosttest t;

	(void)state;
	hosttest_begin(&t, loop, spec);
	hosttest_close(&t);
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define HOST_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		HOST_TEST(the_agent_says_who_it_is),
		HOST_TEST(a_call_returns_what_the_module_says),
		HOST_TEST(many_calls_run_at_once),
		HOST_TEST(an_unknown_module_is_an_error),
		HOST_TEST(a_stopped_call_is_cancelled),
		HOST_TEST(a_call_that_takes_too_long_is_ended),
		HOST_TEST(a_killed_agent_loses_its_calls_and_is_down),
		HOST_TEST(a_call_on_a_host_that_is_down_is_lost),
		HOST_TEST(a_stream_joins_two_calls),
		HOST_TEST(a_stream_ends_when_the_other_host_dies),
		cmocka_unit_test(closing_before_it_is_up_is_fine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
