/* SPDX-License-Identifier: Apache-2.0
 * test_power - proving a source off. The machine is a file that holds "on" or "off".
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "modules/lib/task.h"
#include "tests/unit/modtest.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct world {
	char dir[64];
	char *power;		/* the file that is the machine */
	json_t *input;
};

static void write_power(const struct world *w, const char *word)
{
	assert_int_equal(io_write_file(AT_FDCWD, w->power, word, strlen(word), 0600), 0);
}

static void power_is(const struct world *w, const char *want)
{
	AUTO_FREE char *now = io_read_file(AT_FDCWD, w->power, 64, NULL);

	assert_non_null(now);
	now[strcspn(now, "\n")] = '\0';
	assert_string_equal(now, want);
}

static int setup(void **state)
{
	struct world *w = mem_alloc(sizeof(*w));

	snprintf(w->dir, sizeof(w->dir), "/tmp/drover-test.XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	w->power = mem_printf("%s/power", w->dir);
	write_power(w, "on");
	w->input = json_pack(
		"{s:{}, s:{s:s, s:{s:s,s:s,s:{s:{s:o,s:o,s:o}}}}, s:{}, s:{s:b}}", "args",
		"machine", "name", "m", "source", "host", "a", "kind", "image", "power",
		"command", "off", modtest_sh("echo off > %s", w->power), "on",
		modtest_sh("echo on > %s", w->power), "status", modtest_sh("cat %s", w->power), "facts",
		"run", "preview", 0);
	assert_non_null(w->input);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	io_remove_tree(w->dir);
	json_decref(w->input);
	free(w->power);
	free(w);
	return 0;
}

static json_t *call_with(struct world *w, const char *module, const char *op, int yes)
{
	json_t *events = NULL;
	json_t *r = modtest_call_with(module, op, w->input, -1, yes, &events);

	modtest_keep(w->input, events);
	json_decref(events);
	return r;
}

static json_t *command_of(struct world *w)
{
	return jget(w->input, "machine.source.power.command");
}

/* ---- cutover.off ---------------------------------------------------------------------- */

static void off_is_proven_and_undo_switches_on_again(void **state)
{
	struct world *w = *state;

	modtest_state(w->input, "cutover.off", "absent");
	modtest_must(w->input, "cutover.off", "apply");
	power_is(w, "off");
	modtest_state(w->input, "cutover.off", "done");
	modtest_must(w->input, "cutover.off", "undo");
	power_is(w, "on");
	modtest_must(w->input, "cutover.off", "undo");
}

static void off_leaves_off_what_was_off(void **state)
{
	struct world *w = *state;

	write_power(w, "off");
	modtest_state(w->input, "cutover.off", "done");
	modtest_must(w->input, "cutover.off", "apply");
	modtest_must(w->input, "cutover.off", "undo");
	power_is(w, "off");
}

static void off_takes_silence_for_no_proof(void **state)
{
	struct world *w = *state;

	jset(command_of(w), "status", modtest_sh("echo nobody answers >&2; exit 1"));
	modtest_fails(w->input, "cutover.off", "probe",
		      "cannot tell whether 'm' is on: 'sh -c 'echo nobody "
		      "answers >&2; exit 1'' exited with status 1: nobody answers");
	jset(command_of(w), "status", modtest_sh("true"));
	modtest_fails(w->input, "cutover.off", "probe",
		      "cannot tell whether 'm' is on: "
		      "source.power.command.status printed neither `on` nor `off`");
}

static void off_fails_when_the_order_fails_and_the_machine_stays_on(void **state)
{
	struct world *w = *state;

	jset(command_of(w), "off", modtest_sh("exit 7"));
	modtest_fails(w->input, "cutover.off", "apply", "cannot prove that 'm' is off: 'sh -c 'exit 7'' "
		      "exited with status 7");
	power_is(w, "on");
}

static void off_asks_a_person_where_the_plan_says_manual(void **state)
{
	struct world *w = *state;
	AUTO_JSON *no = NULL, *yes = NULL;

	jset(jget(w->input, "machine.source"), "power", json_pack("{s:{}}", "manual"));
	modtest_state(w->input, "cutover.off", "absent");
	no = call_with(w, "cutover.off", "apply", 0);
	assert_string_equal(jstr(no, "error.text", ""), "'m' is not switched off");
	modtest_state(w->input, "cutover.off", "absent");
	yes = call_with(w, "cutover.off", "apply", 1);
	assert_true(jbool(yes, "ok", false));
	modtest_state(w->input, "cutover.off", "done");
}

static void use_person(struct world *w)
{
	jset(jget(w->input, "machine.source"), "power", json_pack("{s:{}}", "manual"));
	jset_str(jget(w->input, "run"), "run", "one");
}

static void says(struct world *w, const char *module, int answer, const char *error)
{
	AUTO_JSON *r = call_with(w, module, "apply", answer);

	assert_int_equal(jbool(r, "ok", false), *error == '\0');
	assert_string_equal(jstr(r, "error.text", ""), error);
}

/* The machine may have been on between two runs: nobody but a person can know. */
static void off_asks_a_person_again_in_a_later_run(void **state)
{
	struct world *w = *state;

	use_person(w);
	says(w, "cutover.off", 1, "");
	modtest_state(w->input, "cutover.off", "done");
	jset_str(jget(w->input, "run"), "run", "two");
	modtest_state(w->input, "cutover.off", "unknown");
	says(w, "cutover.off", 0, "'m' is on, or has been since it was said to be off");
	modtest_state(w->input, "cutover.off", "unknown");
	says(w, "cutover.off", 1, "");
	modtest_state(w->input, "cutover.off", "done");
}

static void quiesce_asks_a_person_again_in_a_later_run(void **state)
{
	struct world *w = *state;

	use_person(w);
	says(w, "cutover.quiesce", 1, "");
	modtest_state(w->input, "cutover.quiesce", "done");
	jset_str(jget(w->input, "run"), "run", "two");
	modtest_state(w->input, "cutover.quiesce", "absent");
	says(w, "cutover.quiesce", 1, "");
	modtest_state(w->input, "cutover.quiesce", "done");
}

static void off_hands_a_secret_to_its_programs_on_stdin(void **state)
{
	struct world *w = *state;
	json_t *command = command_of(w);

	jset_str(command, "stdin", "pass 4711");
	jset(command, "off", modtest_sh("read -r p; [ \"$p\" = 'pass 4711' ] && echo off > %s", w->power));
	jset(command, "status", modtest_sh("read -r p; [ \"$p\" = 'pass 4711' ] && cat %s", w->power));
	modtest_must(w->input, "cutover.off", "apply");
	power_is(w, "off");
	modtest_state(w->input, "cutover.off", "done");
	jset(command, "status", modtest_sh("cat %s", w->power));	/* it may leave it unread */
	modtest_state(w->input, "cutover.off", "done");
	jset_str(command, "stdin", "secret:ipmi");		/* nobody filled it in */
	modtest_fails(w->input, "cutover.off", "probe",
		      "cannot switch 'm' from here: the secret that the "
		      "programs of source.power.command read is for the host that it names");
}

static void off_without_power_wants_images_that_nobody_uses(void **state)
{
	struct world *w = *state;
	AUTO_FREE char *image = mem_printf("%s/disk.raw", w->dir), *text = NULL;
	AUTO_FD held = -1;

	assert_int_equal(io_write_file(AT_FDCWD, image, "x", 1, 0600), 0);
	json_object_del(jget(w->input, "machine.source"), "power");
	jset(jget(w->input, "machine.source"), "disks",
	     json_pack("{s:{s:s}}", "root", "image", image));
	modtest_state(w->input, "cutover.off", "done");
	held = open(image, O_RDONLY | O_CLOEXEC);
	text = mem_printf("cannot prove that 'm' is off: '%s' is used by process %d "
			  "(test_power)", image, (int)getpid());
	modtest_state(w->input, "cutover.off", "absent");
	modtest_fails(w->input, "cutover.off", "apply", text);
	jset_str(jget(w->input, "machine.source"), "kind", "block");
	modtest_fails(w->input, "cutover.off", "apply",
		      "cannot prove that 'm' is off: the plan names no source.power");
}

static char *image_without_power(struct world *w)
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
static void off_sees_a_loop_device_that_stands_on_an_image(void **state)
{
	struct world *w = *state;
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
	modtest_state(w->input, "cutover.off", "done");
}

static void off_sees_who_has_mapped_an_image(void **state)
{
	struct world *w = *state;
	AUTO_FREE char *image = image_without_power(w), *text = NULL;
	int fd = open(image, O_RDWR | O_CLOEXEC);
	void *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	close(fd);
	assert_true(map != MAP_FAILED);
	text = mem_printf("cannot prove that 'm' is off: '%s' is used by process %d "
			  "(test_power)", image, (int)getpid());
	modtest_fails(w->input, "cutover.off", "apply", text);
	munmap(map, 4096);
	modtest_state(w->input, "cutover.off", "done");
}

static void off_does_not_write_to_the_images_it_looks_at(void **state)
{
	struct world *w = *state;
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
	struct world *w = *state;
	AUTO_FREE char *image = image_without_power(w), *text = NULL;

	assert_int_equal(unlink(image), 0);
	text = mem_printf("cannot prove that 'm' is off: '%s' is used by nobody knows whom: it "
			  "cannot be looked at (No such file or directory)", image);
	modtest_state(w->input, "cutover.off", "absent");
	modtest_fails(w->input, "cutover.off", "apply", text);
}

/* ---- cutover.quiesce, by shutting down --------------------------------------------------- */

static void quiesce_shuts_down_what_runs_from_images(void **state)
{
	struct world *w = *state;

	modtest_state(w->input, "cutover.quiesce", "absent");
	modtest_must(w->input, "cutover.quiesce", "apply");
	power_is(w, "off");
	modtest_state(w->input, "cutover.quiesce", "done");
	modtest_state(w->input, "cutover.off", "done");
	modtest_must(w->input, "cutover.quiesce", "undo");
	power_is(w, "on");
}

static void quiesce_says_when_power_is_switched_elsewhere(void **state)
{
	struct world *w = *state;

	jset_str(command_of(w), "at", "here");
	modtest_fails(w->input, "cutover.quiesce", "probe",
		      "cannot shut 'm' down from 'a': its power is switched at 'here'");
}

/* ---- libvirt ------------------------------------------------------------------------------ */

/* A program that does what the script says, found before any other; gone with the test. */
static void with_program(struct world *w, const char *name, const char *script)
{
	AUTO_FREE char *path = mem_printf("%s/%s", w->dir, name);
	AUTO_FREE char *text = mem_printf("#!/bin/sh\n%s\n", script);
	AUTO_FREE char *paths = mem_printf("%s:/usr/bin:/bin", w->dir);

	assert_int_equal(io_write_file(AT_FDCWD, path, text, strlen(text), 0755), 0);
	assert_int_equal(setenv("PATH", paths, 1), 0);
}

static void quiesce_takes_a_domain_that_shuts_down_for_one_that_writes(void **state)
{
	struct world *w = *state;

	jset(w->input, "args", json_pack("{s:s}", "mode", "pause"));
	jset_str(jget(w->input, "machine.source"), "domain", "m");
	with_program(w, "virsh", "echo 'in shutdown'");
	modtest_state(w->input, "cutover.quiesce", "absent");
	with_program(w, "virsh", "echo paused");
	modtest_state(w->input, "cutover.quiesce", "done");
}

static void use_domain(struct world *w, const char *name)
{
	json_t *source = jget(w->input, "machine.source");

	json_object_del(source, "power");
	jset_str(source, "kind", "domain");
	jset_str(source, "domain", name);
}

static void off_is_not_proven_by_a_libvirt_that_is_silent_about_autostart(void **state)
{
	struct world *w = *state;

	use_domain(w, "m");
	with_program(w, "virsh", "[ \"$2\" = domstate ] && { echo 'shut off'; exit 0; }; exit 1");
	modtest_fails(w->input, "cutover.off", "probe",
		      "cannot tell whether 'm' starts with its host: "
		      "'virsh -q dominfo m' exited with status 1");
	with_program(w, "virsh", "[ \"$2\" = domstate ] && { echo 'shut off'; exit 0; }\n"
		   "printf 'Id: -\\nAutostart:      enable\\nManaged save:   no\\n'");
	modtest_state(w->input, "cutover.off", "partial");
	with_program(w, "virsh", "[ \"$2\" = domstate ] && { echo 'shut off'; exit 0; }\n"
		   "printf 'Id: -\\nAutostart:  disable\\nManaged save:   no\\n'");
	modtest_state(w->input, "cutover.off", "done");
}

/* Its process is still there, with its disks open; somebody may reset it. */
static void off_does_not_take_a_crashed_domain_for_off(void **state)
{
	struct world *w = *state;

	use_domain(w, "m");
	with_program(w, "virsh", "[ \"$2\" = domstate ] && { echo crashed; exit 0; }\n"
		   "printf 'Id: 3\\nAutostart: disable\\n'");
	modtest_state(w->input, "cutover.off", "absent");
}

static void a_domain_called_by_a_number_is_not_switched(void **state)
{
	struct world *w = *state;

	use_domain(w, "12");
	with_program(w, "virsh", "echo \"$*\" >> ${0%/*}/called; echo running");
	modtest_fails(w->input, "cutover.off", "probe",
		      "cannot switch 'm': source.power.libvirt names no domain");
	jset(w->input, "args", json_pack("{s:s}", "mode", "pause"));
	modtest_fails(w->input, "cutover.quiesce", "apply",
		      "cannot pause 'm': the source is no libvirt domain");
	AUTO_FREE char *called = mem_printf("%s/called", w->dir);
	assert_int_not_equal(access(called, F_OK), 0);
}

static void start_is_not_undone_by_a_libvirt_that_falls_silent(void **state)
{
	struct world *w = *state;

	jset(w->input, "facts", json_pack("{s:{s:s,s:s,s:[],s:[]}}", "definition", "name", "m",
		"uuid", "0d0b0e01-0000-4000-8000-000000000001", "disks", "nics"));
	jset(w->input, "kept", json_pack("{s:{s:s}}", "way", "text", "libvirt"));
	with_program(w, "virsh", "[ \"$2\" = uri ] && exit 0; echo 'error: no connection' >&2; exit 1");
	modtest_fails(w->input, "cutover.start", "undo", "cannot prove that 'm' is off at the target: "
		      "'virsh -q list --all --uuid' exited with status 1: error: no connection");
}

/* A process that has this argument, until *end is closed. */
static pid_t run_marked(const char *marker, int *end)
{
	int fds[2];
	pid_t pid;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		dup2(fds[0], 0);
		execlp("sh", "sh", "-c", "cat; exit", "sh", marker, NULL);
		_exit(127);
	}
	close(fds[0]);
	*end = fds[1];
	return pid;
}

