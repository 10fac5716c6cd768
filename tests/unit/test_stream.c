/* SPDX-License-Identifier: Apache-2.0
 * A pass over a stream: what arrives, what is left out, what a cut, a flipped byte
 * and a failing disk do. Both ends run here, with a proxy between them.
 */
#include "engine/base/mem.h"
#include "modules/lib/stream_impl.h"
#include "tests/unit/streamrig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* The system's clocks, but for the one on the wall: it shows so many seconds more, as before
 * it is set back. */
static time_t wall_ahead;

int clock_gettime(clockid_t id, struct timespec *t)
{
	int rc = (int)syscall(SYS_clock_gettime, id, t);

	t->tv_sec += id == CLOCK_REALTIME ? wall_ahead : 0;
	return rc;
}

/* ---- the tests ------------------------------------------------------------------- */

static void every_byte_arrives_also_where_zeros_replace_old_data(void **s)
{
	struct rig *r = *s;

	sr_run(r);
	sr_assert_arrived(r);
	assert_int_equal(r->pot.data, 134);
	assert_int_equal(r->pot.zero, 66);
	assert_true(r->st.scanned == SIZE);
}

static void compressed_or_not_the_result_is_the_same(void **s)
{
	struct rig *r = *s;
	uint64_t plain;

	r->zip = ZIP_NONE;
	sr_run(r);
	sr_assert_arrived(r);
	plain = r->st.wire;
	memset(r->pot.p, 0xee, SIZE);
	memset(r->pot.known, 0, sizeof(r->pot.known));
	r->zip = ZIP_ZSTD;
	sr_run(r);
	sr_assert_arrived(r);
	assert_true(r->st.wire < plain * 3 / 4);
	assert_true(plain > r->st.data && plain < r->st.data + 200 * 64);
}

static uint64_t slowly(void *arg)
{
	(void)arg;
	return 64u << 20;
}

/* Were its naps counted by it, this one would last an hour. */
static void a_clock_on_the_wall_that_is_set_back_holds_nothing_up(void **s)
{
	struct rig *r = *s;

	r->read_rate = slowly;
	wall_ahead = 3600;
	sr_run(r);
	wall_ahead = 0;
	sr_assert_arrived(r);
}

static void a_second_pass_sends_only_what_changed(void **s)
{
	struct rig *r = *s;

	sr_run(r);
	sr_assert_arrived(r);
	r->pot.k.known = true;
	r->ram.p[7 * CHUNK + 9] ^= 1;
	memset(r->ram.p + 30 * CHUNK, 0, CHUNK);
	r->ram.p[SIZE - 1] ^= 1;
	sr_run(r);
	sr_assert_arrived(r);
	assert_int_equal(r->pot.data, 2);
	assert_int_equal(r->pot.zero, 1);
	assert_true(r->st.data == CHUNK + (SIZE - 199 * (uint64_t)CHUNK));
}

static void holes_are_not_read(void **s)
{
	struct rig *r = *s;

	/* Half chunks at both ends: those are read. */
	r->ram.hole = 10 * CHUNK + 100;
	r->ram.hole_end = 150 * CHUNK + 100;
	memset(r->ram.p + r->ram.hole, 0, r->ram.hole_end - r->ram.hole);
	r->ram.bad = 80 * CHUNK;	/* nobody comes here */
	sr_run(r);
	sr_assert_arrived(r);
}

static void a_hole_up_to_the_odd_end_is_zeros(void **s)
{
	struct rig *r = *s;

	r->ram.hole = 100 * CHUNK;
	r->ram.hole_end = SIZE;
	memset(r->ram.p + r->ram.hole, 0, SIZE - r->ram.hole);
	sr_run(r);
	sr_assert_arrived(r);
	r->pot.k.known = true;
	sr_run(r);
	sr_assert_arrived(r);
	assert_int_equal(r->pot.data + r->pot.zero, 0);
}

/* Cut everywhere, each time further on; what was synced is not sent again. */
static void a_stream_cut_anywhere_goes_on(void **s)
{
	struct rig *r = *s;
	uint64_t total;
	unsigned cuts = 0;

	r->zip = ZIP_NONE;
	sr_run(r);
	sr_assert_arrived(r);
	total = r->st.wire;
	for (uint64_t cut = 0; cut < total; cut += total / 23 + 977, cuts++) {
		unsigned known = 0;

		memset(r->pot.known, 0, sizeof(r->pot.known));
		memset(r->pot.p, 0xee, SIZE);
		r->pot.k.known = false;
		r->cut = cut;
		sr_run(r);
		assert_int_equal(r->send_rc, -1);
		assert_string_equal(r->send_err.what, "the stream to the other end broke: its "
				    "connection was lost, or something on the way changed it");
		assert_int_equal(r->recv_rc, -1);
		for (unsigned i = 0; i < CHUNKS; i++)
			known += r->pot.known[i];
		r->cut = UINT64_MAX;
		r->pot.k.known = true;
		sr_run(r);
		sr_assert_arrived(r);
		assert_int_equal(r->pot.data + r->pot.zero, CHUNKS - known);
	}
	assert_true(cuts > 15);
}

static void a_flipped_byte_never_reaches_the_disk(void **s)
{
	struct rig *r = *s;
	unsigned told = 0;

	for (enum stream_zip zip = ZIP_NONE; zip <= ZIP_ZSTD; zip++) {
		r->zip = zip;
		for (uint64_t flip = 5000; flip < 2000000; flip += 199999) {
			memset(r->pot.p, 0xee, SIZE);
			memset(r->pot.known, 0, sizeof(r->pot.known));
			r->flip = flip;
			sr_run(r);
			assert_int_equal(r->recv_rc, -1);
			assert_int_equal(r->send_rc, -1);
			for (uint64_t i = 0; i < SIZE; i++)
				assert_true(r->pot.p[i] == 0xee || r->pot.p[i] == r->ram.p[i]);
			told += strstr(r->send_err.what, "a damaged chunk arrived for byte ") != NULL;
		}
	}
	assert_true(told > 10);
}

static void a_read_error_names_the_place_at_both_ends(void **s)
{
	sr_assert_read_error_told(*s);
}

static void a_full_target_is_told_at_both_ends_and_not_entered(void **s)
{
	sr_assert_full_target_told(*s);
}

static void nothing_is_entered_when_the_sync_failed(void **s)
{
	struct rig *r = *s;

	r->pot.fail_sync = true;
	sr_run(r);
	assert_int_equal(r->recv_rc, -1);
	assert_string_equal(r->recv_err.what, "cannot sync 'pot': Input/output error");
	for (unsigned i = 0; i < CHUNKS; i++)
		assert_false(r->pot.known[i]);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, sr_set_up, sr_tear_down)
	const struct CMUnitTest tests[] = {
		T(every_byte_arrives_also_where_zeros_replace_old_data),
		T(compressed_or_not_the_result_is_the_same),
		T(a_clock_on_the_wall_that_is_set_back_holds_nothing_up),
		T(a_second_pass_sends_only_what_changed),
		T(holes_are_not_read),
		T(a_hole_up_to_the_odd_end_is_zeros),
		T(a_stream_cut_anywhere_goes_on),
		T(a_flipped_byte_never_reaches_the_disk),
		T(a_read_error_names_the_place_at_both_ends),
		T(a_full_target_is_told_at_both_ends_and_not_entered),
		T(nothing_is_entered_when_the_sync_failed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
