/* SPDX-License-Identifier: Apache-2.0
 * test_parttab - MBR with logical partitions, GPT with its check sums and its copy,
 * and what lies in the partitions, read from disks that sfdisk and mkfs made.
 */
#include "modules/lib/parttab.h"
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "tests/unit/guestkit.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB ((uint64_t)1 << 20)

struct t {
	struct kit *k;
	char *path;
	struct disk *d;
	struct blk whole;
	struct parttab tab;
};

static int up(void **state)
{
	struct t *t = mem_alloc(sizeof(*t));

	t->k = kit_new();
	t->path = mem_printf("%s/disk.raw", t->k->dir);
	*state = t;
	return 0;
}

static int down(void **state)
{
	struct t *t = *state;

	parttab_free(&t->tab);
	disk_close(&t->d, NULL);
	kit_free(t->k);
	mem_free_ptr(&t->path);
	mem_free_ptr(&t);
	return 0;
}

static void make(struct t *t, unsigned mib, const char *script)
{
	AUTO_FD fd = open(t->path, O_RDWR | O_CREAT, 0600);

	assert_int_equal(ftruncate(fd, (off_t)(mib * MIB)), 0);
	if (script)
		kit_run((const char *[]){ "sfdisk", "-q", t->path, NULL }, script);
}

static void poke(struct t *t, uint64_t at, const void *p, size_t n)
{
	AUTO_FD fd = open(t->path, O_RDWR);

	assert_int_equal(io_pwrite_full(fd, p, n, at), 0);
}

static int look(struct t *t, struct err *e)
{
	disk_close(&t->d, NULL);
	parttab_free(&t->tab);
	t->d = disk_open_image(t->path, "raw", 0, e);
	assert_non_null(t->d);
	t->whole = blk_of(t->d);
	return parttab_read(&t->whole, &t->tab, e);
}

static void fs_of(struct t *t, size_t i, struct fsinfo *f)
{
	struct blk b;

	assert_int_equal(blk_window(&t->whole, t->tab.parts[i].start, t->tab.parts[i].size,
				    &b, NULL), 0);
	fsinfo_read(&b, f);
}

static const char gpt[] =
	"label: gpt\nlabel-id: 11111111-2222-3333-4444-555555555555\n"
	"start=2048, size=2048, type=21686148-6449-6E6F-744E-656564454649\n"
	"start=4096, size=20480, name=root, uuid=AAAAAAAA-BBBB-CCCC-DDDD-EEEEEEEEEEEE\n"
	"start=24576, size=8192, type=0657FD6D-A4AB-43C4-84E5-0933C84B4F4F\n";

static void parttab_reads_gpt(void **state)
{
	struct t *t = *state;

	make(t, 32, gpt);
	assert_int_equal(look(t, NULL), 0);
	assert_int_equal(t->tab.kind, TABLE_GPT);
	assert_false(t->tab.backup);
	assert_string_equal(t->tab.id, "11111111-2222-3333-4444-555555555555");
	assert_int_equal(t->tab.count, 3);
	assert_string_equal(t->tab.parts[0].type, GPT_BIOS_BOOT);
	assert_int_equal(t->tab.parts[1].start, 4096 * 512);
	assert_int_equal(t->tab.parts[1].size, 20480 * 512);
	assert_string_equal(t->tab.parts[1].label, "root");
	assert_string_equal(t->tab.parts[1].partuuid, "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee");
}

static void parttab_falls_back_to_the_copy_when_a_check_sum_is_wrong(void **state)
{
	struct t *t = *state;

	make(t, 32, gpt);
	poke(t, 2 * 512 + 5, "x", 1);	/* in the entries */
	assert_int_equal(look(t, NULL), 0);
	assert_true(t->tab.backup);
	assert_int_equal(t->tab.count, 3);
}

static void parttab_refuses_a_gpt_that_is_wrong_twice(void **state)
{
	struct t *t = *state;
	AUTO_ERR e = { 0 };

	make(t, 32, gpt);
	poke(t, 512 + 30, "x", 1);
	poke(t, 32 * MIB - 512 + 30, "x", 1);
	assert_int_equal(look(t, &e), -1);
	assert_non_null(strstr(e.what, "neither the table nor its copy at the end has a "
			       "valid check sum"));
}

static void parttab_reads_logical_partitions(void **state)
{
	struct t *t = *state;

	make(t, 64, "label: dos\nlabel-id: 0x12345678\n2048,16384,83,*\n18432,98304,E\n"
	     "20480,8192,83\n30720,8192,82\n");
	assert_int_equal(look(t, NULL), 0);
	assert_int_equal(t->tab.kind, TABLE_DOS);
	assert_int_equal(t->tab.count, 4);
	assert_true(t->tab.parts[0].active);
	assert_string_equal(t->tab.parts[0].partuuid, "12345678-01");
	assert_int_equal(t->tab.parts[2].number, 5);
	assert_int_equal(t->tab.parts[2].start, 20480 * 512);
	assert_int_equal(t->tab.parts[3].number, 6);
	assert_string_equal(t->tab.parts[3].type, "0x82");
	assert_string_equal(t->tab.parts[3].partuuid, "12345678-06");
}

