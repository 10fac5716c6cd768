/* SPDX-License-Identifier: Apache-2.0
 * The map of digests: what it knows after cuts, tears and flips.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "modules/lib/map.h"
#include "modules/lib/tree.h"
#include "tests/unit/here.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK (64u << 10)
#define CHUNKS 3000u
#define PAGE_ENTRIES 113u
#define PAGE_AT(i) (8192 + (uint64_t)(i) / PAGE_ENTRIES * 4096)

static struct map *fresh(struct here *h)
{
	struct map_id id = { .lineage = "l", .machine = "m", .disk = "root",
		.size = (uint64_t)CHUNK * CHUNKS - 100, .chunk = CHUNK };
	AUTO_ERR e = { 0 };
	struct map *m = map_create(h->path, &id, &e);

	assert_non_null(m);
	assert_int_equal(map_begin(m, 1, &e), 0);
	return m;
}

static void digest_of(uint64_t i, unsigned salt, uint8_t out[SHA256_LEN])
{
	uint64_t v[2] = { i, salt };

	sha256_of(v, sizeof(v), out);
}

static void put(struct map *m, uint64_t from, uint64_t n, unsigned salt)
{
	struct map_update *u = mem_alloc(n * sizeof(*u));
	AUTO_ERR e = { 0 };

	for (uint64_t i = 0; i < n; i++) {
		u[i] = (struct map_update){ .index = from + i, .count = 1 };
		digest_of(from + i, salt, u[i].digest);
		assert_int_equal(map_cover(m, from + i, 1, &e), 0);
	}
	assert_int_equal(map_commit(m, u, n, &e), 0);
	free(u);
}

/* Its first pass is whole. */
static struct map *whole(struct here *h)
{
	struct map *m = fresh(h);
	uint8_t root[SHA256_LEN];
	AUTO_ERR e = { 0 };

	put(m, 0, CHUNKS, 1);
	assert_int_equal(map_finish(m, root, &e), 0);
	return m;
}

/* And a second one has begun. */
static struct map *second_pass(struct here *h)
{
	struct map *m = whole(h);
	AUTO_ERR e = { 0 };

	assert_int_equal(map_begin(m, 2, &e), 0);
	return m;
}

static void assert_has(struct map *m, uint64_t i, unsigned salt)
{
	uint8_t want[SHA256_LEN], got[SHA256_LEN];

	digest_of(i, salt, want);
	assert_true(map_get(m, i, got) > 0);
	assert_memory_equal(want, got, SHA256_LEN);
}

static struct map *reopen(struct here *h, struct map *m, bool write)
{
	AUTO_ERR e = { 0 };

	map_close(m);
	m = map_open(h->path, write, &e);
	assert_non_null(m);
	return m;
}

static void scribble(struct here *h, uint64_t at, const void *p, size_t n)
{
	AUTO_FD fd = open(h->path, O_WRONLY);

	assert_int_equal(io_pwrite_full(fd, p, n, at), 0);
}

static void what_was_committed_is_there_after_opening_again(void **s)
{
	struct map *m = fresh(*s);
	uint8_t d[SHA256_LEN];

	put(m, 0, 300, 1);
	put(m, 2990, 10, 1);
	m = reopen(*s, m, true);
	assert_has(m, 0, 1);
	assert_has(m, 299, 1);
	assert_has(m, 2999, 1);
	assert_int_equal(map_get(m, 300, d), 0);
	assert_int_equal(map_get(m, CHUNKS, d), 0);
	map_close(m);
}

