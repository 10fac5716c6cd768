/* SPDX-License-Identifier: Apache-2.0
 * test_convert_places - targets and sources that are devices, full, small, renamed or cut off.
 */
#include "engine/base/proc.h"
#include "modules/lib/map.h"
#include "tests/unit/convertrig.h"
#include "tests/unit/modtest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- places that are not as they should be ------------------------------------------------ */

static void a_target_that_fills_up_is_told_and_gone_on_with(void **s)
{
	struct rig *r = *s;
	AUTO_JSON *full = NULL;

	if (geteuid() != 0)
		skip();
	assert_int_equal(mount("none", r->target, "tmpfs", 0, "size=2m"), 0);
	full = cv_both(r, "convert.disks", NULL);
	int room = mount("none", r->target, "tmpfs", MS_REMOUNT, "size=64m");
	AUTO_JSON *again = cv_both(r, "convert.disks", NULL);
	const char *cmp[] = { "qemu-img", "compare", "-q", "-f", "raw", "-F", r->format, r->src,
			      r->base, NULL };
	struct proc p = { .argv = cmp, .timeout_ms = 60000 };
	int same = proc_run(&p, NULL);
	proc_free(&p);
	umount2(r->target, MNT_DETACH);
	assert_int_equal(room, 0);
	assert_non_null(strstr(jstr(full, "error.text", ""), ": No space left on device"));
	assert_string_equal(jstr(full, "error.hint", ""),
			    "free space there; the same command then goes on where it stopped");
	assert_true(jbool(again, "ok", false));
	assert_int_equal(jint(again, "facts.disks.stable.root.pass", 0), 1);
	assert_int_equal(same, 0);
}

/* The record of the disk, as a host finds it that was started again: `boot` was another. */
static void start_host_anew(struct rig *r, bool open)
{
	AUTO_FREE char *path = mem_printf("%s/erp/root.place", r->target);
	AUTO_FREE char *text = io_read_file(AT_FDCWD, path, 4096, NULL);
	AUTO_JSON *doc = text ? json_parse(text, strlen(text), NULL) : NULL;
	AUTO_FREE char *now = NULL;

	assert_non_null(doc);
	assert_null(jstr(doc, "boot", NULL));	/* it was closed in order */
	if (open)
		jset_str(doc, "boot", "a boot before");
	now = json_pretty(doc);
	assert_int_equal(io_write_file(AT_FDCWD, path, now, strlen(now), 0600), 0);
}

static void a_power_cut_ends_what_its_format_does_not_bear(void **s)
{
	struct rig *r = *s;
	AUTO_JSON *again = NULL;

	cv_do_both(r, "convert.disks");
	start_host_anew(r, false);
	cv_assert_state(r, "target", "convert.disks", "done");
	start_host_anew(r, true);
	cv_put(r->base, 65536, "torn", 4);
	cv_assert_state(r, "target", "convert.disks", "absent");
	again = cv_both(r, "convert.disks", NULL);
	cv_take_facts(r, again);
	assert_int_equal(jint(again, "facts.disks.volatile.root.changed", 0), 5 * MIB + 512);
	cv_assert_same(r);
	start_host_anew(r, false);
	cv_do_at(r, "target", "validate.disks", "apply");
}

static void a_power_cut_does_not_end_what_its_format_bears(void **s)
{
	struct rig *r = *s;
	AUTO_JSON *again = NULL;
	AUTO_ERR e = { 0 };

	cv_do_both(r, "convert.disks");
	struct map *m = map_open(r->map, true, &e);
	assert_int_equal(map_begin(m, 2, &e), 0);
	map_close(m);
	start_host_anew(r, false);
	again = cv_both(r, "convert.disks", NULL);
	cv_take_facts(r, again);
	assert_int_equal(jint(again, "facts.disks.volatile.root.changed", -1), 0);
	cv_assert_same(r);
}

static void an_image_that_cannot_grow_is_told(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *text = mem_printf("cannot make disk 'root' 32.0 MiB long: an image of format "
					  "'%s' keeps the size that it was made with", r->format);
	AUTO_JSON *probed = NULL;

	cv_do_both(r, "convert.disks");
	json_object_set_new(r->more, "disks", json_pack("{s:{s:i}}", "root", "size",
							(int)(32 * MIB)));
	probed = cv_at(r, "target", "convert.disks", "probe");
	assert_string_equal(jstr(json_array_get(jget(probed, "findings"), 0), "text", ""), text);
	cv_assert_error(cv_both(r, "convert.disks", NULL), text, "put its size back; or type drover "
		     "rollback PLAN --to convert, and run again");
	cv_do_at(r, "target", "convert.disks", "undo");
	cv_do_both(r, "convert.disks");
	cv_assert_same(r);
	cv_assert_state(r, "target", "convert.disks", "done");
}

