/* SPDX-License-Identifier: Apache-2.0
 * A pass between two processes of one machine: chunks lie in memory that both see, where
 * nothing is between them; who breaks the rules of it is refused.
 */
#include "engine/base/mem.h"
#include "modules/lib/stream_impl.h"
#include "tests/unit/streamrig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <endian.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define SAYS_MEMORY "the other end offers memory that cannot be used"

static int set_up_joined(void **state)
{
	int rc = sr_set_up(state);

	((struct rig *)*state)->joined = true;
	return rc;
}

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
	struct rig *r = *s;

	r->ram.bad = 33 * CHUNK + 17;
	sr_run(r);
	assert_int_equal(r->send_rc, -1);
	assert_string_equal(r->send_err.what,
			    "cannot read 'ram' at byte 2162688, length 65536: Input/output error");
	assert_int_equal(r->recv_rc, -1);
}

static void a_full_target_ends_both(void **s)
{
	struct rig *r = *s;

	r->pot.fail_at = 42;
	sr_run(r);
	assert_int_equal(r->recv_rc, -1);
	assert_string_equal(r->recv_err.what, "cannot write 'pot': No space left on device");
	assert_int_equal(r->send_rc, -1);
	assert_string_equal(r->send_err.what, "the other end stopped: cannot write 'pot': "
			    "No space left on device");
	assert_false(r->pot.known[42]);
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

/* ---- a sender that does not keep to the rules ------------------------------------ */

/* It says OPEN and this, and whatever slot: what the receiver says to that. */
static void assert_refused(struct rig *r, const struct record *bad, uint32_t slot,
			   const char *says)
{
	json_t *open = json_pack("{s:s,s:I,s:i}", "disk", "root", "size", (json_int_t)SIZE,
				 "chunk", CHUNK);
	struct stream_receiver how = sr_receiver(r);
	char digest[SHA256_LEN] = "";
	AUTO_ERR e = { 0 };
	struct pipe p[2];
	struct stream s = { .pipe = &p[1] };
	int fd[2];

	slot = htobe32(slot);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	pipe_of_socket(&p[0], fd[0]);
	pipe_of_socket(&p[1], fd[1]);
	assert_int_equal(record_write_json(&p[0], REC_OPEN, open), 0);
	assert_int_equal(record_write(&p[0], bad, digest, sizeof(digest), &slot, SLOT_LEN), 0);
	shutdown(fd[0], SHUT_WR);
	assert_int_equal(stream_recv(&s, &how, &e), -1);
	assert_string_equal(e.what, says);
	json_decref(open);
	close(fd[0]);
	close(fd[1]);
}

static void slots_that_are_not_there_are_refused(void **s)
{
	struct record r = { .type = REC_DATA, .flags = SLOT_FLAG, .count = 1, .plain = CHUNK };
	struct rig *rig = *s;

	assert_refused(rig, &r, 4711, "the other end sent a malformed record");
	r.flags |= ZIP_FLAG;
	assert_refused(rig, &r, 0, "the other end sent a malformed record");
	r.flags = SLOT_FLAG;
	r.plain = CHUNK + 4096;
	assert_refused(rig, &r, 0, "the other end sent a malformed record");
	r.plain = CHUNK;
	rig->pot.k.frames = true;	/* none are offered */
	assert_refused(rig, &r, 0, "the other end sent a malformed record");
	assert_int_equal(rig->pot.data, 0);
}

/* ---- a receiver that does not ---------------------------------------------------- */

/* It offers this memory as so many slots, and gives back one that was not lent. */
struct liar { struct rig *r; int fd; uint32_t count; };

static void *lie(void *arg)
{
	struct liar *l = arg;
	json_t *ready = json_pack("{s:i,s:b,s:i,s:b,s:b}", "window", STREAM_WINDOW, "known", 0,
				  "pass", 1, "same", 0, "slots", 1);
	struct record r, slots = { .type = REC_SLOTS, .count = l->count };
	struct record credit = { .type = REC_CREDIT, .flags = SLOT_FLAG, .index = l->count };
	AUTO_ERR e = { 0 };
	struct pipe p;
	char junk[4096];

	pipe_of_socket(&p, l->r->recv_fd);
	assert_int_equal(record_read(&p, &r), 1);
	json_decref(record_read_json(&p, &r, &e));
	assert_int_equal(record_write_json(&p, REC_READY, ready), 0);
	assert_int_equal(record_write_fd(&p, &slots, l->fd), 0);
	record_write(&p, &credit, NULL, 0, NULL, 0);	/* it may have gone by then */
	while (pipe_read(&p, junk, sizeof(junk)) > 0)
		;
	close(l->r->recv_fd);
	json_decref(ready);
	return NULL;
}

static void assert_not_believed(struct liar *l, const char *says)
{
	struct stream_open o = { .disk = "root", .chunk = CHUNK };
	struct stream_stat st;
	AUTO_ERR e = { 0 };
	struct pipe p;
	struct stream s = { .pipe = &p };
	pthread_t t;
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	l->r->recv_fd = fd[1];
	pipe_of_socket(&p, fd[0]);
	assert_int_equal(pthread_create(&t, NULL, lie, l), 0);
	assert_int_equal(stream_send(&s, &l->r->ram.d, &o, &st, &e), -1);
	assert_string_equal(e.what, says);
	close(fd[0]);
	pthread_join(t, NULL);
}

static void a_receiver_that_lies_about_its_memory_is_refused(void **s)
{
	struct slots *x = slots_new(CHUNK, 16);
	struct liar l = { .r = *s, .fd = x->fd, .count = 16 };

	assert_not_believed(&l, "the other end gave back what it was not given");
	l.count = 17;
	assert_not_believed(&l, SAYS_MEMORY);
	l.count = 1;	/* too few to go on with */
	assert_not_believed(&l, SAYS_MEMORY);
	slots_free(x);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up_joined, sr_tear_down)
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
		T(slots_that_are_not_there_are_refused),
		T(a_receiver_that_lies_about_its_memory_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
