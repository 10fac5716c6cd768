/* SPDX-License-Identifier: Apache-2.0
 * Disks: devices read past the cache, holes, images behind qemu-nbd, headers that
 * name other files, an NBD server that lies.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/base/proc.h"
#include "modules/lib/badsectors.h"
#include "modules/lib/disk.h"
#include "modules/lib/imgcheck.h"
#include "modules/lib/imgkind.h"
#include "modules/lib/nbd.h"
#include "modules/lib/qemunbd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
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

struct here { char dir[64]; char *path; };

static int set_up(void **state)
{
	struct here *h = mem_alloc(sizeof(*h));

	strcpy(h->dir, "/tmp/drover-test.disk.XXXXXX");
	assert_non_null(mkdtemp(h->dir));
	h->path = mem_printf("%s/disk", h->dir);
	*state = h;
	return 0;
}

static int tear_down(void **state)
{
	struct here *h = *state;

	assert_int_equal(io_remove_tree(h->dir), 0);
	free(h->path);
	free(h);
	return 0;
}

static char *run_ok(const char *const *argv)
{
	struct proc p = { .argv = argv, .timeout_ms = 60000 };
	AUTO_ERR e = { 0 };
	char *out;

	if (proc_run(&p, &e) < 0)
		fail_msg("%s", e.what);
	out = str_take(&p.out);
	out[strcspn(out, "\n")] = '\0';
	proc_free(&p);
	return out;
}

static void run(const char *const *argv)
{
	free(run_ok(argv));
}

/* ---- a mounted device ---------------------------------------------------------- */

struct loop_fs { char *loop, *mount, *file; };

static void loop_up(struct here *h, struct loop_fs *l)
{
	const char *attach[] = { "losetup", "-f", "--show", h->path, NULL };
	const char *mkfs[] = { "mkfs.ext4", "-q", "-F", h->path, NULL };
	AUTO_ERR e = { 0 };

	assert_int_equal(img_create(h->path, "raw", 48 * MIB, &e), 0);
	run(mkfs);
	l->loop = run_ok(attach);
	l->mount = mem_printf("%s/mnt", h->dir);
	l->file = mem_printf("%s/file", l->mount);
	assert_int_equal(mkdir(l->mount, 0700), 0);
	assert_int_equal(mount(l->loop, l->mount, "ext4", 0, ""), 0);
}

