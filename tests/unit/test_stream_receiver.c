/* SPDX-License-Identifier: Apache-2.0
 * test_stream_receiver - a receiver that does not keep to the rules is refused in clear words;
 * and a copy is refused, by either end, whose digest is not that of what was sent.
 */
#include "engine/base/mem.h"
#include "tests/unit/byhand.h"
#include "tests/unit/streamrig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

#define SAYS_MEMORY "the other end offers memory that cannot be used"

/* It answers OPEN and, where it says to know the disk, WANT; then says these. */
struct liar {
	struct byhand x;
	const char *ready;		/* JSON; or NULL: it says no such thing */
	struct record slots;		/* REC_SLOTS: it offers memory, this descriptor */
	int slots_fd;
	struct record says[2];
	const char *done;		/* JSON; once all was sent: what arrived */
};

static void hear_all(struct pipe *p)
{
	AUTO_FREE uint8_t *payload = mem_alloc(BYHAND_JUNK);
	struct record r;

	do {
		assert_int_equal(record_read(p, &r), 1);
		assert_in_range(r.length, 0, BYHAND_JUNK);
		assert_true(r.length == 0 || pipe_read_full(p, payload, r.length) > 0);
	} while (r.type != REC_DONE);
}

static void *lie(void *arg)
{
	struct liar *l = arg;
	AUTO_FREE uint8_t *payload = mem_alloc(BYHAND_JUNK);
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
		byhand_say(p, &l->says[i], payload, l->says[i].length);
	if (done) {
		hear_all(p);
		assert_int_equal(record_write_json(p, REC_DONE, done), 0);
	}
	while (pipe_read(p, payload, BYHAND_JUNK) > 0)
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

	byhand_meet(&l->x);
	assert_int_equal(pthread_create(&t, NULL, lie, l), 0);
	assert_int_equal(stream_send(&s, &r->ram.d, &o, &st, &e), -1);
	assert_string_equal(e.what, says);
	shutdown(l->x.fd[1], SHUT_RDWR);
	pthread_join(t, NULL);
	byhand_part(&l->x);
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

/* ---- what arrived is not what was sent --------------------------------------- */

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
		T(a_receiver_that_lies_about_its_memory_is_refused),
		T(a_receiver_that_gives_back_slots_it_never_offered_is_refused),
		T(a_receiver_that_is_not_ready_is_refused),
		T(digests_that_nobody_asked_for_are_refused),
		T(a_copy_of_another_digest_is_refused_by_the_receiver),
		T(a_copy_of_another_digest_is_refused_by_the_sender),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
