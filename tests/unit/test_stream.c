/* SPDX-License-Identifier: Apache-2.0
 * A pass over a stream: what arrives, what is left out, what a cut, a flipped byte
 * and a failing disk do. Both ends run here, with a proxy between them.
 */
#include "engine/base/mem.h"
#include "modules/lib/stream.h"
#include "modules/lib/stream_impl.h"
#include "modules/lib/tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define CHUNK (64u << 10)
#define CHUNKS 200u
#define SIZE ((uint64_t)CHUNK * CHUNKS - 5000)	/* no multiple of the chunk */

/* The system's clocks, but for the one on the wall: it shows so many seconds more, as before
 * it is set back. */
static time_t wall_ahead;

int clock_gettime(clockid_t id, struct timespec *t)
{
	int rc = (int)syscall(SYS_clock_gettime, id, t);

	t->tv_sec += id == CLOCK_REALTIME ? wall_ahead : 0;
	return rc;
}

/* ---- a disk in memory ------------------------------------------------------- */

struct ram {
	struct disk d;
	uint8_t *p;
	uint64_t bad;		/* reading this byte fails; UINT64_MAX: none */
	uint64_t hole, hole_end;	/* said to be a hole */
};

static int ram_read(struct disk *d, void *buf, size_t n, uint64_t at, struct err *e)
{
	struct ram *r = (struct ram *)d;

	assert_true(at + n <= d->size);
	if (r->bad >= at && r->bad < at + n) {
		errno = EIO;
		return err_sys(e, "cannot read 'ram' at byte %llu, length %zu",
			       (unsigned long long)at, n);
	}
	memcpy(buf, r->p + at, n);
	return 0;
}

static int ram_extent(struct disk *d, uint64_t at, uint64_t *len, bool *hole, struct err *e)
{
	struct ram *r = (struct ram *)d;

	(void)e;
	*hole = at >= r->hole && at < r->hole_end;
	*len = (*hole ? r->hole_end : at < r->hole ? r->hole : d->size) - at;
	return 0;
}

static const struct disk_ops ram_ops = { .read = ram_read, .extent = ram_extent };

static void ram_init(struct ram *r)
{
	*r = (struct ram){ .d = { .ops = &ram_ops, .size = SIZE }, .bad = UINT64_MAX };
	r->p = mem_alloc(SIZE);
	/* A third noise, a third text that shrinks, a third zeros. */
	srand(1);
	for (uint64_t i = 0; i < SIZE; i++) {
		uint64_t kind = i / CHUNK % 3;

		r->p[i] = kind == 0 ? (uint8_t)rand() : kind == 1 ? (uint8_t)('a' + i % 7) : 0;
	}
}

/* ---- a sink in memory --------------------------------------------------------- */

struct pot {
	struct sink k;
	uint8_t *p;
	uint8_t (*digest)[SHA256_LEN];	/* durable only */
	bool known[CHUNKS];
	uint64_t data, zero;		/* chunks that came; atomic */
	uint64_t fail_at;		/* writing this chunk fails; UINT64_MAX: none */
	bool fail_commit;
	uint8_t root[SHA256_LEN];
};

static bool pot_have(struct sink *k, uint64_t i, uint8_t digest[SHA256_LEN])
{
	struct pot *p = (struct pot *)k;

	memcpy(digest, p->digest[i], SHA256_LEN);
	return p->known[i];
}

static int pot_data(struct sink *k, const struct stream_chunk *c, struct err *e)
{
	struct pot *p = (struct pot *)k;

	if (c->index == p->fail_at) {
		errno = ENOSPC;
		return err_sys(e, "cannot write 'pot'");
	}
	__atomic_fetch_add(&p->data, 1, __ATOMIC_RELAXED);
	memcpy(p->p + c->index * CHUNK, c->plain, c->plain_len);
	return 0;
}

static int pot_zero(struct sink *k, uint64_t index, uint64_t count, struct err *e)
{
	struct pot *p = (struct pot *)k;
	uint64_t n = count * CHUNK;

	(void)e;
	__atomic_fetch_add(&p->zero, count, __ATOMIC_RELAXED);
	if (n > SIZE - index * CHUNK)
		n = SIZE - index * CHUNK;
	memset(p->p + index * CHUNK, 0, n);
	return 0;
}

