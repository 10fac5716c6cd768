/* SPDX-License-Identifier: Apache-2.0
 * test_track - passes of a serving disk by its traced writes: what they read, and when they are
 * not believed. What of it is in the way of a cutover: test_track_cutover.c.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "modules/lib/track.h"
#include "tests/unit/modtest.h"
#include "tests/unit/part.h"
#include "tests/unit/trackrig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The system's call, but for the counters of lost events, which a tracker begun while this is
 * so cannot read. */
static bool counters_unreadable;

ssize_t pread(int fd, void *p, size_t n, off_t at)
{
	AUTO_FREE char *link = counters_unreadable ? mem_printf("/proc/self/fd/%d", fd) : NULL;
	char to[256] = "";

	if (link && readlink(link, to, sizeof(to) - 1) > 6 && !strcmp(to + strlen(to) - 6, "/stats")) {
		errno = EIO;
		return -1;
	}
	return syscall(SYS_pread64, fd, p, n, at);
}

static void a_file_overwritten_between_passes_is_found_and_nothing_else_is_read(void **s)
{
	struct rig *r = *s;

	if (!tk_can_run)
		skip();
	tk_copy(r, "convert.disks");
	assert_string_equal(r->by, "digest");
	assert_true(tk_said(r, "its writes are followed from now on"));
	tk_write(r, 3 * MIB, 2 * MIB, 2);
	tk_last_pass(r);
	assert_string_equal(r->by, "trace");
	assert_true(r->read >= 2 * MIB && r->read < SIZE / 2);
	/* nothing was written since, but for what a thaw brings */
	tk_last_pass(r);
	assert_string_equal(r->by, "trace");
	assert_true(r->read < SIZE / 2);
}

