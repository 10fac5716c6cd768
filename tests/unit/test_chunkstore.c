/* SPDX-License-Identifier: Apache-2.0
 * test_chunkstore - what all backups share: kept once, and checked when it is read.
 */
#include "engine/base/mem.h"
#include "tests/unit/chunkrig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The system's call, but of a medium that fails while this is so. */
static bool medium_fails;

int fdatasync(int fd)
{
	if (!medium_fails)
		return (int)syscall(SYS_fdatasync, fd);
	errno = EIO;
	return -1;
}

static void a_chunk_is_kept_once(void **state)
{
	struct chunkrig *r = *state;

	assert_int_equal(chunkrig_put(r->s, 1), CHUNKRIG_LEN);
	assert_int_equal(chunkrig_put(r->s, 1), 0);
	assert_int_equal(chunkstore_seal(r->s, NULL), 0);
	assert_int_equal(chunkrig_put(r->s, 1), 0);
	assert_true(chunkrig_is_whole(r->s, 1, NULL));
	chunkrig_reopen(r, CHUNKS_ADD);
	assert_int_equal(chunkrig_put(r->s, 1), 0);
	assert_true(chunkrig_is_whole(r->s, 1, NULL));
}

static void what_was_not_sealed_is_not_there(void **state)
{
	struct chunkrig *r = *state;
	AUTO_ERR e = { 0 };

	chunkrig_put(r->s, 1);
	assert_int_equal(chunkstore_seal(r->s, NULL), 0);
	chunkrig_put(r->s, 2);
	chunkrig_reopen(r, CHUNKS_READ);
	assert_true(chunkrig_is_whole(r->s, 1, NULL));
	assert_false(chunkrig_is_whole(r->s, 2, &e));
	assert_non_null(strstr(e.what, "a chunk is missing"));
}

/* What a power cut may take must not be named by an index that it leaves. */
static void chunks_of_which_a_sync_failed_are_in_no_index(void **state)
{
	struct chunkrig *r = *state;
	AUTO_ERR e = { 0 };
	int rc;

	chunkrig_put(r->s, 1);
	assert_int_equal(chunkstore_seal(r->s, NULL), 0);
	chunkrig_put(r->s, 2);
	medium_fails = true;
	rc = chunkstore_seal(r->s, &e);
	medium_fails = false;
	assert_int_equal(rc, -1);
	assert_int_equal(e.sys, EIO);
	chunkrig_reopen(r, CHUNKS_ADD);
	assert_true(chunkrig_is_whole(r->s, 1, NULL));
	assert_false(chunkrig_is_whole(r->s, 2, NULL));
	assert_int_equal(chunkrig_put(r->s, 2), CHUNKRIG_LEN);
	assert_int_equal(chunkstore_seal(r->s, NULL), 0);
	assert_true(chunkrig_is_whole(r->s, 2, NULL));
}

static void index_files_are_merged_and_every_chunk_is_found(void **state)
{
	struct chunkrig *r = *state;

	for (unsigned n = 0; n < 600; n++) {
		chunkrig_put(r->s, n);
		assert_int_equal(chunkstore_seal(r->s, NULL), 0);
	}
	assert_in_range(chunkrig_files(r, "index", NULL), 1, 4 * 8);
	chunkrig_reopen(r, CHUNKS_READ);
	for (unsigned n = 0; n < 600; n++)
		assert_true(chunkrig_is_whole(r->s, n, NULL));
	assert_false(chunkrig_is_whole(r->s, 600, NULL));
}

static void a_flipped_byte_of_data_is_found(void **state)
{
	struct chunkrig *r = *state;
	AUTO_ERR e = { 0 };

	chunkrig_put(r->s, 1);
	chunkstore_seal(r->s, NULL);
	chunkrig_flip(r, "packs", 100);
	assert_false(chunkrig_is_whole(r->s, 1, &e));
	assert_non_null(strstr(e.what, "a chunk has not the digest that it is known by"));
}

static void a_flipped_entry_is_as_none_and_its_chunk_is_stored_again(void **state)
{
	struct chunkrig *r = *state;

	chunkrig_put(r->s, 1);
	chunkstore_seal(r->s, NULL);
	chunkrig_flip(r, "index", SHA256_LEN + 2);
	chunkrig_reopen(r, CHUNKS_ADD);
	assert_false(chunkrig_is_whole(r->s, 1, NULL));
	assert_int_equal(chunkrig_put(r->s, 1), CHUNKRIG_LEN);
	assert_int_equal(chunkstore_seal(r->s, NULL), 0);
	assert_true(chunkrig_is_whole(r->s, 1, NULL));
}