static void the_root_wants_every_chunk_and_is_the_same_as_the_tree(void **s)
{
	struct map *m = fresh(*s);
	uint8_t root[SHA256_LEN], want[SHA256_LEN], d[SHA256_LEN];
	struct tree t = { .next = 0 };
	struct map_state st;
	AUTO_ERR e = { 0 };

	put(m, 0, 2000, 1);
	put(m, 2001, 999, 1);
	assert_int_equal(map_finish(m, root, &e), -1);
	assert_non_null(strstr(e.what, "does not know the chunk at byte 131072000"));
	put(m, 2000, 1, 1);
	assert_int_equal(map_finish(m, root, &e), 0);
	for (uint64_t i = 0; i < CHUNKS; i++) {
		digest_of(i, 1, d);
		tree_add(&t, d);
	}
	tree_end(&t, (uint64_t)CHUNK * CHUNKS - 100, CHUNK, want);
	assert_memory_equal(root, want, SHA256_LEN);
	m = reopen(*s, m, false);
	map_state(m, &st);
	assert_true(st.complete);
	assert_int_equal(st.pass, 1);
	assert_memory_equal(st.root, want, SHA256_LEN);
	map_close(m);
}

static void a_flipped_bit_makes_its_page_unknown_and_no_other(void **s)
{
	struct map *m = fresh(*s);
	uint8_t d[SHA256_LEN];

	put(m, 0, 400, 1);
	map_close(m);
	scribble(*s, PAGE_AT(150) + 40, "\xff", 1);
	m = reopen(*s, NULL, true);
	assert_int_equal(map_get(m, 113, d), 0);
	assert_int_equal(map_get(m, 225, d), 0);
	assert_has(m, 112, 1);
	assert_has(m, 226, 1);
	map_close(m);
}

static void a_page_in_the_place_of_another_is_not_believed(void **s)
{
	struct map *m = fresh(*s);
	char page[4096];
	uint8_t d[SHA256_LEN];
	AUTO_FD fd = -1;

	put(m, 0, 400, 1);
	map_close(m);
	fd = open(((struct here *)*s)->path, O_RDONLY);
	assert_int_equal(io_pread_full(fd, page, sizeof(page), PAGE_AT(0)), 0);
	scribble(*s, PAGE_AT(113), page, sizeof(page));
	m = reopen(*s, NULL, true);
	assert_int_equal(map_get(m, 113, d), 0);
	assert_has(m, 0, 1);
	map_close(m);
}

