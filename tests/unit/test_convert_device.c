/* SPDX-License-Identifier: Apache-2.0
 * test_convert_device - targets and sources that are devices: with large sectors, too small,
 * or renamed since they were seen.
 */
#include "engine/base/io.h"
#include "engine/base/proc.h"
#include "tests/unit/convertrig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

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
	char *loop = r->loop = geteuid() ? NULL : cv_loop(file, 24 * MIB, "4096");
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

/* The source ends in the middle of the target's last sector. */
static void a_device_with_sectors_of_4096_bytes_is_filled(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *file = mem_printf("%s/device", r->dir), *n = mem_printf("%u", SIZE);
	char *loop = r->loop = geteuid() ? NULL : cv_loop(file, SIZE + 4096 - 512, "4096");
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
	AUTO_FREE char *loop = geteuid() ? NULL : cv_loop(file, SIZE + MIB, "512");
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

/* A device full of something else, which the plan gives up: where the source has zeros or
 * holes nothing of that stays, nor behind the source's end. */
static void a_device_that_held_other_data_keeps_none_of_it(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *file = mem_printf("%s/device", r->dir), *n = mem_printf("%u", SIZE);
	char *loop = r->loop = geteuid() ? NULL : cv_loop(file, SIZE + MIB, "512");
	AUTO_FREE char *old = mem_alloc(SIZE + MIB), *rest = mem_alloc(MIB);
	const char *cmp[] = { "cmp", "-n", n, r->src, loop, NULL };
	AUTO_FD fd = -1;

	if (!loop)
		skip();
	memset(old, 'x', SIZE + MIB);
	cv_put(loop, 0, old, SIZE + MIB);
	json_object_set_new(r->more, "disks", json_pack("{s:{s:s}}", "root", "path", loop));
	json_object_set_new(r->more, "replace", json_true());
	cv_do_both(r, "convert.disks");
	cv_do_at(r, "target", "validate.disks", "apply");
	cv_run_ok(cmp);
	fd = open(loop, O_RDONLY | O_CLOEXEC);
	assert_int_equal(io_pread_full(fd, rest, MIB, SIZE), 0);
	for (size_t i = 0; i < MIB; i++)
		assert_int_equal(rest[i], 0);
}

/* As after a reboot in which devices change their names. */
static void a_device_that_got_the_name_of_another_is_left_alone(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *file = mem_printf("%s/device", r->dir), *name = NULL, *first = NULL;
	AUTO_FREE char *other = mem_printf("%s/other", r->dir), *second = NULL, *text = NULL;
	char byte[11] = "";
	AUTO_JSON *made = NULL, *again = NULL, *undone = NULL;

	first = geteuid() ? NULL : cv_loop(file, SIZE, "512");
	second = first ? cv_loop(other, SIZE, "512") : NULL;
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

	first = geteuid() ? NULL : cv_loop(file, SIZE, "512");
	second = first ? cv_loop(other, SIZE, "512") : NULL;
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
	AUTO_FREE char *loop = geteuid() ? NULL : cv_loop(file, 8 * MIB, "512");
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		RAW(a_device_is_filled_and_given_back_blank),
		RAW(a_device_that_held_other_data_keeps_none_of_it),
		RAW(a_device_that_got_the_name_of_another_is_left_alone),
		RAW(a_source_that_got_the_name_of_another_is_not_read),
		RAW(a_device_that_is_too_small_is_refused),
		RAW(a_disk_with_sectors_of_4096_bytes_is_copied_and_known_as_one),
		RAW(a_device_with_sectors_of_4096_bytes_is_filled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