/* In a /run of its own, where it looks as if systemd ran here. */
static int undo_by_systemd(struct world *w, const char *want)
{
	AUTO_JSON *r = NULL;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", "/run", "tmpfs", 0, NULL) < 0 ||
	    io_mkdirs("/run/systemd/system", 0755) < 0)
		return 2;
	r = call_with(w, "cutover.start", "undo", -1);
	return strcmp(jstr(r, "error.text", "undone"), want) == 0 ? 0 : 1;
}

static int undo_in_child(struct world *w, const char *want)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0)
		_exit(undo_by_systemd(w, want));
	waitpid(pid, &status, 0);
	return WEXITSTATUS(status);
}

static void start_is_not_undone_by_a_unit_whose_machine_still_runs(void **state)
{
	struct world *w = *state;
	AUTO_FREE char *marker = mem_printf("%s/qemu.pid", w->dir), *text = NULL;
	int end = -1;
	pid_t pid;

	if (geteuid() != 0)
		skip();
	jset(w->input, "facts", json_pack("{s:{s:s,s:s,s:[],s:[]}}", "definition", "name", "m",
					  "dir", w->dir, "disks", "nics"));
	jset(w->input, "kept", json_pack("{s:{s:s}}", "way", "text", "systemd"));
	pid = run_marked(marker, &end);
	while (task_find(marker) == 0)
		sched_yield();
	text = mem_printf("cannot prove that 'm' is off at the target: process %d runs it",
			  (int)pid);
	assert_int_equal(undo_in_child(w, text), 0);
	close(end);
	waitpid(pid, NULL, 0);
	assert_int_equal(undo_in_child(w, "undone"), 0);
}

