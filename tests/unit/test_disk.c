/* SPDX-License-Identifier: Apache-2.0
 * Disks: devices read past the cache, holes, an end that comes nearer, what cannot be read.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "modules/lib/badsectors.h"
#include "modules/lib/disk.h"
#include "modules/lib/imgkind.h"
#include "tests/unit/here.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MIB (1u << 20)

/* The system's call, but for a byte that no disk gives; 0: all of them are given. */
static off_t bad_at;

ssize_t pread(int fd, void *p, size_t n, off_t at)
{
	if (bad_at && at <= bad_at && (off_t)n > bad_at - at) {
		errno = ENODATA;
		return -1;
	}
	return syscall(SYS_pread64, fd, p, n, at);
}

/* ---- a mounted device ---------------------------------------------------------- */

struct loop_fs { char *loop, *mount, *file; };

static void loop_up(struct here *h, struct loop_fs *l)
{
	const char *attach[] = { "losetup", "-f", "--show", h->path, NULL };
	const char *mkfs[] = { "mkfs.ext4", "-q", "-F", h->path, NULL };
	AUTO_ERR e = { 0 };

	assert_int_equal(img_create(h->path, "raw", 48 * MIB, &e), 0);
	here_run(mkfs);
	l->loop = here_ask(attach);
	l->mount = mem_printf("%s/mnt", h->dir);
	l->file = mem_printf("%s/file", l->mount);
	assert_int_equal(mkdir(l->mount, 0700), 0);
	assert_int_equal(mount(l->loop, l->mount, "ext4", 0, ""), 0);
}

static void loop_down(struct loop_fs *l)
{
	const char *detach[] = { "losetup", "-d", l->loop, NULL };

	umount2(l->mount, MNT_DETACH);
	here_run(detach);
	free(l->loop);
	free(l->mount);
	free(l->file);
}

static void write_file(struct loop_fs *l, char c)
{
	AUTO_FREE char *p = mem_alloc(8 * MIB);
	AUTO_FD fd = open(l->file, O_WRONLY | O_CREAT, 0600);

	memset(p, c, 8 * MIB);
	assert_int_equal(io_pwrite_full(fd, p, 8 * MIB, 0), 0);
	assert_int_equal(fsync(fd), 0);
	sync();
}

/* How many bytes of the device are `c`, as a pass would see it. */
static size_t count(const struct disk *d, int fd, char c)
{
	AUTO_FREE char *buf = disk_buffer(MIB);
	AUTO_ERR e = { 0 };
	size_t n = 0;

	for (uint64_t at = 0; at < d->size; at += MIB) {
		if (fd >= 0)
			assert_int_equal(io_pread_full(fd, buf, MIB, at), 0);
		else
			assert_int_equal(d->ops->read((struct disk *)d, buf, MIB, at, &e), 0);
		for (size_t i = 0; i < MIB; i++)
			n += buf[i] == c;
	}
	return n;
}

/* The first pass fills the device's page cache; the file system does not tell it of
 * what it writes after that. */
static void a_mounted_device_is_read_past_the_page_cache(void **s)
{
	struct loop_fs l;
	AUTO_ERR e = { 0 };
	AUTO_DISK *d = NULL;
	AUTO_FD buffered = -1;
	size_t first, second, stale;
	bool direct;

	if (geteuid() != 0)
		skip();
	loop_up(*s, &l);
	write_file(&l, 'A');
	d = disk_open(l.loop, 0, &e);
	buffered = open(l.loop, O_RDONLY);
	direct = d && d->direct && d->block;
	count(d, buffered, 'A');
	first = count(d, -1, 'A');
	write_file(&l, 'B');
	stale = count(d, buffered, 'B');
	second = count(d, -1, 'B');
	disk_close(&d, NULL);
	mem_close_fd(&buffered);
	loop_down(&l);
	assert_true(direct);
	assert_true(first >= 8 * MIB);
	assert_true(second >= 8 * MIB);
	/* The reason for it all; were this not so, the test above could not fail. */
	assert_true(stale < 8 * MIB);
}

