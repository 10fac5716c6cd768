/* SPDX-License-Identifier: Apache-2.0
 * streamrig - both ends of a stream in one process.
 */
#include "tests/unit/streamrig.h"

#include "engine/base/mem.h"
#include "modules/lib/tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- a disk in memory ------------------------------------------------------- */

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

static bool pot_have(struct sink *k, uint64_t i, uint8_t digest[SHA256_LEN])
{
	struct pot *p = (struct pot *)k;

	memcpy(digest, p->digest[i], SHA256_LEN);
	return p->known[i];
}

/* Is this in the memory of a stream's slots? */
static bool is_shared(const void *p)
{
	FILE *f = fopen("/proc/self/maps", "re");
	char line[256];
	bool found = false;

	assert_non_null(f);
	while (!found && fgets(line, sizeof(line), f)) {
		char *end;
		uintptr_t from = strtoull(line, &end, 16), to = strtoull(end + 1, NULL, 16);

		found = (uintptr_t)p >= from && (uintptr_t)p < to &&
			strstr(line, "drover-stream");
	}
	fclose(f);
	return found;
}

static int pot_data(struct sink *k, const struct stream_chunk *c, struct err *e)
{
	struct pot *p = (struct pot *)k;

	if (c->index == p->fail_at) {
		errno = ENOSPC;
		return err_sys(e, "cannot write 'pot'");
	}
	__atomic_fetch_add(&p->data, 1, __ATOMIC_RELAXED);
	if (is_shared(c->plain))
		__atomic_fetch_add(&p->shared, 1, __ATOMIC_RELAXED);
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

static int pot_sync(struct sink *k, struct err *e)
{
	if (!((struct pot *)k)->fail_sync)
		return 0;
	errno = EIO;
	return err_sys(e, "cannot sync 'pot'");
}

static int pot_enter(struct sink *k, const struct map_update *u, size_t n, struct err *e)
{
	struct pot *p = (struct pot *)k;

	(void)e;
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
		.sync = pot_sync, .enter = pot_enter, .finish = pot_finish, .pass = 1 },
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

int sr_close(void *arg, struct sink *k, const struct stream_stat *st, bool ok, struct err *e)
{
	(void)arg;
	(void)k;
	(void)st;
	(void)ok;
	(void)e;
	return 0;
}

struct stream_receiver sr_receiver(struct rig *r)
{
	return (struct stream_receiver){ .open = pot_open, .close = sr_close, .arg = &r->pot };
}

/* ---- both ends, and what lies between ------------------------------------------ */

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

static void lay_sockets(struct rig *r)
{
	int a[2], b[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, a), 0);
	r->send_fd = a[0];
	r->recv_fd = a[1];
	if (r->joined)
		return;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, b), 0);
	r->proxy[0] = a[1];
	r->proxy[1] = b[1];
	r->recv_fd = b[0];
}

void sr_run(struct rig *r)
{
	struct stream_receiver how = sr_receiver(r);
	struct pipe p;
	struct stream s = { .pipe = &p };
	pthread_t t[2];

	lay_sockets(r);
	err_clear(&r->send_err);
	err_clear(&r->recv_err);
	r->pot.data = r->pot.zero = r->pot.shared = 0;
	if (!r->joined)
		assert_int_equal(pthread_create(&t[0], NULL, proxy, r), 0);
	assert_int_equal(pthread_create(&t[1], NULL, send_end, r), 0);
	pipe_of_socket(&p, r->recv_fd);
	while ((r->recv_rc = stream_recv(&s, &how, &r->recv_err)) == 1)
		;
	close(r->recv_fd);
	pthread_join(t[1], NULL);
	if (!r->joined)
		pthread_join(t[0], NULL);
}

int sr_set_up(void **state)
{
	struct rig *r = mem_alloc(sizeof(*r));

	ram_init(&r->ram);
	pot_init(&r->pot);
	r->cut = r->flip = UINT64_MAX;
	*state = r;
	return 0;
}

int sr_set_up_joined(void **state)
{
	int rc = sr_set_up(state);

	((struct rig *)*state)->joined = true;
	return rc;
}

int sr_tear_down(void **state)
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

void sr_assert_arrived(struct rig *r)
{
	if (r->send_rc || r->recv_rc)
		fail_msg("sender: %s; receiver: %s", r->send_err.what, r->recv_err.what);
	assert_memory_equal(r->ram.p, r->pot.p, SIZE);
	assert_memory_equal(r->st.root, r->pot.root, SHA256_LEN);
}

void sr_assert_read_error_told(struct rig *r)
{
	r->ram.bad = 33 * CHUNK + 17;
	sr_run(r);
	assert_int_equal(r->send_rc, -1);
	assert_string_equal(r->send_err.what,
			    "cannot read 'ram' at byte 2162688, length 65536: Input/output error");
	assert_int_equal(r->recv_rc, -1);
	assert_string_equal(r->recv_err.what, "the other end stopped: cannot read 'ram' at byte "
			    "2162688, length 65536: Input/output error");
}

void sr_assert_full_target_told(struct rig *r)
{
	r->pot.fail_at = 42;
	sr_run(r);
	assert_int_equal(r->recv_rc, -1);
	assert_string_equal(r->recv_err.what, "cannot write 'pot': No space left on device");
	assert_int_equal(r->recv_err.sys, ENOSPC);
	assert_int_equal(r->send_rc, -1);
	assert_string_equal(r->send_err.what, "the other end stopped: cannot write 'pot': "
			    "No space left on device");
	assert_false(r->pot.known[42]);
}
