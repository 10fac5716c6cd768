/* SPDX-License-Identifier: Apache-2.0
 * test_chunkstore_sweep - what all backups share is tidied up: what nobody wants any more goes,
 * what is wanted stays, wherever a kill falls.
 */
#include "engine/base/mem.h"
#include "tests/unit/chunkrig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* The system's calls; beside them, how often a pack went while the end of an index might yet
 * be undone by a power cut. */
static bool index_unsynced;
static unsigned packs_too_early;

int unlinkat(int dir, const char *path, int flags)
{
	if (strstr(path, ".idx") && path[0] != '.')
		index_unsynced = true;
	packs_too_early += strstr(path, ".pack") && index_unsynced;
	return (int)syscall(SYS_unlinkat, dir, path, flags);
}

int fsync(int fd)
{
	AUTO_FREE char *link = mem_printf("/proc/self/fd/%d", fd);
	char to[256] = "";

	if (readlink(link, to, sizeof(to) - 1) > 6 && !strcmp(to + strlen(to) - 6, "/index"))
		index_unsynced = false;
	return (int)syscall(SYS_fsync, fd);
}

/* ---- sweeping ---------------------------------------------------------------- */

/* 20 chunks in one pack, 20 in another; `wanted` of the first and all of the second. */
static void fill(struct chunkrig *r)
{
	for (unsigned n = 0; n < 40; n++) {
		if (n == 20) {
			chunkstore_seal(r->s, NULL);
			chunkrig_reopen(r, CHUNKS_ADD);
		}
		chunkrig_put(r->s, n);
	}
	assert_int_equal(chunkstore_seal(r->s, NULL), 0);
	chunkrig_reopen(r, CHUNKS_SWEEP);
}

static bool is_wanted(unsigned n, unsigned of_first)
{
	return n < of_first || (n >= 20 && n < 40);
}

/* 0: all that is wanted could be marked. */
static int sweep(struct chunkstore *s, unsigned of_first, uint64_t *freed)
{
	for (unsigned n = 0; n < 40; n++)
		if (is_wanted(n, of_first) && !chunkrig_mark(s, n))
			return -1;
	return chunkstore_sweep(s, freed, NULL);
}

static void check_wanted(struct chunkrig *r, unsigned of_first)
{
	for (unsigned n = 0; n < 40; n++)
		if (is_wanted(n, of_first))
			assert_true(chunkrig_is_whole(r->s, n, NULL));
}

static void a_sweep_keeps_a_pack_that_is_mostly_wanted(void **state)
{
	struct chunkrig *r = *state;
	uint64_t freed = 1;

	fill(r);
	assert_int_equal(sweep(r->s, 15, &freed), 0);
	assert_int_equal(freed, 0);
	chunkrig_reopen(r, CHUNKS_READ);
	check_wanted(r, 15);
	assert_false(chunkrig_is_whole(r->s, 15, NULL));
	assert_int_equal(chunkrig_files(r, "packs", NULL), 2);
}

static void a_sweep_writes_the_rest_of_a_thin_pack_anew(void **state)
{
	struct chunkrig *r = *state;
	uint64_t freed = 0, bytes = 0;

	fill(r);
	packs_too_early = 0;
	assert_int_equal(sweep(r->s, 5, &freed), 0);
	assert_int_equal(packs_too_early, 0);
	assert_int_equal(freed, 15 * CHUNKRIG_LEN);
	chunkrig_reopen(r, CHUNKS_READ);
	check_wanted(r, 5);
	assert_int_equal(chunkrig_files(r, "packs", &bytes), 2);
	assert_int_equal(bytes, 25 * CHUNKRIG_LEN + 2 * 8);
}

static void a_sweep_of_nothing_wanted_leaves_nothing(void **state)
{
	struct chunkrig *r = *state;
	uint64_t freed = 0;

	fill(r);
	assert_int_equal(chunkstore_sweep(r->s, &freed, NULL), 0);
	assert_int_equal(freed, 40 * CHUNKRIG_LEN + 2 * 8);
	assert_int_equal(chunkrig_files(r, "packs", NULL), 0);
	assert_int_equal(chunkrig_files(r, "index", NULL), 0);
}

static void a_thin_pack_with_a_damaged_chunk_stays(void **state)
{
	struct chunkrig *r = *state;
	uint64_t freed = 0;

	for (unsigned n = 0; n < 20; n++)
		chunkrig_put(r->s, n);
	chunkstore_seal(r->s, NULL);
	chunkrig_flip(r, "packs", 8 + 3);	/* of the first chunk */
	chunkrig_reopen(r, CHUNKS_SWEEP);
	assert_true(chunkrig_mark(r->s, 0));
	assert_true(chunkrig_mark(r->s, 1));
	assert_int_equal(chunkstore_sweep(r->s, &freed, NULL), 0);
	chunkrig_reopen(r, CHUNKS_READ);
	assert_true(chunkrig_is_whole(r->s, 1, NULL));
	assert_false(chunkrig_is_whole(r->s, 0, NULL));
}

