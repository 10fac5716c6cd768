/* SPDX-License-Identifier: Apache-2.0
 * A stream whose other end does not keep to the rules: what it says is refused in clear
 * words, what had come until then is kept, and nothing stays behind.
 */
#include "engine/base/mem.h"
#include "modules/lib/stream_impl.h"
#include "tests/unit/streamrig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MALFORMED "the other end sent a malformed record"
#define SAYS_MEMORY "the other end offers memory that cannot be used"
#define FULL_WINDOW (STREAM_WINDOW / (CHUNK + RECORD_COST))	/* chunks that it takes */
#define JUNK (128u << 10)

/* ---- an end made by hand --------------------------------------------------------- */

struct ends {
	struct pipe by_hand, real;
	int fd[2];
};

static void meet(struct ends *x)
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, x->fd), 0);
	pipe_of_socket(&x->by_hand, x->fd[0]);
	pipe_of_socket(&x->real, x->fd[1]);
}

static void part(struct ends *x)
{
	close(x->fd[0]);
	close(x->fd[1]);
}

/* The head as it is, whatever length it tells, and the payload as far as there is one. The
 * other end may have hung up by then. */
static void say(struct pipe *p, const struct record *r, const void *payload, size_t n)
{
	uint8_t head[RECORD_HEAD];

	record_head(r, head);
	if (pipe_write_full(p, head, sizeof(head)) == 0 && n)
		pipe_write_full(p, payload, n);
}

static void say_open(struct pipe *p, uint64_t size, int chunk)
{
	AUTO_JSON *open = json_pack("{s:s,s:I,s:i}", "disk", "root", "size", (json_int_t)size,
				    "chunk", chunk);

	assert_int_equal(record_write_json(p, REC_OPEN, open), 0);
}

/* ---- a head that was changed on the way ------------------------------------------ */

/* Nothing of what it says is believed, its length least of all. */
static void a_head_with_a_flipped_bit_is_no_head(void **s)
{
	const struct record r = { .type = REC_DATA, .flags = ZIP_FLAG, .length = 40, .index = 7,
		.count = 1, .plain = CHUNK };
	uint8_t head[RECORD_HEAD];
	struct record got;
	struct ends x;
	int fd;

	(void)s;
	meet(&x);
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
	part(&x);
}

/* ---- a sender: one record -------------------------------------------------------- */

struct bad_record { struct record r; const char *says; };

/* Behind the digest, if it comes to that, stands the slot. */
static void assert_refused(struct rig *r, const struct bad_record *b, uint32_t in_slot)
{
	AUTO_FREE uint8_t *payload = mem_alloc(JUNK);
	struct stream_receiver how = sr_receiver(r);
	uint32_t slot = htobe32(in_slot);
	AUTO_ERR e = { 0 };
	struct ends x;
	struct stream s = { .pipe = &x.real };

	meet(&x);
	say_open(&x.by_hand, SIZE, CHUNK);
	memcpy(payload + SHA256_LEN, &slot, SLOT_LEN);
	say(&x.by_hand, &b->r, payload, b->r.length < JUNK ? b->r.length : JUNK);
	shutdown(x.fd[0], SHUT_WR);
	assert_int_equal(stream_recv(&s, &how, &e), -1);
	assert_string_equal(e.what, b->says);
	assert_int_equal(r->pot.data + r->pot.zero, 0);
	part(&x);
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
		struct ends x;
		struct stream st = { .pipe = &x.real };

		meet(&x);
		say_open(&x.by_hand, (uint64_t)bad[i].size, bad[i].chunk);
		shutdown(x.fd[0], SHUT_WR);
		assert_int_equal(stream_recv(&st, &how, &e), -1);
		assert_string_equal(e.what, "the other end offers no disk that can be taken");
		part(&x);
	}
}

/* ---- a sender: more than it may, while nothing can be written -------------------- */

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
	struct ends x;
	unsigned chunks;		/* that are sent */
	bool slots;			/* all in slot 3 */
};

