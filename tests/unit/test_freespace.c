/* SPDX-License-Identifier: Apache-2.0
 * test_freespace - what of a disk nobody needs, and what must not be taken for that.
 */
#include "engine/base/io.h"
#include "engine/base/proc.h"
#include "modules/lib/freespace.h"
#include "tests/unit/guestkit.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB (1ull << 20)
#define PART_AT (4 * MIB)	/* of the ext4 */
#define PART_MIB 64

static const char junk[4096] = "what nobody needs";

/* A disk full of junk with a table: ext4 at 4 MiB, swap at 72 MiB, nothing from 80 MiB. */
static const char *make(struct kit *k, const char *table)
{
	AUTO_FREE char *path = mem_printf("%s/disk", k->dir);
	AUTO_FREE char *big = mem_alloc(3 * MIB);
	AUTO_FD fd = open(path, O_RDWR | O_CREAT, 0600);
	const char *made;

	memset(big, 'x', 3 * MIB);
	for (uint64_t at = 0; at < 100 * MIB; at += sizeof(junk))
		assert_int_equal(io_pwrite_full(fd, junk, sizeof(junk), at), 0);
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

static struct disk *look(const char *path, struct freespace *f)
{
	struct disk *d = disk_open_image(path, "raw", 0, NULL);

	assert_non_null(d);
	freespace_find(d, f);
	return d;
}

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

static int set_up(void **state)
{
	*state = kit_new();
	return 0;
}

static int tear_down(void **state)
{
	kit_free(*state);
	return 0;
}

/* Copy all that is not free into an empty file: what a migration does. */
static void copy_rest(struct disk *d, const char *to)
{
	AUTO_FD fd = open(to, O_RDWR | O_CREAT, 0600);
	AUTO_FREE char *buf = disk_buffer(MIB);

	assert_int_equal(ftruncate(fd, (off_t)d->size), 0);
	for (uint64_t at = 0, len; at < d->size; at += len) {
		bool hole;

		assert_int_equal(d->ops->extent(d, at, &len, &hole, NULL), 0);
		for (uint64_t done = 0, n; !hole && done < len; done += n) {
			n = len - done < MIB ? len - done : MIB;
			assert_int_equal(d->ops->read(d, buf, n, at + done, NULL), 0);
			assert_int_equal(io_pwrite_full(fd, buf, n, at + done), 0);
		}
	}
}

static void a_copy_without_free_space_is_a_sound_file_system(void **state)
{
	struct kit *k = *state;
	const char *path = make(k, dos);
	AUTO_FREE char *to = mem_printf("%s/copy", k->dir);
	AUTO_FREE char *text = NULL;
	AUTO_FREESPACE f = { 0 };
	struct disk *d = look(path, &f);
	struct gtree *t;
	size_t n = 0;

	assert_in_range(f.bytes, 70 * MIB, 87 * MIB);
	d = freespace_skip(d, &f);
	copy_rest(d, to);
	disk_close(&d, NULL);
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
	AUTO_DISK *d = look(make(k, dos), &f);

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
	AUTO_DISK *d = look(make(k, chained), &f);

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
	d = look(path, &f);
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
	d = look(path, &f);
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
	d = look(path, &f);
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
	d = look(path, &f);
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
	AUTO_DISK *d = look(make(k, guids), &f);

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
	d = look(path, &f);
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
	d = look(path, &f);
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
	d = look(path, &f);
	assert_int_equal(f.count, 0);
	assert_string_equal(f.said.s, "it is read whole: its content is unknown");
}

/* ---- XFS and NTFS ------------------------------------------------------------------ */

#define FS_SIZE (32 * MIB)

/* A disk without a table, with junk all over it, and a file system of that kind. */
static char *make_fs(const char *const *argv, char *path)
{
	AUTO_FD fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(ftruncate(fd, FS_SIZE), 0);
	for (uint64_t at = 0; at < FS_SIZE; at += MIB / 4)
		assert_int_equal(io_pwrite_full(fd, junk, sizeof(junk), at), 0);
	kit_run(argv, NULL);
	return path;
}

/* mkfs.xfs makes so small ones for tests alone. */
static char *make_xfs(struct kit *k, const char *crc)
{
	char *path = mem_printf("%s/xfs", k->dir);
	const char *argv[] = { "env", "TEST_DIR=1", "TEST_DEV=1", "QA_CHECK_FS=1", "mkfs.xfs", "-q",
			       "-f", "-K", "-m", crc, "-d", "agcount=2", path, NULL };

	return make_fs(argv, path);
}

static char *make_ntfs(struct kit *k)
{
	char *path = mem_printf("%s/ntfs", k->dir);
	const char *argv[] = { "mkntfs", "-q", "-Q", "-F", path, NULL };

	return make_fs(argv, path);
}

/* What a program says of the file system, one number behind `key`. */
static uint64_t number_of(const char *const *argv, const char *key)
{
	struct proc p = { .argv = argv, .timeout_ms = 60000 };
	uint64_t n;
	char *at;

	assert_int_equal(proc_run(&p, NULL), 0);
	at = p.out.s ? strstr(p.out.s, key) : NULL;
	assert_non_null(at);
	n = strtoull(at + strlen(key), NULL, 10);
	proc_free(&p);
	return n;
}

/* All but what is too small to be worth it is found, and a copy without it is sound. */
static void copies_soundly(const char *path, uint64_t free_bytes, const char *const *check,
			   const char *to)
{
	AUTO_FREESPACE f = { 0 };
	struct disk *d = look(path, &f);

	assert_in_range(f.bytes, free_bytes - 2 * MIB, free_bytes);
	d = freespace_skip(d, &f);
	copy_rest(d, to);
	disk_close(&d, NULL);
	kit_run(check, NULL);
}

static void is_read_whole(const char *path, const char *why)
{
	AUTO_FREESPACE f = { 0 };
	AUTO_DISK *d = look(path, &f);

	assert_non_null(d);
	assert_int_equal(f.count, 0);
	assert_int_equal(f.bytes, 0);
	assert_string_equal(f.said.s, why);
}

static void put_at(const char *path, uint64_t at, const void *p, size_t n)
{
	AUTO_FD fd = open(path, O_RDWR);

	assert_int_equal(io_pwrite_full(fd, p, n, at), 0);
}

/* Where these bytes first stand at a multiple of 512 from `from` on. */
static uint64_t find_sector(const char *path, uint64_t from, const void *magic, size_t n)
{
	AUTO_FD fd = open(path, O_RDONLY);
	char b[512];

	for (uint64_t at = from; io_pread_full(fd, b, 512, at) == 0; at += 512)
		if (memcmp(b, magic, n) == 0)
			return at;
	fail_msg("it has no such sector");
	return 0;
}

static void an_xfs_copied_without_its_free_blocks_is_sound(void **state)
{
	static const char *const crcs[] = { "crc=1", "crc=0" };
	struct kit *k = *state;
	AUTO_FREE char *to = mem_printf("%s/copy", k->dir);
	const char *check[] = { "xfs_repair", "-n", "-f", to, NULL };

	for (size_t i = 0; i < ARRAY_LEN(crcs); i++) {
		AUTO_FREE char *path = make_xfs(k, crcs[i]);
		const char *ask[] = { "xfs_db", "-r", "-c", "freesp -s", path, NULL };

		copies_soundly(path, number_of(ask, "total free blocks ") * 4096, check, to);
		assert_int_equal(unlink(to), 0);
	}
}

static const uint8_t record[4] = { 0xfe, 0xed, 0xba, 0xbe };

/* A log of which a part was written once more: the newest record is not at its beginning. */
static void wrap_log(const char *path, uint64_t log, uint64_t end)
{
	uint8_t head[512], op[512], second[4] = { 0, 0, 0, 2 }, first[4] = { 0, 0, 0, 1 };
	AUTO_FD fd = open(path, O_RDWR);

	assert_int_equal(io_pread_full(fd, head, 512, log), 0);
	assert_int_equal(io_pread_full(fd, op, 512, log + 512), 0);
	for (uint64_t at = log; at < end; at += 512)
		assert_int_equal(io_pwrite_full(fd, at < log + 100 * 512 ? second : first, 4, at), 0);
	memcpy(head + 4, second, 4);
	memcpy(op, second, 4);
	assert_int_equal(io_pwrite_full(fd, head, 512, log + 98 * 512), 0);
	assert_int_equal(io_pwrite_full(fd, op, 512, log + 99 * 512), 0);
}

static void an_xfs_whose_log_is_not_empty_is_read_whole(void **state)
{
	struct kit *k = *state;
	AUTO_FREE char *path = make_xfs(k, "crc=1");
	const char *ask[] = { "xfs_db", "-r", "-c", "sb 0", "-c", "p logblocks", path, NULL };
	uint64_t log = find_sector(path, 0, record, 4), blocks = number_of(ask, "logblocks = ");
	AUTO_FREESPACE f = { 0 };
	struct disk *d;

	wrap_log(path, log, log + blocks * 4096);
	d = look(path, &f);
	assert_in_range(f.bytes, 15 * MIB, FS_SIZE);
	disk_close(&d, NULL);
	put_at(path, log + 99 * 512 + 9, "\0", 1);	/* no unmount's */
	is_read_whole(path, "xfs is read whole: it was not cleanly unmounted");
	put_at(path, log, "\0\0\0\7", 4);
	is_read_whole(path, "xfs is read whole: its log is not understood");
}

static void a_damaged_xfs_is_read_whole(void **state)
{
	struct kit *k = *state;
	AUTO_FREE char *path = make_xfs(k, "crc=0");
	uint64_t second = find_sector(path, 4096, "XFSB", 4);
	uint64_t tree = find_sector(path, second, "ABTB", 4);

	put_at(path, tree + 16 + 4, "\0\0\0\7", 4);	/* its sum is another then */
	is_read_whole(path, "xfs is read whole: it is damaged");
	free(path);
	path = make_xfs(k, "crc=1");
	tree = find_sector(path, 0, "AB3B", 4);
	put_at(path, tree + 2048, "x", 1);
	is_read_whole(path, "xfs is read whole: it is damaged");
}

static void an_ntfs_copied_without_its_free_clusters_is_sound(void **state)
{
	struct kit *k = *state;
	AUTO_FREE char *path = make_ntfs(k), *to = mem_printf("%s/copy", k->dir);
	AUTO_FREE char *file = mem_printf("%s/file", k->dir);
	const char *copy[] = { "ntfscp", "-q", path, path, "one", NULL };
	const char *ask[] = { "ntfsinfo", "-m", path, NULL };
	const char *check[] = { "ntfsresize", "-i", "-f", "-P", to, NULL };

	assert_int_equal(io_write_file(AT_FDCWD, file, junk, sizeof(junk), 0600), 0);
	copy[3] = file;
	kit_run(copy, NULL);
	copies_soundly(path, number_of(ask, "Free Clusters: ") * 4096, check, to);
	copy[0] = "ntfscat";
	copy[1] = to;
	copy[2] = "one";
	copy[3] = NULL;
	assert_int_equal(number_of(copy, "what nobody need"), 0);	/* it is all there */
}

/* Record `no` of the table of files. */
static uint64_t file_record(const char *path, unsigned no)
{
	return find_sector(path, 4096, "FILE", 4) + 1024 * no;
}

static void an_ntfs_that_is_not_at_rest_is_read_whole(void **state)
{
	struct kit *k = *state;
	AUTO_FREE char *path = make_ntfs(k), *file = mem_printf("%s/file", k->dir);
	const char *copy[] = { "ntfscp", "-q", path, file, "HIBERFIL.sys", NULL };
	AUTO_FREE char *sleep = mem_alloc(8192);
	uint64_t volume = file_record(path, 3), at = 0;
	AUTO_FD fd = open(path, O_RDWR);
	uint8_t rec[1024];

	assert_int_equal(io_pread_full(fd, rec, sizeof(rec), volume), 0);
	for (at = 48; at < 1000 && (rec[at] != 0x70 || rec[at + 4] != 0x28); at += 8)
		;
	put_at(path, volume + at + 24 + 10, "\1", 1);
	is_read_whole(path, "ntfs is read whole: it was not cleanly unmounted");
	put_at(path, volume + at + 24 + 10, "\0", 1);
	put_at(path, volume + 510, "xx", 2);	/* torn: the mark is not there */
	is_read_whole(path, "ntfs is read whole: it is damaged");
	put_at(path, volume + 510, rec + 510, 2);
	strcpy(sleep, "hibr");
	assert_int_equal(io_write_file(AT_FDCWD, file, sleep, 8192, 0600), 0);
	kit_run(copy, NULL);
	is_read_whole(path, "ntfs is read whole: a hibernated Windows is on it");
}

/* The two pages with which Windows begins its log. */
static void put_restart(const char *path, uint64_t at, uint8_t lsn, bool clean)
{
	uint8_t p[4096] = "RSTR";

	p[4] = 0x1e;		/* the marks' bytes stand there, nine of them */
	p[6] = 9;
	p[17] = p[21] = 0x10;	/* pages of 4096 */
	p[24] = 0x30;		/* what it says stands there */
	p[0x30] = lsn;
	p[0x3c] = clean ? 0xff : 0;
	p[0x3d] = clean ? 0xff : 0;
	put_at(path, at, p, sizeof(p));
}

static void an_ntfs_whose_log_is_not_empty_is_read_whole(void **state)
{
	struct kit *k = *state;
	AUTO_FREE char *path = make_ntfs(k);
	AUTO_FREE char *full = mem_alloc(8192);
	AUTO_FREESPACE f = { 0 };
	struct disk *d;
	uint64_t log;

	memset(full, 0xff, 512);
	log = find_sector(path, 4096, full, 512);	/* the log, as it was made: empty */
	put_restart(path, log, 1, true);
	put_restart(path, log + 4096, 2, false);
	is_read_whole(path, "ntfs is read whole: it was not cleanly unmounted, or Windows keeps a "
		      "part of it (fast startup)");
	put_restart(path, log, 3, true);
	d = look(path, &f);
	assert_in_range(f.bytes, 15 * MIB, FS_SIZE);
	disk_close(&d, NULL);
	put_at(path, log, "CHKD", 4);
	is_read_whole(path, "ntfs is read whole: its log is not understood");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
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
		T(an_xfs_copied_without_its_free_blocks_is_sound),
		T(an_xfs_whose_log_is_not_empty_is_read_whole),
		T(a_damaged_xfs_is_read_whole),
		T(an_ntfs_copied_without_its_free_clusters_is_sound),
		T(an_ntfs_that_is_not_at_rest_is_read_whole),
		T(an_ntfs_whose_log_is_not_empty_is_read_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
