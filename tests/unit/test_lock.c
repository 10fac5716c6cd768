/* SPDX-License-Identifier: Apache-2.0
 * test_lock - of any number that start at once, one proceeds.
 */
#include "engine/base/io.h"
#include "engine/base/json.h"
#include "engine/base/mem.h"
#include "engine/state/lock.h"
#include "tests/unit/staterig.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define STARTS 20

/* The system's calls, but for so many locks that another one has just now, and naps take no
 * time. */
static int busy, naps;

int flock(int fd, int op)
{
	if (busy == 0)
		return (int)syscall(SYS_flock, fd, op);
	busy--;
	errno = EWOULDBLOCK;
	return -1;
}

int usleep(useconds_t us)
{
	(void)us;
	naps++;
	return 0;
}

/* A child that opens the state and tells how it went by one byte: 'w' it writes,
 * 'h' it is held, 'e' anything else. The winner holds on until it is told. */
static void contend(const char *dir, int go, int say, int end)
{
	struct loop *loop = loop_new(&clock_real);
	AUTO_ERR e = { 0 };
	struct state *s;
	char c;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (read(go, &c, 1) != 0)	/* closed: everybody starts */
		_exit(1);
	s = state_open(dir, "erp", STATE_WRITE, loop, &e);
	c = s ? 'w' : e.kind == ERR_HELD && strstr(e.what, "it is held by ") && e.hint ? 'h' : 'e';
	if (c == 'e')
		fprintf(stderr, "%s\n", e.what);
	if (write(say, &c, 1) != 1)
		_exit(1);
	if (s && read(end, &c, 1) != 0)
		_exit(1);
	_exit(s && state_close(s, &e) < 0 ? 1 : 0);
}

static void of_twenty_starts_exactly_one_proceeds(void **state)
{
	struct fix *f = *state;
	int go[2], say[2], end[2], count[256] = { 0 };

	for (int round = 0; round < 3; round++) {	/* the first makes the state */
		memset(count, 0, sizeof(count));
		assert_true(pipe(go) == 0 && pipe(say) == 0 && pipe(end) == 0);
		for (int i = 0; i < STARTS; i++)
			if (fork() == 0) {
				close(go[1]);
				close(end[1]);
				contend(f->dir, go[0], say[1], end[0]);
			}
		close(go[1]);
		close(say[1]);
		for (int i = 0; i < STARTS; i++) {
			unsigned char c;

			assert_int_equal(read(say[0], &c, 1), 1);
			count[c]++;
		}
		close(end[1]);
		for (int i = 0, status; i < STARTS; i++) {
			assert_true(wait(&status) > 0);
			assert_int_equal(status, 0);
		}
		close(go[0]);
		close(say[0]);
		close(end[0]);
		assert_int_equal(count['w'], 1);
		assert_int_equal(count['h'], STARTS - 1);
	}
}

static void the_second_is_told_who_holds_it_and_since_when(void **state)
{
	struct fix *f = *state;
	AUTO_ERR e = { 0 };
	AUTO_FREE char *pid = mem_printf("it is held by pid %d on ", (int)getpid());
	AUTO_FREE char *who = NULL;
	struct lock lock, other;

	assert_int_equal(io_mkdirs(f->dir, 0700), 0);
	assert_null(lock_holder(f->dir));
	assert_int_equal(lock_take(&lock, f->dir, "7f3a2c10", 1770000000, &e), 0);
	assert_int_equal(lock_take(&other, f->dir, "00000000", 1770000001, &e), -1);
	assert_int_equal(e.kind, ERR_HELD);
	assert_non_null(strstr(e.what, pid));
	assert_non_null(strstr(e.what, "run 7f3a2c10) since 2026-02-02T02:40:00Z"));
	assert_non_null(strstr(e.hint, "drover status"));
	who = lock_holder(f->dir);
	assert_non_null(strstr(e.what, who));
	lock_release(&lock);
	assert_null(lock_holder(f->dir));
}

static void a_killed_holder_holds_no_longer(void **state)
{
	struct fix *f = *state;
	AUTO_ERR e = { 0 };
	AUTO_FREE char *who = NULL;
	struct lock lock;
	int p[2];
	pid_t pid;
	char c;

	assert_int_equal(io_mkdirs(f->dir, 0700), 0);
	assert_int_equal(pipe(p), 0);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (lock_take(&lock, f->dir, "7f3a2c10", 1, &e) < 0 || write(p[1], "x", 1) != 1)
			_exit(1);
		pause();
	}
	assert_int_equal(read(p[0], &c, 1), 1);
	who = lock_holder(f->dir);
	assert_non_null(who);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_null(lock_holder(f->dir));	/* its text is still there */
	assert_int_equal(lock_take(&lock, f->dir, "11111111", 2, &e), 0);
	lock_release(&lock);
	close(p[0]);
	close(p[1]);
}