static void loop_down(struct loop_fs *l)
{
	const char *detach[] = { "losetup", "-d", l->loop, NULL };

	umount2(l->mount, MNT_DETACH);
	run(detach);
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

/* ---- images ------------------------------------------------------------------------ */

static void a_qcow2_is_written_and_read_back_through_qemu_nbd(void **s)
{
	struct here *h = *s;
	AUTO_FREE char *buf = disk_buffer(MIB), *got = disk_buffer(MIB);
	AUTO_ERR e = { 0 };
	AUTO_DISK *d = NULL;
	uint64_t len, at, data = 0;
	bool hole;

	memset(buf, 'q', MIB);
	assert_int_equal(img_create(h->path, "qcow2", 64 * MIB + 512, &e), 0);
	d = disk_open_image(h->path, "qcow2", DISK_WRITE, &e);
	if (!d)
		fail_msg("%s", e.what);
	assert_non_null(d->sandbox);
	assert_true(d->size == 64 * MIB + 512);
	assert_int_equal(d->ops->write(d, buf, MIB, 7 * MIB, &e), 0);
	assert_int_equal(d->ops->write(d, buf, MIB, 9 * MIB, &e), 0);
	assert_int_equal(d->ops->write(d, buf, 512, 64 * MIB, &e), 0);
	assert_int_equal(d->ops->zero(d, 9 * MIB, MIB, &e), 0);
	assert_int_equal(d->ops->flush(d, &e), 0);
	assert_int_equal(disk_close(&d, &e), 0);
	d = disk_open_image(h->path, "qcow2", DISK_DIRECT, &e);
	assert_int_equal(d->ops->read(d, got, MIB, 7 * MIB, &e), 0);
	assert_memory_equal(buf, got, MIB);
	assert_int_equal(d->ops->read(d, got, MIB, 9 * MIB, &e), 0);
	assert_int_equal(got[0] | got[MIB - 1], 0);
	for (at = 0; at < d->size; at += len) {
		assert_int_equal(d->ops->extent(d, at, &len, &hole, &e), 0);
		assert_true(len > 0);
		data += hole ? 0 : len;
	}
	assert_true(at == d->size && data >= MIB + 512 && data < 2 * MIB);
	/* Beyond the end the server says no, and the next request still works. */
	assert_int_equal(d->ops->read(d, got, 4096, d->size, &e), -1);
	assert_int_equal(e.sys, EINVAL);
	err_clear(&e);
	assert_int_equal(d->ops->read(d, got, 512, 64 * MIB, &e), 0);
	assert_int_equal(got[511], 'q');
}

static void an_image_in_use_is_told(void **s)
{
	struct here *h = *s;
	AUTO_FREE char *text = mem_printf("cannot open image '%s': another process uses it", h->path);
	AUTO_ERR e = { 0 };
	AUTO_DISK *first = NULL;

	assert_int_equal(img_create(h->path, "qcow2", MIB, &e), 0);
	first = disk_open_image(h->path, "qcow2", DISK_WRITE, &e);
	assert_non_null(first);
	/* who wants to write waits some seconds for it */
	assert_null(disk_open_image(h->path, "qcow2", 0, &e));
	assert_string_equal(e.what, text);
	assert_string_equal(e.hint, "stop it first, or copy from inside the running machine");
}

static void an_image_in_use_is_opened_for_looking_only(void **s)
{
	struct here *h = *s;
	AUTO_ERR e = { 0 };
	AUTO_DISK *first = NULL, *second = NULL;
	AUTO_FREE char *buf = disk_buffer(DISK_ALIGN);

	assert_int_equal(img_create(h->path, "qcow2", MIB, &e), 0);
	first = disk_open_image(h->path, "qcow2", DISK_WRITE, &e);
	assert_non_null(first);
	memset(buf, 7, DISK_ALIGN);
	assert_int_equal(first->ops->write(first, buf, DISK_ALIGN, 0, &e), 0);
	assert_int_equal(first->ops->flush(first, &e), 0);
	second = disk_open_image(h->path, "qcow2", DISK_LIVE, &e);
	assert_non_null(second);
	assert_int_equal(second->ops->read(second, buf, DISK_ALIGN, 0, &e), 0);
	assert_int_equal(buf[DISK_ALIGN - 1], 7);
	assert_int_equal(second->ops->write(second, buf, DISK_ALIGN, 0, &e), -1);
}

static void an_image_that_is_only_for_its_owner_is_read_as_that_one(void **s)
{
	struct here *h = *s;
	AUTO_FREE char *buf = disk_buffer(DISK_ALIGN);
	AUTO_ERR e = { 0 };
	AUTO_DISK *d = NULL;

	if (geteuid() != 0)
		skip();
	assert_int_equal(img_create(h->path, "qcow2", MIB, &e), 0);
	assert_int_equal(chown(h->path, 65534, 65534), 0);
	assert_int_equal(chmod(h->path, 0600), 0);
	assert_int_equal(chmod(h->dir, 0711), 0);
	d = disk_open_image(h->path, "qcow2", 0, &e);
	assert_non_null(d);
	assert_int_equal(d->ops->read(d, buf, DISK_ALIGN, 0, &e), 0);
}

/* ---- dirty bitmaps --------------------------------------------------------------------- */

struct runs { uint64_t at[8], len[8]; size_t n; };

static void note_run(void *arg, uint64_t at, uint64_t len)
{
	struct runs *r = arg;

	assert_true(r->n < ARRAY_LEN(r->at));
	r->at[r->n] = at;
	r->len[r->n++] = len;
}

static void a_dirty_bitmap_tells_what_was_written_since_it_began(void **s)
{
	struct here *h = *s;
	const char *begin[] = { "qemu-img", "bitmap", "--add", "-f", "qcow2", h->path, "b", NULL };
	AUTO_FREE char *buf = disk_buffer(1 << 16);
	struct nbd *nbd = NULL;
	struct runs r = { .n = 0 };
	AUTO_ERR e = { 0 };
	AUTO_DISK *d = NULL;

	assert_int_equal(img_create(h->path, "qcow2", 64 * MIB, &e), 0);
	run(begin);
	d = disk_open_image(h->path, "qcow2", DISK_WRITE, &e);
	assert_non_null(d);
	memset(buf, 1, 1 << 16);
	assert_int_equal(d->ops->write(d, buf, 1 << 16, 3 * MIB, &e), 0);
	assert_int_equal(d->ops->write(d, buf, 512, 40 * MIB, &e), 0);
	assert_int_equal(d->ops->flush(d, &e), 0);
	disk_close(&d, NULL);
	d = qemunbd_open_dirty(h->path, "b", &nbd, &e);
	assert_non_null(d);
	for (uint64_t at = 0, far; at < d->size; at += far)
		assert_int_not_equal(far = nbd_dirty(nbd, at, note_run, &r, &e), 0);
	assert_int_equal(r.n, 2);
	assert_int_equal(r.at[0], 3 * MIB);
	assert_int_equal(r.len[0], 1 << 16);
	assert_int_equal(r.at[1], 40 * MIB);
	assert_int_equal(r.len[1], 1 << 16);
	/* What is a hole is told beside it. */
	bool hole = false;
	uint64_t len = 0;
	assert_int_equal(d->ops->extent(d, 0, &len, &hole, &e), 0);
	assert_true(hole);
	assert_int_equal(len, 3 * MIB);
	disk_close(&d, NULL);
	assert_null(qemunbd_open_dirty(h->path, "c", &nbd, &e));
	assert_non_null(strstr(e.what, "cannot open image"));
}

/* A canary that no image may make us read. */
static void images_that_name_other_files_are_refused(void **s)
{
	struct here *h = *s;
	AUTO_FREE char *secret = mem_printf("%s/secret", h->dir);
	AUTO_FREE char *option = mem_printf("data_file=%s/data", h->dir);
	const char *backed[] = { "qemu-img", "create", "-q", "-f", "qcow2", "-b", secret, "-F",
		"raw", h->path, NULL };
	const char *split[] = { "qemu-img", "create", "-q", "-f", "qcow2", "-o", option, h->path,
		"1M", NULL };
	const char *const *argv[] = { backed, split };
	static const char *const why[] = { "it names a backing file",
		"it keeps its data in another file" };

	for (size_t i = 0; i < ARRAY_LEN(argv); i++) {
		AUTO_FREE char *text = mem_printf("cannot use image '%s': %s", h->path, why[i]);
		AUTO_ERR e = { 0 };
		uint64_t size;

		unlink(h->path);
		if (i == 0)
			assert_int_equal(io_write_file(AT_FDCWD, secret, "canary", 6, 0600), 0);
		run(argv[i]);
		assert_null(disk_open_image(h->path, "qcow2", 0, &e));
		assert_string_equal(e.what, text);
		err_clear(&e);
		assert_int_equal(imgcheck_qcow2(h->path, &size, &e), -1);
	}
}

/* Every byte of the header, turned: never a crash, never a reference let through. */
static void no_flipped_header_lets_a_reference_through(void **s)
{
	struct here *h = *s;
	AUTO_ERR e = { 0 };
	AUTO_FREE char *image = NULL;
	AUTO_FD fd = -1;
	size_t n;

	assert_int_equal(img_create(h->path, "qcow2", MIB, &e), 0);
	image = io_read_file(AT_FDCWD, h->path, 4 * MIB, &n);
	assert_true(image && n >= 512);
	fd = open(h->path, O_WRONLY | O_CLOEXEC);
	for (off_t i = 0; i < 512; i++) {
		AUTO_ERR why = { 0 };
		uint64_t size;
		char turned = (char)~image[i];

		assert_int_equal(pwrite(fd, &turned, 1, i), 1);
		if (imgcheck_qcow2(h->path, &size, &why) == 0)
			assert_true(i >= 20 && !(i >= 32 && i < 36) && !(i >= 72 && i < 80));
		assert_int_equal(pwrite(fd, &image[i], 1, i), 1);
	}
}

/* ---- a step that is killed ------------------------------------------------------------ */

static bool is_below(pid_t pid, pid_t top)
{
	while (pid > 1 && pid != top) {
		AUTO_FREE char *path = mem_printf("/proc/%d/stat", (int)pid);
		AUTO_FREE char *text = io_read_file(AT_FDCWD, path, 4096, NULL);
		const char *after = text ? strrchr(text, ')') : NULL;

		pid = after ? (pid_t)strtol(after + 4, NULL, 10) : 0;
	}
	return pid == top;
}

/* The qemu-nbd that serves a process; 0: none. */
static pid_t server_of(pid_t top)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	pid_t found = 0;

	while (proc && !found && (entry = readdir(proc))) {
		AUTO_FREE char *path = mem_printf("/proc/%s/comm", entry->d_name);
		AUTO_FREE char *comm = atoi(entry->d_name) > 0 ?
			io_read_file(AT_FDCWD, path, 64, NULL) : NULL;

		if (comm && !strcmp(comm, "qemu-nbd\n") && is_below(atoi(entry->d_name), top))
			found = atoi(entry->d_name);
	}
	if (proc)
		closedir(proc);
	return found;
}

