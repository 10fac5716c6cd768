/* SPDX-License-Identifier: Apache-2.0
 * test_map_doubt - the map of digests: what it believes of chunks that were being overwritten
 * when a pass was cut off.
 */
#include "tests/unit/maprig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

/* The data of chunk 50 was overwritten, then the power went: what the map said of
 * it before must not be believed, or a source that went back would be skipped. */
static void an_entry_whose_data_may_be_half_overwritten_is_forgotten(void **s)
{
	struct map *m = mr_second_pass(*s);
	uint8_t d[SHA256_LEN];
	AUTO_ERR e = { 0 };

	mr_put(m, 40, 1, 2);
	assert_int_equal(map_cover(m, 50, 1, &e), 0);
	m = mr_reopen(*s, m, true);
	assert_int_equal(map_get(m, 50, d), 0);
	mr_assert_has(m, 40, 2);
	mr_assert_has(m, 39, 1);
	/* Not more than what one header write covers is done again. */
	mr_assert_has(m, 50 + (64u << 20) / CHUNK + 2, 1);
	map_close(m);
}

/* Overwritten are the odd ones. */
static bool is_even(void *arg, uint64_t index, const uint8_t digest[SHA256_LEN])
{
	uint8_t want[SHA256_LEN];
	unsigned *asked = arg;

	mr_digest(index, 1, want);
	assert_memory_equal(want, digest, SHA256_LEN);
	(*asked)++;
	return index % 2 == 0;
}

static void of_what_a_cut_left_in_doubt_that_stays_known_which_is_still_there(void **s)
{
	struct map *m = mr_second_pass(*s);
	uint8_t d[SHA256_LEN];
	unsigned asked = 0;
	AUTO_ERR e = { 0 };

	assert_int_equal(map_cover(m, 50, 1, &e), 0);
	m = mr_reopen(*s, m, true);
	assert_int_equal(map_settle(m, is_even, &asked, &e), 0);
	assert_in_range(asked, 1, (64u << 20) / CHUNK + 2);
	mr_assert_has(m, 50, 1);
	assert_int_equal(map_get(m, 51, d), 0);
	mr_assert_has(m, 52, 1);
	/* That is durable, and asked once. */
	m = mr_reopen(*s, m, true);
	mr_assert_has(m, 50, 1);
	assert_int_equal(map_get(m, 51, d), 0);
	assert_int_equal(map_begin(m, 2, &e), 0);
	mr_assert_has(m, 50, 1);
	assert_int_equal(map_get(m, 51, d), 0);
	map_close(m);
}

static void what_nobody_settles_is_forgotten_by_the_next_pass(void **s)
{
	struct map *m = mr_second_pass(*s);
	uint8_t d[SHA256_LEN];
	AUTO_ERR e = { 0 };

	assert_int_equal(map_cover(m, 50, 1, &e), 0);
	m = mr_reopen(*s, m, true);
	assert_int_equal(map_begin(m, 2, &e), 0);
	assert_int_equal(map_get(m, 50, d), 0);
	mr_assert_has(m, 49, 1);
	m = mr_reopen(*s, m, false);
	assert_int_equal(map_get(m, 50, d), 0);
	map_close(m);
}

static void a_reader_beside_a_writer_does_not_believe_it_either(void **s)
{
	struct map *m = mr_second_pass(*s), *reader;
	uint8_t d[SHA256_LEN];
	AUTO_ERR e = { 0 };

	assert_int_equal(map_cover(m, 50, 1, &e), 0);
	reader = mr_reopen(*s, NULL, false);
	assert_int_equal(map_get(reader, 50, d), 0);
	mr_assert_has(reader, 49, 1);
	map_close(reader);
	/* The writer itself still compares with what it knows. */
	mr_assert_has(m, 51, 1);
	map_close(m);
}

static void chunks_may_be_written_out_of_order(void **s)
{
	struct map *m = mr_second_pass(*s);
	uint8_t d[SHA256_LEN];
	AUTO_ERR e = { 0 };

	assert_int_equal(map_cover(m, 100, 1, &e), 0);	/* slow */
	mr_put(m, 2500, 1, 2);				/* overtakes it */
	mr_put(m, 60, 1, 2);
	m = mr_reopen(*s, m, true);
	assert_int_equal(map_get(m, 100, d), 0);
	mr_assert_has(m, 2500, 2);
	mr_assert_has(m, 60, 2);
	map_close(m);
}

/* A pass that reads what was written hops from one end of the disk to the other. */
static void what_lies_between_chunks_that_are_overwritten_stays_known(void **s)
{
	struct map *m = mr_second_pass(*s);
	uint8_t d[SHA256_LEN];
	AUTO_ERR e = { 0 };

	assert_int_equal(map_cover(m, 0, 1, &e), 0);
	assert_int_equal(map_cover(m, CHUNKS - 100, 50, &e), 0);
	m = mr_reopen(*s, m, true);
	assert_int_equal(map_get(m, 0, d), 0);
	assert_int_equal(map_get(m, CHUNKS - 100, d), 0);
	assert_int_equal(map_get(m, CHUNKS - 51, d), 0);
	mr_assert_has(m, (64u << 20) / CHUNK + 2, 1);
	mr_assert_has(m, CHUNKS - 101, 1);
	mr_assert_has(m, CHUNKS - 50, 1);
	map_close(m);
}

static void a_pass_that_was_interrupted_goes_on_as_the_same_pass(void **s)
{
	struct map *m = mr_fresh(*s);
	uint8_t root[SHA256_LEN];
	struct map_state st;
	AUTO_ERR e = { 0 };

	mr_put(m, 0, 5, 1);
	m = mr_reopen(*s, m, true);
	assert_int_equal(map_begin(m, 1, &e), 0);
	mr_put(m, 5, CHUNKS - 5, 1);
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
