/* SPDX-License-Identifier: Apache-2.0
 * test_chunkstore - what all backups share: kept once, checked when read, tidied up,
 * and valid wherever a kill falls.
 */
#include "engine/base/mem.h"
#include "modules/lib/chunkindex.h"
#include "modules/lib/chunkstore.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define LEN 8192u

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

struct rig {
	char place[64];
	struct chunkstore *s;
};

/* The n-th chunk: no two alike, and zstd has no part in it. */
static void plain(unsigned n, uint8_t out[LEN])
{
	for (size_t i = 0; i < LEN; i += sizeof(n))
		memcpy(out + i, &n, sizeof(n));
}

static void digest(unsigned n, uint8_t out[SHA256_LEN])
{
	uint8_t p[LEN];

	plain(n, p);
	sha256_of(p, LEN, out);
}

static uint64_t put(struct chunkstore *s, unsigned n)
{
	uint8_t p[LEN], d[SHA256_LEN];
	struct chunk_bytes b = { p, LEN, LEN, false };
	uint64_t added = 0;

	plain(n, p);
	digest(n, d);
	assert_int_equal(chunkstore_put(s, d, &b, &added, NULL), 0);
	return added;
}

static bool is_whole(struct chunkstore *s, unsigned n, struct err *e)
{
	uint8_t p[LEN], got[LEN], d[SHA256_LEN];

	plain(n, p);
	digest(n, d);
	return chunkstore_get(s, d, got, LEN, e) == 0 && memcmp(p, got, LEN) == 0;
}

static bool mark(struct chunkstore *s, unsigned n)
{
	uint8_t d[SHA256_LEN];

	digest(n, d);
	return chunkstore_mark(s, d);
}

static void reopen(struct rig *r, enum chunkstore_mode mode)
{
	chunkstore_close(r->s);
	r->s = chunkstore_open(r->place, mode, NULL);
	assert_non_null(r->s);
}

/* How many files, and how many bytes they have. */
static size_t files(const struct rig *r, const char *sub, uint64_t *bytes)
{
	AUTO_FREE char *path = mem_printf("%s/%s", r->place, sub);
	DIR *dir = opendir(path);
	const struct dirent *d;
	struct stat st;
	size_t n = 0;

	assert_non_null(dir);
	while ((d = readdir(dir)))
		if (d->d_name[0] != '.' && fstatat(dirfd(dir), d->d_name, &st, 0) == 0) {
			n++;
			if (bytes)
				*bytes += (uint64_t)st.st_size;
		}
	closedir(dir);
	return n;
}

static int set_up(void **state)
{
	struct rig *r = mem_alloc(sizeof(*r));

	snprintf(r->place, sizeof(r->place), "/tmp/drover-test.XXXXXX");
	assert_non_null(mkdtemp(r->place));
	reopen(r, CHUNKS_ADD);
	*state = r;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *r = *state;

	chunkstore_close(r->s);
	io_remove_tree(r->place);
	free(r);
	return 0;
}

/* ---- adding and reading ------------------------------------------------------------ */

static void a_chunk_is_kept_once(void **state)
{
	struct rig *r = *state;

	assert_int_equal(put(r->s, 1), LEN);
	assert_int_equal(put(r->s, 1), 0);
	assert_int_equal(chunkstore_seal(r->s, NULL), 0);
	assert_int_equal(put(r->s, 1), 0);
	assert_true(is_whole(r->s, 1, NULL));
	reopen(r, CHUNKS_ADD);
	assert_int_equal(put(r->s, 1), 0);
	assert_true(is_whole(r->s, 1, NULL));
}

static void what_was_not_sealed_is_not_there(void **state)
{
	struct rig *r = *state;
	AUTO_ERR e = { 0 };

	put(r->s, 1);
	assert_int_equal(chunkstore_seal(r->s, NULL), 0);
	put(r->s, 2);
	reopen(r, CHUNKS_READ);
	assert_true(is_whole(r->s, 1, NULL));
	assert_false(is_whole(r->s, 2, &e));
	assert_non_null(strstr(e.what, "a chunk is missing"));
}

static void index_files_are_merged_and_every_chunk_is_found(void **state)
{
	struct rig *r = *state;

	for (unsigned n = 0; n < 600; n++) {
		put(r->s, n);
		assert_int_equal(chunkstore_seal(r->s, NULL), 0);
	}
	assert_in_range(files(r, "index", NULL), 1, 4 * 8);
	reopen(r, CHUNKS_READ);
	for (unsigned n = 0; n < 600; n++)
		assert_true(is_whole(r->s, n, NULL));
	assert_false(is_whole(r->s, 600, NULL));
}

/* Flip a byte in the middle of the one file of a directory. */
static void flip(const struct rig *r, const char *sub, off_t at)
{
	AUTO_FREE char *path = mem_printf("%s/%s", r->place, sub);
	DIR *dir = opendir(path);
	const struct dirent *d;
	char byte;

	assert_non_null(dir);
	while ((d = readdir(dir)) && d->d_name[0] == '.')
		;
	assert_non_null(d);
	AUTO_FD fd = openat(dirfd(dir), d->d_name, O_RDWR);
	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte = (char)(byte ^ 0x10);
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	closedir(dir);
}

