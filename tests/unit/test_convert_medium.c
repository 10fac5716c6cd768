/* SPDX-License-Identifier: Apache-2.0
 * test_convert_medium - what lies beneath a raw copy: storage that does not keep what it was given
 * and fails the sync, a page cache that has other than it, sectors of 4096 bytes.
 */
#define STRIKE_HERE
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "tests/unit/modtest.h"
#include "tests/unit/strikerig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static ino_t inode(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_ino;
}

/* What was written before it may be lost, with nobody to tell so later: here it is. */
static void a_sync_that_fails_ends_the_copy_and_nothing_of_it_counts(void **s)
{
	struct strikerig *r = *s;
	AUTO_FREE char *before = NULL;
	size_t n = 0;

	assert_true(sk_copies(r, -1));
	before = io_read_file(AT_FDCWD, r->base, SK_SIZE, &n);
	assert_non_null(before);
	sk_scribble(r, 5);
	r->strike->unsynced = inode(r->base);
	assert_false(sk_copies(r, -1));
	r->strike->unsynced = 0;
	if (!strstr(r->said, "cannot sync '") || !strstr(r->said, ": Input/output error"))
		fail_msg("%s", r->said);
	{
		AUTO_FD fd = open(r->base, O_WRONLY | O_CLOEXEC);

		assert_int_equal(io_pwrite_full(fd, before, n, 0), 0);
	}
	assert_true(sk_copies(r, -1));
	sk_assert_equal(r);
}

/* Zeros alone are written over what the map knows, and then nobody needs them any more. */
static void zeros_of_which_a_sync_failed_do_not_stay(void **s)
{
	struct strikerig *r = *s;
	AUTO_FREE char *was = NULL, *zeros = mem_alloc(SK_CHUNK);
	AUTO_FD fd = -1;
	size_t n = 0;

	assert_true(sk_copies(r, -1));
	was = io_read_file(AT_FDCWD, r->src, SK_SIZE, &n);
	assert_non_null(was);
	fd = open(r->src, O_WRONLY | O_CLOEXEC);
	assert_int_equal(io_pwrite_full(fd, zeros, SK_CHUNK, 4 * SK_CHUNK), 0);
	r->strike->unsynced = inode(r->base);
	assert_false(sk_copies(r, -1));
	r->strike->unsynced = 0;
	assert_int_equal(io_pwrite_full(fd, was, n, 0), 0);
	assert_true(sk_copies(r, -1));
	sk_assert_equal(r);
}

/* What lies in it may be other than what the storage has. */
static void a_proof_reads_past_the_page_cache(void **s)
{
	struct strikerig *r = *s;
	AUTO_JSON *in = NULL, *out = NULL;
	struct stat st;
	AUTO_FD fd = -1;

	assert_true(sk_copies(r, -1));
	fd = open(r->base, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (fd < 0)
		skip();		/* this file system has no such thing */
	assert_int_equal(fstat(fd, &st), 0);
	r->strike->dev = st.st_dev;
	r->strike->ino = st.st_ino;
	r->strike->bad_end = SK_SIZE;
	r->strike->cached = true;
	in = sk_input(r, "target");
	out = modtest_call("validate.disks", "apply", in, NULL);
	r->strike->cached = false;
	r->strike->bad_end = 0;
	if (!jbool(out, "ok", false))
		fail_msg("%s", jstr(out, "error.text", ""));
}

static void a_disk_of_4096_byte_sectors_is_copied_to_another(void **s)
{
	struct strikerig *r = *s;
	AUTO_FREE char *zeros = mem_alloc(SK_SIZE);
	AUTO_FREE char *got = NULL;
	size_t n = 0;

	free(r->base);
	r->base = mem_printf("%s/device", r->dir);
	assert_int_equal(io_write_file(AT_FDCWD, r->base, zeros, SK_SIZE, 0600), 0);
	r->from = sk_loop(r->src);
	r->to = sk_loop(r->base);
	if (!r->from || !r->to)
		skip();		/* this kernel has none of such sectors */
	if (!sk_copies(r, -1))
		fail_msg("%s", r->said);
	sk_assert_equal(r);
	sk_scribble(r, 3);
	assert_true(sk_copies(r, -1));
	sk_assert_equal(r);
	assert_true(sk_undoes(r, -1));
	sk_loop_end(&r->from);
	sk_loop_end(&r->to);
	got = io_read_file(AT_FDCWD, r->base, SK_SIZE, &n);
	assert_int_equal(n, SK_SIZE);
	assert_memory_equal(got, zeros, SK_SIZE);
}

int main(void)
{
	strike_begin();

	const struct CMUnitTest tests[] = {
		STRUCK(a_sync_that_fails_ends_the_copy_and_nothing_of_it_counts),
		STRUCK(zeros_of_which_a_sync_failed_do_not_stay),
		STRUCK(a_proof_reads_past_the_page_cache),
		STRUCK(a_disk_of_4096_byte_sectors_is_copied_to_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