static void *flood(void *arg)
{
	struct flood *f = arg;
	AUTO_FREE uint8_t *payload = mem_alloc(SHA256_LEN + CHUNK);
	uint32_t slot = htobe32(3);

	say_open(&f->x.by_hand, SIZE, CHUNK);
	for (unsigned i = 0; i < f->chunks; i++) {
		uint64_t index = i % (CHUNKS - 1);
		struct record r = { .type = REC_DATA, .index = index, .count = 1,
			.plain = CHUNK, .flags = f->slots ? SLOT_FLAG : 0,
			.length = SHA256_LEN + (f->slots ? SLOT_LEN : CHUNK) };

		sha256_of(f->r->ram.p + index * CHUNK, CHUNK, payload);
		memcpy(payload + SHA256_LEN, f->r->ram.p + index * CHUNK, CHUNK);
		if (f->slots)
			memcpy(payload + SHA256_LEN, &slot, SLOT_LEN);
		say(&f->x.by_hand, &r, payload, r.length);
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
	meet(&f->x);
	assert_int_equal(pthread_create(&t, NULL, flood, f), 0);
	assert_int_equal(stream_recv(&s, &how, &e), -1);
	assert_string_equal(e.what, says);
	shutdown(f->x.fd[1], SHUT_RDWR);
	pthread_join(t, NULL);
	part(&f->x);
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

/* ---- a receiver -------------------------------------------------------------------- */

/* It answers OPEN and, where it says to know the disk, WANT; then says these. */
struct liar {
	struct ends x;
	const char *ready;		/* JSON; or NULL: it says no such thing */
	struct record slots;		/* REC_SLOTS: it offers memory, this descriptor */
	int slots_fd;
	struct record says[2];
	const char *done;		/* JSON; once all was sent: what arrived */
};

static void hear_all(struct pipe *p)
{
	AUTO_FREE uint8_t *payload = mem_alloc(JUNK);
	struct record r;

	do {
		assert_int_equal(record_read(p, &r), 1);
		assert_in_range(r.length, 0, JUNK);
		assert_true(r.length == 0 || pipe_read_full(p, payload, r.length) > 0);
	} while (r.type != REC_DONE);
}

static void *lie(void *arg)
{
	struct liar *l = arg;
	AUTO_FREE uint8_t *payload = mem_alloc(JUNK);
	struct pipe *p = &l->x.by_hand;
	AUTO_JSON *ready = l->ready ? json_loads(l->ready, 0, NULL) : NULL;
	AUTO_JSON *done = l->done ? json_loads(l->done, 0, NULL) : NULL;
	AUTO_ERR e = { 0 };
	struct record r;

	assert_int_equal(record_read(p, &r), 1);
	json_decref(record_read_json(p, &r, &e));
	if (ready)
		assert_int_equal(record_write_json(p, REC_READY, ready), 0);
	if (l->slots.type)
		assert_int_equal(record_write_fd(p, &l->slots, l->slots_fd), 0);
	if (jbool(ready, "known", false))
		assert_int_equal(record_read(p, &r), 1);
	for (size_t i = 0; i < ARRAY_LEN(l->says) && l->says[i].type; i++)
		say(p, &l->says[i], payload, l->says[i].length);
	if (done) {
		hear_all(p);
		assert_int_equal(record_write_json(p, REC_DONE, done), 0);
	}
	while (pipe_read(p, payload, JUNK) > 0)
		;
	shutdown(l->x.fd[0], SHUT_WR);
	return NULL;
}

static void assert_not_believed(struct rig *r, struct liar *l, const char *says)
{
	struct stream_open o = { .disk = "root", .chunk = CHUNK };
	struct stream s = { .pipe = &l->x.real };
	struct stream_stat st;
	AUTO_ERR e = { 0 };
	pthread_t t;

	meet(&l->x);
	assert_int_equal(pthread_create(&t, NULL, lie, l), 0);
	assert_int_equal(stream_send(&s, &r->ram.d, &o, &st, &e), -1);
	assert_string_equal(e.what, says);
	shutdown(l->x.fd[1], SHUT_RDWR);
	pthread_join(t, NULL);
	part(&l->x);
}

static void a_receiver_that_lies_about_its_memory_is_refused(void **s)
{
	struct slots *x = slots_new(CHUNK, 16);
	struct liar l = { .slots = { .type = REC_SLOTS, .count = 16 }, .slots_fd = x->fd,
		.ready = "{\"window\":16777216,\"slots\":true}",
		.says = { { .type = REC_CREDIT, .flags = SLOT_FLAG, .index = 16 } } };

	assert_not_believed(*s, &l, "the other end gave back what it was not given");
	l.slots.count = 17;
	assert_not_believed(*s, &l, SAYS_MEMORY);
	l.slots.count = 1;	/* too few to go on with */
	assert_not_believed(*s, &l, SAYS_MEMORY);
	l.slots.type = REC_CREDIT;
	assert_not_believed(*s, &l, SAYS_MEMORY);
	slots_free(x);
}

static void a_receiver_that_gives_back_slots_it_never_offered_is_refused(void **s)
{
	struct liar l = { .ready = "{\"window\":16777216}",
		.says = { { .type = REC_CREDIT, .flags = SLOT_FLAG } } };

	assert_not_believed(*s, &l, "the other end gave back what it was not given");
}

static void a_receiver_that_is_not_ready_is_refused(void **s)
{
	struct liar l = { .says = { { .type = REC_HAVE } } };

	assert_not_believed(*s, &l, "the other end did not say that it is ready");
	l.says[0] = (struct record){ .type = 77 };
	l.ready = "{\"window\":69631}";
	assert_not_believed(*s, &l, "the other end offers a window of 69631 bytes");
	l.ready = "{\"window\":69632}";
	assert_not_believed(*s, &l, "the other end sent a record of unknown kind 77");
}

static void digests_that_nobody_asked_for_are_refused(void **s)
{
	const struct record all = { .type = REC_HAVE, .count = CHUNKS,
		.length = CHUNKS * SHA256_LEN };
	static const struct record bad[] = {
		{ .type = REC_HAVE, .count = CHUNKS + 1, .length = (CHUNKS + 1) * SHA256_LEN },
		{ .type = REC_HAVE, .count = CHUNKS, .length = (CHUNKS - 1) * SHA256_LEN },
		{ .type = REC_HAVE, .count = HAVE_MAX, .length = HAVE_MAX * SHA256_LEN },
		{ .type = REC_HAVE, .index = HAVE_MAX, .count = CHUNKS,
		  .length = CHUNKS * SHA256_LEN },
		{ .type = REC_HAVE, .index = UINT64_MAX },
	};
	struct liar l = { .ready = "{\"window\":16777216,\"known\":true}" };

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		l.says[0] = bad[i];
		assert_not_believed(*s, &l, "the other end sent digests that were not asked for");
	}
	l.says[0] = l.says[1] = all;	/* once would do */
	assert_not_believed(*s, &l, "the other end sent digests that were not asked for");
}

/* ---- what arrived is not what was sent ----------------------------------------------- */

static int another_root(struct sink *k, uint8_t root[SHA256_LEN], struct err *e)
{
	(void)k;
	(void)e;
	memset(root, 0xab, SHA256_LEN);
	return 0;
}

static void a_copy_of_another_digest_is_refused_by_the_receiver(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *want = NULL, *told = NULL;
	char hex[SHA256_HEX];

	sr_run(r);
	sr_assert_arrived(r);
	io_hex(r->pot.root, SHA256_LEN, hex);
	want = mem_printf("the source's digest %.12s is not the target's abababababab", hex);
	told = mem_printf("the other end stopped: %s", want);
	r->pot.k.finish = another_root;
	sr_run(r);
	assert_string_equal(r->recv_err.what, want);
	assert_string_equal(r->recv_err.hint, DAMAGED_HINT);
	assert_string_equal(r->send_err.what, told);
}

static void a_copy_of_another_digest_is_refused_by_the_sender(void **s)
{
	struct rig *r = *s;
	struct liar l = { .ready = "{\"window\":67108864}", .done = "{\"root\":\"abc\"}" };
	AUTO_FREE char *want = NULL;
	char hex[SHA256_HEX];

	sr_run(r);
	io_hex(r->pot.root, SHA256_LEN, hex);
	want = mem_printf("the target's digest abc is not the source's %.12s", hex);
	assert_not_believed(r, &l, want);
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
		T(a_receiver_that_lies_about_its_memory_is_refused),
		T(a_receiver_that_gives_back_slots_it_never_offered_is_refused),
		T(a_receiver_that_is_not_ready_is_refused),
		T(digests_that_nobody_asked_for_are_refused),
		T(a_copy_of_another_digest_is_refused_by_the_receiver),
		T(a_copy_of_another_digest_is_refused_by_the_sender),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