static void a_flipped_byte_of_data_is_found(void **state)
{
	struct rig *r = *state;
	AUTO_ERR e = { 0 };

	put(r->s, 1);
	chunkstore_seal(r->s, NULL);
	flip(r, "packs", 100);
	assert_false(is_whole(r->s, 1, &e));
	assert_non_null(strstr(e.what, "a chunk has not the digest that it is known by"));
}

static void a_flipped_entry_is_as_none_and_its_chunk_is_stored_again(void **state)
{
	struct rig *r = *state;

	put(r->s, 1);
	chunkstore_seal(r->s, NULL);
	flip(r, "index", SHA256_LEN + 2);
	reopen(r, CHUNKS_ADD);
	assert_false(is_whole(r->s, 1, NULL));
	assert_int_equal(put(r->s, 1), LEN);
	assert_int_equal(chunkstore_seal(r->s, NULL), 0);
	assert_true(is_whole(r->s, 1, NULL));
}

/* ---- sweeping ------------------------------------------------------------------------ */

/* 20 chunks in one pack, 20 in another; `wanted` of the first and all of the second. */
static void fill(struct rig *r)
{
	for (unsigned n = 0; n < 40; n++) {
		if (n == 20) {
			chunkstore_seal(r->s, NULL);
			reopen(r, CHUNKS_ADD);
		}
		put(r->s, n);
	}
	assert_int_equal(chunkstore_seal(r->s, NULL), 0);
	reopen(r, CHUNKS_SWEEP);
}

static bool is_wanted(unsigned n, unsigned of_first)
{
	return n < of_first || (n >= 20 && n < 40);
}

/* 0: all that is wanted could be marked. */
static int sweep(struct chunkstore *s, unsigned of_first, uint64_t *freed)
{
	for (unsigned n = 0; n < 40; n++)
		if (is_wanted(n, of_first) && !mark(s, n))
			return -1;
	return chunkstore_sweep(s, freed, NULL);
}

static void check_wanted(struct rig *r, unsigned of_first)
{
	for (unsigned n = 0; n < 40; n++)
		if (is_wanted(n, of_first))
			assert_true(is_whole(r->s, n, NULL));
}

static void a_sweep_keeps_a_pack_that_is_mostly_wanted(void **state)
{
	struct rig *r = *state;
	uint64_t freed = 1;

	fill(r);
	assert_int_equal(sweep(r->s, 15, &freed), 0);
	assert_int_equal(freed, 0);
	reopen(r, CHUNKS_READ);
	check_wanted(r, 15);
	assert_false(is_whole(r->s, 15, NULL));
	assert_int_equal(files(r, "packs", NULL), 2);
}

static void a_sweep_writes_the_rest_of_a_thin_pack_anew(void **state)
{
	struct rig *r = *state;
	uint64_t freed = 0, bytes = 0;

	fill(r);
	packs_too_early = 0;
	assert_int_equal(sweep(r->s, 5, &freed), 0);
	assert_int_equal(packs_too_early, 0);
	assert_int_equal(freed, 15 * LEN);
	reopen(r, CHUNKS_READ);
	check_wanted(r, 5);
	assert_int_equal(files(r, "packs", &bytes), 2);
	assert_int_equal(bytes, 25 * LEN + 2 * 8);
}

static void a_sweep_of_nothing_wanted_leaves_nothing(void **state)
{
	struct rig *r = *state;
	uint64_t freed = 0;

	fill(r);
	assert_int_equal(chunkstore_sweep(r->s, &freed, NULL), 0);
	assert_int_equal(freed, 40 * LEN + 2 * 8);
	assert_int_equal(files(r, "packs", NULL), 0);
	assert_int_equal(files(r, "index", NULL), 0);
}

static void a_thin_pack_with_a_damaged_chunk_stays(void **state)
{
	struct rig *r = *state;
	uint64_t freed = 0;

	for (unsigned n = 0; n < 20; n++)
		put(r->s, n);
	chunkstore_seal(r->s, NULL);
	flip(r, "packs", 8 + 3);	/* of the first chunk */
	reopen(r, CHUNKS_SWEEP);
	assert_true(mark(r->s, 0));
	assert_true(mark(r->s, 1));
	assert_int_equal(chunkstore_sweep(r->s, &freed, NULL), 0);
	reopen(r, CHUNKS_READ);
	assert_true(is_whole(r->s, 1, NULL));
	assert_false(is_whole(r->s, 0, NULL));
}