/* The one pack there is: gone, or cut to a length. */
static void harm_pack(struct chunkrig *r, off_t to)
{
	AUTO_FREE char *packs = mem_printf("%s/packs", r->place), *path = NULL;
	DIR *dir = opendir(packs);
	const struct dirent *d;

	while ((d = readdir(dir)) && d->d_name[0] == '.')
		;
	assert_non_null(d);
	path = mem_printf("%s/%s", packs, d->d_name);
	closedir(dir);
	assert_int_equal(to < 0 ? unlink(path) : truncate(path, to), 0);
}

/* An older index still names where it was, whichever is read first, and so do merged ones. */
static void check_stored_again(struct chunkrig *r, off_t to)
{
	chunkrig_put(r->s, 1);
	chunkrig_put(r->s, 2);
	assert_int_equal(chunkstore_seal(r->s, NULL), 0);
	chunkrig_reopen(r, CHUNKS_ADD);
	harm_pack(r, to);
	assert_false(chunkrig_is_whole(r->s, 2, NULL));
	assert_int_equal(chunkrig_put(r->s, 2), CHUNKRIG_LEN);
	for (unsigned n = 10; n < 30; n++) {	/* so that index files are merged */
		assert_int_equal(chunkstore_seal(r->s, NULL), 0);
		assert_true(chunkrig_is_whole(r->s, 2, NULL));
		chunkrig_put(r->s, n);
	}
	chunkrig_reopen(r, CHUNKS_SWEEP);
	assert_true(chunkrig_is_whole(r->s, 2, NULL));
	assert_true(chunkrig_mark(r->s, 2));
	assert_int_equal(chunkstore_sweep(r->s, &(uint64_t){ 0 }, NULL), 0);
	chunkrig_reopen(r, CHUNKS_READ);
	assert_true(chunkrig_is_whole(r->s, 2, NULL));
}

static void a_chunk_whose_pack_is_gone_is_stored_again(void **state)
{
	check_stored_again(*state, -1);
}

static void a_chunk_behind_the_end_of_its_pack_is_stored_again(void **state)
{
	check_stored_again(*state, 8 + CHUNKRIG_LEN + 100);
}

static void a_place_without_backups_has_none(void **state)
{
	AUTO_ERR e = { 0 };

	(void)state;
	assert_null(chunkstore_open("/nonexistent/place", CHUNKS_READ, &e));
	assert_int_equal(e.sys, ENOENT);
}

struct putter {
	struct chunkstore *s;
	unsigned first, failed;
	atomic_uint *running;
};

#define PUTS 400u

static void *put_on(void *arg)
{
	struct putter *w = arg;
	uint8_t p[CHUNKRIG_LEN], d[SHA256_LEN];
	struct chunk_bytes b = { p, CHUNKRIG_LEN, CHUNKRIG_LEN, false };
	uint64_t added = 0;

	for (unsigned n = w->first; n < w->first + PUTS; n++) {
		chunkrig_plain(n, p);
		sha256_of(p, CHUNKRIG_LEN, d);
		w->failed += chunkstore_put(w->s, d, &b, &added, NULL) != 0;
	}
	atomic_fetch_sub(w->running, 1);
	return NULL;
}

/* What a seal takes away is nothing that a putter still looks at; a sanitizer sees it. */
static void threads_put_while_another_seals(void **state)
{
	struct chunkrig *r = *state;
	atomic_uint running = 2;
	struct putter w[2] = { { r->s, 1000, 0, &running }, { r->s, 1000 + PUTS / 2, 0, &running } };
	pthread_t t[2];
	int bad = 0;

	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&t[i], NULL, put_on, &w[i]), 0);
	while (atomic_load(&running) > 0)
		bad += chunkstore_seal(r->s, NULL) != 0;
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(bad + (int)(w[0].failed + w[1].failed), 0);
	assert_int_equal(chunkstore_seal(r->s, NULL), 0);
	for (unsigned n = 1000; n < 1000 + PUTS + PUTS / 2; n++)
		assert_true(chunkrig_is_whole(r->s, n, NULL));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, chunkrig_set_up, chunkrig_tear_down)
	const struct CMUnitTest tests[] = {
		T(a_chunk_is_kept_once),
		T(what_was_not_sealed_is_not_there),
		T(chunks_of_which_a_sync_failed_are_in_no_index),
		T(index_files_are_merged_and_every_chunk_is_found),
		T(a_flipped_byte_of_data_is_found),
		T(a_flipped_entry_is_as_none_and_its_chunk_is_stored_again),
		T(a_chunk_whose_pack_is_gone_is_stored_again),
		T(a_chunk_behind_the_end_of_its_pack_is_stored_again),
		T(a_place_without_backups_has_none),
		T(threads_put_while_another_seals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
