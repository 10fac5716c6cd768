/* SPDX-License-Identifier: Apache-2.0
 * test_state_kill - on a full disk, and in a writer killed at any moment: what was acknowledged is
 * there.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "tests/unit/part.h"
#include "tests/unit/staterig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- a full disk ------------------------------------------------------------------- */

static char *append_and_hear(struct fix *f, struct state *s, const char *kind)
{
	struct st_heard h = { 0 };
	struct record r = { .machine = "db", .kind = kind, .subject = kind };

	state_append(s, &r, st_hear, &h);
	while (h.n < 1)
		loop_turn(f->loop, -1);
	return h.error;
}

static void fill(const char *path)
{
	static const char zeros[65536];
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	for (size_t n = sizeof(zeros); n > 0;)
		if (write(fd, zeros, n) < 0)
			n /= 2;
	close(fd);
}

/* In a mount namespace of its own, on a tmpfs of 3 MiB. 0, or the step that did
 * not go as it must. */
static int on_full_disk(struct fix *f)
{
	AUTO_FREE char *filler = mem_printf("%s/filler", f->root);
	AUTO_FREE char *refused = NULL, *taken = NULL, *again = NULL;
	AUTO_ERR e = { 0 };
	struct state *s;
	int n = 0;

	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", f->root, "tmpfs", 0, "size=3m") < 0)
		return 77;
	s = st_open(f, STATE_WRITE);
	fill(filler);
	for (int i = 0; i < 100 && !refused; i++)	/* fill the file's last page */
		refused = append_and_hear(f, s, "intent");
	if (!refused || !strstr(refused, "cannot start anything more: the disk of"))
		return 2;
	taken = append_and_hear(f, s, "outcome");
	if (taken)
		return 3;
	again = append_and_hear(f, s, "begin");
	if (!again)
		return 4;
	state_close(s, NULL);		/* git may have found no room: the journal did */
	fill(filler);
	if (state_open(f->dir, "erp", STATE_WRITE, f->loop, &e) || e.sys != ENOSPC || !e.hint)
		return 5;
	unlink(filler);
	s = st_open(f, STATE_WRITE);
	n = st_log_length(s, "db");
	st_close(s);
	return n > 0 ? 0 : 6;
}

static void on_a_full_disk_nothing_starts_and_what_ends_is_recorded(void **state)
{
	struct fix *f = *state;
	int status;
	pid_t pid;

	if (geteuid() != 0)
		skip();		/* needs to mount */
	pid = fork();
	if (pid == 0)
		_exit(on_full_disk(f));
	waitpid(pid, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(status, 0);
}

/* ---- killed at any moment ------------------------------------------------------------ */

#define ROUNDS test_part(24, 6)
#define MACHINES 4

struct ack { int fd; uint32_t number; };

static void acknowledge(void *arg, struct err *e)
{
	struct ack *a = arg;

	if (!e && write(a->fd, &a->number, sizeof(a->number)) != sizeof(a->number))
		_exit(3);
	free(a);
}

/* The child: counts up on four machines and tells each number that is durable. */
static void write_until_killed(const char *dir, uint32_t from, int fd)
{
	struct loop *loop = loop_new(&clock_real);
	AUTO_ERR e = { 0 };
	struct state *s;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	s = state_open(dir, "erp", STATE_WRITE, loop, &e);
	if (!s) {
		fprintf(stderr, "%s\n", e.what);
		_exit(2);
	}
	for (uint32_t n = from;; n++) {
		AUTO_JSON *set = json_object(), *meta = json_object();
		AUTO_FREE char *machine = mem_printf("m%u", n % MACHINES);
		AUTO_FREE char *pointer = mem_printf("machines/%s/n", machine);
		struct ack *a = mem_alloc(sizeof(*a));
		struct record r = { .machine = machine, .kind = "outcome",
			.subject = n % 5 ? "counted" : NULL, .set = set, .meta = meta };

		*a = (struct ack){ fd, n };
		jset_strf(set, "n", "%u", n);
		jset_int(meta, pointer, n);
		state_append(s, &r, acknowledge, a);
		loop_turn(loop, n % 3 ? 0 : -1);
	}
}

static void check_survivors(struct fix *f, const uint32_t acked[MACHINES], enum state_mode mode)
{
	struct state *s = st_open(f, mode);

	for (unsigned i = 0; i < MACHINES; i++) {
		AUTO_FREE char *name = mem_printf("m%u", i);
		AUTO_FREE char *path = mem_printf("machines.m%u.n", i);
		uint32_t in_tree = (uint32_t)atoi(jstr(state_tree(s, name), "n", "0"));

		assert_true(in_tree >= acked[i]);
		assert_true(jint(state_meta(s), path, 0) >= acked[i]);
		assert_int_equal(jint(state_meta(s), path, 0), in_tree);
	}
	st_close(s);
}

static void what_was_acknowledged_is_there_after_any_kill(void **state)
{
	struct fix *f = *state;
	uint32_t acked[MACHINES] = { 0 }, n = 0;
	unsigned seed = 20261121;

	for (int round = 0; round < ROUNDS; round++) {
		int p[2];
		unsigned quota = (unsigned)rand_r(&seed) % 120;
		pid_t pid;

		assert_int_equal(pipe(p), 0);
		pid = fork();
		if (pid == 0) {
			close(p[0]);
			write_until_killed(f->dir, n + 1, p[1]);
		}
		close(p[1]);
		for (unsigned i = 0; i < quota && io_read_full(p[0], &n, 4) == 4; i++)
			acked[n % MACHINES] = n;
		if (quota < 8) {	/* while it opens: by time, any time will do */
			struct pollfd pf = { p[0], POLLIN, 0 };

			poll(&pf, 1, (int)(quota * 3));
		}
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		while (io_read_full(p[0], &n, 4) == 4)
			acked[n % MACHINES] = n;
		close(p[0]);
		check_survivors(f, acked, STATE_READ);
		if (round % 3 == 0)
			check_survivors(f, acked, STATE_WRITE);
		n += 1000;	/* what was written beyond the acknowledged may stand */
	}
	st_fsck(f);
}

#define T(name) cmocka_unit_test_setup_teardown(name, st_setup, st_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(on_a_full_disk_nothing_starts_and_what_ends_is_recorded),
		T(what_was_acknowledged_is_there_after_any_kill),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
