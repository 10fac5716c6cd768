/* SPDX-License-Identifier: Apache-2.0
 * test_gtree - a guest's files through code of our own: links that want out, files
 * written into an ext4 that e2fsck then finds in order.
 */
#include "modules/lib/gtree.h"
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/base/proc.h"
#include "tests/unit/guestkit.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static int up(void **state)
{
	*state = kit_new();
	return 0;
}

static int down(void **state)
{
	kit_free(*state);
	return 0;
}

static void expect_text(struct gtree *t, const char *path, const char *want)
{
	AUTO_FREE char *text = gtree_read(t, path, 1 << 20, NULL);

	assert_non_null(text);
	assert_string_equal(text, want);
}

/* The same tree both ways: from a directory, and from an ext4 made of it. */
static void make_tree(struct kit *k)
{
	kit_file(k, "etc/fstab", "one\n");
	kit_file(k, "usr/lib/os-release", "ID=debian\n");
	kit_link(k, "etc/os-release", "../usr/lib/os-release");
	kit_link(k, "etc/absolute", "/usr/lib/os-release");
	kit_link(k, "etc/out", "../../../../../../../etc/hostname");
	kit_link(k, "etc/loop", "loop");
	kit_link(k, "lib", "usr/lib");
}

static void check_links(struct gtree *t)
{
	struct gstat st;
	AUTO_FREE char *real = gtree_resolve(t, "/lib/../etc/absolute");

	expect_text(t, "/etc/os-release", "ID=debian\n");
	expect_text(t, "/etc/absolute", "ID=debian\n");
	expect_text(t, "/lib/os-release", "ID=debian\n");
	assert_null(gtree_read(t, "/etc/out", 100, NULL));
	assert_int_equal(errno, ENOENT);
	assert_int_equal(gtree_stat(t, "/etc/loop", &st), -1);
	assert_int_equal(errno, ELOOP);
	assert_int_equal(gtree_lstat(t, "/etc/loop", &st), 0);
	assert_true(S_ISLNK(st.mode));
	assert_null(gtree_read(t, "/etc/fstab", 2, NULL));
	assert_int_equal(errno, EFBIG);
	assert_null(gtree_read(t, "/etc", 100, NULL));
	assert_int_equal(errno, EISDIR);
	/* "/lib/.." is the directory above what lib leads to, as in the guest. */
	assert_null(real);
}

static void gtree_live_never_leads_out_of_its_root(void **state)
{
	struct kit *k = *state;
	AUTO_GTREE *t = NULL;

	make_tree(k);
	t = gtree_live(k->tree, NULL);
	assert_non_null(t);
	check_links(t);
	assert_int_equal(gtree_write(t, "/etc/fstab", "x", 1, 0644), -1);
	assert_int_equal(errno, EROFS);
}

static void gtree_ext_reads_what_mke2fs_wrote(void **state)
{
	struct kit *k = *state;
	AUTO_GTREE *t = NULL;
	AUTO_NAMES **names = NULL;
	struct gspace space;

	make_tree(k);
	kit_image(k, "root.raw", 16, 1 << 20);
	t = kit_open(k, "root.raw", 1 << 20, false);
	assert_non_null(t);
	check_links(t);
	names = gtree_list(t, "/etc");
	assert_string_equal(names[0], "absolute");
	assert_string_equal(names[1], "fstab");
	assert_int_equal(gtree_space(t, "/", &space), 0);
	assert_true(space.free > 1 << 20 && space.free < 16 << 20);
}

static void gtree_ext_writes_files_that_e2fsck_accepts(void **state)
{
	struct kit *k = *state;
	AUTO_GTREE *t = NULL;
	AUTO_FREE char *big = mem_alloc(300000);
	struct gstat before, after;

	make_tree(k);
	kit_file(k, "etc/blkid.tab", "stale");
	kit_image(k, "root.raw", 16, 1 << 20);
	memset(big, 'x', 299999);
	t = kit_open(k, "root.raw", 1 << 20, true);
	assert_int_equal(gtree_stat(t, "/etc/fstab", &before), 0);
	assert_int_equal(gtree_write(t, "/etc/fstab", big, 299999, 0600), 0);
	assert_int_equal(gtree_write(t, "/etc/systemd/network/10-a.link", "a\n", 2, 0640), 0);
	assert_int_equal(gtree_write(t, "/lib/new", "", 0, 0644), 0);
	assert_int_equal(gtree_unlink(t, "/etc/blkid.tab"), 0);
	assert_int_equal(gtree_unlink(t, "/etc/absolute"), 0);
	assert_int_equal(gtree_close(&t, NULL), 0);
	kit_fsck(k, "root.raw", 1 << 20);

	t = kit_open(k, "root.raw", 1 << 20, false);
	expect_text(t, "/etc/fstab", big);
	expect_text(t, "/etc/systemd/network/10-a.link", "a\n");
	expect_text(t, "/usr/lib/new", "");
	assert_false(gtree_is_file(t, "/etc/blkid.tab"));
	assert_int_equal(gtree_stat(t, "/etc/fstab", &after), 0);
	assert_int_equal(before.ino, after.ino);
	assert_int_equal(before.mode, after.mode);
	assert_int_equal(gtree_stat(t, "/etc/systemd/network/10-a.link", &after), 0);
	assert_int_equal(after.mode, S_IFREG | 0640);
}