static void a_disk_that_its_format_cannot_hold_is_told(void **s)
{
	struct rig *r = *s;

	json_object_set_new(r->more, "disks", json_pack("{s:{s:I}}", "root", "size",
							(json_int_t)3 << 40));
	cv_assert_error(cv_at(r, "target", "convert.disks", "probe"), "cannot write disk 'root' as format "
		     "'vpc': it has 3.0 TiB, the format ends at 2.0 TiB",
		     "say format: qcow2, raw or vhdx under target.disks.root");
}

static char *loop_with(const char *path, off_t size, const char *sector)
{
	const char *argv[] = { "losetup", "-b", sector, "-f", "--show", path, NULL };
	struct proc p = { .argv = argv, .timeout_ms = 60000 };
	AUTO_FD fd = open(path, O_WRONLY | O_CREAT, 0600);
	char *out;

	assert_int_equal(ftruncate(fd, size), 0);
	if (proc_run(&p, NULL) < 0) {
		proc_free(&p);
		return NULL;
	}
	out = str_take(&p.out);
	out[strcspn(out, "\n")] = '\0';
	proc_free(&p);
	return out;
}

static char *loop_of(const char *path, off_t size)
{
	return loop_with(path, size, "512");
}

/* The disk as assess.machine describes it. */
static void is_described_with_4096(struct rig *r)
{
	AUTO_JSON *out = cv_at(r, "source", "assess.machine", "probe");
	const json_t *disk = json_array_get(jget(out, "facts.machine.stable.disks"), 0);
	const json_t *part = json_array_get(jget(disk, "partitions"), 0);

	assert_int_equal(jint(disk, "sector", 0), 4096);
	assert_int_equal(jint(part, "start", 0), 4 * MIB);
	assert_int_equal(jint(part, "size", 0), 16 * MIB);
}

/* A disk with such sectors, and its copy, which lies in a file. */
static void a_disk_with_sectors_of_4096_bytes_is_copied_and_known_as_one(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *file = mem_printf("%s/device", r->dir);
	char *loop = r->loop = geteuid() ? NULL : loop_with(file, 24 * MIB, "4096");
	const char *table[] = { "sfdisk", "-q", "--no-reread", loop, NULL };
	static const char script[] = "label: gpt\nstart=1024, size=4096\n";
	struct proc p = { .argv = table, .timeout_ms = 60000, .input = script,
			  .input_len = strlen(script) };

	if (!loop)
		skip();
	jset_str(r->args, "changes", "digest");		/* no tracker, which would stay */
	assert_int_equal(proc_run(&p, NULL), 0);
	proc_free(&p);
	cv_fill(loop, 5 * MIB, 3 * MIB, 4);
	free(r->src);
	r->src = mem_strdup(loop);
	cv_do_both(r, "convert.disks");
	cv_do_at(r, "target", "validate.disks", "apply");
	cv_assert_same(r);
	is_described_with_4096(r);
	free(r->src);
	r->src = mem_strdup(r->base);
	is_described_with_4096(r);
}

/* What is said of another disk that is copied beside the source's image; "": nothing. */
static char *twice(struct rig *r, const char *module, const char *path, bool copied)
{
	AUTO_JSON *in = cv_input(r, "source"), *out = NULL;
	json_t *f;
	size_t i;

	jset(jget(in, "machine.source.disks"), "other", json_pack("{s:s, s:s, s:b}", "path", path,
		"format", "raw", "copy", copied));
	out = modtest_call(module, "probe", in, NULL);
	json_array_foreach(jget(out, "findings"), i, f)
		if (!strcmp(jstr(f, "code", ""), "disk.twice"))
			return mem_printf("%s %s", jstr(f, "severity", ""), jstr(f, "text", ""));
	return mem_strdup("");
}

static void assert_twice(struct rig *r, const char *path, const char *want)
{
	static const char *const modules[] = { "convert.disks", "assess.machine" };

	for (size_t i = 0; i < ARRAY_LEN(modules); i++) {
		AUTO_FREE char *is = twice(r, modules[i], path, true);
		AUTO_FREE char *left_out = twice(r, modules[i], path, false);

		assert_string_equal(is, want);
		assert_string_equal(left_out, "");
	}
}