static int pot_commit(struct sink *k, const struct map_update *u, size_t n, struct err *e)
{
	struct pot *p = (struct pot *)k;

	if (p->fail_commit) {
		errno = EIO;
		return err_sys(e, "cannot sync 'pot'");
	}
	for (size_t i = 0; i < n; i++)
		for (uint64_t c = u[i].index; c < u[i].index + u[i].count; c++) {
			memcpy(p->digest[c], u[i].digest, SHA256_LEN);
			p->known[c] = true;
		}
	return 0;
}

static int pot_finish(struct sink *k, uint8_t root[SHA256_LEN], struct err *e)
{
	struct pot *p = (struct pot *)k;
	struct tree t = { .next = 0 };

	for (unsigned i = 0; i < CHUNKS; i++) {
		if (!p->known[i]) {
			tree_free(&t);
			return err_set(e, ERR_STEP, "chunk %u never came", i);
		}
		tree_add(&t, p->digest[i]);
	}
	tree_end(&t, SIZE, CHUNK, root);
	memcpy(p->root, root, SHA256_LEN);
	return 0;
}

static void pot_init(struct pot *p)
{
	*p = (struct pot){ .k = { .have = pot_have, .data = pot_data, .zero = pot_zero,
		.commit = pot_commit, .finish = pot_finish, .pass = 1 },
		.fail_at = UINT64_MAX };
	p->p = mem_alloc(SIZE);
	memset(p->p, 0xee, SIZE);	/* it held other data before */
	p->digest = mem_alloc((size_t)CHUNKS * SHA256_LEN);
}

static struct sink *pot_open(void *arg, const struct stream_offer *o, struct err *e)
{
	(void)e;
	assert_string_equal(o->disk, "root");
	assert_true(o->size == SIZE && o->chunk == CHUNK);
	return &((struct pot *)arg)->k;
}

static int pot_close(void *arg, struct sink *k, const struct stream_stat *st, bool ok,
		     struct err *e)
{
	(void)arg;
	(void)k;
	(void)st;
	(void)ok;
	(void)e;
	return 0;
}

/* ---- both ends, and what lies between ------------------------------------------ */

struct rig {
	struct ram ram;
	struct pot pot;
	int send_fd, recv_fd, proxy[2];
	enum stream_zip zip;
	uint64_t (*read_rate)(void *arg);	/* or NULL */
	/* of the bytes from the sender: cut after so many, flip the one at */
	uint64_t cut, flip;
	struct stream_stat st;
	struct err send_err, recv_err;
	int send_rc, recv_rc;
};

/* Pass bytes both ways; then hang up. */
static void *proxy(void *arg)
{
	struct rig *r = arg;
	uint64_t seen = 0;
	char buf[8192];

	for (;;) {
		struct pollfd p[2] = { { r->proxy[0], POLLIN, 0 }, { r->proxy[1], POLLIN, 0 } };

		poll(p, 2, -1);
		for (int i = 0; i < 2; i++) {
			ssize_t n = p[i].revents ? read(r->proxy[i], buf, sizeof(buf)) : -2;

			if (n == -2)
				continue;
			if (n > 0 && i == 0 && seen + (size_t)n > r->cut)
				n = (ssize_t)(r->cut - seen);
			if (n > 0 && i == 0 && r->flip >= seen && r->flip < seen + (size_t)n)
				buf[r->flip - seen] ^= 0x10;
			if (n <= 0 || io_write_full(r->proxy[!i], buf, (size_t)n) < 0)
				goto hang_up;
			seen += i == 0 ? (size_t)n : 0;
		}
	}
hang_up:
	close(r->proxy[0]);
	close(r->proxy[1]);
	return NULL;
}

static void *send_end(void *arg)
{
	struct rig *r = arg;
	struct pipe p;
	struct stream s = { .pipe = &p, .zip = r->zip, .read_rate = r->read_rate };
	struct stream_open o = { .disk = "root", .chunk = CHUNK };

	pipe_of_socket(&p, r->send_fd);
	r->send_rc = stream_send(&s, &r->ram.d, &o, &r->st, &r->send_err);
	if (r->send_rc == 0)
		r->send_rc = stream_bye(&s, &r->send_err);
	close(r->send_fd);
	return NULL;
}