static void a_torn_header_leaves_the_other_one(void **s)
{
	struct map_state st;
	struct map *m;

	for (int copy = 0; copy < 2; copy++) {
		map_close(whole(*s));
		scribble(*s, (uint64_t)copy * 4096 + 20, "torn", 4);
		m = reopen(*s, NULL, true);
		map_state(m, &st);
		assert_int_equal(st.pass, 1);
		assert_has(m, 7, 1);
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
	struct map *m = fresh(*s);

	put(m, 0, 10, 1);
	assert_int_equal(map_begin(m, 2, &e), 0);	/* header 3 lies at 4096 */
	put(m, 5, 1, 2);
	map_state(m, &before);
	map_close(m);
	scribble(*s, 4096 + 20, "torn", 4);
	m = reopen(*s, NULL, false);
	map_state(m, &after);
	assert_memory_not_equal(before.birth, after.birth, MAP_BIRTH);
	m = reopen(*s, m, true);
	map_state(m, &again);
	assert_memory_equal(after.birth, again.birth, MAP_BIRTH);
	assert_int_equal(map_begin(m, 2, &e), 0);
	m = reopen(*s, m, false);
	map_state(m, &again);
	assert_memory_equal(after.birth, again.birth, MAP_BIRTH);
	/* Entries of the generation that was lost are there: it is not given twice. */
	assert_int_equal(again.generation, 3);
	assert_true(map_born(m, 3, &b));
	map_close(m);
}

static void a_generation_is_remembered_with_its_mark(void **s)
{
	struct map *m = fresh(*s);
	struct map_born a, b;
	AUTO_ERR e = { 0 };

	assert_int_equal(map_begin_mend(m, 2, &e), 0);
	assert_true(map_born(m, 1, &a));
	m = reopen(*s, m, true);
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
	m = reopen(*s, NULL, true);
	assert_true(map_born(m, 72, &b));
	map_close(m);
	scribble(*s, 4096 + 1024 + 8, "torn", 4);
	m = reopen(*s, NULL, true);
	assert_false(map_born(m, 72, &b));
	map_close(m);
}

static void a_dropped_chunk_is_unknown_and_its_pass_not_whole(void **s)
{
	const uint64_t drop[] = { 7, 300 };
	struct map *m = whole(*s);
	uint8_t d[SHA256_LEN];
	struct map_state st;
	AUTO_ERR e = { 0 };

	assert_int_equal(map_drop(m, drop, 2, &e), 0);
	m = reopen(*s, m, false);
	map_state(m, &st);
	assert_false(st.complete);
	assert_int_equal(map_get(m, 7, d), 0);
	assert_int_equal(map_get(m, 300, d), 0);
	assert_has(m, 8, 1);
	map_close(m);
}

/* Cut anywhere, it is refused or knows less; it never says what is not so. */
static void a_truncated_map_knows_less_and_nothing_wrong(void **s)
{
	struct here *h = *s;
	uint8_t want[SHA256_LEN], got[SHA256_LEN];
	struct map *m;

	map_close(whole(h));
	for (off_t n = (off_t)PAGE_AT(CHUNKS - 1) + 4096; n >= 0; n -= 1111) {
		AUTO_ERR why = { 0 };

		assert_int_equal(truncate(h->path, n), 0);
		m = map_open(h->path, true, &why);
		for (uint64_t i = 0; m && i < CHUNKS; i++) {
			digest_of(i, 1, want);
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

	map_close(fresh(h));
	scribble(h, 20, "torn", 4);
	scribble(h, 4116, "torn", 4);
	assert_null(map_open(h->path, true, &e));
	want = mem_printf("cannot use map '%s': it is damaged", h->path);
	assert_string_equal(e.what, want);
	assert_string_equal(e.hint, "remove it and the image beside it; the disk is copied again");
}

/* The data of chunk 50 was overwritten, then the power went: what the map said of
 * it before must not be believed, or a source that went back would be skipped. */
static void an_entry_whose_data_may_be_half_overwritten_is_forgotten(void **s)
{
	struct map *m = second_pass(*s);
	uint8_t d[SHA256_LEN];
	AUTO_ERR e = { 0 };

	put(m, 40, 1, 2);
	assert_int_equal(map_cover(m, 50, 1, &e), 0);
	m = reopen(*s, m, true);
	assert_int_equal(map_get(m, 50, d), 0);
	assert_has(m, 40, 2);
	assert_has(m, 39, 1);
	/* Not more than what one header write covers is done again. */
	assert_has(m, 50 + (64u << 20) / CHUNK + 2, 1);
	map_close(m);
}

/* Overwritten are the odd ones. */
static bool is_even(void *arg, uint64_t index, const uint8_t digest[SHA256_LEN])
{
	uint8_t want[SHA256_LEN];
	unsigned *asked = arg;

	digest_of(index, 1, want);
	assert_memory_equal(want, digest, SHA256_LEN);
	(*asked)++;
	return index % 2 == 0;
}

static void of_what_a_cut_left_in_doubt_that_stays_known_which_is_still_there(void **s)
{
	struct map *m = second_pass(*s);
	uint8_t d[SHA256_LEN];
	unsigned asked = 0;
	AUTO_ERR e = { 0 };

	assert_int_equal(map_cover(m, 50, 1, &e), 0);
	m = reopen(*s, m, true);
	assert_int_equal(map_settle(m, is_even, &asked, &e), 0);
	assert_in_range(asked, 1, (64u << 20) / CHUNK + 2);
	assert_has(m, 50, 1);
	assert_int_equal(map_get(m, 51, d), 0);
	assert_has(m, 52, 1);
	/* That is durable, and asked once. */
	m = reopen(*s, m, true);
	assert_has(m, 50, 1);
	assert_int_equal(map_get(m, 51, d), 0);
	assert_int_equal(map_begin(m, 2, &e), 0);
	assert_has(m, 50, 1);
	assert_int_equal(map_get(m, 51, d), 0);
	map_close(m);
}

static void what_nobody_settles_is_forgotten_by_the_next_pass(void **s)
{
	struct map *m = second_pass(*s);
	uint8_t d[SHA256_LEN];
	AUTO_ERR e = { 0 };

	assert_int_equal(map_cover(m, 50, 1, &e), 0);
	m = reopen(*s, m, true);
	assert_int_equal(map_begin(m, 2, &e), 0);
	assert_int_equal(map_get(m, 50, d), 0);
	assert_has(m, 49, 1);
	m = reopen(*s, m, false);
	assert_int_equal(map_get(m, 50, d), 0);
	map_close(m);
}

static void a_reader_beside_a_writer_does_not_believe_it_either(void **s)
{
	struct map *m = second_pass(*s), *reader;
	uint8_t d[SHA256_LEN];
	AUTO_ERR e = { 0 };

	assert_int_equal(map_cover(m, 50, 1, &e), 0);
	reader = reopen(*s, NULL, false);
	assert_int_equal(map_get(reader, 50, d), 0);
	assert_has(reader, 49, 1);
	map_close(reader);
	/* The writer itself still compares with what it knows. */
	assert_has(m, 51, 1);
	map_close(m);
}

static void chunks_may_be_written_out_of_order(void **s)
{
	struct map *m = second_pass(*s);
	uint8_t d[SHA256_LEN];
	AUTO_ERR e = { 0 };

	assert_int_equal(map_cover(m, 100, 1, &e), 0);	/* slow */
	put(m, 2500, 1, 2);				/* overtakes it */
	put(m, 60, 1, 2);
	m = reopen(*s, m, true);
	assert_int_equal(map_get(m, 100, d), 0);
	assert_has(m, 2500, 2);
	assert_has(m, 60, 2);
	map_close(m);
}

/* A pass that reads what was written hops from one end of the disk to the other. */
static void what_lies_between_chunks_that_are_overwritten_stays_known(void **s)
{
	struct map *m = second_pass(*s);
	uint8_t d[SHA256_LEN];
	AUTO_ERR e = { 0 };

	assert_int_equal(map_cover(m, 0, 1, &e), 0);
	assert_int_equal(map_cover(m, CHUNKS - 100, 50, &e), 0);
	m = reopen(*s, m, true);
	assert_int_equal(map_get(m, 0, d), 0);
	assert_int_equal(map_get(m, CHUNKS - 100, d), 0);
	assert_int_equal(map_get(m, CHUNKS - 51, d), 0);
	assert_has(m, (64u << 20) / CHUNK + 2, 1);
	assert_has(m, CHUNKS - 101, 1);
	assert_has(m, CHUNKS - 50, 1);
	map_close(m);
}

static void a_pass_that_was_interrupted_goes_on_as_the_same_pass(void **s)
{
	struct map *m = fresh(*s);
	uint8_t root[SHA256_LEN];
	struct map_state st;
	AUTO_ERR e = { 0 };

	put(m, 0, 5, 1);
	m = reopen(*s, m, true);
	assert_int_equal(map_begin(m, 1, &e), 0);
	put(m, 5, CHUNKS - 5, 1);
	assert_int_equal(map_finish(m, root, &e), 0);
	map_state(m, &st);
	assert_int_equal(st.pass, 1);
	assert_int_equal(st.pass_begin, 1);
	assert_int_equal(st.generation, 2);
	map_close(m);
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
		T(an_entry_whose_data_may_be_half_overwritten_is_forgotten),
		T(of_what_a_cut_left_in_doubt_that_stays_known_which_is_still_there),
		T(what_nobody_settles_is_forgotten_by_the_next_pass),
		T(a_reader_beside_a_writer_does_not_believe_it_either),
		T(chunks_may_be_written_out_of_order),
		T(what_lies_between_chunks_that_are_overwritten_stays_known),
		T(a_pass_that_was_interrupted_goes_on_as_the_same_pass),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
