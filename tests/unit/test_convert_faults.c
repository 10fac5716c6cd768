/* SPDX-License-Identifier: Apache-2.0
 * test_convert_faults - the receiving end of a copy, and its undo, killed before each single
 * change they make to a file or a directory, or refused it: whenever it was, the same call
 * goes on to an equal copy, and undo leaves nothing at all. And maps that are not what they
 * were.
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
#include <unistd.h>

#define STRIKES_MAX 200

static void assert_no_trace(const struct strikerig *r, int k)
{
	if (access(r->home, F_OK) == 0)
		fail_msg("change %d: something is left in %s", k, r->home);
}

/* ---- a kill, an error ----------------------------------------------------------------- */

static void goes_on(struct strikerig *r, int error)
{
	int k;

	r->strike->error = error;
	for (k = 0; k < STRIKES_MAX; k++) {
		bool ok = sk_copies(r, k);

		if (ok && !r->came)
			break;		/* there are not so many changes */
		if (ok)
			sk_assert_equal(r);
		sk_scribble(r, k);
		if (!sk_copies(r, -1))
			fail_msg("change %d: it does not go on: %s", k, r->said);
		sk_assert_equal(r);
		assert_true(sk_undoes(r, -1));
		assert_no_trace(r, k);
	}
	assert_in_range(k, 20, STRIKES_MAX - 1);
}

static void a_copy_killed_at_any_change_of_a_file_goes_on(void **s)
{
	goes_on(*s, 0);
}

static void a_copy_whose_disk_fails_at_any_change_goes_on(void **s)
{
	goes_on(*s, EIO);
}

static void a_copy_killed_at_any_change_of_a_file_is_undone_without_a_trace(void **s)
{
	struct strikerig *r = *s;
	int k;

	r->strike->error = 0;
	for (k = 0; k < STRIKES_MAX && !sk_copies(r, k); k++) {
		if (!sk_undoes(r, -1))
			fail_msg("change %d: it cannot be undone: %s", k, r->said);
		assert_no_trace(r, k);
	}
	assert_in_range(k, 20, STRIKES_MAX - 1);
}

static void an_undo_killed_at_any_change_of_a_file_ends_when_it_is_repeated(void **s)
{
	struct strikerig *r = *s;
	int k;

	r->strike->error = 0;
	assert_true(sk_copies(r, -1));
	for (k = 0; k < STRIKES_MAX && !sk_undoes(r, k); k++) {
		if (!sk_undoes(r, -1))
			fail_msg("change %d: it cannot be undone: %s", k, r->said);
		assert_no_trace(r, k);
		assert_true(sk_copies(r, -1));
	}
	assert_in_range(k, 4, STRIKES_MAX - 1);
	assert_no_trace(r, k);
}

/* ---- maps that are not what they were ------------------------------------------------- */

static char *map_of(const struct strikerig *r)
{
	return mem_printf("%s/root.map", r->home);
}

/* It goes on to an equal copy, or says that the map is damaged; then without both it does. */
static void assert_mends(struct strikerig *r, const char *what, size_t at)
{
	AUTO_FREE char *map = map_of(r);

	if (!sk_copies(r, -1)) {
		if (!strstr(r->said, "root.map': it is damaged"))
			fail_msg("%s at %zu: %s", what, at, r->said);
		assert_int_equal(unlink(map), 0);	/* as its hint says */
		assert_int_equal(unlink(r->base), 0);
		if (!sk_copies(r, -1))
			fail_msg("%s at %zu, without them: %s", what, at, r->said);
	}
	sk_assert_equal(r);
}

static void a_map_cut_short_anywhere_is_mended_or_told(void **s)
{
	static const size_t cuts[] = { 0, 1, 300, 4095, 4096, 4396, 8191, 8192, 8193, 9000, 12287 };
	struct strikerig *r = *s;
	AUTO_FREE char *map = map_of(r);

	for (size_t i = 0; i < ARRAY_LEN(cuts); i++) {
		assert_true(sk_copies(r, -1));
		sk_scribble(r, (int)i);
		assert_int_equal(truncate(map, (off_t)cuts[i]), 0);
		assert_mends(r, "cut short", cuts[i]);
	}
}

static void a_map_with_a_flipped_byte_anywhere_is_mended_or_told(void **s)
{
	struct strikerig *r = *s;
	AUTO_FREE char *map = map_of(r);

	for (size_t at = 0; at < 12288; at += at < 8192 ? 97 : 613) {
		AUTO_FD fd = -1;
		char c = 0;

		assert_true(sk_copies(r, -1));
		sk_scribble(r, (int)at);
		fd = open(map, O_RDWR | O_CLOEXEC);
		assert_int_equal(io_pread_full(fd, &c, 1, at), 0);
		c ^= 0x41;
		assert_int_equal(io_pwrite_full(fd, &c, 1, at), 0);
		assert_mends(r, "a flipped byte", at);
	}
}

/* The map of an earlier pass, put back: of what it says rightly nothing is sent, and nothing
 * in it tells that the disk is further on. Who reads it back sees it. */
static void a_map_of_an_earlier_pass_is_found_out_by_the_proof(void **s)
{
	struct strikerig *r = *s;
	AUTO_FREE char *map = map_of(r), *before = NULL, *was = NULL;
	size_t n = 0, m = 0;
	AUTO_JSON *in = NULL, *out = NULL;

	assert_true(sk_copies(r, -1));
	was = io_read_file(AT_FDCWD, r->src, SK_SIZE, &m);
	before = io_read_file(AT_FDCWD, map, 1 << 20, &n);
	assert_non_null(before);
	sk_scribble(r, 5);
	assert_true(sk_copies(r, -1));
	sk_assert_equal(r);
	assert_int_equal(io_write_file(AT_FDCWD, map, before, n, 0600), 0);
	assert_int_equal(io_write_file(AT_FDCWD, r->src, was, m, 0600), 0);
	in = sk_input(r, "target");
	out = modtest_call("validate.disks", "apply", in, NULL);
	assert_false(jbool(out, "ok", true));
	if (!strstr(jstr(out, "error.text", ""), "is not what was sent: byte 327680, length 65536"))
		fail_msg("%s", jstr(out, "error.text", ""));
}

int main(void)
{
	strike_begin();

	const struct CMUnitTest tests[] = {
		STRUCK(a_copy_killed_at_any_change_of_a_file_goes_on),
		STRUCK(a_copy_whose_disk_fails_at_any_change_goes_on),
		STRUCK(a_copy_killed_at_any_change_of_a_file_is_undone_without_a_trace),
		STRUCK(an_undo_killed_at_any_change_of_a_file_ends_when_it_is_repeated),
		STRUCK(a_map_cut_short_anywhere_is_mended_or_told),
		STRUCK(a_map_with_a_flipped_byte_anywhere_is_mended_or_told),
		STRUCK(a_map_of_an_earlier_pass_is_found_out_by_the_proof),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