/* ---- a call that is stopped ------------------------------------------------------------- */

/* The program stops the call that runs it, as the agent would, and stays. */
#define STOPS_ITS_CALL "kill -TERM $PPID; exec sleep 30"

/* What the call ran was told to end, or it would have been quoted as too slow. */
static void is_stopped(struct world *w, const char *module, const char *op)
{
	AUTO_JSON *events = NULL;
	AUTO_JSON *r = modtest_call(module, op, w->input, &events);

	assert_false(jbool(r, "ok", true));
	if (!strstr(jstr(r, "error.text", ""), "was ended by signal 15"))
		assert_string_equal(jstr(r, "error.kind", ""), "cancelled");
	for (size_t i = 0; i < json_array_size(events); i++)
		assert_string_not_equal(jstr(json_array_get(events, i), "e", ""), "keep");
}

static void power_ends_what_it_runs_when_it_is_stopped(void **state)
{
	struct world *w = *state;

	jset(command_of(w), "status", modtest_sh(STOPS_ITS_CALL));
	is_stopped(w, "cutover.off", "probe");
}

static void quiesce_ends_what_it_runs_when_it_is_stopped(void **state)
{
	struct world *w = *state;

	jset(w->input, "args", json_pack("{s:s}", "mode", "pause"));
	jset_str(jget(w->input, "machine.source"), "domain", "m");
	with_program(w, "virsh", STOPS_ITS_CALL);
	is_stopped(w, "cutover.quiesce", "apply");
}

