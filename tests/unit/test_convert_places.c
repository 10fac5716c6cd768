/* SPDX-License-Identifier: Apache-2.0
 * test_convert_places - targets and sources that are full, cut off, copied twice or changed by
 * others while nobody looked.
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
	char *loop = r->loop = geteuid() ? NULL : cv_loop(r->src, SIZE, "512");

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
	loop = r->loop = geteuid() ? NULL : cv_loop(r->src, SIZE, "512");
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
		RAW(what_lies_on_a_disk_that_is_copied_is_not_copied_as_well),
		RAW(a_source_that_wrote_since_the_last_pass_is_read_again),
		RAW(free_blocks_that_are_read_are_told_before),
		AS(a_base_that_libvirt_gave_to_another_user_is_written_to, "qcow2"),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
