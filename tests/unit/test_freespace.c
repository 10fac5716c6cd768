/* SPDX-License-Identifier: Apache-2.0
 * test_freespace - what of a disk nobody needs, and what must not be taken for that: between
 * partitions, in ext4 and swap. Other file systems: test_freespace_fs.c.
 */
#include "engine/base/io.h"
#include "tests/unit/spacerig.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define PART_AT (4 * MIB)	/* of the ext4 */
#define PART_MIB 64

/* A disk full of junk with a table: ext4 at 4 MiB, swap at 72 MiB, nothing from 80 MiB. */
static const char *make(struct kit *k, const char *table)
{
	AUTO_FREE char *path = mem_printf("%s/disk", k->dir);
	AUTO_FREE char *big = mem_alloc(3 * MIB);
	AUTO_FD fd = open(path, O_RDWR | O_CREAT, 0600);
	const char *made;

	memset(big, 'x', 3 * MIB);
	for (uint64_t at = 0; at < 100 * MIB; at += sizeof(space_junk))
		assert_int_equal(io_pwrite_full(fd, space_junk, sizeof(space_junk), at), 0);
	kit_bytes(k, "etc/big", big, 3 * MIB);
	kit_file(k, "etc/hostname", "erp\n");
	kit_run((const char *[]){ "sfdisk", "-q", "--no-reread", "-w", "always", path, NULL },
		table);
	made = kit_image(k, "disk", PART_MIB, PART_AT);
	return made;
}

static const char dos[] = "label: dos\n"
	"start=8192, size=131072, type=83\n"
	"start=147456, size=16384, type=82\n";
static const char chained[] = "label: dos\n"
	"start=8192, size=131072, type=83\n"
	"start=147456, size=32768, type=5\n"
	"start=149504, size=8192, type=83\n"
	"start=159744, size=8192, type=83\n";

static bool is_free(const struct freespace *f, uint64_t at, uint64_t len)
{
	for (size_t i = 0; i < f->count; i++)
		if (f->v[i].at <= at && f->v[i].at + f->v[i].len >= at + len)
			return true;
	return false;
}

static bool any_free(const struct freespace *f, uint64_t at, uint64_t len)
{
	for (size_t i = 0; i < f->count; i++)
		if (f->v[i].at < at + len && f->v[i].at + f->v[i].len > at)
			return true;
	return false;
}

static void a_copy_without_free_space_is_a_sound_file_system(void **state)
{
	struct kit *k = *state;
	const char *path = make(k, dos);
	AUTO_FREE char *to = mem_printf("%s/copy", k->dir);
	AUTO_FREE char *text = NULL;
	struct gtree *t;
	size_t n = 0;

	space_copy_rest(path, 70 * MIB, 87 * MIB, to);
	kit_fsck(k, "copy", PART_AT);
	t = kit_open(k, "copy", PART_AT, false);
	text = gtree_read(t, "/etc/big", 4 * MIB, &n);
	assert_int_equal(n, 3 * MIB);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(text[i], 'x');
	gtree_close(&t, NULL);
}

static void gaps_are_free_and_the_edges_of_the_disk_are_not(void **state)
{
	struct kit *k = *state;
	AUTO_FREESPACE f = { 0 };
	AUTO_DISK *d = space_look(make(k, dos), &f);

	assert_true(is_free(&f, 68 * MIB, 4 * MIB));
	assert_true(is_free(&f, 80 * MIB, 19 * MIB));
	assert_false(any_free(&f, 0, PART_AT));		/* a boot loader's place */
	assert_false(any_free(&f, 99 * MIB, MIB));	/* tables and metadata at the end */
	assert_non_null(d);
}

static void gaps_around_logical_partitions_are_read(void **state)
{
	struct kit *k = *state;
	AUTO_FREESPACE f = { 0 };
	AUTO_DISK *d = space_look(make(k, chained), &f);

	assert_false(any_free(&f, 68 * MIB, 32 * MIB));
	assert_true(any_free(&f, PART_AT, PART_MIB * MIB));
	assert_non_null(d);
}

static void make_swap(const char *path)
{
	AUTO_FD fd = open(path, O_RDWR);

	assert_int_equal(io_pwrite_full(fd, "SWAPSPACE2", 10, 72 * MIB + 4086), 0);
}

static void the_inside_of_a_swap_area_is_free(void **state)
{
	struct kit *k = *state;
	const char *path = make(k, dos);
	AUTO_FREESPACE f = { 0 };
	AUTO_DISK *d = NULL;

	make_swap(path);
	d = space_look(path, &f);
	assert_false(any_free(&f, 72 * MIB, 4096));
	assert_true(is_free(&f, 73 * MIB, 7 * MIB));
	assert_non_null(strstr(f.said.s, "; swap on partition 2: 7.9 MiB free"));
}

static void a_hibernated_system_is_read_whole(void **state)
{
	struct kit *k = *state;
	const char *path = make(k, dos);
	AUTO_FREESPACE f = { 0 };
	AUTO_FD fd = open(path, O_RDWR);
	AUTO_DISK *d = NULL;

	make_swap(path);
	assert_int_equal(io_pwrite_full(fd, "S1SUSPEND\0", 10, 72 * MIB + 4086), 0);
	d = space_look(path, &f);
	assert_false(any_free(&f, 72 * MIB, 8 * MIB));
}