/* Its server sees nothing of that: it stands still, as one that has not yet heard of its
 * client. */
static void the_server_of_a_killed_step_ends_and_lets_go_of_the_image(void **s)
{
	struct here *h = *s;
	AUTO_DISK *d = NULL;
	AUTO_ERR e = { 0 };
	char ok = 0;
	int up[2];
	pid_t step, server;

	assert_int_equal(img_create(h->path, "qcow2", MIB, &e), 0);
	assert_int_equal(pipe2(up, O_CLOEXEC), 0);
	step = fork();
	if (step == 0) {
		ok = disk_open_image(h->path, "qcow2", DISK_WRITE, NULL) != NULL;
		io_write_full(up[1], &ok, 1);
		for (;;)
			pause();
	}
	assert_int_equal(io_read_full(up[0], &ok, 1), 1);
	assert_int_equal(ok, 1);
	server = server_of(step);
	assert_true(server > 0);
	assert_int_equal(kill(server, SIGSTOP), 0);
	assert_null(disk_open_image(h->path, "qcow2", DISK_WRITE, &e));
	kill(step, SIGKILL);
	waitpid(step, NULL, 0);
	alarm(60);
	while (!(d = disk_open_image(h->path, "qcow2", DISK_WRITE, NULL)))
		sched_yield();
	alarm(0);
	close(up[0]);
	close(up[1]);
}