static void nobody_sweeps_while_others_read_or_add(void **state)
{
	struct chunkrig *r = *state;
	AUTO_ERR e = { 0 };
	AUTO_FREE char *busy = mem_printf("cannot tidy the backups at '%s': they are being written "
					  "or read", r->place);
	AUTO_FREE char *held = mem_printf("cannot use the backups at '%s': they are being pruned",
					  r->place);

	assert_null(chunkstore_open(r->place, CHUNKS_SWEEP, &e));
	assert_int_equal(e.kind, ERR_HELD);
	assert_string_equal(e.what, busy);
	err_clear(&e);
	chunkrig_reopen(r, CHUNKS_SWEEP);
	assert_null(chunkstore_open(r->place, CHUNKS_ADD, &e));
	assert_int_equal(e.kind, ERR_HELD);
	assert_string_equal(e.what, held);
}

/* ---- kills ------------------------------------------------------------------- */

/* Run `work` in a child that is killed as it enters or leaves its k-th system call.
 * true: it came to its end. */
static bool killed_at(unsigned k, void (*work)(struct chunkrig *r), struct chunkrig *r)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		work(r);
		_exit(0);
	}
	for (unsigned n = 0; waitpid(pid, &status, 0) == pid && WIFSTOPPED(status); n++) {
		if (n == k)
			kill(pid, SIGKILL);
		else	/* a signal that is not the tracer's reaches it: it must not crash */
			ptrace(PTRACE_SYSCALL, pid, NULL, WSTOPSIG(status) == SIGTRAP ||
			       WSTOPSIG(status) == SIGSTOP ? 0 : (long)WSTOPSIG(status));
	}
	assert_true(WIFEXITED(status) ? WEXITSTATUS(status) == 0 : WTERMSIG(status) == SIGKILL);
	return WIFEXITED(status);
}

static void work_sweep(struct chunkrig *r)
{
	struct chunkstore *s = chunkstore_open(r->place, CHUNKS_SWEEP, NULL);
	uint64_t freed;

	if (!s || sweep(s, 5, &freed) < 0)
		_exit(1);
}

static void work_add(struct chunkrig *r)
{
	struct chunkstore *s = chunkstore_open(r->place, CHUNKS_ADD, NULL);

	if (!s)
		_exit(1);
	for (unsigned n = 100; n < 103; n++)
		chunkrig_put(s, n);
	if (chunkstore_seal(s, NULL) < 0)
		_exit(1);
}

static void a_sweep_killed_anywhere_loses_nothing_and_the_next_ends_it(void **state)
{
	struct chunkrig *r = *state;
	unsigned k = 0, stride = getenv("DROVER_TEST_QUICK") ? 11 : 1;

	for (bool ended = false; !ended; k += stride) {
		uint64_t bytes = 0, freed;

		chunkstore_close(r->s);
		r->s = NULL;
		io_remove_tree(r->place);
		r->s = chunkstore_open(r->place, CHUNKS_ADD, NULL);
		fill(r);
		chunkstore_close(r->s);
		r->s = NULL;
		ended = killed_at(k, work_sweep, r);
		chunkrig_reopen(r, CHUNKS_READ);
		check_wanted(r, 5);
		chunkrig_reopen(r, CHUNKS_SWEEP);
		assert_int_equal(sweep(r->s, 5, &freed), 0);
		check_wanted(r, 5);
		chunkrig_files(r, "packs", &bytes);
		assert_int_equal(bytes, 25 * CHUNKRIG_LEN + 2 * 8);
	}
	assert_true(k > 20);
}

static void a_kill_while_adding_leaves_what_was_there(void **state)
{
	struct chunkrig *r = *state;
	unsigned k = 0;

	fill(r);
	for (bool ended = false; !ended; k++) {
		chunkstore_close(r->s);
		r->s = NULL;
		ended = killed_at(k, work_add, r);
		chunkrig_reopen(r, CHUNKS_READ);
		for (unsigned n = 0; n < 40; n++)
			assert_true(chunkrig_is_whole(r->s, n, NULL));
	}
	assert_true(k > 20);
	for (unsigned n = 100; n < 103; n++)
		assert_true(chunkrig_is_whole(r->s, n, NULL));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, chunkrig_set_up, chunkrig_tear_down)
	const struct CMUnitTest tests[] = {
		T(a_sweep_keeps_a_pack_that_is_mostly_wanted),
		T(a_sweep_writes_the_rest_of_a_thin_pack_anew),
		T(a_sweep_of_nothing_wanted_leaves_nothing),
		T(a_thin_pack_with_a_damaged_chunk_stays),
		T(nobody_sweeps_while_others_read_or_add),
		T(a_sweep_killed_anywhere_loses_nothing_and_the_next_ends_it),
		T(a_kill_while_adding_leaves_what_was_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
