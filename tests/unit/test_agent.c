/* SPDX-License-Identifier: Apache-2.0
 * test_agent - one call in a child, and the agent's own manners, spoken to in frames.
 */
#include "engine/agent/child.h"
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/host/link.h"
#include "engine/wire/frame.h"
#include "tests/unit/modtest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define NONCE "00112233445566778899aabbccddeeff"

/* An agent of our own, spoken to by hand. */
struct agent_test {
	pid_t pid;
	int fd;
};

static int start_agent(struct agent_test *a, const char *expect)
{
	size_t n;
	const void *blob = link_agent_blob(&n);
	int exe = memfd_create("agent", MFD_CLOEXEC), pair[2];

	if (exe < 0 || io_write_full(exe, blob, n) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	a->pid = fork();
	if (a->pid == 0) {
		char *argv[] = { "drover-agent", "--serve", NONCE,
				 expect ? "--expect" : NULL, (char *)expect, NULL };
		int null = open("/dev/null", O_WRONLY);

		dup2(pair[1], 0);
		dup2(pair[1], 1);
		dup2(null, 2);
		fexecve(exe, argv, environ);
		_exit(127);
	}
	close(pair[1]);
	close(exe);
	a->fd = pair[0];
	return 0;
}

static int wait_agent(struct agent_test *a)
{
	int status = 0;

	while (waitpid(a->pid, &status, 0) < 0 && errno == EINTR)
		;
	close(a->fd);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void expect_preamble(struct agent_test *a)
{
	static const char want[] = FRAME_PREAMBLE NONCE "\n";
	char got[sizeof(want)] = "";

	assert_true(io_read_full(a->fd, got, sizeof(want) - 1) > 0);
	assert_string_equal(got, want);
}

static void say(struct agent_test *a, enum frame_type type, uint32_t step, const char *text)
{
	AUTO_JSON *body = text ? json_loads(text, 0, NULL) : NULL;

	assert_int_equal(frame_write_fd(a->fd, type, step, body, NULL), 0);
}

static void hello(struct agent_test *a)
{
	struct frame f;

	expect_preamble(a);
	say(a, FRAME_HELLO, 0, "{\"wire\":1}");
	assert_int_equal(frame_read_fd(a->fd, &f, NULL), 1);
	assert_int_equal(f.type, FRAME_HELLO);
	assert_string_equal(jstr(f.body, "build", ""), link_agent_build());
	frame_clear(&f);
}

static void it_ends_when_the_engine_is_gone(void **state)
{
	struct agent_test a;

	(void)state;
	assert_int_equal(start_agent(&a, NULL), 0);
	hello(&a);
	say(&a, FRAME_RUN, 1, "{\"module\":\"call.exec\",\"op\":\"apply\","
	    "\"input\":{\"args\":{\"argv\":[\"sleep\",\"1000\"]}}}");
	shutdown(a.fd, SHUT_WR);
	assert_int_equal(wait_agent(&a), 0);
}

static void bye_ends_it(void **state)
{
	struct agent_test a;

	(void)state;
	assert_int_equal(start_agent(&a, link_agent_build()), 0);
	hello(&a);
	say(&a, FRAME_BYE, 0, NULL);
	assert_int_equal(wait_agent(&a), 0);
}

static void it_does_not_run_when_it_is_not_what_was_sent(void **state)
{
	struct agent_test a;
	char c;

	(void)state;
	assert_int_equal(start_agent(&a, "0000000000000000000000000000000000000000000000000000000000000000"), 0);
	assert_int_equal(io_read_full(a.fd, &c, 1), 0);
	assert_int_equal(wait_agent(&a), 1);
}

static void it_runs_nothing_before_hello(void **state)
{
	struct agent_test a;
	struct frame f;

	(void)state;
	assert_int_equal(start_agent(&a, NULL), 0);
	expect_preamble(&a);
	say(&a, FRAME_RUN, 1, "{\"module\":\"call.stat\",\"op\":\"probe\",\"input\":{}}");
	assert_int_equal(frame_read_fd(a.fd, &f, NULL), 0);
	assert_int_equal(wait_agent(&a), 0);
}

static void it_answers_a_ping(void **state)
{
	struct agent_test a;
	struct frame f;

	(void)state;
	assert_int_equal(start_agent(&a, NULL), 0);
	hello(&a);
	say(&a, FRAME_PING, 0, "{\"n\":42}");
	assert_int_equal(frame_read_fd(a.fd, &f, NULL), 1);
	assert_int_equal(f.type, FRAME_PONG);
	assert_int_equal(jint(f.body, "n", 0), 42);
	frame_clear(&f);
	close(a.fd);
	a.fd = open("/dev/null", O_RDONLY);
	assert_int_equal(wait_agent(&a), 0);
}

static void broken_frames_end_it(void **state)
{
	struct agent_test a;

	(void)state;
	assert_int_equal(start_agent(&a, NULL), 0);
	hello(&a);
	assert_int_equal(io_write_full(a.fd, "this is no frame, it is a shell", 31), 0);
	assert_int_equal(wait_agent(&a), 0);
}

static void a_child_that_is_killed_is_told_by_its_signal(void **state)
{
	AUTO_JSON *r = child_death("convert.disks", SIGKILL);

	(void)state;
	assert_string_equal(jstr(r, "error.text", ""),
			    "'convert.disks' was ended by signal 9 (Killed)");
	assert_string_equal(jstr(r, "error.kind", ""), "failed");
}

static void a_child_without_memory_says_what_to_do(void **state)
{
	AUTO_JSON *r = child_death("convert.disks", MEM_NONE << 8);

	(void)state;
	assert_string_equal(jstr(r, "error.text", ""), "'convert.disks' ended: the host gave it "
			    "no memory, or no thread");
	assert_string_equal(jstr(r, "error.hint", ""), "free memory there, or allow it more "
			    "tasks; then run the same command again");
}

static void a_module_runs_without_an_engine(void **state)
{
	AUTO_JSON *input = json_pack("{s:{s:[s,s]}}", "args", "argv", "echo", "hi");
	AUTO_JSON *r = modtest_call("call.exec", "apply", input, NULL);

	(void)state;
	assert_true(jbool(r, "ok", false));
	assert_string_equal(jstr(r, "volatile.out", ""), "hi\n");
}

/* A command that makes `path`: one call of it, an apply on the answer `judged`. */
static json_t *make_file(const char *op, const char *path, const json_t *judged)
{
	AUTO_JSON *input = json_pack("{s:{s:[s,s,s], s:[s,s]}, s:s, s:O*}", "args", "probe",
		"test", "-e", path, "argv", "touch", path, "then", "probe", "judged", judged);

	return modtest_call("any.command", op, input, NULL);
}

static void an_apply_on_an_old_answer_looks_first(void **state)
{
	char dir[] = "/tmp/drover-test.XXXXXX";
	AUTO_FREE char *path = mkdtemp(dir) ? mem_printf("%s/made", dir) : NULL;
	AUTO_JSON *judged = make_file("probe", path, NULL);
	AUTO_JSON *same = make_file("apply", path, judged), *other = NULL;

	(void)state;
	assert_true(jbool(same, "ok", false));
	assert_string_equal(jstr(same, "after.state", ""), "done");
	assert_int_equal(truncate(path, 1), 0);
	other = make_file("apply", path, judged);
	assert_string_equal(jstr(other, "error.kind", ""), "moved");
	assert_int_equal(unlink(path), 0);
	rmdir(dir);
}

static void a_missing_tool_names_itself(void **state)
{
	AUTO_JSON *input = json_pack("{s:{s:[s]}}", "args", "argv", "no-such-tool");
	AUTO_JSON *r = modtest_call("call.exec", "apply", input, NULL);

	(void)state;
	assert_string_equal(jstr(r, "error.text", ""),
			    "cannot run 'no-such-tool': it is not installed here");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_ends_when_the_engine_is_gone),
		cmocka_unit_test(bye_ends_it),
		cmocka_unit_test(it_does_not_run_when_it_is_not_what_was_sent),
		cmocka_unit_test(it_runs_nothing_before_hello),
		cmocka_unit_test(it_answers_a_ping),
		cmocka_unit_test(broken_frames_end_it),
		cmocka_unit_test(a_child_that_is_killed_is_told_by_its_signal),
		cmocka_unit_test(a_child_without_memory_says_what_to_do),
		cmocka_unit_test(a_module_runs_without_an_engine),
		cmocka_unit_test(an_apply_on_an_old_answer_looks_first),
		cmocka_unit_test(a_missing_tool_names_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