/* ---- a server that lies -------------------------------------------------------------- */

/* What it says after the handshake, to the first request. */
struct liar { int fd; const void *says; size_t n; };

static void tell(int fd, const void *p, size_t n)
{
	assert_int_equal(io_write_full(fd, p, n), 0);
}

static void option_reply(int fd, uint32_t opt, uint32_t type, const void *p, uint32_t n)
{
	struct { uint64_t magic; uint32_t opt, type, len; } __attribute__((packed)) h = {
		htobe64(0x3e889045565a9ull), htobe32(opt), htobe32(type), htobe32(n) };

	tell(fd, &h, sizeof(h));
	tell(fd, p, n);
}

static void *lie(void *arg)
{
	struct liar *l = arg;
	struct { uint64_t magic; uint32_t opt, len; } __attribute__((packed)) o;
	struct { uint16_t type; uint64_t size; uint16_t flags; } __attribute__((packed)) info = {
		0, htobe64(MIB), htobe16(1 | 4) };
	char junk[256];
	uint32_t opt = 0;

	tell(l->fd, "NBDMAGICIHAVEOPT\0\1", 18);
	io_read_full(l->fd, junk, 4);
	while (opt != 7 && io_read_full(l->fd, &o, sizeof(o)) > 0) {
		opt = be32toh(o.opt);
		io_read_full(l->fd, junk, be32toh(o.len) < 256 ? be32toh(o.len) : 256);
		if (opt == 7)
			option_reply(l->fd, 7, 3, &info, sizeof(info));
		option_reply(l->fd, opt, opt == 10 ? 0x80000001u : 1, "", 0);
	}
	io_read_full(l->fd, junk, 28);
	tell(l->fd, l->says, l->n);
	io_read_full(l->fd, junk, 1);
	close(l->fd);
	return NULL;
}