/* Change the superblock, as a mount or a crash does. */
static void set_super(struct kit *k, const char *path, const char *field, const char *value)
{
	AUTO_FREE char *part = mem_printf("%s/part", k->dir);
	AUTO_FREE char *in = mem_printf("if=%s", path), *out = mem_printf("of=%s", path);
	AUTO_FREE char *pin = mem_printf("if=%s", part), *pout = mem_printf("of=%s", part);
	AUTO_FREE char *cmd = mem_printf("set_super_value %s %s", field, value);

	kit_run((const char *[]){ "dd", in, pout, "bs=1M", "skip=4", "count=64", "status=none",
				  NULL }, NULL);
	kit_run((const char *[]){ "debugfs", "-w", "-R", cmd, part, NULL }, NULL);
	kit_run((const char *[]){ "dd", pin, out, "bs=1M", "seek=4", "conv=notrunc",
				  "status=none", NULL }, NULL);
}

#define WHOLE_EXT "ext4 on partition 1 is read whole: it was not cleanly unmounted"
#define WHOLE_2 "partition 2 is read whole: its content is unknown"

static void a_file_system_that_was_not_unmounted_is_read_whole(void **state)
{
	struct kit *k = *state;
	const char *path = make(k, dos);
	AUTO_FREESPACE f = { 0 };
	AUTO_DISK *d = NULL;

	set_super(k, path, "state", "0");
	d = space_look(path, &f);
	assert_false(any_free(&f, PART_AT, PART_MIB * MIB));
	assert_string_equal(f.said.s, WHOLE_EXT "; " WHOLE_2);
	assert_string_equal(f.whole.s, WHOLE_EXT "\n" WHOLE_2);
}

static void a_disk_that_has_all_its_free_space_left_out_says_nothing_else(void **state)
{
	struct kit *k = *state;
	const char *path = make(k, dos);
	AUTO_FREESPACE f = { 0 };
	AUTO_DISK *d = NULL;

	make_swap(path);
	d = space_look(path, &f);
	assert_null(f.whole.s);
}

/* A place for a boot loader, and one for its own file system. */
static const char guids[] = "label: gpt\n"
	"start=8192, size=131072, type=linux\n"
	"start=147456, size=2048, type=uefi\n"
	"start=149504, size=2049, type=uefi\n";

static void what_is_small_is_read_without_a_word(void **state)
{
	struct kit *k = *state;
	AUTO_FREESPACE f = { 0 };
	AUTO_DISK *d = space_look(make(k, guids), &f);

	assert_non_null(d);
	assert_string_equal(f.whole.s, "partition 3 is read whole: its content is unknown");
}

static void a_disk_whose_table_is_damaged_is_read_whole(void **state)
{
	struct kit *k = *state;
	const char *path = make(k, guids);
	AUTO_FD fd = open(path, O_RDWR);
	AUTO_FREESPACE f = { 0 };
	AUTO_DISK *d = NULL;

	assert_int_equal(io_pwrite_full(fd, "no", 2, 512), 0);
	assert_int_equal(io_pwrite_full(fd, "no", 2, 100 * MIB - 512), 0);
	d = space_look(path, &f);
	assert_int_equal(f.count, 0);
	assert_string_equal(f.whole.s, "it is read whole: its partition table cannot be read");
}

static void a_journal_that_was_not_replayed_is_read_whole(void **state)
{
	struct kit *k = *state;
	const char *path = make(k, dos);
	AUTO_FREESPACE f = { 0 };
	AUTO_DISK *d = NULL;

	set_super(k, path, "feature_incompat", "0x2c6");
	d = space_look(path, &f);
	assert_false(any_free(&f, PART_AT, PART_MIB * MIB));
	assert_non_null(strstr(f.said.s, "its journal was not replayed"));
}

static void a_disk_of_unknown_content_is_read_whole(void **state)
{
	struct kit *k = *state;
	AUTO_FREE char *path = mem_printf("%s/raw", k->dir);
	AUTO_FREE char *text = mem_alloc(8 * MIB);
	AUTO_FREESPACE f = { 0 };
	AUTO_DISK *d = NULL;

	memset(text, 'u', 8 * MIB);
	assert_int_equal(io_write_file(AT_FDCWD, path, text, 8 * MIB, 0600), 0);
	d = space_look(path, &f);
	assert_int_equal(f.count, 0);
	assert_string_equal(f.said.s, "it is read whole: its content is unknown");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, space_set_up, space_tear_down)
	const struct CMUnitTest tests[] = {
		T(a_copy_without_free_space_is_a_sound_file_system),
		T(gaps_are_free_and_the_edges_of_the_disk_are_not),
		T(gaps_around_logical_partitions_are_read),
		T(the_inside_of_a_swap_area_is_free),
		T(a_hibernated_system_is_read_whole),
		T(a_file_system_that_was_not_unmounted_is_read_whole),
		T(a_disk_that_has_all_its_free_space_left_out_says_nothing_else),
		T(what_is_small_is_read_without_a_word),
		T(a_disk_whose_table_is_damaged_is_read_whole),
		T(a_journal_that_was_not_replayed_is_read_whole),
		T(a_disk_of_unknown_content_is_read_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
