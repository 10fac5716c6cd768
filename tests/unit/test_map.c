/* SPDX-License-Identifier: Apache-2.0
 * test_map - the map of digests: what it knows after tears, flips and losses.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "modules/lib/tree.h"
#include "tests/unit/maprig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define PAGE_ENTRIES 113u
#define PAGE_AT(i) (8192 + (uint64_t)(i) / PAGE_ENTRIES * 4096)

static void scribble(struct here *h, uint64_t at, const void *p, size_t n)
{
	AUTO_FD fd = open(h->path, O_WRONLY);

	assert_int_equal(io_pwrite_full(fd, p, n, at), 0);
}

static void what_was_committed_is_there_after_opening_again(void **s)
{
	struct map *m = mr_fresh(*s);
	uint8_t d[SHA256_LEN];

	mr_put(m, 0, 300, 1);
	mr_put(m, 2990, 10, 1);
	m = mr_reopen(*s, m, true);
	mr_assert_has(m, 0, 1);
	mr_assert_has(m, 299, 1);
	mr_assert_has(m, 2999, 1);
	assert_int_equal(map_get(m, 300, d), 0);
	assert_int_equal(map_get(m, CHUNKS, d), 0);
	map_close(m);
}

static void the_root_wants_every_chunk_and_is_the_same_as_the_tree(void **s)
{
	struct map *m = mr_fresh(*s);
	uint8_t root[SHA256_LEN], want[SHA256_LEN], d[SHA256_LEN];
	struct tree t = { .next = 0 };
	struct map_state st;
	AUTO_ERR e = { 0 };

	mr_put(m, 0, 2000, 1);
	mr_put(m, 2001, 999, 1);
	assert_int_equal(map_finish(m, root, &e), -1);
	assert_non_null(strstr(e.what, "does not know the chunk at byte 131072000"));
	mr_put(m, 2000, 1, 1);
	assert_int_equal(map_finish(m, root, &e), 0);
	for (uint64_t i = 0; i < CHUNKS; i++) {
		mr_digest(i, 1, d);
		tree_add(&t, d);
	}
	tree_end(&t, (uint64_t)CHUNK * CHUNKS - 100, CHUNK, want);
	assert_memory_equal(root, want, SHA256_LEN);
	m = mr_reopen(*s, m, false);
	map_state(m, &st);
	assert_true(st.complete);
	assert_int_equal(st.pass, 1);
	assert_memory_equal(st.root, want, SHA256_LEN);
	map_close(m);
}

static void a_flipped_bit_makes_its_page_unknown_and_no_other(void **s)
{
	struct map *m = mr_fresh(*s);
	uint8_t d[SHA256_LEN];

	mr_put(m, 0, 400, 1);
	map_close(m);
	scribble(*s, PAGE_AT(150) + 40, "\xff", 1);
	m = mr_reopen(*s, NULL, true);
	assert_int_equal(map_get(m, 113, d), 0);
	assert_int_equal(map_get(m, 225, d), 0);
	mr_assert_has(m, 112, 1);
	mr_assert_has(m, 226, 1);
	map_close(m);
}

static void a_page_in_the_place_of_another_is_not_believed(void **s)
{
	struct map *m = mr_fresh(*s);
	char page[4096];
	uint8_t d[SHA256_LEN];
	AUTO_FD fd = -1;

	mr_put(m, 0, 400, 1);
	map_close(m);
	fd = open(((struct here *)*s)->path, O_RDONLY);
	assert_int_equal(io_pread_full(fd, page, sizeof(page), PAGE_AT(0)), 0);
	scribble(*s, PAGE_AT(113), page, sizeof(page));
	m = mr_reopen(*s, NULL, true);
	assert_int_equal(map_get(m, 113, d), 0);
	mr_assert_has(m, 0, 1);
	map_close(m);
}

static void a_torn_header_leaves_the_other_one(void **s)
{
	struct map_state st;
	struct map *m;

	for (int copy = 0; copy < 2; copy++) {
		map_close(mr_whole(*s));
		scribble(*s, (uint64_t)copy * 4096 + 20, "torn", 4);
		m = mr_reopen(*s, NULL, true);
		map_state(m, &st);
		assert_int_equal(st.pass, 1);
		mr_assert_has(m, 7, 1);
		map_close(m);
		unlink(((struct here *)*s)->path);
	}
}

/* What the lost one said is unknown: nobody may go on from a proof. */
static void a_lost_header_ends_what_was_proven(void **s)
{
	struct map_state before, after, again;
	AUTO_ERR e = { 0 };
	struct map_born b;
	struct map *m = mr_fresh(*s);

	mr_put(m, 0, 10, 1);
	assert_int_equal(map_begin(m, 2, &e), 0);	/* header 3 lies at 4096 */
	mr_put(m, 5, 1, 2);
	map_state(m, &before);
	map_close(m);
	scribble(*s, 4096 + 20, "torn", 4);
	m = mr_reopen(*s, NULL, false);
	map_state(m, &after);
	assert_memory_not_equal(before.birth, after.birth, MAP_BIRTH);
	m = mr_reopen(*s, m, true);
	map_state(m, &again);
	assert_memory_equal(after.birth, again.birth, MAP_BIRTH);
	assert_int_equal(map_begin(m, 2, &e), 0);
	m = mr_reopen(*s, m, false);
	map_state(m, &again);
	assert_memory_equal(after.birth, again.birth, MAP_BIRTH);
	/* Entries of the generation that was lost are there: it is not given twice. */
	assert_int_equal(again.generation, 3);
	assert_true(map_born(m, 3, &b));
	map_close(m);
}

