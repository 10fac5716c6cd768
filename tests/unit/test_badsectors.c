/* SPDX-License-Identifier: Apache-2.0
 * test_badsectors - a disk that cannot be read everywhere, copied all the same.
 */
#include "engine/base/mem.h"
#include "modules/lib/badsectors.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SIZE (10 * 4096u + 512)

/* Bytes of value 7, of which [from, to) give `error`. */
struct medium {
	struct disk d;
	uint64_t from, to;
	int error;
	unsigned heals;		/* after so many such reads it gives what is there; 0: never */
};

static int m_read(struct disk *d, void *buf, size_t n, uint64_t at, struct err *e)
{
	struct medium *m = (struct medium *)d;

	if (at < m->to && at + n > m->from) {
		if (m->heals && --m->heals == 0)
			m->from = m->to = 0;
		errno = m->error;
		return err_sys(e, "cannot read");
	}
	memset(buf, 7, n);
	return 0;
}

static int m_close(struct disk *d, struct err *e)
{
	(void)e;
	free(d->path);
	free(d);
	return 0;
}

static const struct disk_ops ops = { .read = m_read, .close = m_close };

static struct disk *medium_that_heals(uint64_t from, uint64_t to, int error, unsigned heals,
				      struct badsectors *b)
{
	struct medium *m = mem_alloc(sizeof(*m));

	m->d = (struct disk){ .ops = &ops, .size = SIZE, .path = mem_strdup("disk") };
	m->from = from;
	m->to = to;
	m->error = error;
	m->heals = heals;
	return badsectors_zero(&m->d, b);
}

static struct disk *medium(uint64_t from, uint64_t to, int error, struct badsectors *b)
{
	return medium_that_heals(from, to, error, 0, b);
}

/* `[from, to)` of what was read is zeros, the rest is not. */
static void assert_zeros(const char *buf, uint64_t from, uint64_t to)
{
	for (uint64_t i = 0; i < SIZE; i++)
		assert_int_equal(buf[i], i >= from && i < to ? 0 : 7);
}

static void what_cannot_be_read_is_zeros_and_nothing_else_is(void **state)
{
	AUTO_BADSECTORS b = { 0 };
	AUTO_DISK *d = medium(5000, 9000, EIO, &b);
	AUTO_FREE char *buf = disk_buffer(SIZE);

	(void)state;
	assert_int_equal(d->ops->read(d, buf, SIZE, 0, NULL), 0);
	assert_zeros(buf, 4096, 3 * 4096);
	assert_int_equal(b.count, 1);
	assert_int_equal(b.v[0].at, 4096);
	assert_int_equal(b.v[0].len, 2 * 4096);
	assert_int_equal(b.bytes, 2 * 4096);
}

static void the_shorter_end_of_a_disk_may_be_bad_too(void **state)
{
	AUTO_BADSECTORS b = { 0 };
	AUTO_DISK *d = medium(SIZE - 1, SIZE, EIO, &b);
	AUTO_FREE char *buf = disk_buffer(SIZE);

	(void)state;
	assert_int_equal(d->ops->read(d, buf, SIZE, 0, NULL), 0);
	assert_zeros(buf, SIZE - 512, SIZE);
	assert_int_equal(b.bytes, 512);
}

static void what_a_disk_says_of_a_medium_error_is_one(void **state)
{
	static const int said[] = { EIO, ENODATA, EILSEQ, EREMOTEIO };
	AUTO_FREE char *buf = disk_buffer(SIZE);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(said); i++) {
		AUTO_BADSECTORS b = { 0 };
		AUTO_DISK *d = medium(5000, 9000, said[i], &b);

		assert_int_equal(d->ops->read(d, buf, SIZE, 0, NULL), 0);
		assert_int_equal(b.bytes, 2 * 4096);
	}
}

static void another_error_is_no_bad_sector(void **state)
{
	AUTO_BADSECTORS b = { 0 };
	AUTO_DISK *d = medium(5000, 9000, ENXIO, &b);
	AUTO_FREE char *buf = disk_buffer(SIZE);
	AUTO_ERR e = { 0 };

	(void)state;
	assert_int_equal(d->ops->read(d, buf, SIZE, 0, &e), -1);
	assert_int_equal(e.sys, ENXIO);
	assert_int_equal(b.bytes, 0);
}

/* A medium that had a bad moment: what a second try reads is no zeros, and no finding. */
static void what_can_be_read_at_a_second_try_is_not_lost(void **state)
{
	AUTO_BADSECTORS b = { 0 };
	AUTO_DISK *d = medium_that_heals(5000, 9000, EIO, 1, &b);
	AUTO_FREE char *buf = disk_buffer(SIZE);

	(void)state;
	assert_int_equal(d->ops->read(d, buf, SIZE, 0, NULL), 0);
	assert_zeros(buf, 0, 0);
	assert_int_equal(b.count, 0);
	assert_int_equal(b.bytes, 0);
}

static void more_places_than_a_person_reads_are_counted(void **state)
{
	AUTO_BADSECTORS b = { 0 };
	AUTO_DISK *d = medium(0, SIZE, EIO, &b);
	AUTO_FREE char *buf = disk_buffer(4096);

	(void)state;
	/* Every second piece, so that no two are one stretch. */
	for (unsigned i = 0; i < 2 * BAD_RUNS; i++)
		assert_int_equal(d->ops->read(d, buf, 4096, i % 5 * 8192, NULL), 0);
	assert_int_equal(b.count, BAD_RUNS);
	assert_int_equal(b.bytes, 2 * BAD_RUNS * 4096);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_cannot_be_read_is_zeros_and_nothing_else_is),
		cmocka_unit_test(the_shorter_end_of_a_disk_may_be_bad_too),
		cmocka_unit_test(what_a_disk_says_of_a_medium_error_is_one),
		cmocka_unit_test(another_error_is_no_bad_sector),
		cmocka_unit_test(what_can_be_read_at_a_second_try_is_not_lost),
		cmocka_unit_test(more_places_than_a_person_reads_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
