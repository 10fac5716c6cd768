/* SPDX-License-Identifier: Apache-2.0
 * Images behind qemu-nbd: read and written, in use, with a dirty bitmap; headers that name
 * other files, an NBD server that lies.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "modules/lib/disk.h"
#include "modules/lib/imgcheck.h"
#include "modules/lib/imgkind.h"
#include "modules/lib/nbd.h"
#include "modules/lib/nbdserver.h"
#include "modules/lib/qemunbd.h"
#include "tests/unit/here.h"

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
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (1u << 20)

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
	here_run(begin);
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
		here_run(argv[i]);
		assert_null(disk_open_image(h->path, "qcow2", 0, &e));
		assert_string_equal(e.what, text);
		err_clear(&e);
		assert_int_equal(imgcheck_qcow2(h->path, &size, &e), -1);
	}
}

static bool is_confined(struct here *h)
{
	AUTO_DISK *d = NULL;

	assert_int_equal(img_create(h->path, "qcow2", MIB, NULL), 0);
	d = disk_open_image(h->path, "qcow2", 0, NULL);
	assert_non_null(d);
	return strncmp(d->sandbox, "bwrap", 5) == 0;
}

/* Were a reference overlooked: the server sees no file but the image, where bwrap works. */
static void a_server_reaches_no_file_but_its_image(void **s)
{
	struct here *h = *s;

	if (!is_confined(h))
		skip();
	AUTO_FREE char *base = mem_printf("%s/base", h->dir);
	AUTO_FREE char *gone = mem_printf("Could not open '%s': No such file or directory", base);
	const char *backed[] = { "qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F",
		"qcow2", h->path, NULL };
	AUTO_ERR e = { 0 };

	assert_int_equal(rename(h->path, base), 0);
	here_run(backed);
	assert_null(qemunbd_open(h->path, "qcow2", 0, &e));	/* nobody looked at its header */
	assert_non_null(strstr(e.what, gone));
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

/* What bwrap starts is its own child for a while, and nobody's when it is killed. */
static void nothing_of_a_server_outlives_who_minds_it(void **s)
{
	static const char text[] = "#!/bin/sh\ncase \"$*\" in *' true') exit 0;; esac\n"
		"sleep 1000 &\necho up >&2\nwait\n";
	struct here *h = *s;
	struct nbdserver_what w = { .path = h->path, .format = "qcow2" };
	AUTO_FREE char *program = mem_printf("%s/bwrap", h->dir), *before = mem_strdup(getenv("PATH"));
	AUTO_FREE char *path = mem_printf("%s:%s", h->dir, before);
	struct nbdserver server;
	char word[3];
	int client;

	if (geteuid() != 0)
		skip();
	assert_int_equal(io_write_file(AT_FDCWD, program, text, strlen(text), 0700), 0);
	setenv("PATH", path, 1);
	client = nbdserver_start(&w, &server, NULL);
	setenv("PATH", before, 1);
	assert_true(client >= 0);
	assert_int_equal(io_read_full(server.noise, word, 3), 3);
	assert_memory_equal(word, "up\n", 3);
	alarm(60);
	kill(server.pid, SIGKILL);
	assert_int_equal(read(server.noise, word, 1), 0);	/* nobody is left to write to it */
	alarm(0);
	nbdserver_free(&server);
	close(client);
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
#define T(f) cmocka_unit_test_setup_teardown(f, here_set_up, here_tear_down)
	const struct CMUnitTest tests[] = {
		T(a_qcow2_is_written_and_read_back_through_qemu_nbd),
		T(an_image_in_use_is_opened_for_looking_only),
		T(an_image_that_is_only_for_its_owner_is_read_as_that_one),
		T(a_dirty_bitmap_tells_what_was_written_since_it_began),
		T(an_image_in_use_is_told),
		T(the_server_of_a_killed_step_ends_and_lets_go_of_the_image),
		T(nothing_of_a_server_outlives_who_minds_it),
		T(images_that_name_other_files_are_refused),
		T(a_server_reaches_no_file_but_its_image),
		T(no_flipped_header_lets_a_reference_through),
		T(an_nbd_server_that_lies_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