static void nobody_sweeps_while_others_read_or_add(void **state)
{
	struct rig *r = *state;
	AUTO_ERR e = { 0 };
	AUTO_FREE char *busy = mem_printf("cannot tidy the backups at '%s': they are being written "
					  "or read", r->place);
	AUTO_FREE char *held = mem_printf("cannot use the backups at '%s': they are being pruned",
					  r->place);

	assert_null(chunkstore_open(r->place, CHUNKS_SWEEP, &e));
	assert_int_equal(e.kind, ERR_HELD);
	assert_string_equal(e.what, busy);
	err_clear(&e);
	reopen(r, CHUNKS_SWEEP);
	assert_null(chunkstore_open(r->place, CHUNKS_ADD, &e));
	assert_int_equal(e.kind, ERR_HELD);
	assert_string_equal(e.what, held);
}

static void a_place_without_backups_has_none(void **state)
{
	AUTO_ERR e = { 0 };

	(void)state;
	assert_null(chunkstore_open("/nonexistent/place", CHUNKS_READ, &e));
	assert_int_equal(e.sys, ENOENT);
}

/* ---- kills ----------------------------------------------------------------------------- */

/* Run `work` in a child that is killed as it enters or leaves its k-th system call.
 * true: it came to its end. */
static bool killed_at(unsigned k, void (*work)(struct rig *r), struct rig *r)
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

static void work_sweep(struct rig *r)
{
	struct chunkstore *s = chunkstore_open(r->place, CHUNKS_SWEEP, NULL);
	uint64_t freed;

	if (!s || sweep(s, 5, &freed) < 0)
		_exit(1);
}

static void work_add(struct rig *r)
{
	struct chunkstore *s = chunkstore_open(r->place, CHUNKS_ADD, NULL);

	if (!s)
		_exit(1);
	for (unsigned n = 100; n < 103; n++)
		put(s, n);
	if (chunkstore_seal(s, NULL) < 0)
		_exit(1);
}

static void a_sweep_killed_anywhere_loses_nothing_and_the_next_ends_it(void **state)
{
	struct rig *r = *state;
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
		reopen(r, CHUNKS_READ);
		check_wanted(r, 5);
		reopen(r, CHUNKS_SWEEP);
		assert_int_equal(sweep(r->s, 5, &freed), 0);
		check_wanted(r, 5);
		files(r, "packs", &bytes);
		assert_int_equal(bytes, 25 * LEN + 2 * 8);
	}
	assert_true(k > 20);
}

static void a_kill_while_adding_leaves_what_was_there(void **state)
{
	struct rig *r = *state;
	unsigned k = 0;

	fill(r);
	for (bool ended = false; !ended; k++) {
		chunkstore_close(r->s);
		r->s = NULL;
		ended = killed_at(k, work_add, r);
		reopen(r, CHUNKS_READ);
		for (unsigned n = 0; n < 40; n++)
			assert_true(is_whole(r->s, n, NULL));
	}
	assert_true(k > 20);
	for (unsigned n = 100; n < 103; n++)
		assert_true(is_whole(r->s, n, NULL));
}

struct putter {
	struct chunkstore *s;
	unsigned first, failed;
	atomic_uint *running;
};

#define PUTS 400u

static void *put_on(void *arg)
{
	struct putter *w = arg;
	uint8_t p[LEN], d[SHA256_LEN];
	struct chunk_bytes b = { p, LEN, LEN, false };
	uint64_t added = 0;

	for (unsigned n = w->first; n < w->first + PUTS; n++) {
		plain(n, p);
		sha256_of(p, LEN, d);
		w->failed += chunkstore_put(w->s, d, &b, &added, NULL) != 0;
	}
	atomic_fetch_sub(w->running, 1);
	return NULL;
}

/* What a seal takes away is nothing that a putter still looks at; a sanitizer sees it. */
static void threads_put_while_another_seals(void **state)
{
	struct rig *r = *state;
	atomic_uint running = 2;
	struct putter w[2] = { { r->s, 1000, 0, &running }, { r->s, 1000 + PUTS / 2, 0, &running } };
	pthread_t t[2];
	int bad = 0;

	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&t[i], NULL, put_on, &w[i]), 0);
	while (atomic_load(&running) > 0)
		bad += chunkstore_seal(r->s, NULL) != 0;
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(bad + (int)(w[0].failed + w[1].failed), 0);
	assert_int_equal(chunkstore_seal(r->s, NULL), 0);
	for (unsigned n = 1000; n < 1000 + PUTS + PUTS / 2; n++)
		assert_true(is_whole(r->s, n, NULL));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(a_chunk_is_kept_once),
		T(what_was_not_sealed_is_not_there),
		T(index_files_are_merged_and_every_chunk_is_found),
		T(a_flipped_byte_of_data_is_found),
		T(a_flipped_entry_is_as_none_and_its_chunk_is_stored_again),
		T(threads_put_while_another_seals),
		T(a_sweep_keeps_a_pack_that_is_mostly_wanted),
		T(a_sweep_writes_the_rest_of_a_thin_pack_anew),
		T(a_sweep_of_nothing_wanted_leaves_nothing),
		T(a_thin_pack_with_a_damaged_chunk_stays),
		T(nobody_sweeps_while_others_read_or_add),
		T(a_place_without_backups_has_none),
		T(a_sweep_killed_anywhere_loses_nothing_and_the_next_ends_it),
		T(a_kill_while_adding_leaves_what_was_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
