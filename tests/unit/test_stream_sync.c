/* SPDX-License-Identifier: Apache-2.0
 * When what was written counts: it is synced and no write beside failed. And what a cut of a
 * stream has done again: no more than STREAM_TWICE, however long a sync takes.
 */
#include "engine/base/mem.h"
#include "modules/lib/tree.h"
#include "tests/unit/streamrig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PIECE (1u << 20)
#define PIECES 100u
#define TWICE (STREAM_TWICE / PIECE)
#define BAD 8u				/* the chunk whose write may fail */
#define UNDER_WAY 15u			/* chunks and what each costs beside: a window */

struct slow {
	struct disk d;			/* first */
	struct sink k;
	pthread_mutex_t lock;		/* guards all below */
	pthread_cond_t cond;
	unsigned read, written, synced;	/* chunks; synced ones are entered too */
	unsigned most;			/* that were ever written and not synced */
	bool failing;			/* chunk BAD is written during the first sync, and fails */
	bool begun;			/* that write is */
	bool held;			/* the first sync was */
	uint8_t digest[PIECES][SHA256_LEN];
	int fd[2];
	struct err send_err;
	int send_rc;
};

static struct slow *slow_of(struct sink *k)
{
	return (struct slow *)((char *)k - offsetof(struct slow, k));
}

/* ---- the source ---------------------------------------------------------------- */

static int src_read(struct disk *d, void *buf, size_t n, uint64_t at, struct err *e)
{
	struct slow *r = (struct slow *)d;

	(void)e;
	memset(buf, (int)(1 + at / PIECE), n);
	pthread_mutex_lock(&r->lock);
	r->read++;
	pthread_cond_broadcast(&r->cond);
	pthread_mutex_unlock(&r->lock);
	return 0;
}

static int src_extent(struct disk *d, uint64_t at, uint64_t *len, bool *hole, struct err *e)
{
	(void)e;
	*hole = false;
	*len = d->size - at;
	return 0;
}

static const struct disk_ops src_ops = { .read = src_read, .extent = src_extent };

/* ---- the target ------------------------------------------------------------------ */

/* A chance for whoever does not keep to an order. */
static void others_go_first(void)
{
	for (int i = 0; i < 1000; i++)
		sched_yield();
}

/* From before the end of the first sync until after it. */
static int dst_fails(struct slow *r, struct err *e)
{
	pthread_mutex_lock(&r->lock);
	r->begun = true;
	pthread_cond_broadcast(&r->cond);
	while (!r->held)
		pthread_cond_wait(&r->cond, &r->lock);
	pthread_mutex_unlock(&r->lock);
	others_go_first();
	errno = EIO;
	return err_sys(e, "cannot write 'dst'");
}

static int dst_data(struct sink *k, const struct stream_chunk *c, struct err *e)
{
	struct slow *r = slow_of(k);

	if (r->failing && c->index == BAD)
		return dst_fails(r, e);
	pthread_mutex_lock(&r->lock);
	r->written++;
	if (r->written - r->synced > r->most)
		r->most = r->written - r->synced;
	pthread_cond_broadcast(&r->cond);
	pthread_mutex_unlock(&r->lock);
	return 0;
}

/* Nothing moves any more: all that may be is written, the window is full. */
static bool stands(const struct slow *r)
{
	return r->written >= TWICE && r->read >= TWICE + UNDER_WAY;
}

/* The first takes until everything stands, or until the write that fails is begun. */
static int dst_sync(struct sink *k, struct err *e)
{
	struct slow *r = slow_of(k);
	bool first;

	(void)e;
	pthread_mutex_lock(&r->lock);
	first = !r->held;
	while (first && !(r->failing ? r->begun : stands(r)))
		pthread_cond_wait(&r->cond, &r->lock);
	pthread_mutex_unlock(&r->lock);
	if (first)
		others_go_first();
	pthread_mutex_lock(&r->lock);
	r->held = true;
	pthread_cond_broadcast(&r->cond);
	pthread_mutex_unlock(&r->lock);
	return 0;
}

static int dst_enter(struct sink *k, const struct map_update *u, size_t n, struct err *e)
{
	struct slow *r = slow_of(k);

	(void)e;
	pthread_mutex_lock(&r->lock);
	r->synced += (unsigned)n;
	for (size_t i = 0; i < n; i++)
		memcpy(r->digest[u[i].index], u[i].digest, SHA256_LEN);
	pthread_mutex_unlock(&r->lock);
	return 0;
}

static int dst_finish(struct sink *k, uint8_t root[SHA256_LEN], struct err *e)
{
	struct slow *r = slow_of(k);
	struct tree t = { .next = 0 };

	(void)e;
	for (unsigned i = 0; i < PIECES; i++)
		tree_add(&t, r->digest[i]);
	tree_end(&t, r->d.size, PIECE, root);
	return 0;
}

static struct sink *dst_open(void *arg, const struct stream_offer *o, struct err *e)
{
	struct slow *r = arg;

	(void)o;
	(void)e;
	return &r->k;
}

/* ---- the tests -------------------------------------------------------------------- */

static void *send_end(void *arg)
{
	struct slow *r = arg;
	struct stream_open o = { .disk = "root", .chunk = PIECE };
	struct stream_stat st;
	struct pipe p;
	struct stream s = { .pipe = &p, .zip = ZIP_NONE };

	pipe_of_socket(&p, r->fd[0]);
	r->send_rc = stream_send(&s, &r->d, &o, &st, &r->send_err);
	close(r->fd[0]);
	return NULL;
}

static int set_up(void **state)
{
	struct slow *r = mem_alloc(sizeof(*r));

	r->d = (struct disk){ .ops = &src_ops, .size = (uint64_t)PIECE * PIECES };
	r->k = (struct sink){ .data = dst_data, .sync = dst_sync, .enter = dst_enter,
			      .finish = dst_finish, .pass = 1 };
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->cond, NULL);
	*state = r;
	return 0;
}

static int tear_down(void **state)
{
	struct slow *r = *state;

	err_clear(&r->send_err);
	free(r);
	return 0;
}

/* What stream_recv() returned. */
static int one_pass(struct slow *r, struct err *e)
{
	struct stream_receiver how = { .open = dst_open, .close = sr_close, .arg = r };
	struct pipe p;
	struct stream s = { .pipe = &p };
	pthread_t t;
	int rc;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, r->fd), 0);
	pipe_of_socket(&p, r->fd[1]);
	assert_int_equal(pthread_create(&t, NULL, send_end, r), 0);
	rc = stream_recv(&s, &how, e);
	pthread_join(t, NULL);
	close(r->fd[1]);
	return rc;
}

static void a_slow_sync_holds_the_writers_back(void **state)
{
	struct slow *r = *state;
	AUTO_ERR e = { 0 };

	assert_int_equal(one_pass(r, &e), 1);
	assert_int_equal(r->send_rc, 0);
	assert_int_equal(r->synced, PIECES);
	assert_int_equal(r->most, TWICE);
}

static void of_a_sync_beside_a_write_that_fails_nothing_is_entered(void **state)
{
	struct slow *r = *state;
	AUTO_ERR e = { 0 };

	r->failing = true;
	assert_int_equal(one_pass(r, &e), -1);
	assert_string_equal(e.what, "cannot write 'dst': Input/output error");
	assert_int_equal(r->send_rc, -1);
	assert_true(r->held);
	assert_int_equal(r->synced, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define ON(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
		ON(a_slow_sync_holds_the_writers_back),
		ON(of_a_sync_beside_a_write_that_fails_nothing_is_entered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