static void assert_lie_is_caught(const void *says, size_t n, const char *text)
{
	struct liar l = { .says = says, .n = n };
	AUTO_ERR e = { 0 };
	char buf[4096];
	struct nbd *nbd;
	pthread_t t;
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	l.fd = fd[1];
	assert_int_equal(pthread_create(&t, NULL, lie, &l), 0);
	nbd = nbd_new(fd[0], "", &e);
	assert_non_null(nbd);
	assert_int_equal(nbd_read(nbd, buf, sizeof(buf), 8192, &e), -1);
	assert_string_equal(e.what, text);
	/* It is over for good. */
	err_clear(&e);
	assert_int_equal(nbd_read(nbd, buf, sizeof(buf), 0, &e), -1);
	nbd_free(nbd);
	pthread_join(t, NULL);
}

static void an_nbd_server_that_lies_is_left(void **s)
{
	/* magic, flags, type, handle 1, length, then what it says there */
#define CHUNK_HEAD "\x66\x8e\x33\xef\0\1"
	static const char beyond[] = CHUNK_HEAD "\0\1" "\0\0\0\0\0\0\0\1" "\0\0\0\x10"
		"\0\0\0\0\0\0\x40\0" "12345678";
	static const char huge[] = CHUNK_HEAD "\0\1" "\0\0\0\0\0\0\0\1" "\xff\0\0\0";
	static const char stranger[] = CHUNK_HEAD "\0\1" "\0\0\0\0\0\0\0\x9" "\0\0\0\x10";
	static const char hole[] = CHUNK_HEAD "\0\2" "\0\0\0\0\0\0\0\1" "\0\0\0\xc"
		"\0\0\0\0\0\0\x20\0" "\xff\xff\xff\xff";
	static const char kind[] = CHUNK_HEAD "\0\x63" "\0\0\0\0\0\0\0\1" "\0\0\0\0";
	static const struct { const char *p; size_t n; const char *why; } lies[] = {
		{ beyond, sizeof(beyond) - 1, "data that was not asked for" },
		{ huge, sizeof(huge) - 1, "an answer to nothing" },
		{ stranger, sizeof(stranger) - 1, "an answer to nothing" },
		{ hole, sizeof(hole) - 1, "data that was not asked for" },
		{ kind, sizeof(kind) - 1, "an answer of unknown kind" },
		{ "HTTP/1.1 200 OK", 15, "no NBD answer" },
	};

	(void)s;
	for (size_t i = 0; i < ARRAY_LEN(lies); i++) {
		AUTO_FREE char *text = mem_printf("cannot read at byte 8192, length 4096: %s",
						  lies[i].why);

		assert_lie_is_caught(lies[i].p, lies[i].n, text);
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(a_mounted_device_is_read_past_the_page_cache),
		T(a_mounted_device_is_no_target),
		T(holes_of_a_file_are_found),
		T(what_is_written_passes_the_page_cache_by_but_for_an_odd_end),
		T(a_file_that_shrinks_under_us_is_told),
		T(a_sector_that_cannot_be_read_is_not_taken_for_the_end),
		T(a_device_of_a_raid_controller_lies_in_a_folder),
		T(a_disk_is_found_by_what_the_plan_says_or_an_error_says_why),
		T(a_qcow2_is_written_and_read_back_through_qemu_nbd),
		T(an_image_in_use_is_opened_for_looking_only),
		T(an_image_that_is_only_for_its_owner_is_read_as_that_one),
		T(a_dirty_bitmap_tells_what_was_written_since_it_began),
		T(an_image_in_use_is_told),
		T(the_server_of_a_killed_step_ends_and_lets_go_of_the_image),
		T(images_that_name_other_files_are_refused),
		T(no_flipped_header_lets_a_reference_through),
		T(an_nbd_server_that_lies_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