static void run(struct rig *r)
{
	struct stream_receiver how = { .open = pot_open, .close = pot_close, .arg = &r->pot };
	int a[2], b[2];
	pthread_t t[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, a), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, b), 0);
	r->send_fd = a[0];
	r->proxy[0] = a[1];
	r->proxy[1] = b[1];
	r->recv_fd = b[0];
	err_clear(&r->send_err);
	err_clear(&r->recv_err);
	r->pot.data = r->pot.zero = 0;
	assert_int_equal(pthread_create(&t[0], NULL, proxy, r), 0);
	assert_int_equal(pthread_create(&t[1], NULL, send_end, r), 0);
	struct pipe p;
	struct stream s = { .pipe = &p };

	pipe_of_socket(&p, r->recv_fd);
	while ((r->recv_rc = stream_recv(&s, &how, &r->recv_err)) == 1)
		;
	close(r->recv_fd);
	pthread_join(t[1], NULL);
	pthread_join(t[0], NULL);
}

static int set_up(void **state)
{
	struct rig *r = mem_alloc(sizeof(*r));

	ram_init(&r->ram);
	pot_init(&r->pot);
	r->cut = r->flip = UINT64_MAX;
	*state = r;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *r = *state;

	free(r->ram.p);
	free(r->pot.p);
	free(r->pot.digest);
	err_clear(&r->send_err);
	err_clear(&r->recv_err);
	free(r);
	return 0;
}

static void assert_arrived(struct rig *r)
{
	if (r->send_rc || r->recv_rc)
		fail_msg("sender: %s; receiver: %s", r->send_err.what, r->recv_err.what);
	assert_memory_equal(r->ram.p, r->pot.p, SIZE);
	assert_memory_equal(r->st.root, r->pot.root, SHA256_LEN);
}

/* ---- the tests ------------------------------------------------------------------- */

static void every_byte_arrives_also_where_zeros_replace_old_data(void **s)
{
	struct rig *r = *s;

	run(r);
	assert_arrived(r);
	assert_int_equal(r->pot.data, 134);
	assert_int_equal(r->pot.zero, 66);
	assert_true(r->st.scanned == SIZE);
}

static void compressed_or_not_the_result_is_the_same(void **s)
{
	struct rig *r = *s;
	uint64_t plain;

	r->zip = ZIP_NONE;
	run(r);
	assert_arrived(r);
	plain = r->st.wire;
	memset(r->pot.p, 0xee, SIZE);
	memset(r->pot.known, 0, sizeof(r->pot.known));
	r->zip = ZIP_ZSTD;
	run(r);
	assert_arrived(r);
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
	run(r);
	wall_ahead = 0;
	assert_arrived(r);
}

static void a_second_pass_sends_only_what_changed(void **s)
{
	struct rig *r = *s;

	run(r);
	assert_arrived(r);
	r->pot.k.known = true;
	r->ram.p[7 * CHUNK + 9] ^= 1;
	memset(r->ram.p + 30 * CHUNK, 0, CHUNK);
	r->ram.p[SIZE - 1] ^= 1;
	run(r);
	assert_arrived(r);
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
	run(r);
	assert_arrived(r);
}

static void a_hole_up_to_the_odd_end_is_zeros(void **s)
{
	struct rig *r = *s;

	r->ram.hole = 100 * CHUNK;
	r->ram.hole_end = SIZE;
	memset(r->ram.p + r->ram.hole, 0, SIZE - r->ram.hole);
	run(r);
	assert_arrived(r);
	r->pot.k.known = true;
	run(r);
	assert_arrived(r);
	assert_int_equal(r->pot.data + r->pot.zero, 0);
}

