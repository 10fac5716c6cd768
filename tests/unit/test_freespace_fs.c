/* SPDX-License-Identifier: Apache-2.0
 * test_freespace_fs - what XFS and NTFS call free, and when they are not believed.
 */
#include "engine/base/io.h"
#include "engine/base/proc.h"
#include "tests/unit/spacerig.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define FS_SIZE (32 * MIB)

/* A disk without a table, with junk all over it, and a file system of that kind. */
static char *make_fs(const char *const *argv, char *path)
{
	AUTO_FD fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(ftruncate(fd, FS_SIZE), 0);
	for (uint64_t at = 0; at < FS_SIZE; at += MIB / 4)
		assert_int_equal(io_pwrite_full(fd, space_junk, sizeof(space_junk), at), 0);
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
	space_copy_rest(path, free_bytes - 2 * MIB, free_bytes, to);
	kit_run(check, NULL);
}

static void is_read_whole(const char *path, const char *why)
{
	AUTO_FREESPACE f = { 0 };
	AUTO_DISK *d = space_look(path, &f);

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
	d = space_look(path, &f);
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

	assert_int_equal(io_write_file(AT_FDCWD, file, space_junk, sizeof(space_junk), 0600), 0);
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
	d = space_look(path, &f);
	assert_in_range(f.bytes, 15 * MIB, FS_SIZE);
	disk_close(&d, NULL);
	put_at(path, log, "CHKD", 4);
	is_read_whole(path, "ntfs is read whole: its log is not understood");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, space_set_up, space_tear_down)
	const struct CMUnitTest tests[] = {
		T(an_xfs_copied_without_its_free_blocks_is_sound),
		T(an_xfs_whose_log_is_not_empty_is_read_whole),
		T(a_damaged_xfs_is_read_whole),
		T(an_ntfs_copied_without_its_free_clusters_is_sound),
		T(an_ntfs_that_is_not_at_rest_is_read_whole),
		T(an_ntfs_whose_log_is_not_empty_is_read_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
