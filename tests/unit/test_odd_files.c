/* SPDX-License-Identifier: Apache-2.0
 * test_odd_files - something else stands where a copy, its map or its directory was: nothing
 * waits for it, what it is gets told, and a rollback leaves nothing of ours.
 */
#include "tests/unit/convertrig.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define HANG_S 120	/* who waits for a pipe waits for ever */
#define DAMAGED "cannot use map '%s': it is damaged"
#define DAMAGED_HINT "remove it and the image beside it; the disk is copied again"
#define BRING_BACK "bring it back; or drover rollback PLAN --to convert, then drover run PLAN"

static char *home_of(const struct rig *r)
{
	return mem_printf("%s/%s", r->target, r->machine);
}

static void copied(struct rig *r)
{
	cv_do_both(r, "convert.disks");
	alarm(HANG_S);
}

static void rolled_back(struct rig *r)
{
	AUTO_FREE char *home = home_of(r);

	cv_do_at(r, "target", "convert.disks", "undo");
	assert_int_equal(access(home, F_OK), -1);
	alarm(0);
}

static void assert_damaged(struct rig *r)
{
	AUTO_FREE char *text = mem_printf(DAMAGED, r->map);

	cv_assert_error(cv_at(r, "target", "convert.disks", "probe"), text, DAMAGED_HINT);
	cv_assert_error(cv_at(r, "target", "validate.disks", "probe"), text, DAMAGED_HINT);
	cv_assert_error(cv_at(r, "target", "validate.disks", "apply"), text, DAMAGED_HINT);
}

static void a_map_that_is_a_pipe_is_not_waited_for(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *text = mem_printf(DAMAGED, r->map);

	copied(r);
	assert_int_equal(unlink(r->map), 0);
	assert_int_equal(mkfifo(r->map, 0600), 0);
	assert_damaged(r);
	cv_assert_error(cv_both(r, "call.sync", NULL), text, DAMAGED_HINT);
	rolled_back(r);
}

static void a_map_that_leads_to_the_copy_does_not_harm_it(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *text = mem_printf(DAMAGED, r->map);

	copied(r);
	assert_int_equal(unlink(r->map), 0);
	assert_int_equal(symlink(r->base, r->map), 0);
	assert_damaged(r);
	cv_assert_error(cv_both(r, "call.sync", NULL), text, DAMAGED_HINT);
	cv_assert_same(r);
	rolled_back(r);
}

static void a_map_that_is_a_directory_is_told(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *text = mem_printf("cannot remove '%s': Is a directory", r->map);

	copied(r);
	assert_int_equal(unlink(r->map), 0);
	assert_int_equal(mkdir(r->map, 0700), 0);
	assert_damaged(r);
	cv_assert_error(cv_at(r, "target", "convert.disks", "undo"), text, "a directory stands where a "
			"file was: move it away; the same command then goes on where it stopped");
	assert_int_equal(rmdir(r->map), 0);
	rolled_back(r);
}

static void assert_no_base(struct rig *r, const char *is)
{
	AUTO_FREE char *text = mem_printf("cannot go on with '%s': it is %s", r->base, is);
	AUTO_JSON *proof = NULL;

	cv_assert_error(cv_both(r, "call.sync", NULL), text, BRING_BACK);
	proof = cv_at(r, "target", "validate.disks", "apply");
	assert_string_equal(jstr(proof, "error.hint", ""),
			    "drover rollback PLAN --to convert, then drover run PLAN");
}

static void a_copy_that_is_a_pipe_is_not_waited_for(void **s)
{
	struct rig *r = *s;

	copied(r);
	assert_int_equal(unlink(r->base), 0);
	assert_int_equal(mkfifo(r->base, 0600), 0);
	assert_no_base(r, "no file any more");
	rolled_back(r);
}

static void a_copy_that_is_empty_is_told(void **s)
{
	struct rig *r = *s;

	copied(r);
	assert_int_equal(truncate(r->base, 0), 0);
	assert_no_base(r, "empty");
	rolled_back(r);
}

/* Somebody wanted more room for it. */
static void a_directory_that_was_moved_and_linked_goes_with_its_link(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *home = home_of(r), *moved = mem_printf("%s/moved", r->dir);

	copied(r);
	assert_int_equal(rename(home, moved), 0);
	assert_int_equal(symlink(moved, home), 0);
	cv_fill(r->src, 0, MIB, 4);
	cv_do_both(r, "call.sync");
	cv_assert_same(r);
	cv_do_at(r, "target", "validate.disks", "apply");
	rolled_back(r);
	assert_int_equal(access(moved, F_OK), -1);
	cv_do_both(r, "convert.disks");
}

static void a_directory_that_is_a_mount_stays_after_a_rollback(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *home = home_of(r);

	if (geteuid() != 0)
		skip();
	assert_int_equal(mkdir(home, 0700), 0);
	assert_int_equal(mount("none", home, "tmpfs", 0, "size=64m"), 0);
	AUTO_JSON *copy = cv_both(r, "convert.disks", NULL);
	AUTO_JSON *undo = cv_at(r, "target", "convert.disks", "undo");
	AUTO_JSON *again = cv_both(r, "convert.disks", NULL);
	AUTO_JSON *last = cv_at(r, "target", "convert.disks", "undo");
	assert_int_equal(umount2(home, MNT_DETACH), 0);
	assert_true(jbool(copy, "ok", false));
	assert_true(jbool(undo, "ok", false));
	assert_true(jbool(again, "ok", false));
	assert_true(jbool(last, "ok", false));
	assert_int_equal(rmdir(home), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RAW(a_map_that_is_a_pipe_is_not_waited_for),
		RAW(a_map_that_leads_to_the_copy_does_not_harm_it),
		RAW(a_map_that_is_a_directory_is_told),
		RAW(a_copy_that_is_a_pipe_is_not_waited_for),
		QCOW2(a_copy_that_is_a_pipe_is_not_waited_for),
		RAW(a_copy_that_is_empty_is_told),
		QCOW2(a_copy_that_is_empty_is_told),
		RAW(a_directory_that_was_moved_and_linked_goes_with_its_link),
		RAW(a_directory_that_is_a_mount_stays_after_a_rollback),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
