/* SPDX-License-Identifier: Apache-2.0
 * A pass between two processes of one machine: chunks lie in memory that both see, where
 * nothing is between them; and whose it is.
 */
#include "engine/base/mem.h"
#include "modules/lib/stream_impl.h"
#include "tests/unit/streamrig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SAYS_MEMORY "the other end offers memory that cannot be used"

/* ---- passes ------------------------------------------------------------------- */

static void chunks_lie_in_shared_memory_when_nothing_is_between(void **s)
{
	struct rig *r = *s;

	sr_run(r);
	sr_assert_arrived(r);
	assert_int_equal(r->pot.data, 134);
	assert_int_equal(r->pot.shared, 134);
	assert_int_equal(r->pot.zero, 66);
}

static void what_passed_by_the_memory_counts_as_sent(void **s)
{
	struct rig *r = *s;

	sr_run(r);
	sr_assert_arrived(r);
	assert_true(r->st.wire > r->st.data && r->st.wire < r->st.data + 200 * 64);
}

static void chunks_travel_when_something_is_between(void **s)
{
	struct rig *r = *s;

	r->joined = false;
	sr_run(r);
	sr_assert_arrived(r);
	assert_int_equal(r->pot.shared, 0);
}

static void who_keeps_frames_is_sent_frames(void **s)
{
	struct rig *r = *s;

	r->pot.k.frames = true;
	r->zip = ZIP_ZSTD;
	sr_run(r);
	sr_assert_arrived(r);
	assert_int_equal(r->pot.shared, 0);
	assert_true(r->st.wire < r->st.data * 3 / 4);
}

static void a_second_pass_shares_only_what_changed(void **s)
{
	struct rig *r = *s;

	sr_run(r);
	sr_assert_arrived(r);
	r->pot.k.known = true;
	r->ram.p[7 * CHUNK + 9] ^= 1;
	r->ram.p[SIZE - 1] ^= 1;
	sr_run(r);
	sr_assert_arrived(r);
	assert_int_equal(r->pot.data, 2);
	assert_int_equal(r->pot.shared, 2);
}

static void a_read_error_ends_both(void **s)
{
	sr_assert_read_error_told(*s);
}

static void a_full_target_ends_both(void **s)
{
	sr_assert_full_target_told(*s);
}

/* ---- whose a slot is ------------------------------------------------------------ */

static void a_slot_is_in_one_pair_of_hands(void **s)
{
	struct slots *x = slots_new(4096, 2);

	(void)s;
	assert_non_null(x);
	assert_int_equal(slots_take(x), 0);
	assert_false(slots_take_this(x, 0));
	assert_true(slots_take_this(x, 1));
	assert_int_equal(slots_take(x), NO_SLOT);
	assert_true(slots_give_back(x, 0));
	assert_false(slots_give_back(x, 0));
	assert_int_equal(slots_take(x), 0);
	assert_false(slots_take_this(x, 2));
	assert_false(slots_give_back(x, UINT64_MAX));
	slots_free(x);
}

static void what_one_end_writes_the_other_reads(void **s)
{
	struct slots *there = slots_new(4096, 3), *here;
	AUTO_ERR e = { 0 };

	(void)s;
	assert_non_null(there);
	here = slots_of(fcntl(there->fd, F_DUPFD_CLOEXEC, 0), 4096, 3, &e);
	assert_non_null(here);
	memcpy(slots_at(here, 2), "chunk", 6);
	assert_string_equal(slots_at(there, 2), "chunk");
	slots_free(here);
	slots_free(there);
}

static void memory_that_may_change_its_size_is_refused(void **s)
{
	int fd = memfd_create("loose", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct slots *x = slots_new(4096, 3);
	AUTO_ERR e = { 0 };

	(void)s;
	assert_int_equal(ftruncate(fd, 3 * 4096), 0);
	assert_null(slots_of(fd, 4096, 3, &e));		/* not sealed; closed */
	assert_string_equal(e.what, SAYS_MEMORY);
	assert_non_null(x);
	assert_null(slots_of(fcntl(x->fd, F_DUPFD_CLOEXEC, 0), 4096, 4, NULL));	/* too short */
	assert_null(slots_of(fcntl(x->fd, F_DUPFD_CLOEXEC, 0), 4096, UINT32_MAX, NULL));
	assert_int_equal(ftruncate(x->fd, 0), -1);
	slots_free(x);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, sr_set_up_joined, sr_tear_down)
	const struct CMUnitTest tests[] = {
		T(chunks_lie_in_shared_memory_when_nothing_is_between),
		T(what_passed_by_the_memory_counts_as_sent),
		T(chunks_travel_when_something_is_between),
		T(who_keeps_frames_is_sent_frames),
		T(a_second_pass_shares_only_what_changed),
		T(a_read_error_ends_both),
		T(a_full_target_ends_both),
		cmocka_unit_test(a_slot_is_in_one_pair_of_hands),
		cmocka_unit_test(what_one_end_writes_the_other_reads),
		cmocka_unit_test(memory_that_may_change_its_size_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