static void gtree_ext_writes_into_a_full_directory(void **state)
{
	struct kit *k = *state;
	AUTO_GTREE *t = NULL;
	AUTO_NAMES **names = NULL;
	size_t n = 0;

	make_tree(k);
	kit_image(k, "root.raw", 16, 0);
	t = kit_open(k, "root.raw", 0, true);
	for (int i = 0; i < 300; i++) {
		AUTO_FREE char *path = mem_printf("/etc/a-name-of-some-length-%d", i);

		assert_int_equal(gtree_write(t, path, path, strlen(path), 0644), 0);
	}
	assert_int_equal(gtree_close(&t, NULL), 0);
	kit_fsck(k, "root.raw", 0);
	t = kit_open(k, "root.raw", 0, false);
	names = gtree_list(t, "/etc");
	while (names[n])
		n++;
	assert_int_equal(n, 305);
}

static void gtree_ext_says_no_space_and_stays_in_order(void **state)
{
	struct kit *k = *state;
	AUTO_GTREE *t = NULL;
	AUTO_FREE char *big = mem_alloc(32 << 20);

	make_tree(k);
	kit_image(k, "root.raw", 16, 0);
	t = kit_open(k, "root.raw", 0, true);
	assert_int_equal(gtree_write(t, "/etc/big", big, 32 << 20, 0644), -1);
	assert_int_equal(errno, ENOSPC);
}

static void gtree_ext_refuses_to_write_over_an_unreplayed_journal(void **state)
{
	struct kit *k = *state;
	AUTO_ERR e = { 0 };

	make_tree(k);
	kit_run((const char *[]){ "debugfs", "-w", "-R", "feature needs_recovery",
				  kit_image(k, "root.raw", 16, 0), NULL }, NULL);
	assert_null(kit_open_err(k, "root.raw", 0, true, &e));
	assert_non_null(strstr(e.what, "its journal was not replayed"));
	struct gtree *t = kit_open(k, "root.raw", 0, false);
	expect_text(t, "/etc/fstab", "one\n");
	gtree_close_ptr(&t);
}

static void gtree_union_serves_each_mount_point(void **state)
{
	struct kit *k = *state;
	AUTO_GTREE *u = gtree_union();

	make_tree(k);
	kit_file(k, "boot/hidden", "under the mount\n");
	kit_link(k, "vmlinuz", "boot/vmlinuz");
	kit_image(k, "root.raw", 16, 0);
	kit_clear(k);
	kit_file(k, "vmlinuz", "kernel");
	kit_image(k, "boot.raw", 8, 0);
	gtree_union_add(u, "/", kit_open(k, "root.raw", 0, true));
	gtree_union_add(u, "/boot/", kit_open(k, "boot.raw", 0, true));
	expect_text(u, "/vmlinuz", "kernel");
	assert_false(gtree_is_file(u, "/boot/hidden"));
	assert_int_equal(gtree_write(u, "/boot/grub/x", "1", 1, 0600), 0);
	assert_int_equal(gtree_close(&u, NULL), 0);
	kit_fsck(k, "boot.raw", 0);
	u = kit_open(k, "boot.raw", 0, false);
	expect_text(u, "/grub/x", "1");
}

/* Every byte of the first blocks turned round, one at a time: an error or an answer,
 * never a crash or an endless walk. */
static void gtree_ext_survives_a_damaged_file_system(void **state)
{
	struct kit *k = *state;
	const char *path;
	AUTO_FD fd = -1;

	AUTO_DISK *d = NULL;
	struct blk whole;

	make_tree(k);
	path = kit_image(k, "root.raw", 8, 0);
	fd = open(path, O_RDWR);
	d = disk_open_image(path, "raw", 0, NULL);
	assert_non_null(d);
	whole = blk_of(d);
	for (uint64_t at = 1024; at < 12288; at += 7) {
		uint8_t was, now;
		AUTO_GTREE *t = NULL;

		assert_int_equal(io_pread_full(fd, &was, 1, at), 0);
		now = (uint8_t)~was;
		assert_int_equal(io_pwrite_full(fd, &now, 1, at), 0);
		t = gtree_ext(&whole, false, NULL);
		if (t) {
			AUTO_NAMES **names = gtree_list(t, "/etc");
			AUTO_FREE char *text = gtree_read(t, "/etc/os-release", 4096, NULL);

			(void)names;
			(void)text;
		}
		assert_int_equal(io_pwrite_full(fd, &was, 1, at), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, up, down)
		T(gtree_live_never_leads_out_of_its_root),
		T(gtree_ext_reads_what_mke2fs_wrote),
		T(gtree_ext_writes_files_that_e2fsck_accepts),
		T(gtree_ext_writes_into_a_full_directory),
		T(gtree_ext_says_no_space_and_stays_in_order),
		T(gtree_ext_refuses_to_write_over_an_unreplayed_journal),
		T(gtree_union_serves_each_mount_point),
		T(gtree_ext_survives_a_damaged_file_system),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
