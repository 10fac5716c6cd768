/* SPDX-License-Identifier: Apache-2.0
 * test_stream_rules - a sender that does not keep to the rules: what it says is refused in clear
 * words, what had come until then is kept, and nothing stays behind.
 */
#include "engine/base/mem.h"
#include "tests/unit/byhand.h"
#include "tests/unit/streamrig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define MALFORMED "the other end sent a malformed record"
#define FULL_WINDOW (STREAM_WINDOW / (CHUNK + RECORD_COST))	/* chunks that it takes */

/* ---- a head that was changed on the way -------------------------------------- */

/* Nothing of what it says is believed, its length least of all. */
static void a_head_with_a_flipped_bit_is_no_head(void **s)
{
	const struct record r = { .type = REC_DATA, .flags = ZIP_FLAG, .length = 40, .index = 7,
		.count = 1, .plain = CHUNK };
	uint8_t head[RECORD_HEAD];
	struct record got;
	struct byhand x;
	int fd;

	(void)s;
	byhand_meet(&x);
	record_head(&r, head);
	assert_int_equal(pipe_write_full(&x.by_hand, head, sizeof(head)), 0);
	assert_int_equal(record_read(&x.real, &got), 1);
	assert_int_equal(got.length, 40);
	for (unsigned bit = 0; bit < RECORD_HEAD * 8; bit++) {
		head[bit / 8] ^= (uint8_t)(1u << bit % 8);
		for (int again = 0; again < 2; again++) {
			assert_int_equal(pipe_write_full(&x.by_hand, head, sizeof(head)), 0);
			assert_int_equal(again ? record_read_fd(&x.real, &got, &fd) :
					 record_read(&x.real, &got), -1);
			assert_int_equal(errno, EBADMSG);
		}
		head[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	byhand_part(&x);
}

/* ---- one record -------------------------------------------------------------- */

struct bad_record { struct record r; const char *says; };

/* Behind the digest, if it comes to that, stands the slot. */
static void assert_refused(struct rig *r, const struct bad_record *b, uint32_t in_slot)
{
	AUTO_FREE uint8_t *payload = mem_alloc(BYHAND_JUNK);
	struct stream_receiver how = sr_receiver(r);
	uint32_t slot = htobe32(in_slot);
	AUTO_ERR e = { 0 };
	struct byhand x;
	struct stream s = { .pipe = &x.real };

	byhand_meet(&x);
	byhand_open(&x.by_hand, SIZE, CHUNK);
	memcpy(payload + SHA256_LEN, &slot, SLOT_LEN);
	byhand_say(&x.by_hand, &b->r, payload, b->r.length < BYHAND_JUNK ? b->r.length : BYHAND_JUNK);
	shutdown(x.fd[0], SHUT_WR);
	assert_int_equal(stream_recv(&s, &how, &e), -1);
	assert_string_equal(e.what, b->says);
	assert_int_equal(r->pot.data + r->pot.zero, 0);
	byhand_part(&x);
}

static void records_that_break_the_rules_are_refused(void **s)
{
	static const struct bad_record bad[] = {
		{ { .type = REC_DATA, .index = CHUNKS, .count = 1, .plain = CHUNK, .length = 40 },
		  MALFORMED },
		{ { .type = REC_DATA, .count = 1, .plain = CHUNK, .length = 40 }, MALFORMED },
		{ { .type = REC_DATA, .count = 1, .plain = CHUNK, .length = SHA256_LEN,
		    .flags = ZIP_FLAG }, MALFORMED },
		{ { .type = REC_DATA, .count = 1, .plain = CHUNK, .length = 70000,
		    .flags = ZIP_FLAG }, MALFORMED },
		{ { .type = REC_DATA, .count = 1, .plain = CHUNK, .length = UINT32_MAX,
		    .flags = ZIP_FLAG }, MALFORMED },
		{ { .type = REC_DATA, .plain = CHUNK, .length = 40,
		    .flags = ZIP_FLAG }, MALFORMED },
		{ { .type = REC_DATA, .count = 2, .plain = CHUNK, .length = 40,
		    .flags = ZIP_FLAG }, MALFORMED },
		{ { .type = REC_DATA, .count = 1, .plain = CHUNK - 1, .length = 40,
		    .flags = ZIP_FLAG }, MALFORMED },
		/* the last chunk is shorter */
		{ { .type = REC_DATA, .index = CHUNKS - 1, .count = 1, .plain = CHUNK,
		    .length = SHA256_LEN + CHUNK }, MALFORMED },
		{ { .type = REC_ZERO, .index = 1, .count = UINT32_MAX }, MALFORMED },
		{ { .type = REC_ZERO, .index = UINT64_MAX, .count = 1 }, MALFORMED },
		{ { .type = REC_ZERO, .index = 198, .count = 2 }, MALFORMED },
		{ { .type = REC_ZERO, .count = 1, .length = 1 }, MALFORMED },
		{ { .type = REC_WANT, .count = CHUNKS + 1 },
		  "the other end asked for digests beyond the disk" },
		{ { .type = REC_WANT, .index = UINT64_MAX, .count = 1 },
		  "the other end asked for digests beyond the disk" },
		{ { .type = REC_WANT, .count = 1, .length = 1 },
		  "the other end asked for digests beyond the disk" },
		{ { .type = REC_DATA, .count = 1, .plain = CHUNK, .length = 60,
		    .flags = ZIP_FLAG }, "a damaged chunk arrived for byte 0" },
		{ { .type = REC_DONE, .length = JSON_MAX + 1 },
		  "the other end sent a record of 65537 bytes" },
		{ { .type = REC_OPEN }, "the other end sent a record of unknown kind 1" },
		{ { .type = 77 }, "the other end sent a record of unknown kind 77" },
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_refused(*s, &bad[i], 0);
}

static void slots_that_are_not_the_senders_are_refused(void **s)
{
	struct bad_record b = { { .type = REC_DATA, .flags = SLOT_FLAG, .count = 1,
		.plain = CHUNK, .length = SHA256_LEN + SLOT_LEN }, MALFORMED };
	struct rig *r = *s;

	assert_refused(r, &b, 4711);
	b.r.flags |= ZIP_FLAG;
	assert_refused(r, &b, 0);
	b.r.flags = SLOT_FLAG;
	b.r.plain = CHUNK + 4096;
	assert_refused(r, &b, 0);
	b.r.plain = CHUNK;
	b.r.length += CHUNK;
	assert_refused(r, &b, 0);
	b.r.length -= CHUNK;
	r->pot.k.frames = true;	/* none are offered */
	assert_refused(r, &b, 0);
}

static void disks_that_cannot_be_are_refused(void **s)
{
	static const struct { int64_t size; int chunk; } bad[] = {
		{ 0, CHUNK }, { -1, CHUNK }, { SIZE, 0 }, { SIZE, STREAM_CHUNK_MIN - 4096 },
		{ SIZE, CHUNK + 512 }, { SIZE, STREAM_CHUNK_MAX + 4096 },
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct stream_receiver how = sr_receiver(*s);
		AUTO_ERR e = { 0 };
		struct byhand x;
		struct stream st = { .pipe = &x.real };

		byhand_meet(&x);
		byhand_open(&x.by_hand, (uint64_t)bad[i].size, bad[i].chunk);
		shutdown(x.fd[0], SHUT_WR);
		assert_int_equal(stream_recv(&st, &how, &e), -1);
		assert_string_equal(e.what, "the other end offers no disk that can be taken");
		byhand_part(&x);
	}
}

/* ---- more than it may, while nothing can be written -------------------------- */

/* The target takes nothing until what came was refused: until the thread that listens waits
 * for the others, which before the sender's last word it does only then. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	pthread_t listener;
	bool shut;			/* nothing is written yet */
	int (*data)(struct sink *k, const struct stream_chunk *c, struct err *e);
} gate = { .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };

int pthread_cond_wait(pthread_cond_t *c, pthread_mutex_t *m)
{
	struct timespec never = { .tv_sec = INT32_MAX };

	if (c != &gate.cond && pthread_equal(pthread_self(), gate.listener)) {
		pthread_mutex_lock(&gate.lock);
		gate.shut = false;
		pthread_cond_broadcast(&gate.cond);
		pthread_mutex_unlock(&gate.lock);
	}
	return pthread_cond_clockwait(c, m, CLOCK_MONOTONIC, &never);
}

static int gated_data(struct sink *k, const struct stream_chunk *c, struct err *e)
{
	pthread_mutex_lock(&gate.lock);
	while (gate.shut)
		pthread_cond_wait(&gate.cond, &gate.lock);
	pthread_mutex_unlock(&gate.lock);
	return gate.data(k, c, e);
}

struct flood {
	struct rig *r;
	struct byhand x;
	unsigned chunks;		/* that are sent */
	bool slots;			/* all in slot 3 */
};

static void *flood(void *arg)
{
	struct flood *f = arg;
	AUTO_FREE uint8_t *payload = mem_alloc(SHA256_LEN + CHUNK);
	uint32_t slot = htobe32(3);

	byhand_open(&f->x.by_hand, SIZE, CHUNK);
	for (unsigned i = 0; i < f->chunks; i++) {
		uint64_t index = i % (CHUNKS - 1);
		struct record r = { .type = REC_DATA, .index = index, .count = 1,
			.plain = CHUNK, .flags = f->slots ? SLOT_FLAG : 0,
			.length = SHA256_LEN + (f->slots ? SLOT_LEN : CHUNK) };

		sha256_of(f->r->ram.p + index * CHUNK, CHUNK, payload);
		memcpy(payload + SHA256_LEN, f->r->ram.p + index * CHUNK, CHUNK);
		if (f->slots)
			memcpy(payload + SHA256_LEN, &slot, SLOT_LEN);
		byhand_say(&f->x.by_hand, &r, payload, r.length);
	}
	shutdown(f->x.fd[0], SHUT_WR);
	return NULL;
}

static void assert_flood_refused(struct flood *f, const char *says)
{
	struct stream_receiver how = sr_receiver(f->r);
	struct stream s = { .pipe = &f->x.real };
	AUTO_ERR e = { 0 };
	pthread_t t;

	gate.data = f->r->pot.k.data;
	f->r->pot.k.data = gated_data;
	gate.listener = pthread_self();
	gate.shut = true;
	byhand_meet(&f->x);
	assert_int_equal(pthread_create(&t, NULL, flood, f), 0);
	assert_int_equal(stream_recv(&s, &how, &e), -1);
	assert_string_equal(e.what, says);
	shutdown(f->x.fd[1], SHUT_RDWR);
	pthread_join(t, NULL);
	byhand_part(&f->x);
}

static void more_than_the_window_is_refused_and_what_was_in_it_is_kept(void **s)
{
	struct flood f = { .r = *s, .chunks = FULL_WINDOW + 1 };

	assert_flood_refused(&f, "the other end sent more than it may");
	assert_int_equal(f.r->pot.data, FULL_WINDOW);
	for (unsigned i = 0; i < CHUNKS; i++)
		assert_int_equal(f.r->pot.known[i], i < CHUNKS - 1);
	assert_memory_equal(f.r->pot.p, f.r->ram.p, (CHUNKS - 1) * CHUNK);
}

static void a_slot_that_is_still_being_written_cannot_be_sent_again(void **s)
{
	struct flood f = { .r = *s, .chunks = 2, .slots = true };

	assert_flood_refused(&f, MALFORMED);
	assert_int_equal(f.r->pot.data, 1);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, sr_set_up_joined, sr_tear_down)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_head_with_a_flipped_bit_is_no_head),
		T(records_that_break_the_rules_are_refused),
		T(slots_that_are_not_the_senders_are_refused),
		T(disks_that_cannot_be_are_refused),
		T(more_than_the_window_is_refused_and_what_was_in_it_is_kept),
		T(a_slot_that_is_still_being_written_cannot_be_sent_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
