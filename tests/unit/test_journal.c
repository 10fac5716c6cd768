/* SPDX-License-Identifier: Apache-2.0
 * test_journal - the write-ahead log: cut anywhere, damaged anywhere, full disk.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/state/journal.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define LINEAGE "00112233445566778899aabbccddeeff"

struct fix { char root[64], path[96]; };

static int setup(void **state)
{
	struct fix *f = mem_alloc(sizeof(*f));

	strcpy(f->root, "/tmp/drover-test.XXXXXX");
	assert_non_null(mkdtemp(f->root));
	snprintf(f->path, sizeof(f->path), "%s/erp.wal", f->root);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	io_remove_tree(f->root);
	free(f);
	return 0;
}

/* ---- helpers ------------------------------------------------------------------- */

static int add_number(void *arg, const struct journal_record *r, struct err *e)
{
	(void)e;
	str_addf(arg, "%llu=%.*s ", (unsigned long long)r->seq, (int)r->len, r->payload);
	return 0;
}

static void open_ok(struct journal *j, struct fix *f, struct str *seen)
{
	AUTO_STR own = { 0 };
	AUTO_ERR e = { 0 };

	if (journal_open(j, f->path, LINEAGE, 0, add_number, seen ? seen : &own, &e) < 0)
		fail_msg("%s", e.what);
}

/* One batch of records first..last, whose payloads are their numbers. */
static int write_batch(struct journal *j, uint64_t first, uint64_t last, struct err *e)
{
	struct journal_record v[16];
	char text[16][24];
	size_t n = 0;

	for (uint64_t s = first; s <= last; s++, n++) {
		snprintf(text[n], sizeof(text[n]), "r%llu", (unsigned long long)s);
		v[n] = (struct journal_record){ s, text[n], strlen(text[n]) };
	}
	return journal_write(j, v, n, e);
}

static void write_ok(struct journal *j, uint64_t first, uint64_t last)
{
	AUTO_ERR e = { 0 };

	if (write_batch(j, first, last, &e) < 0)
		fail_msg("%s", e.what);
}

/* What a reader sees; "" when nothing, NULL when it is an error (told in e). */
static char *read_text(struct fix *f, struct err *e)
{
	struct str seen = { 0 };

	if (journal_read(f->path, LINEAGE, add_number, &seen, NULL, e) == 0)
		return str_take(&seen);
	str_free(&seen);
	return NULL;
}

static uint8_t *load(struct fix *f, size_t *n)
{
	uint8_t *p = (uint8_t *)io_read_file(AT_FDCWD, f->path, 1 << 24, n);

	assert_non_null(p);
	return p;
}

static void store(struct fix *f, const void *p, size_t n)
{
	assert_int_equal(io_write_file(AT_FDCWD, f->path, p, n, 0600), 0);
}

/* ---- the tests ------------------------------------------------------------------ */

static void records_come_back_in_order(void **state)
{
	struct fix *f = *state;
	struct journal j;
	AUTO_STR seen = { 0 };

	open_ok(&j, f, NULL);
	write_ok(&j, 1, 3);
	write_ok(&j, 4, 4);
	journal_close(&j);
	open_ok(&j, f, &seen);
	assert_string_equal(seen.s, "1=r1 2=r2 3=r3 4=r4 ");
	assert_int_equal(j.last, 4);
	assert_int_equal(j.cut, 0);
	journal_close(&j);
}

static void numbers_may_leave_gaps_but_never_go_back(void **state)
{
	struct fix *f = *state;
	struct journal j;
	AUTO_ERR e = { 0 };
	AUTO_FREE char *text = NULL;

	open_ok(&j, f, NULL);
	write_ok(&j, 5, 5);
	write_ok(&j, 9, 9);
	text = read_text(f, &e);
	assert_string_equal(text, "5=r5 9=r9 ");
	write_ok(&j, 7, 7);
	assert_null(read_text(f, &e));
	journal_close(&j);
}

static bool is_prefix(const char *part, const char *all)
{
	return strncmp(part, all, strlen(part)) == 0;
}

