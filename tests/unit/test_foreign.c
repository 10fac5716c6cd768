/* SPDX-License-Identifier: Apache-2.0
 * test_foreign - images of other hypervisors: read by their real programs, and refused when
 * they name what is not theirs.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/base/proc.h"
#include "modules/lib/disk.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SIZE (20u << 20)

struct rig { char dir[64], *raw, *image; };

static int set_up(void **state)
{
	struct rig *r = mem_alloc(sizeof(*r));
	AUTO_FREE char *data = mem_alloc(1 << 20);
	int fd;

	strcpy(r->dir, "/tmp/drover-test.foreign.XXXXXX");
	assert_non_null(mkdtemp(r->dir));
	r->raw = mem_printf("%s/plain.raw", r->dir);
	fd = open(r->raw, O_WRONLY | O_CREAT, 0600);
	srand(7);
	for (size_t i = 0; i < 1 << 20; i++)
		data[i] = (char)rand();
	assert_int_equal(ftruncate(fd, SIZE), 0);
	assert_int_equal(io_pwrite_full(fd, data, 1 << 20, 3 << 20), 0);
	assert_int_equal(io_pwrite_full(fd, data, 4096, SIZE - 4096), 0);
	close(fd);
	*state = r;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *r = *state;

	assert_int_equal(io_remove_tree(r->dir), 0);
	free(r->raw);
	free(r->image);
	free(r);
	return 0;
}

static void make(struct rig *r, const char *format, const char *option)
{
	const char *argv[] = { "qemu-img", "convert", "-q", "-f", "raw", "-O", format, "-o",
		option, r->raw, NULL, NULL };
	struct proc p = { .timeout_ms = 60000 };
	AUTO_ERR e = { 0 };

	free(r->image);
	r->image = mem_printf("%s/disk.%s", r->dir, format);
	argv[10] = r->image;
	p.argv = argv;
	if (proc_run(&p, &e) < 0)
		fail_msg("%s", e.what);
	proc_free(&p);
}

static void put(struct rig *r, uint64_t at, const void *bytes, size_t n)
{
	AUTO_FD fd = open(r->image, O_WRONLY);

	assert_int_equal(io_pwrite_full(fd, bytes, n, at), 0);
}

static void write_image(struct rig *r, const char *text)
{
	free(r->image);
	r->image = mem_printf("%s/disk.vmdk", r->dir);
	assert_int_equal(io_write_file(AT_FDCWD, r->image, text, strlen(text), 0600), 0);
}

/* The content is the raw disk's, and disk_info() knows its size. */
static void reads_the_same(struct rig *r, const char *format, uint64_t more)
{
	AUTO_ERR e = { 0 };
	AUTO_DISK *d = disk_open_image(r->image, format, 0, &e), *plain;
	AUTO_FREE char *a = disk_buffer(1 << 20), *b = disk_buffer(1 << 20);
	struct disk_info i;

	if (!d)
		fail_msg("%s", e.what);
	plain = disk_open(r->raw, 0, &e);
	assert_true(d->size >= SIZE && d->size <= SIZE + more);
	for (uint64_t at = 0; at < SIZE; at += 1 << 20) {
		assert_int_equal(d->ops->read(d, a, 1 << 20, at, &e), 0);
		assert_int_equal(plain->ops->read(plain, b, 1 << 20, at, &e), 0);
		assert_memory_equal(a, b, 1 << 20);
	}
	disk_close(&plain, NULL);
	assert_int_equal(disk_info(r->image, format, &i, &e), 0);
	assert_true(i.size == d->size);
}

static void refused(struct rig *r, const char *format, const char *why)
{
	AUTO_FREE char *text = mem_printf("cannot use image '%s': %s", r->image, why);
	AUTO_ERR e = { 0 };

	assert_null(disk_open_image(r->image, format, 0, &e));
	assert_string_equal(e.what, text);
}

/* ---- what is read ------------------------------------------------------------------ */

