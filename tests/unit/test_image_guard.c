/* SPDX-License-Identifier: Apache-2.0
 * test_image_guard - what an image cannot make a server read, and that no server of one
 * outlives its step.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "modules/lib/disk.h"
#include "modules/lib/imgcheck.h"
#include "modules/lib/imgkind.h"
#include "modules/lib/nbdserver.h"
#include "modules/lib/qemunbd.h"
#include "tests/unit/here.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (1u << 20)

/* ---- what an image may name -------------------------------------------------- */

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

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, here_set_up, here_tear_down)
	const struct CMUnitTest tests[] = {
		T(the_server_of_a_killed_step_ends_and_lets_go_of_the_image),
		T(nothing_of_a_server_outlives_who_minds_it),
		T(images_that_name_other_files_are_refused),
		T(a_server_reaches_no_file_but_its_image),
		T(no_flipped_header_lets_a_reference_through),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