static void cut_at_any_length_it_opens_or_says_why(void **state)
{
	struct fix *f = *state;
	struct journal j;
	AUTO_FREE uint8_t *all = NULL;
	const char *want = "1=r1 2=r2 3=r3 4=r4 5=r5 ";
	size_t n, opened = 0;

	open_ok(&j, f, NULL);
	write_ok(&j, 1, 2);
	write_ok(&j, 3, 3);
	write_ok(&j, 4, 5);
	journal_close(&j);
	all = load(f, &n);
	for (size_t len = 0; len <= n; len++) {
		AUTO_STR seen = { 0 };
		AUTO_ERR e = { 0 };

		store(f, all, len);
		if (journal_open(&j, f->path, LINEAGE, 0, add_number, &seen, &e) < 0) {
			assert_true(len < 64);
			assert_non_null(strstr(e.what, "it is cut off in its header"));
			assert_non_null(strstr(e.hint, "mv "));
		} else {
			opened++;
			assert_true(is_prefix(seen.s ? seen.s : "", want));
			write_ok(&j, 9, 9);	/* and it goes on from there */
		}
		journal_close(&j);
		if (!err_is(&e)) {
			AUTO_FREE char *again = read_text(f, &e);

			assert_non_null(again);
			assert_non_null(strstr(again, "9=r9 "));
		}
	}
	assert_int_equal(opened, n - 64 + 1);
}

/* With a bit of any byte of [from, to) of these turned it is neither read nor opened. */
static void assert_each_flip_seen(struct fix *f, uint8_t *all, size_t n, size_t from, size_t to)
{
	for (size_t at = from; at < to; at++) {
		AUTO_ERR e = { 0 }, why = { 0 };
		struct journal j;

		all[at] ^= 0x04;
		store(f, all, n);
		if (read_text(f, &e))
			fail_msg("the flipped byte %zu was not seen", at);
		assert_non_null(e.hint);
		assert_int_equal(journal_open(&j, f->path, LINEAGE, 0, add_number, NULL, &why), -1);
		journal_close(&j);
		all[at] ^= 0x04;
	}
}

static void damage_before_what_was_durable_is_an_error(void **state)
{
	struct fix *f = *state;
	struct journal j;
	AUTO_FREE uint8_t *all = NULL;
	AUTO_FREE char *want = NULL;
	AUTO_ERR first = { 0 };
	size_t n, last_batch;

	open_ok(&j, f, NULL);
	write_ok(&j, 1, 2);
	write_ok(&j, 3, 3);
	last_batch = j.end;
	write_ok(&j, 4, 4);
	journal_close(&j);
	all = load(f, &n);
	assert_each_flip_seen(f, all, n, 0, last_batch);
	all[64 + 42 + 41] ^= 1;		/* in the payload of record 2 */
	store(f, all, n);
	assert_null(read_text(f, &first));
	want = mem_printf("cannot read journal '%s': record 2 at offset 106 is damaged, and "
			  "record 3 behind it is whole", f->path);
	assert_string_equal(first.what, want);
}

/* Every byte of it: it was acknowledged, so it is not forgotten in silence. */
static void damage_in_the_last_record_is_an_error_too(void **state)
{
	struct fix *f = *state;
	struct journal j;
	AUTO_FREE uint8_t *all = NULL;
	AUTO_FREE char *want = NULL;
	AUTO_ERR first = { 0 };
	size_t n, last;

	open_ok(&j, f, NULL);
	write_ok(&j, 1, 1);
	last = j.end;
	write_ok(&j, 2, 3);
	journal_close(&j);
	all = load(f, &n);
	assert_each_flip_seen(f, all, n, last, j.end);
	all[n - 24 - 1] ^= 1;		/* in the payload of record 3, before the seal */
	store(f, all, n);
	assert_null(read_text(f, &first));
	want = mem_printf("cannot read journal '%s': record 3 at offset %zu is damaged, and was "
			  "once whole up to record 3", f->path, last + 42);
	assert_string_equal(first.what, want);
}

/* The seal holds no record: whatever becomes of it, none is lost, and there is a new one. */
static void a_damaged_seal_is_made_anew(void **state)
{
	struct fix *f = *state;
	struct journal j;
	AUTO_FREE uint8_t *all = NULL;
	size_t n;

	open_ok(&j, f, NULL);
	write_ok(&j, 1, 2);
	journal_close(&j);
	all = load(f, &n);
	for (size_t at = n - 24; at < n; at++) {
		AUTO_STR seen = { 0 };
		AUTO_FREE uint8_t *now = NULL;
		size_t len;

		all[at] ^= 0x04;
		store(f, all, n);
		all[at] ^= 0x04;
		open_ok(&j, f, &seen);
		assert_string_equal(seen.s, "1=r1 2=r2 ");
		journal_close(&j);
		now = load(f, &len);
		assert_int_equal(len, n);
		assert_memory_equal(now, all, n);
	}
}

/* The middle of a batch that was never acknowledged may be missing on disk while
 * its end is there: that is a torn tail, not damage. */