/* Cut everywhere, each time further on; what was synced is not sent again. */
static void a_stream_cut_anywhere_goes_on(void **s)
{
	struct rig *r = *s;
	uint64_t total;
	unsigned cuts = 0;

	r->zip = ZIP_NONE;
	run(r);
	assert_arrived(r);
	total = r->st.wire;
	for (uint64_t cut = 0; cut < total; cut += total / 23 + 977, cuts++) {
		unsigned known = 0;

		memset(r->pot.known, 0, sizeof(r->pot.known));
		memset(r->pot.p, 0xee, SIZE);
		r->pot.k.known = false;
		r->cut = cut;
		run(r);
		assert_int_equal(r->send_rc, -1);
		assert_string_equal(r->send_err.what, "the stream to the other end broke: its "
				    "connection was lost, or something on the way changed it");
		assert_int_equal(r->recv_rc, -1);
		for (unsigned i = 0; i < CHUNKS; i++)
			known += r->pot.known[i];
		r->cut = UINT64_MAX;
		r->pot.k.known = true;
		run(r);
		assert_arrived(r);
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
			run(r);
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
	struct rig *r = *s;

	r->ram.bad = 33 * CHUNK + 17;
	run(r);
	assert_int_equal(r->send_rc, -1);
	assert_string_equal(r->send_err.what,
			    "cannot read 'ram' at byte 2162688, length 65536: Input/output error");
	assert_int_equal(r->recv_rc, -1);
	assert_string_equal(r->recv_err.what, "the other end stopped: cannot read 'ram' at byte "
			    "2162688, length 65536: Input/output error");
}

static void a_full_target_is_told_at_both_ends_and_not_entered(void **s)
{
	struct rig *r = *s;

	r->pot.fail_at = 42;
	run(r);
	assert_int_equal(r->recv_rc, -1);
	assert_string_equal(r->recv_err.what, "cannot write 'pot': No space left on device");
	assert_int_equal(r->recv_err.sys, ENOSPC);
	assert_int_equal(r->send_rc, -1);
	assert_string_equal(r->send_err.what, "the other end stopped: cannot write 'pot': "
			    "No space left on device");
	assert_false(r->pot.known[42]);
}

static void nothing_is_entered_when_the_sync_failed(void **s)
{
	struct rig *r = *s;

	r->pot.fail_commit = true;
	run(r);
	assert_int_equal(r->recv_rc, -1);
	assert_string_equal(r->recv_err.what, "cannot sync 'pot': Input/output error");
	for (unsigned i = 0; i < CHUNKS; i++)
		assert_false(r->pot.known[i]);
}

/* ---- a sender that does not keep to the rules ------------------------------------ */

struct bad_record { struct record r; const char *says; };

static void assert_refused(struct rig *r, const struct bad_record *b)
{
	struct stream_receiver how = { .open = pot_open, .close = pot_close, .arg = &r->pot };
	json_t *open = json_pack("{s:s,s:I,s:i}", "disk", "root", "size", (json_int_t)SIZE,
				 "chunk", CHUNK);
	AUTO_ERR e = { 0 };
	struct pipe p[2];
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	pipe_of_socket(&p[0], fd[0]);
	pipe_of_socket(&p[1], fd[1]);
	assert_int_equal(record_write_json(&p[0], REC_OPEN, open), 0);
	{
		AUTO_FREE char *junk = mem_alloc(65536);
		struct record rec = b->r;

		/* The head as it is, and enough bytes behind it. */
		assert_int_equal(record_write(&p[0], &rec, junk,
					      rec.length < 65536 ? rec.length : 65536, NULL, 0), 0);
	}
	shutdown(fd[0], SHUT_WR);
	struct stream s = { .pipe = &p[1] };
	assert_int_equal(stream_recv(&s, &how, &e), -1);
	assert_string_equal(e.what, b->says);
	json_decref(open);
	close(fd[0]);
	close(fd[1]);
}

static void records_that_break_the_rules_are_refused(void **s)
{
	static const struct bad_record bad[] = {
		{ { .type = REC_DATA, .index = CHUNKS, .count = 1, .plain = CHUNK, .length = 40 },
		  "the other end sent a malformed record" },
		{ { .type = REC_DATA, .index = 0, .count = 1, .plain = CHUNK, .length = 40 },
		  "the other end sent a malformed record" },
		{ { .type = REC_DATA, .index = 0, .count = 2, .plain = CHUNK, .length = 40,
		    .flags = ZIP_FLAG }, "the other end sent a malformed record" },
		{ { .type = REC_ZERO, .index = 1, .count = 0xffffffff },
		  "the other end sent a malformed record" },
		{ { .type = REC_ZERO, .index = 198, .count = 2 },
		  "the other end sent a malformed record" },
		{ { .type = REC_WANT, .index = 0, .count = 201 },
		  "the other end asked for digests beyond the disk" },
		{ { .type = REC_DATA, .index = 0, .count = 1, .plain = CHUNK, .length = 60,
		    .flags = ZIP_FLAG }, "a damaged chunk arrived for byte 0" },
		{ { .type = 77 }, "the other end sent a record of unknown kind 77" },
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_refused(*s, &bad[i]);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
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
		T(records_that_break_the_rules_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