/* What a file system discards is other data at the device: zeros, here. */
static void what_is_discarded_between_passes_is_read(void **s)
{
	struct rig *r = *s;
	struct fstrim_range all = { .len = UINT64_MAX };
	AUTO_FD fd = -1;

	if (!tk_can_run)
		skip();
	tk_copy(r, "convert.disks");
	assert_int_equal(truncate(r->file, 0), 0);
	fd = open(r->mnt, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(syncfs(fd), 0);
	if (ioctl(fd, FITRIM, &all) < 0)
		skip();		/* the file beneath the device can have no holes */
	tk_last_pass(r);
	assert_string_equal(r->by, "trace");
}

/* Who writes to the device itself, a database for one, has it in that one's cache. */
static void what_the_cache_of_a_device_holds_is_there_before_a_last_pass(void **s)
{
	struct rig *r = *s;
	char page[4096], got[4096];
	AUTO_FD fd = -1, beneath = -1;

	if (!tk_can_run)
		skip();
	fd = open(r->loop, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		skip();		/* this kernel writes to none that is mounted */
	memset(page, 'x', sizeof(page));
	assert_int_equal(io_pwrite_full(fd, page, sizeof(page), SIZE - sizeof(page)), 0);
	assert_int_equal(track_settle(r->loop, NULL), 0);
	beneath = open(r->img, O_RDONLY | O_CLOEXEC);
	assert_int_equal(io_pread_full(beneath, got, sizeof(got), SIZE - sizeof(got)), 0);
	assert_memory_equal(page, got, sizeof(page));
}

/* The plan was changed: nobody tells the tracker any more which copy the target has. */
static void passes_by_digests_end_what_was_followed(void **s)
{
	struct rig *r = *s;

	if (!tk_can_run)
		skip();
	tk_copy(r, "convert.disks");
	assert_int_not_equal(tk_pid(r), 0);
	json_object_set_new(r->args, "changes", json_string("digest"));
	tk_write(r, 3 * MIB, 2 * MIB, 2);
	tk_copy(r, "call.sync");
	assert_int_equal(tk_pid(r), 0);
	r->strict = true;
	tk_last_pass(r);
	assert_string_equal(r->by, "digest");
}

static void what_writers_write_during_passes_is_all_there(void **s)
{
	struct rig *r = *s;

	if (!tk_can_run)
		skip();
	for (unsigned round = 0; round < (unsigned)test_part(4, 1); round++) {
		json_object_set_new(r->args, "passes", json_integer(4 + 5 * round));
		tk_writer_begin(r, 77 + round);
		tk_copy(r, "convert.disks");
		tk_last_pass(r);
		assert_true(tk_writer_end(r));
		/* who is starved may lose events, but must know it */
		if (strcmp(r->by, "trace"))
			assert_true(tk_said(r, "events of its tracing were lost"));
	}
}

static void lost_events_mean_that_all_is_read_and_it_is_said(void **s)
{
	struct rig *r = *s;

	if (!tk_can_run)
		skip();
	tk_copy(r, "convert.disks");
	tk_lose_events(r);
	tk_last_pass(r);
	assert_string_equal(r->by, "digest");
	assert_true(tk_said(r, "events of its tracing were lost"));
	assert_int_equal(r->read, SIZE);
	tk_last_pass(r);
	assert_string_equal(r->by, "trace");
}

static void who_cannot_tell_whether_events_were_lost_trusts_none(void **s)
{
	struct rig *r = *s;

	if (!tk_can_run)
		skip();
	counters_unreadable = true;
	tk_copy(r, "convert.disks");
	tk_last_pass(r);
	counters_unreadable = false;
	assert_string_equal(r->by, "digest");
	assert_true(tk_said(r, "events of its tracing were lost"));
}

static void a_killed_tracker_means_that_all_is_read(void **s)
{
	struct rig *r = *s;

	if (!tk_can_run)
		skip();
	tk_copy(r, "convert.disks");
	kill(tk_pid(r), SIGKILL);
	tk_write(r, 5 * MIB, MIB, 3);
	tk_last_pass(r);
	assert_string_equal(r->by, "digest");
	assert_true(tk_said(r, "no tracker follows it"));
	json_object_set_new(r->args, "passes", json_integer(3));
	tk_copy(r, "convert.disks");
	assert_true(tk_said(r, "nothing followed its writes since the pass before"));
	tk_last_pass(r);
	assert_string_equal(r->by, "trace");
}

static void undo_and_cleanup_leave_nothing_of_it(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *dir = NULL;
	AUTO_JSON *in = NULL, *out = NULL, *again = NULL, *cleanup = NULL;

	if (!tk_can_run)
		skip();
	tk_copy(r, "convert.disks");
	tk_mount(r);
	dir = tk_instance(r, "");
	assert_int_equal(access(dir, F_OK), 0);
	in = tk_input(r, "source");
	out = modtest_call("convert.disks", "undo", in, NULL);
	assert_true(jbool(out, "ok", false));
	assert_int_equal(access(dir, F_OK), -1);
	assert_int_equal(tk_pid(r), 0);
	/* one that was killed leaves its instance: cleanup takes it */
	json_object_set_new(r->args, "passes", json_integer(2));
	tk_copy(r, "convert.disks");
	kill(tk_pid(r), SIGKILL);
	cleanup = tk_input(r, "a");
	jset(cleanup, "args", json_pack("{s:s,s:s}", "kind", "tracker", "name", r->tracker));
	again = modtest_call("call.cleanup", "apply", cleanup, NULL);
	assert_true(jbool(again, "ok", false));
	assert_int_equal(access(dir, F_OK), -1);
	tk_umount(r);
}

/* As the plan has it when its backup is taken back: followed by none. */
static void a_backup_that_is_taken_back_ends_what_it_once_had_followed(void **s)
{
	struct rig *r = *s;
	AUTO_JSON *in = NULL, *out = NULL;

	if (!tk_can_run)
		skip();
	tk_copy(r, "convert.disks");
	assert_int_not_equal(tk_pid(r), 0);
	in = tk_input(r, "source");
	out = modtest_call("backup.image", "undo", in, NULL);
	assert_true(jbool(out, "ok", false));
	assert_int_equal(tk_pid(r), 0);
}

static void the_preview_says_how_and_why(void **s)
{
	struct rig *r = *s;
	AUTO_JSON *in = NULL, *out = NULL, *digest = NULL, *file = NULL, *files = NULL,
		  *copied = NULL;
	AUTO_FREE char *text = NULL;

	if (!tk_can_run)
		skip();
	in = tk_input(r, "source");
	out = modtest_call("convert.disks", "probe", in, NULL);
	text = json_canonical(json_object_get(out, "changes"));
	assert_non_null(strstr(text, "root: its writes are traced, later passes read what was "
				     "written"));
	free(text);
	jset(jget(in, "args"), "changes", json_string("digest"));
	digest = modtest_call("convert.disks", "probe", in, NULL);
	text = json_canonical(json_object_get(digest, "changes"));
	assert_non_null(strstr(text, "compares digests: the plan says so"));
	json_object_set_new(r->args, "changes", json_string("trace"));
	file = tk_input(r, "source");
	jset(jget(file, "machine.source.disks.root"), "path", json_string(r->img));
	files = modtest_call("convert.disks", "probe", file, NULL);
	assert_string_equal(jstr(json_array_get(jget(files, "findings"), 0), "text", ""),
			    "cannot trace the writes of disk 'root': it is no block device");
	/* also once it was copied: never was it traced */
	jset_str(jget(file, "args"), "changes", "auto");
	jset(jget(file, "facts"), "disks", json_pack("{s:{s:I}}", "root", "size",
						     (json_int_t)SIZE));
	copied = modtest_call("convert.disks", "probe", file, NULL);
	free(text);
	text = json_canonical(json_object_get(copied, "changes"));
	assert_non_null(strstr(text, "compares digests: it is no block device"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, tk_set_up, tk_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_file_overwritten_between_passes_is_found_and_nothing_else_is_read),
		T(what_is_discarded_between_passes_is_read),
		T(what_the_cache_of_a_device_holds_is_there_before_a_last_pass),
		T(passes_by_digests_end_what_was_followed),
		T(what_writers_write_during_passes_is_all_there),
		T(lost_events_mean_that_all_is_read_and_it_is_said),
		T(who_cannot_tell_whether_events_were_lost_trusts_none),
		T(a_killed_tracker_means_that_all_is_read),
		T(undo_and_cleanup_leave_nothing_of_it),
		T(a_backup_that_is_taken_back_ends_what_it_once_had_followed),
		T(the_preview_says_how_and_why),
	};

	tk_look();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
