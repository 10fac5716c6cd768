/* SPDX-License-Identifier: Apache-2.0
 * test_host_grants - what a host may send of a stream that the engine relays, while nobody
 * takes it at the other end: the real agent over a real sshd, and an end of the test's own.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/host/relay.h"
#include "engine/host/ssh.h"
#include "engine/wire/pass.h"
#include "tests/unit/sshtest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define BYTES (8 << 20)
#define SPARE (64u << 10)	/* less than this may be taken and not granted anew */

/* The end that takes nothing, until it is opened. */
struct gate {
	struct relay *relay;
	uint64_t got;
	bool open, finished;
};

static ssize_t gate_read(void *arg, void *buf, size_t n)
{
	(void)buf;
	(void)n;
	return ((struct gate *)arg)->finished ? -1 : 0;
}

static ssize_t gate_write(void *arg, const void *p, size_t n)
{
	struct gate *g = arg;

	(void)p;
	if (!g->open)
		return 0;
	g->got += n;
	return (ssize_t)n;
}

static void gate_finish(void *arg)
{
	((struct gate *)arg)->finished = true;
}

static void gate_close(void *arg)
{
	(void)arg;
}

static void gate_begin(void *arg, uint32_t id, struct relay *r, int end)
{
	static const struct relay_pipe pipe = { .read = gate_read, .write = gate_write,
		.finish = gate_finish, .close = gate_close };

	(void)id;
	relay_opened(r, end, &pipe, arg);
}

struct fixture {
	struct sshtest *f;
	struct hosttest host;
	struct calltest from;
	struct relay *relay;
	struct gate gate;
	struct chan *chan;	/* of the stream */
};

/* What was granted is there, but for what was taken a moment before the gate shut. */
static void fill_up(struct fixture *x, struct sshtest *f)
{
	struct relay_party gate = { .open = gate_begin, .arg = &x->gate };
	AUTO_JSON *spec = sshd_spec(f->sshd, "db1", "drover");

	*x = (struct fixture){ .f = f };
	sshtest_open(&x->host, f, spec);
	x->relay = relay_new(f->loop);
	x->from.call.relay = x->relay;
	relay_join(x->relay, 1, &gate);
	calltest_start(&x->from, &x->host, "call.link", "apply", "source",
		       json_pack("{s:i}", "bytes", BYTES));
	while (!x->chan || x->chan->waiting <= STREAM_CREDIT - SPARE) {
		x->chan = ((struct sshost *)x->host.host->impl)->chans;
		while (x->chan && !x->chan->pulls)
			x->chan = x->chan->next;
		assert_null(x->from.result);
		loop_turn(f->loop, 1000);
	}
}

static void open_gate(struct fixture *x)
{
	x->gate.open = true;
	relay_ready(x->relay, 1);
	while (!x->gate.finished)
		loop_turn(x->f->loop, 1000);
}

static void clean_up(struct fixture *x)
{
	calltest_wait(&x->from);
	assert_false(jbool(x->from.result, "ok", true));	/* nobody answers it */
	calltest_clear(&x->from);
	relay_free(x->relay);
	hosttest_close(&x->host);
}

static void nothing_comes_that_was_not_granted(void **state)
{
	struct fixture x;

	fill_up(&x, *state);
	for (int i = 0; i < 3; i++) {	/* a chance for whoever does not keep to it */
		AUTO_JSON *r = hosttest_call(&x.host, "call.stat", "probe",
					     json_pack("{s:s}", "path", "/proc"));

		assert_true(jbool(r, "ok", false));
	}
	assert_true(x.chan->waiting <= STREAM_CREDIT);
	open_gate(&x);
	assert_int_equal(x.gate.got, BYTES);
	clean_up(&x);
}

/* The stdout of the --attach of this host's agent, to write to. */
static int its_stdout(struct fixture *x)
{
	const char *name = jstr(x->host.host->hello, "attach", "-");
	DIR *d = opendir("/proc");
	struct dirent *one;
	int fd = -1;

	assert_non_null(d);
	while (fd < 0 && (one = readdir(d))) {
		AUTO_FREE char *cmd = mem_printf("/proc/%s/cmdline", one->d_name);
		AUTO_FREE char *out = mem_printf("/proc/%s/fd/1", one->d_name);
		size_t n = 0;
		AUTO_FREE char *text = io_read_file(AT_FDCWD, cmd, 4096, &n);

		if (text && memmem(text, n, name, strlen(name)) && memmem(text, n, "--attach", 8))
			fd = open(out, O_WRONLY | O_CLOEXEC);
	}
	closedir(d);
	return fd;
}

static void who_sends_more_is_not_heard(void **state)
{
	static const char more[SPARE];
	struct fixture x;
	int fd;

	fill_up(&x, *state);
	fd = its_stdout(&x);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, more, sizeof(more)), sizeof(more));
	close(fd);
	while (x.chan->waiting <= STREAM_CREDIT)
		loop_turn(x.f->loop, 1000);
	open_gate(&x);
	assert_true(x.gate.got < STREAM_CREDIT);	/* what had been read before */
	clean_up(&x);
}

static int setup(void **state)
{
	return sshtest_setup(state, NULL, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_comes_that_was_not_granted),
		cmocka_unit_test(who_sends_more_is_not_heard),
	};

	if (!sshtest_can())
		return 77;
	return cmocka_run_group_tests(tests, setup, sshtest_teardown);
}