static void what_lies_on_a_disk_that_is_copied_is_not_copied_as_well(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *link = mem_printf("%s/link", r->dir), *alone = mem_printf("%s/alone", r->dir);
	char *loop = r->loop = geteuid() ? NULL : loop_of(r->src, SIZE);

	if (!loop)
		skip();
	assert_int_equal(symlink(r->src, link), 0);
	AUTO_FD fd = open(alone, O_WRONLY | O_CREAT, 0600);
	assert_int_equal(ftruncate(fd, MIB), 0);
	AUTO_FREE char *lies = mem_printf("blocker disk 'other' ('%s') lies on disk 'root' ('%s'), which "
		"is copied whole as well: two copies of the same bytes, of two instants", loop, r->src);
	AUTO_FREE char *same = mem_printf("blocker disks 'other' ('%s') and 'root' ('%s') are the same "
		"one", link, r->src);
	assert_twice(r, loop, lies);
	assert_twice(r, link, same);
	assert_twice(r, alone, "");
}

/* The source ends in the middle of the target's last sector. */
static void a_device_with_sectors_of_4096_bytes_is_filled(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *file = mem_printf("%s/device", r->dir), *n = mem_printf("%u", SIZE);
	char *loop = r->loop = geteuid() ? NULL : loop_with(file, SIZE + 4096 - 512, "4096");
	const char *cmp[] = { "cmp", "-n", n, r->src, loop, NULL };

	if (!loop)
		skip();
	json_object_set_new(r->more, "disks", json_pack("{s:{s:s}}", "root", "path", loop));
	cv_do_both(r, "convert.disks");
	cv_do_at(r, "target", "validate.disks", "apply");
	cv_run_ok(cmp);
	cv_do_at(r, "target", "convert.disks", "undo");
}

/* A device as target: the right one is filled, and blank again after undo. */
static void a_device_is_filled_and_given_back_blank(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *file = mem_printf("%s/device", r->dir);
	AUTO_FREE char *loop = geteuid() ? NULL : loop_of(file, SIZE + MIB);
	const char *detach[] = { "losetup", "-d", loop, NULL };
	AUTO_JSON *made = NULL, *undone = NULL, *dirty = NULL, *end = NULL;
	AUTO_FREE char *text = NULL;
	int same, blank = 0;

	if (!loop)
		skip();
	json_object_set_new(r->more, "disks", json_pack("{s:{s:s}}", "root", "path", loop));
	made = cv_both(r, "convert.disks", NULL);
	{
		AUTO_FREE char *n = mem_printf("%u", SIZE);
		const char *cmp[] = { "cmp", "-n", n, r->src, loop, NULL };
		struct proc p = { .argv = cmp, .timeout_ms = 60000 };

		same = proc_run(&p, NULL);
		proc_free(&p);
	}
	undone = cv_at(r, "target", "convert.disks", "undo");
	{
		AUTO_FD fd = open(loop, O_RDONLY);
		char c[4096];

		for (uint64_t i = 0; i + 4096 <= SIZE; i += 4096) {
			assert_int_equal(io_pread_full(fd, c, 4096, i), 0);
			for (int k = 0; k < 4096; k++)
				blank |= c[k];
		}
	}
	cv_put(loop, SIZE + MIB - 10, "somebody's", 10);
	end = cv_both(r, "convert.disks", NULL);
	cv_put(loop, SIZE + MIB - 10, "\0\0\0\0\0\0\0\0\0", 10);
	cv_put(loop, 100, "somebody's", 10);
	dirty = cv_both(r, "convert.disks", NULL);
	cv_run_ok(detach);
	text = mem_printf("cannot write to device '%s': it holds data", loop);
	assert_true(jbool(made, "ok", false));
	assert_int_equal(same, 0);
	assert_true(jbool(undone, "ok", false));
	assert_int_equal(blank, 0);
	assert_string_equal(jstr(end, "error.text", ""), text);
	assert_string_equal(jstr(dirty, "error.text", ""), text);
}

