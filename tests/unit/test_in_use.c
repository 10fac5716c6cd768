/* SPDX-License-Identifier: Apache-2.0
 * test_in_use - a source without a power facility is off when nobody uses its images.
 */
#include "engine/base/mem.h"
#include "engine/base/io.h"
#include "tests/unit/modtest.h"
#include "tests/unit/powerrig.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static void off_without_power_wants_images_that_nobody_uses(void **state)
{
	struct powerrig *w = *state;
	AUTO_FREE char *image = mem_printf("%s/disk.raw", w->dir), *text = NULL;
	AUTO_FD held = -1;

	assert_int_equal(io_write_file(AT_FDCWD, image, "x", 1, 0600), 0);
	json_object_del(jget(w->input, "machine.source"), "power");
	jset(jget(w->input, "machine.source"), "disks",
	     json_pack("{s:{s:s}}", "root", "image", image));
	modtest_state(w->input, "cutover.off", "done");
	held = open(image, O_RDONLY | O_CLOEXEC);
	text = mem_printf("cannot prove that 'm' is off: '%s' is used by process %d "
			  "(test_in_use)", image, (int)getpid());
	modtest_state(w->input, "cutover.off", "absent");
	modtest_fails(w->input, "cutover.off", "apply", text);
	jset_str(jget(w->input, "machine.source"), "kind", "block");
	modtest_fails(w->input, "cutover.off", "apply",
		      "cannot prove that 'm' is off: the plan names no source.power");
}

static char *image_without_power(struct powerrig *w)
{
	char *image = mem_printf("%s/disk.raw", w->dir);
	int fd = open(image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	close(fd);
	json_object_del(jget(w->input, "machine.source"), "power");
	jset(jget(w->input, "machine.source"), "disks",
	     json_pack("{s:{s:s}}", "root", "image", image));
	modtest_state(w->input, "cutover.off", "done");
	return image;
}

/* What is mounted from an image has no process. */
/* Whoever looks at a loop device just now, as other tests may, holds it a moment longer than
 * its owner. */
static void wait_until_detached(const char *device, const char *image)
{
	AUTO_FREE char *path = mem_printf("/sys/block/%s/loop/backing_file", device + strlen("/dev/"));

	for (bool ours = true; ours; sched_yield()) {
		AUTO_FREE char *file = io_read_file(AT_FDCWD, path, 4096, NULL);

		ours = file && strncmp(file, image, strlen(image)) == 0;
	}
}

static void off_sees_a_loop_device_that_stands_on_an_image(void **state)
{
	struct powerrig *w = *state;
	AUTO_FREE char *image = image_without_power(w), *device = NULL, *text = NULL;
	AUTO_FREE char *link = mem_printf("%s/again.raw", w->dir);
	AUTO_FD control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	AUTO_FD file = -1, loop = -1;
	int n, set = -1;

	for (int tries = 0; control >= 0 && set < 0 && tries < 100; tries++) {
		mem_close_fd(&loop);
		mem_close_fd(&file);
		n = ioctl(control, LOOP_CTL_GET_FREE);
		free(device);
		device = mem_printf("/dev/loop%d", n);
		loop = open(device, O_RDWR | O_CLOEXEC);
		file = open(image, O_RDWR | O_CLOEXEC);
		set = loop < 0 ? -1 : ioctl(loop, LOOP_SET_FD, file);
	}
	if (set < 0)
		skip();		/* not root, or no loop devices here */
	mem_close_fd(&file);
	assert_int_equal(rename(image, link), 0);	/* its name says nothing any more */
	jset(jget(w->input, "machine.source"), "disks",
	     json_pack("{s:{s:s}}", "root", "image", link));
	text = mem_printf("cannot prove that 'm' is off: '%s' is used by the device %s", link,
			  device);
	modtest_fails(w->input, "cutover.off", "apply", text);
	assert_int_equal(ioctl(loop, LOOP_CLR_FD), 0);
	mem_close_fd(&loop);
	wait_until_detached(device, link);
	modtest_state(w->input, "cutover.off", "done");
}

static void off_sees_who_has_mapped_an_image(void **state)
{
	struct powerrig *w = *state;
	AUTO_FREE char *image = image_without_power(w), *text = NULL;
	int fd = open(image, O_RDWR | O_CLOEXEC);
	void *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	close(fd);
	assert_true(map != MAP_FAILED);
	text = mem_printf("cannot prove that 'm' is off: '%s' is used by process %d "
			  "(test_in_use)", image, (int)getpid());
	modtest_fails(w->input, "cutover.off", "apply", text);
	munmap(map, 4096);
	modtest_state(w->input, "cutover.off", "done");
}

static void off_does_not_write_to_the_images_it_looks_at(void **state)
{
	struct powerrig *w = *state;
	AUTO_FREE char *image = image_without_power(w);
	struct stat before, after;
	int inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	char buf[4096];

	assert_true(inotify_add_watch(inotify, image, IN_CLOSE_WRITE | IN_MODIFY) >= 0);
	assert_int_equal(stat(image, &before), 0);
	modtest_must(w->input, "cutover.off", "apply");
	modtest_state(w->input, "cutover.off", "done");
	assert_int_equal(stat(image, &after), 0);
	assert_int_equal(after.st_mtim.tv_sec, before.st_mtim.tv_sec);
	assert_int_equal(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
	assert_true(read(inotify, buf, sizeof(buf)) < 0);	/* never opened for writing */
	close(inotify);
}

static void off_does_not_take_an_image_for_unused_that_it_cannot_look_at(void **state)
{
	struct powerrig *w = *state;
	AUTO_FREE char *image = image_without_power(w), *text = NULL;

	assert_int_equal(unlink(image), 0);
	text = mem_printf("cannot prove that 'm' is off: '%s' is used by nobody knows whom: it "
			  "cannot be looked at (No such file or directory)", image);
	modtest_state(w->input, "cutover.off", "absent");
	modtest_fails(w->input, "cutover.off", "apply", text);
}

#define T(f) cmocka_unit_test_setup_teardown(f, pw_setup, pw_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(off_without_power_wants_images_that_nobody_uses),
		T(off_sees_a_loop_device_that_stands_on_an_image),
		T(off_sees_who_has_mapped_an_image),
		T(off_does_not_write_to_the_images_it_looks_at),
		T(off_does_not_take_an_image_for_unused_that_it_cannot_look_at),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