static void parttab_ends_a_chain_that_bites_its_tail(void **state)
{
	struct t *t = *state;
	AUTO_ERR e = { 0 };
	uint8_t again[16] = { 0, 0, 0, 0, 0x05, 0, 0, 0, 1, 0, 0, 0, 0x10, 0, 0, 0 };

	make(t, 64, "label: dos\n2048,98304,E\n4096,8192,83\n16384,8192,83\n");
	/* The second table is made to name itself as the next. */
	again[8] = (uint8_t)((16384 - 2048 - 2048) & 255);
	again[9] = (uint8_t)((16384 - 2048 - 2048) >> 8);
	assert_int_equal(look(t, NULL), 0);
	poke(t, (uint64_t)(2048 + 12288) * 512 + 446 + 16, again, 16);
	assert_int_equal(look(t, &e), -1);
	assert_non_null(strstr(e.what, "does not end"));
}

static void parttab_takes_a_file_system_for_no_table(void **state)
{
	struct t *t = *state;
	struct fsinfo f;

	kit_file(t->k, "a", "b");
	kit_image(t->k, "disk.raw", 8, 0);
	assert_int_equal(look(t, NULL), 0);
	assert_int_equal(t->tab.kind, TABLE_NONE);
	fsinfo_read(&t->whole, &f);
	assert_string_equal(f.fs, "ext4");
	assert_int_equal(strlen(f.uuid), 36);
	assert_false(f.dirty);
	assert_false(f.blank);
}

static void fsinfo_knows_a_journal_that_waits(void **state)
{
	struct t *t = *state;
	uint64_t root = 4096 * 512, size = 20480 * 512;
	static const uint8_t clean[] = { 0x02 }, waits[] = { 0x06 };	/* INCOMPAT_RECOVER */

	make(t, 32, gpt);
	poke(t, root + 1024 + 56, "\x53\xef", 2);
	poke(t, root + 1024 + 96, clean, 1);
	assert_int_equal(look(t, NULL), 0);
	assert_false(fsinfo_dirty(t->d, root, size));
	poke(t, root + 1024 + 96, waits, 1);
	assert_true(fsinfo_dirty(t->d, root, size));
	assert_false(fsinfo_dirty(t->d, root, 32 * MIB));	/* beyond the disk */
}

static void fsinfo_knows_swap_lvm_luks_and_blank(void **state)
{
	struct t *t = *state;
	struct fsinfo f;
	AUTO_FREE char *swap = NULL;

	make(t, 32, gpt);
	assert_int_equal(look(t, NULL), 0);
	fs_of(t, 1, &f);
	assert_true(f.blank);
	assert_string_equal(f.fs, "");

	poke(t, 4096 * 512, "LUKS\xba\xbe", 6);
	poke(t, 4096 * 512 + 168, "0f0e0d0c-1111-2222-3333-444455556666", 37);
	fs_of(t, 1, &f);
	assert_string_equal(f.fs, "crypto_LUKS");
	assert_string_equal(f.uuid, "0f0e0d0c-1111-2222-3333-444455556666");

	poke(t, 4096 * 512, "\0\0\0\0\0\0", 6);
	poke(t, 4096 * 512 + 512, "LABELONE", 8);
	poke(t, 4096 * 512 + 512 + 20, "\x20\0\0\0LVM2 001abcdefghijklmnopqrstuvwxyz012345", 44);
	fs_of(t, 1, &f);
	assert_string_equal(f.fs, "LVM2_member");
	assert_string_equal(f.uuid, "abcdef-ghij-klmn-opqr-stuv-wxyz-012345");

	swap = mem_printf("%s/swap", t->k->dir);
	{
		AUTO_FD fd = open(swap, O_RDWR | O_CREAT, 0600);

		assert_int_equal(ftruncate(fd, MIB), 0);
	}
	kit_run((const char *[]){ "mkswap", "-q", "-U", "99999999-8888-7777-6666-555555555555",
				  swap, NULL }, NULL);
	disk_close(&t->d, NULL);
	t->d = disk_open_image(swap, "raw", 0, NULL);
	t->whole = blk_of(t->d);
	fsinfo_read(&t->whole, &f);
	assert_string_equal(f.fs, "swap");
	assert_string_equal(f.uuid, "99999999-8888-7777-6666-555555555555");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, up, down)
		T(parttab_reads_gpt),
		T(parttab_falls_back_to_the_copy_when_a_check_sum_is_wrong),
		T(parttab_refuses_a_gpt_that_is_wrong_twice),
		T(parttab_reads_logical_partitions),
		T(parttab_ends_a_chain_that_bites_its_tail),
		T(parttab_takes_a_file_system_for_no_table),
		T(fsinfo_knows_a_journal_that_waits),
		T(fsinfo_knows_swap_lvm_luks_and_blank),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