static void every_kind_reads_as_the_disk_that_it_is(void **state)
{
	static const struct { const char *format, *option; uint64_t more; } kinds[] = {
		{ "vmdk", "subformat=monolithicSparse", 0 },
		{ "vmdk", "subformat=streamOptimized", 0 },
		{ "vmdk", "subformat=monolithicFlat", 0 },
		{ "vmdk", "subformat=twoGbMaxExtentSparse", 0 },
		{ "vmdk", "subformat=twoGbMaxExtentFlat", 0 },
		{ "vhdx", "subformat=dynamic", 0 }, { "vhdx", "subformat=fixed", 0 },
		{ "vpc", "subformat=dynamic", 1 << 20 }, { "vpc", "subformat=fixed", 1 << 20 },
		{ "vdi", "static=off", 0 }, { "vdi", "static=on", 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		make(*state, kinds[i].format, kinds[i].option);
		reads_the_same(*state, kinds[i].format, kinds[i].more);
	}
}

/* ---- what is refused ------------------------------------------------------------------ */

#define DESCRIPTOR "# Disk DescriptorFile\nversion=1\nCID=1\n"

static void a_vmdk_names_nothing_but_files_beside_it(void **state)
{
	struct rig *r = *state;
	AUTO_FREE char *link = mem_printf("%s/link.vmdk", r->dir);
	AUTO_FREE char *text = mem_printf("cannot open '%s', an extent of '%s/disk.vmdk': Too many "
					  "levels of symbolic links", link, r->dir);
	AUTO_ERR e = { 0 };

	write_image(r, DESCRIPTOR "parentCID=ffffffff\nRW 128 FLAT \"/etc/shadow\" 0\n");
	refused(r, "vmdk", "it names '/etc/shadow', which is no plain name of a file beside it");
	write_image(r, DESCRIPTOR "RW 128 SPARSE \"../x.vmdk\"\n");
	refused(r, "vmdk", "it names '../x.vmdk', which is no plain name of a file beside it");
	write_image(r, DESCRIPTOR "RW 128 FLAT \"nbd:localhost:1\" 0\n");
	refused(r, "vmdk", "it names 'nbd:localhost:1', which is no plain name of a file beside it");
	write_image(r, DESCRIPTOR "RW 128 VMFSRDM \"x\" 0\n");
	refused(r, "vmdk", "one of its extents is of a kind that is not known");
	write_image(r, DESCRIPTOR "parentCID=12345678\nRW 128 FLAT \"plain.raw\" 0\n");
	refused(r, "vmdk", "it stands on another image");
	write_image(r, DESCRIPTOR "RW 128 FLAT \"plain.raw\" 0\nx parentFileNameHint=\"/etc/passwd\"\n");
	refused(r, "vmdk", "it stands on another image");
	write_image(r, DESCRIPTOR);
	refused(r, "vmdk", "it names no extents");
	assert_int_equal(symlink("/etc/shadow", link), 0);
	write_image(r, DESCRIPTOR "RW 128 FLAT \"link.vmdk\" 0\n");
	assert_null(disk_open_image(r->image, "vmdk", 0, &e));
	assert_string_equal(e.what, text);
}

static void a_sparse_vmdk_that_names_others_is_refused(void **state)
{
	static const char parent[] = "# Disk DescriptorFile\nparentFileNameHint=\"/etc/passwd\"\n";
	struct rig *r = *state;
	uint64_t none = 0, far = UINT64_MAX;

	make(r, "vmdk", "subformat=monolithicSparse");
	put(r, 512, parent, sizeof(parent));
	refused(r, "vmdk", "it stands on another image");
	make(r, "vmdk", "subformat=monolithicSparse");
	put(r, 12, &none, 8);
	refused(r, "vmdk", "its header gives it no size");
	make(r, "vmdk", "subformat=monolithicSparse");
	put(r, 28, &far, 8);
	refused(r, "vmdk", "its header points beyond its end");
	make(r, "vmdk", "subformat=streamOptimized");
	put(r, 56, &far, 8);
	refused(r, "vmdk", "its header is damaged");	/* there is no footer */
	write_image(r, "something else");
	refused(r, "vmdk", "it is no vmdk image");
}

/* Where these 8 bytes first stand in the image. */
static uint64_t place_of(struct rig *r, const char *bytes)
{
	size_t n = 0;
	AUTO_FREE char *all = io_read_file(AT_FDCWD, r->image, 64 << 20, &n);
	const char *at = all ? memmem(all, n, bytes, 8) : NULL;

	assert_non_null(at);
	return (uint64_t)(at - all);
}

static void images_that_stand_on_others_are_refused(void **state)
{
	struct rig *r = *state;
	uint8_t four[4] = { 4 }, last[4] = { 0, 0, 0, 4 }, parent[16] = { 0x2d, 0x5f, 0xd3, 0xa8,
		0x0b, 0xb3, 0x4d, 0x45, 0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c };

	make(r, "vdi", "static=off");
	put(r, 440, parent, 16);
	refused(r, "vdi", "it stands on another image");
	make(r, "vdi", "static=off");
	put(r, 76, four, 4);
	refused(r, "vdi", "it stands on another image");
	make(r, "vpc", "subformat=dynamic");
	put(r, 60, last, 4);
	refused(r, "vpc", "it stands on another image");
	make(r, "vhdx", "subformat=dynamic");
	put(r, place_of(r, "metadata") + 32, parent, 16);
	refused(r, "vhdx", "it stands on another image");
	make(r, "vhdx", "subformat=dynamic");
	put(r, 192u << 10, "xxxx", 4);
	put(r, 256u << 10, "xxxx", 4);
	refused(r, "vhdx", "its region tables are damaged");
	make(r, "vdi", "static=off");
	refused(r, "vhdx", "it is no vhdx image");
	refused(r, "vpc", "it is no vpc (vhd) image");
}

/* ---- who syncs what is written --------------------------------------------------- */

static unsigned syncs;		/* of this process */

int fdatasync(int fd)
{
	syncs++;
	return (int)syscall(SYS_fdatasync, fd);
}

/* Is there a program that was given the image, and this option? */
static bool serves_with(const struct rig *r, const char *option)
{
	DIR *dir = opendir("/proc");
	struct dirent *d;
	bool found = false;

	assert_non_null(dir);
	while (!found && (d = readdir(dir))) {
		AUTO_FREE char *path = mem_printf("/proc/%s/cmdline", d->d_name);
		AUTO_FREE char *text = NULL;
		size_t n = 0;

		if (d->d_name[0] < '0' || d->d_name[0] > '9')
			continue;
		text = io_read_file(AT_FDCWD, path, 1 << 20, &n);
		found = text && memmem(text, n, r->image, strlen(r->image)) &&
			memmem(text, n, option, strlen(option));
	}
	closedir(dir);
	return found;
}

static void write_some(struct rig *r, const char *format, const char *option, bool ours)
{
	AUTO_FREE char *data = disk_buffer(1 << 20);
	AUTO_ERR e = { 0 };
	struct disk *d;

	make(r, format, option);
	d = disk_open_image(r->image, format, DISK_WRITE | DISK_DIRECT, &e);
	if (!d)
		fail_msg("%s", e.what);
	memset(data, 'x', 1 << 20);
	syncs = 0;
	assert_int_equal(d->ops->write(d, data, 1 << 20, 8 << 20, &e), 0);
	assert_int_equal(syncs, 0);
	assert_int_equal(d->ops->flush(d, &e), 0);
	assert_int_equal(syncs, ours);
	assert_int_equal(serves_with(r, "--cache=unsafe"), ours);
	assert_int_equal(disk_close(&d, &e), 0);
	assert_int_equal(syncs, 2 * ours);
}

static void formats_without_a_journal_are_synced_from_outside(void **state)
{
	write_some(*state, "vmdk", "subformat=monolithicSparse", true);
	write_some(*state, "vdi", "static=off", true);
	write_some(*state, "vpc", "subformat=dynamic", true);
	write_some(*state, "vhdx", "subformat=dynamic", false);
	write_some(*state, "qcow2", "compat=1.1", false);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(every_kind_reads_as_the_disk_that_it_is),
		T(a_vmdk_names_nothing_but_files_beside_it),
		T(a_sparse_vmdk_that_names_others_is_refused),
		T(images_that_stand_on_others_are_refused),
		T(formats_without_a_journal_are_synced_from_outside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