static void a_mounted_device_is_no_target(void **s)
{
	struct loop_fs l;
	AUTO_ERR e = { 0 };
	AUTO_FREE char *text = NULL;
	struct disk *d;

	if (geteuid() != 0)
		skip();
	loop_up(*s, &l);
	d = disk_open(l.loop, DISK_WRITE, &e);
	text = mem_printf("cannot write to '%s': it is mounted or in use", l.loop);
	loop_down(&l);
	assert_null(d);
	assert_string_equal(e.what, text);
	assert_string_equal(e.hint, "name a device that nothing uses");
}

/* ---- files ----------------------------------------------------------------------- */

static void holes_of_a_file_are_found(void **s)
{
	struct here *h = *s;
	AUTO_ERR e = { 0 };
	AUTO_DISK *d = NULL;
	uint64_t len;
	bool hole;

	assert_int_equal(img_create(h->path, "raw", 10 * MIB, &e), 0);
	d = disk_open(h->path, DISK_WRITE, &e);
	assert_int_equal(d->ops->write(d, "x", 1, 4 * MIB, &e), 0);
	assert_int_equal(d->ops->flush(d, &e), 0);
	assert_int_equal(d->ops->extent(d, 0, &len, &hole, &e), 0);
	assert_true(hole && len == 4 * MIB);
	assert_int_equal(d->ops->extent(d, 4 * MIB, &len, &hole, &e), 0);
	assert_false(hole);
	assert_true(len >= 1 && len < 2 * MIB);
	assert_int_equal(d->ops->extent(d, 9 * MIB, &len, &hole, &e), 0);
	assert_true(hole && len == MIB);
	assert_int_equal(d->ops->zero(d, 4 * MIB, 4096, &e), 0);
	assert_int_equal(d->ops->extent(d, 0, &len, &hole, &e), 0);
	assert_true(hole && len == 10 * MIB);
}

/* Pages of the file that the page cache holds. */
static size_t cached_pages(const char *path, size_t size)
{
	AUTO_FD fd = open(path, O_RDONLY);
	size_t pages = (size + 4095) / 4096, n = 0;
	unsigned char in[2 * MIB / 4096 + 1];
	void *p = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);

	assert_true(p != MAP_FAILED && pages <= sizeof(in));
	assert_int_equal(mincore(p, size, in), 0);
	for (size_t i = 0; i < pages; i++)
		n += in[i] & 1;
	munmap(p, size);
	return n;
}

static bool can_go_past_the_cache(const char *path)
{
	AUTO_FD fd = open(path, O_RDONLY | O_DIRECT);

	return fd >= 0;
}

/* A copy of a disk must not drive out what the target's other machines have in the cache. */
static void what_is_written_passes_the_page_cache_by_but_for_an_odd_end(void **s)
{
	static const size_t odd = 100;
	struct here *h = *s;
	AUTO_FREE uint8_t *data = disk_buffer(MIB), *back = disk_buffer(MIB);
	AUTO_ERR e = { 0 };
	AUTO_DISK *d = NULL;

	memset(data, 'x', MIB);
	assert_int_equal(img_create(h->path, "raw", MIB + odd, &e), 0);
	if (!can_go_past_the_cache(h->path))
		skip();
	d = disk_open(h->path, DISK_WRITE | DISK_DIRECT, &e);
	assert_non_null(d);
	assert_int_equal(d->ops->write(d, data, MIB, 0, &e), 0);
	assert_int_equal(cached_pages(h->path, MIB), 0);
	assert_int_equal(d->ops->write(d, data, odd, MIB, &e), 0);
	assert_int_equal(d->ops->flush(d, &e), 0);
	for (unsigned at = 0; at <= MIB; at += MIB) {
		size_t n = at ? odd : MIB;

		assert_int_equal(d->ops->read(d, back, n, at, &e), 0);
		assert_memory_equal(back, data, n);
	}
}