/* As after a reboot in which devices change their names. */
static void a_device_that_got_the_name_of_another_is_left_alone(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *file = mem_printf("%s/device", r->dir), *name = NULL, *first = NULL;
	AUTO_FREE char *other = mem_printf("%s/other", r->dir), *second = NULL, *text = NULL;
	char byte[11] = "";
	AUTO_JSON *made = NULL, *again = NULL, *undone = NULL;

	first = geteuid() ? NULL : loop_of(file, SIZE);
	second = first ? loop_of(other, SIZE) : NULL;
	if (!second)
		skip();
	const char *detach[] = { "losetup", "-d", first, second, NULL };

	name = mem_printf("%s/sdb", r->dir);
	assert_int_equal(symlink(first, name), 0);
	json_object_set_new(r->more, "disks", json_pack("{s:{s:s}}", "root", "path", name));
	made = cv_both(r, "convert.disks", NULL);
	cv_put(other, 100, "somebody's", 10);
	assert_int_equal(unlink(name), 0);
	assert_int_equal(symlink(second, name), 0);
	again = cv_both(r, "convert.disks", NULL);
	undone = cv_at(r, "target", "convert.disks", "undo");
	cv_run_ok(detach);
	assert_true(jbool(made, "ok", false));
	text = mem_printf("cannot use '%s': it is another device (loop/backing_file:%s) than the "
			  "one that was written to (loop/backing_file:%s)", name, other, file);
	assert_string_equal(jstr(again, "error.text", ""), text);
	assert_string_equal(jstr(undone, "error.text", ""), text);
	{
		AUTO_FD fd = open(other, O_RDONLY);

		assert_int_equal(io_pread_full(fd, byte, 10, 100), 0);
	}
	assert_string_equal(byte, "somebody's");
}

static void a_source_that_got_the_name_of_another_is_not_read(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *other = mem_printf("%s/other", r->dir), *text = NULL;
	AUTO_FREE char *file = mem_strdup(r->src), *first = NULL, *second = NULL;
	AUTO_JSON *out = NULL, *seen = NULL, *kept = NULL;

	first = geteuid() ? NULL : loop_of(file, SIZE);
	second = first ? loop_of(other, SIZE) : NULL;
	if (!second)
		skip();
	const char *detach[] = { "losetup", "-d", first, second, NULL };

	jset_str(r->args, "changes", "digest");		/* no tracker, which would stay */
	free(r->src);
	r->src = mem_printf("%s/sda", r->dir);
	assert_int_equal(symlink(first, r->src), 0);
	jset(r->facts, "machine", json_pack("{s:[{s:s,s:o}]}", "disks", "name", "root", "device",
					    json_sprintf("loop/backing_file:%s", file)));
	out = cv_both(r, "convert.disks", NULL);
	assert_int_equal(unlink(r->src), 0);
	assert_int_equal(symlink(second, r->src), 0);
	json_decref(cv_both(r, "cutover.pass", &seen));
	/* assess saw the other one meanwhile; the copy is of the first */
	jset(r->facts, "machine", json_pack("{s:[{s:s,s:o}]}", "disks", "name", "root", "device",
					    json_sprintf("loop/backing_file:%s", other)));
	jset(r->kept, "device.root", json_pack("{s:o}", "text",
					       json_sprintf("loop/backing_file:%s", file)));
	json_decref(cv_both(r, "convert.disks", &kept));
	cv_run_ok(detach);
	assert_true(jbool(out, "ok", false));
	text = mem_printf("cannot copy disk 'root': '%s' is another device "
			  "(loop/backing_file:%s) than the one that was seen before "
			  "(loop/backing_file:%s)", r->src, other, file);
	assert_string_equal(jstr(seen, "error.text", ""), text);
	assert_string_equal(jstr(kept, "error.text", ""), text);
}

static void a_device_that_is_too_small_is_refused(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *file = mem_printf("%s/device", r->dir);
	AUTO_FREE char *loop = geteuid() ? NULL : loop_of(file, 8 * MIB);
	const char *detach[] = { "losetup", "-d", loop, NULL };
	AUTO_FREE char *text = NULL;
	json_t *out;

	if (!loop)
		skip();
	json_object_set_new(r->more, "disks", json_pack("{s:{s:s}}", "root", "path", loop));
	out = cv_both(r, "convert.disks", NULL);
	cv_run_ok(detach);
	text = mem_printf("cannot copy to '%s': it has 8.0 MiB (8388608 bytes), the source "
			  "24.0 MiB (25166336 bytes)", loop);
	cv_assert_error(out, text, "make the target at least as large as the source");
}

/* Somebody let a paused machine run again, or switched on one that was shut down, and
 * took that back before the cutover went on. */
static void a_source_that_wrote_since_the_last_pass_is_read_again(void **s)
{
	struct rig *r = *s;
	const struct timespec later[2] = { { .tv_sec = 2000000000 }, { .tv_sec = 2000000000 } };

	cv_do_both(r, "convert.disks");
	cv_do_both_told(r, "cutover.pass");
	cv_assert_state(r, "source", "cutover.pass", "done");
	cv_fill(r->src, 9 * MIB, 100, 4);
	/* the clock of a file system is too coarse for a test */
	assert_int_equal(utimensat(AT_FDCWD, r->src, later, 0), 0);
	cv_assert_state(r, "source", "cutover.pass", "absent");
	/* what a freeze held is told by the freeze */
	json_object_set_new(r->facts, "freeze", json_pack("{s:s}", "socket", "x"));
	cv_assert_state(r, "source", "cutover.pass", "done");
}