static void a_generation_is_remembered_with_its_mark(void **s)
{
	struct map *m = mr_fresh(*s);
	struct map_born a, b;
	AUTO_ERR e = { 0 };

	assert_int_equal(map_begin_mend(m, 2, &e), 0);
	assert_true(map_born(m, 1, &a));
	m = mr_reopen(*s, m, true);
	assert_true(map_born(m, 1, &b));
	assert_memory_equal(&a, &b, sizeof(a));
	assert_true(map_born(m, 2, &b));
	assert_int_equal(b.pass, 2);
	assert_int_equal(b.mend, 1);
	assert_true(a.mark != b.mark);
	assert_false(map_born(m, 3, &b));
	for (int i = 0; i < 70; i++)
		assert_int_equal(map_begin(m, 3, &e), 0);
	assert_false(map_born(m, 2, &b));
	assert_true(map_born(m, 72, &b));
	map_close(m);
	scribble(*s, 1024 + 8, "torn", 4);	/* the other copy stays */
	m = mr_reopen(*s, NULL, true);
	assert_true(map_born(m, 72, &b));
	map_close(m);
	scribble(*s, 4096 + 1024 + 8, "torn", 4);
	m = mr_reopen(*s, NULL, true);
	assert_false(map_born(m, 72, &b));
	map_close(m);
}

static void a_dropped_chunk_is_unknown_and_its_pass_not_whole(void **s)
{
	const uint64_t drop[] = { 7, 300 };
	struct map *m = mr_whole(*s);
	uint8_t d[SHA256_LEN];
	struct map_state st;
	AUTO_ERR e = { 0 };

	assert_int_equal(map_drop(m, drop, 2, &e), 0);
	m = mr_reopen(*s, m, false);
	map_state(m, &st);
	assert_false(st.complete);
	assert_int_equal(map_get(m, 7, d), 0);
	assert_int_equal(map_get(m, 300, d), 0);
	mr_assert_has(m, 8, 1);
	map_close(m);
}

/* Cut anywhere, it is refused or knows less; it never says what is not so. */
static void a_truncated_map_knows_less_and_nothing_wrong(void **s)
{
	struct here *h = *s;
	uint8_t want[SHA256_LEN], got[SHA256_LEN];
	struct map *m;

	map_close(mr_whole(h));
	for (off_t n = (off_t)PAGE_AT(CHUNKS - 1) + 4096; n >= 0; n -= 1111) {
		AUTO_ERR why = { 0 };

		assert_int_equal(truncate(h->path, n), 0);
		m = map_open(h->path, true, &why);
		for (uint64_t i = 0; m && i < CHUNKS; i++) {
			mr_digest(i, 1, want);
			if (map_get(m, i, got))
				assert_memory_equal(want, got, SHA256_LEN);
			if (PAGE_AT(i) + 4096 > (uint64_t)n)
				assert_int_equal(map_get(m, i, got), 0);
		}
		assert_true(m || n < 8192);
		map_close(m);
	}
}

static void a_map_without_a_header_is_refused(void **s)
{
	struct here *h = *s;
	AUTO_FREE char *want = NULL;
	AUTO_ERR e = { 0 };

	map_close(mr_fresh(h));
	scribble(h, 20, "torn", 4);
	scribble(h, 4116, "torn", 4);
	assert_null(map_open(h->path, true, &e));
	want = mem_printf("cannot use map '%s': it is damaged", h->path);
	assert_string_equal(e.what, want);
	assert_string_equal(e.hint, "remove it and the image beside it; the disk is copied again");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, here_set_up, here_tear_down)
	const struct CMUnitTest tests[] = {
		T(what_was_committed_is_there_after_opening_again),
		T(the_root_wants_every_chunk_and_is_the_same_as_the_tree),
		T(a_flipped_bit_makes_its_page_unknown_and_no_other),
		T(a_page_in_the_place_of_another_is_not_believed),
		T(a_torn_header_leaves_the_other_one),
		T(a_lost_header_ends_what_was_proven),
		T(a_generation_is_remembered_with_its_mark),
		T(a_dropped_chunk_is_unknown_and_its_pass_not_whole),
		T(a_truncated_map_knows_less_and_nothing_wrong),
		T(a_map_without_a_header_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