static void a_file_that_shrinks_under_us_is_told(void **s)
{
	struct here *h = *s;
	AUTO_FREE void *buf = disk_buffer(MIB);
	AUTO_FREE char *text = mem_printf("cannot read '%s' at byte 2097152: it ends there now, it "
					  "had 4194304 bytes", h->path);
	AUTO_ERR e = { 0 };
	AUTO_DISK *d = NULL;
	uint64_t len;
	bool hole;

	assert_int_equal(img_create(h->path, "raw", 4 * MIB, &e), 0);
	d = disk_open(h->path, 0, &e);
	assert_int_equal(truncate(h->path, 2 * MIB), 0);
	assert_int_equal(d->ops->read(d, buf, MIB, 2 * MIB, &e), -1);
	assert_string_equal(e.what, text);
	/* what is missing is no hole: it would be copied as zeros, and proven */
	err_clear(&e);
	assert_int_equal(d->ops->extent(d, 2 * MIB, &len, &hole, &e), -1);
	assert_string_equal(e.what, text);
}

/* ENODATA: so says Linux of a SCSI, SATA or NVMe disk that is read past the page cache. */
static void a_sector_that_cannot_be_read_is_not_taken_for_the_end(void **s)
{
	struct here *h = *s;
	AUTO_FREE void *buf = disk_buffer(MIB);
	AUTO_FREE char *text = mem_printf("cannot read '%s' at byte 0, length 1048576: "
					  "No data available", h->path);
	AUTO_ERR e = { 0 };
	AUTO_DISK *d = NULL;

	assert_int_equal(img_create(h->path, "raw", 4 * MIB, &e), 0);
	d = disk_open(h->path, 0, &e);
	bad_at = 4096;
	assert_int_equal(d->ops->read(d, buf, MIB, 0, &e), -1);
	bad_at = 0;
	assert_string_equal(e.what, text);
	assert_true(badsectors_is(&e));
}

static void a_device_of_a_raid_controller_lies_in_a_folder(void **s)
{
	AUTO_FREE char *plain = disk_node("sda1"), *deep = disk_node("cciss!c0d0p1");

	(void)s;
	assert_string_equal(plain, "/dev/sda1");
	assert_string_equal(deep, "/dev/cciss/c0d0p1");
}

static void a_disk_is_found_by_what_the_plan_says_or_an_error_says_why(void **s)
{
	static const struct { const char *spec, *says; } bad[] = {
		{ "{\"id\": \"wwn-0x5000deadbeef\"}",
		  "cannot find disk 'root': no disk here has the id 'wwn-0x5000deadbeef'" },
		{ "{\"serial\": \"NOSUCH\"}",
		  "cannot find disk 'root': no disk here has the serial number 'NOSUCH'" },
		{ "{\"id\": \"../sda\"}", "cannot find disk 'root': '../sda' is no id" },
		{ "{\"path\": \"/dev/no/such\"}",
		  "cannot find disk 'root': '/dev/no/such': No such file or directory" },
		{ "{}", "cannot find disk 'root': the plan does not say which it is" },
	};

	(void)s;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		AUTO_JSON *spec = json_parse(bad[i].spec, strlen(bad[i].spec), NULL);
		AUTO_ERR e = { 0 };

		assert_null(disk_find("root", spec, &e));
		assert_string_equal(e.what, bad[i].says);
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, here_set_up, here_tear_down)
	const struct CMUnitTest tests[] = {
		T(a_mounted_device_is_read_past_the_page_cache),
		T(a_mounted_device_is_no_target),
		T(holes_of_a_file_are_found),
		T(what_is_written_passes_the_page_cache_by_but_for_an_odd_end),
		T(a_file_that_shrinks_under_us_is_told),
		T(a_sector_that_cannot_be_read_is_not_taken_for_the_end),
		T(a_device_of_a_raid_controller_lies_in_a_folder),
		T(a_disk_is_found_by_what_the_plan_says_or_an_error_says_why),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