static void a_base_that_libvirt_gave_to_another_user_is_written_to(void **s)
{
	struct rig *r = *s;
	AUTO_JSON *source = NULL, *target = NULL;

	if (geteuid() != 0)
		skip();
	cv_do_both(r, "convert.disks");
	assert_int_equal(chown(r->base, 65534, 65534), 0);
	assert_int_equal(chmod(r->base, 0600), 0);
	cv_fill(r->src, 9 * MIB, 100, 4);
	target = cv_both(r, "cutover.pass", &source);
	cv_take_facts(r, target);
	cv_assert_same(r);
}

/* ---- what of it is read though nobody may need it ----------------------------------------- */

#define ALL_READ "root: the next pass reads all of it and compares digests: the plan says so\n"

/* What the source's probe says it cannot leave out, and how much it will read. Owned. */
static char *read_too(struct rig *r, const char *path, int64_t *bytes)
{
	AUTO_JSON *in = cv_input(r, "source"), *out = NULL;

	jset_str(jget(in, "machine.source.disks.root"), "image", path);
	out = modtest_call("convert.disks", "probe", in, NULL);
	*bytes = jint(out, "cost.read", 0);
	return cv_lines(out);
}

static void assert_read_too(struct rig *r, const char *path, const char *want, int64_t *bytes)
{
	AUTO_FREE char *is = read_too(r, path, bytes);

	assert_string_equal(is, want);
}

static void free_blocks_that_are_read_are_told_before(void **s)
{
	struct rig *r = *s;
	char *loop = NULL;
	int64_t quiet, all, in_use;

	jset_str(r->args, "changes", "digest");
	cv_run_ok((const char *[]){ "mke2fs", "-q", "-F", "-t", "ext4", r->src, NULL });
	assert_read_too(r, r->src, ALL_READ, &quiet);
	jset_str(r->args, "free", "copy");
	assert_read_too(r, r->src, ALL_READ, &all);
	assert_true(quiet < all);
	jset_str(r->args, "free", "skip");
	loop = r->loop = geteuid() ? NULL : loop_of(r->src, SIZE);
	if (loop) {
		AUTO_FD held = open(loop, O_RDONLY | O_EXCL | O_CLOEXEC);

		assert_true(held >= 0);
		assert_read_too(r, loop, "root: free blocks are read too: the disk is in use\n"
				ALL_READ, &in_use);
		assert_true(in_use >= all);
	}
	cv_fill(r->src, 0, 4096, 7);
	assert_read_too(r, r->src, "root: it is read whole: its content is unknown\n" ALL_READ,
			&quiet);
	assert_int_equal(quiet, all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RAW(a_target_that_fills_up_is_told_and_gone_on_with),
		QCOW2(a_target_that_fills_up_is_told_and_gone_on_with),
		FOREIGN(a_target_that_fills_up_is_told_and_gone_on_with),
		AS(a_power_cut_ends_what_its_format_does_not_bear, "vmdk"),
		AS(a_power_cut_ends_what_its_format_does_not_bear, "vpc"),
		AS(a_power_cut_ends_what_its_format_does_not_bear, "vdi"),
		AS(a_power_cut_does_not_end_what_its_format_bears, "vhdx"),
		FOREIGN(an_image_that_cannot_grow_is_told),
		AS(a_disk_that_its_format_cannot_hold_is_told, "vpc"),
		RAW(a_device_is_filled_and_given_back_blank),
		RAW(a_device_that_got_the_name_of_another_is_left_alone),
		RAW(a_source_that_got_the_name_of_another_is_not_read),
		RAW(a_device_that_is_too_small_is_refused),
		RAW(a_disk_with_sectors_of_4096_bytes_is_copied_and_known_as_one),
		RAW(a_device_with_sectors_of_4096_bytes_is_filled),
		RAW(what_lies_on_a_disk_that_is_copied_is_not_copied_as_well),
		RAW(a_source_that_wrote_since_the_last_pass_is_read_again),
		RAW(free_blocks_that_are_read_are_told_before),
		AS(a_base_that_libvirt_gave_to_another_user_is_written_to, "qcow2"),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