static void a_torn_batch_is_cut_even_if_its_end_is_whole(void **state)
{
	struct fix *f = *state;
	struct journal j;
	AUTO_FREE uint8_t *all = NULL;
	AUTO_STR seen = { 0 };
	size_t n, before;

	open_ok(&j, f, NULL);
	write_ok(&j, 1, 2);
	before = j.end;
	write_ok(&j, 3, 6);
	journal_close(&j);
	all = load(f, &n);
	n -= 24;				/* it was not sealed */
	memset(all + before, 0, 42);		/* record 3 */
	store(f, all, n);
	open_ok(&j, f, &seen);
	assert_string_equal(seen.s, "1=r1 2=r2 ");
	assert_int_equal(j.cut, n - before);
	journal_close(&j);
	free(load(f, &n));
	assert_int_equal(n, before + 24);
}

static void a_journal_of_another_state_is_refused(void **state)
{
	struct fix *f = *state;
	struct journal j;
	AUTO_ERR e = { 0 };

	open_ok(&j, f, NULL);
	journal_close(&j);
	assert_int_equal(journal_read(f->path, "ffffffffffffffffffffffffffffffff", add_number,
				      NULL, NULL, &e), -1);
	assert_non_null(strstr(e.what, "it belongs to state " LINEAGE));
}

static void trimming_keeps_what_git_does_not_have(void **state)
{
	struct fix *f = *state;
	struct journal j;
	AUTO_ERR e = { 0 };
	AUTO_STR seen = { 0 };
	uint64_t before;

	open_ok(&j, f, NULL);
	write_ok(&j, 1, 5);
	before = j.end;
	assert_int_equal(journal_trim(&j, 3, &e), 0);
	assert_true(j.end < before);
	write_ok(&j, 6, 6);
	journal_close(&j);
	open_ok(&j, f, &seen);
	assert_string_equal(seen.s, "4=r4 5=r5 6=r6 ");
	assert_int_equal(j.base, 3);
	journal_close(&j);
}

/* ---- a disk that fails ------------------------------------------------------------- */

static int room;		/* bytes that still fit; the tests run one by one */
static int sync_result;

static ssize_t pwrite_full_disk(int fd, const void *p, size_t n, off_t at)
{
	ssize_t k;

	if (room == 0) {
		errno = ENOSPC;
		return -1;
	}
	k = pwrite(fd, p, n < (size_t)room ? n : (size_t)room, at);
	room -= (int)k;
	return k;
}

static int sync_failing(int fd)
{
	errno = EIO;
	return sync_result < 0 ? -1 : fdatasync(fd);
}

static void a_full_disk_leaves_no_half_record(void **state)
{
	static const struct journal_io io = { pwrite_full_disk, fdatasync };
	struct fix *f = *state;
	struct journal j;
	AUTO_FREE char *text = NULL;

	open_ok(&j, f, NULL);
	write_ok(&j, 1, 2);
	j.io = &io;
	for (int fits = 0; fits < 80; fits++) {
		AUTO_ERR e = { 0 };

		room = fits;
		assert_int_equal(write_batch(&j, 3, 4, &e), -1);
		assert_int_equal(e.sys, ENOSPC);
		assert_false(j.broken);
	}
	room = 1 << 20;			/* somebody has made room */
	write_ok(&j, 5, 5);
	journal_close(&j);
	AUTO_ERR none = { 0 };
	text = read_text(f, &none);
	assert_string_equal(text, "1=r1 2=r2 5=r5 ");
}

static void after_a_failed_sync_nothing_is_promised_any_more(void **state)
{
	static const struct journal_io io = { pwrite, sync_failing };
	struct fix *f = *state;
	struct journal j;
	AUTO_ERR e = { 0 }, again = { 0 };

	open_ok(&j, f, NULL);
	j.io = &io;
	sync_result = -1;
	assert_int_equal(write_batch(&j, 1, 1, &e), -1);
	sync_result = 0;
	assert_int_equal(write_batch(&j, 2, 2, &again), -1);
	assert_non_null(strstr(again.what, "an earlier write failed"));
	journal_close(&j);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(records_come_back_in_order),
		T(numbers_may_leave_gaps_but_never_go_back),
		T(cut_at_any_length_it_opens_or_says_why),
		T(damage_before_what_was_durable_is_an_error),
		T(damage_in_the_last_record_is_an_error_too),
		T(a_damaged_seal_is_made_anew),
		T(a_torn_batch_is_cut_even_if_its_end_is_whole),
		T(a_journal_of_another_state_is_refused),
		T(trimming_keeps_what_git_does_not_have),
		T(a_full_disk_leaves_no_half_record),
		T(after_a_failed_sync_nothing_is_promised_any_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