static void drain_that_is_stopped_takes_no_service_for_idle(void **state)
{
	struct world *w = *state;

	jset(w->input, "args", json_pack("{s:[s]}", "services", "db"));
	with_program(w, "systemctl", STOPS_ITS_CALL);
	is_stopped(w, "cutover.drain", "probe");
	is_stopped(w, "cutover.drain", "apply");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(off_is_proven_and_undo_switches_on_again),
		T(off_leaves_off_what_was_off),
		T(off_takes_silence_for_no_proof),
		T(off_fails_when_the_order_fails_and_the_machine_stays_on),
		T(off_asks_a_person_where_the_plan_says_manual),
		T(off_asks_a_person_again_in_a_later_run),
		T(off_hands_a_secret_to_its_programs_on_stdin),
		T(quiesce_asks_a_person_again_in_a_later_run),
		T(off_without_power_wants_images_that_nobody_uses),
		T(off_sees_a_loop_device_that_stands_on_an_image),
		T(off_sees_who_has_mapped_an_image),
		T(off_does_not_write_to_the_images_it_looks_at),
		T(off_does_not_take_an_image_for_unused_that_it_cannot_look_at),
		T(quiesce_shuts_down_what_runs_from_images),
		T(quiesce_says_when_power_is_switched_elsewhere),
		T(quiesce_takes_a_domain_that_shuts_down_for_one_that_writes),
		T(off_is_not_proven_by_a_libvirt_that_is_silent_about_autostart),
		T(off_does_not_take_a_crashed_domain_for_off),
		T(a_domain_called_by_a_number_is_not_switched),
		T(power_ends_what_it_runs_when_it_is_stopped),
		T(quiesce_ends_what_it_runs_when_it_is_stopped),
		T(drain_that_is_stopped_takes_no_service_for_idle),
		T(start_is_not_undone_by_a_libvirt_that_falls_silent),
		T(start_is_not_undone_by_a_unit_whose_machine_still_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