/* What a killed one had started goes a moment after it. */
static void one_that_does_not_say_who_it_is_is_waited_for(void **state)
{
	struct fix *f = *state;
	AUTO_ERR e = { 0 };
	struct lock lock;

	assert_int_equal(io_mkdirs(f->dir, 0700), 0);
	busy = 3;
	naps = 0;
	assert_int_equal(lock_take(&lock, f->dir, "7f3a2c10", 1, &e), 0);
	assert_int_equal(naps, 3);
	lock_release(&lock);
	busy = 1000000;
	assert_int_equal(lock_take(&lock, f->dir, "7f3a2c10", 1, &e), -1);
	busy = 0;
	assert_int_equal(e.kind, ERR_HELD);
	assert_non_null(strstr(e.what, "it is held by another drover that is just starting"));
}

static void removing_its_file_lets_nobody_else_in(void **state)
{
	struct fix *f = *state;
	AUTO_FREE char *file = mem_printf("%s/lock", f->dir);
	struct lock lock, other;
	AUTO_ERR e = { 0 };

	assert_int_equal(io_mkdirs(f->dir, 0700), 0);
	assert_int_equal(lock_take(&lock, f->dir, "7f3a2c10", 1, &e), 0);
	assert_int_equal(unlink(file), 0);
	assert_int_equal(lock_take(&other, f->dir, "00000000", 2, &e), -1);
	assert_int_equal(e.kind, ERR_HELD);
	lock_release(&lock);
	assert_int_equal(lock_take(&other, f->dir, "00000000", 3, NULL), 0);
	lock_release(&other);
}

/* The text that this process would leave, with some of it changed; does it count? */
static bool believed(struct fix *f, json_t *changes)
{
	AUTO_FREE char *file = mem_printf("%s/lock", f->dir), *text = NULL, *who = NULL;
	AUTO_JSON *o = NULL;
	AUTO_FREE char *now = NULL;
	struct lock lock;

	assert_int_equal(lock_take(&lock, f->dir, "7f3a2c10", 1, NULL), 0);
	text = io_read_file(AT_FDCWD, file, 4096, NULL);
	o = json_parse(text, strlen(text), NULL);
	lock_release(&lock);
	assert_non_null(o);
	json_object_update(o, changes);
	json_decref(changes);
	now = json_pretty(o);
	assert_int_equal(io_write_file(AT_FDCWD, file, now, strlen(now), 0600), 0);
	who = lock_holder(f->dir);
	return who != NULL;
}

static void a_text_is_believed_only_of_a_process_that_lives(void **state)
{
	struct fix *f = *state;
	AUTO_FREE char *id = io_read_file(AT_FDCWD, "/etc/machine-id", 256, NULL);

	assert_int_equal(io_mkdirs(f->dir, 0700), 0);
	assert_true(believed(f, json_object()));
	/* the pid is another process's now */
	assert_false(believed(f, json_pack("{s:i}", "started", 1)));
	/* the machine was given another name since, and its process is gone */
	assert_false(believed(f, json_pack("{s:s, s:i}", "host", "old-name", "pid", 999999999)));
	/* it was booted since, under whatever name */
	assert_false(believed(f, json_pack("{s:s}", "boot", "other")));
	if (id && *id)
		assert_false(believed(f, json_pack("{s:s, s:s}", "boot", "other", "host",
						   "old-name")));
	/* elsewhere, where this process cannot look */
	assert_true(believed(f, json_pack("{s:s, s:s, s:s}", "boot", "other", "host", "far",
					  "machine", "far")));
	assert_true(believed(f, json_pack("{s:s, s:i}", "pids", "pid:[1]", "pid", 999999999)));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, st_setup, st_teardown)
	const struct CMUnitTest tests[] = {
		T(of_twenty_starts_exactly_one_proceeds),
		T(the_second_is_told_who_holds_it_and_since_when),
		T(a_killed_holder_holds_no_longer),
		T(one_that_does_not_say_who_it_is_is_waited_for),
		T(removing_its_file_lets_nobody_else_in),
		T(a_text_is_believed_only_of_a_process_that_lives),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
