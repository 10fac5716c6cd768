/* SPDX-License-Identifier: Apache-2.0
 * test_convert_refused - what is not copied, or not gone on with: the whole message, and what it
 * says to do.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "tests/unit/convertrig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void a_freeze_that_ended_too_early_is_no_last_pass(void **s)
{
	struct rig *r = *s;
	AUTO_JSON *source = NULL, *target = NULL;

	cv_do_both(r, "convert.disks");
	json_object_set_new(r->facts, "freeze", json_pack("{s:s}", "socket", "gone"));
	target = cv_both(r, "cutover.pass", &source);
	assert_string_equal(jstr(source, "error.text", ""), "the freeze of the source ended before "
			    "the last pass was over: what was read is not one instant");
	assert_string_equal(jstr(source, "error.hint", ""), "drover cutover PLAN begins it anew; the "
			    "`hold` of quiesce says how long a freeze may last");
	assert_string_equal(jstr(target, "error.kind", ""), "broken");
}

static void a_foreign_directory_is_refused_unless_it_may_be_replaced(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *dir = mem_printf("%s/erp", r->target);
	AUTO_FREE char *text = mem_printf("cannot write to '%s': it holds files that drover did "
					  "not make", dir);
	AUTO_FREE char *far = mem_printf("the other end stopped: %s", text);
	const char *hint = "move it away, choose another target.dir, or say target: "
			   "{ replace: true } to overwrite it";
	AUTO_JSON *source = NULL;

	assert_int_equal(mkdir(dir, 0700), 0);
	assert_int_equal(io_write_file(AT_FDCWD, r->base, "mine", 4, 0600), 0);
	cv_assert_error(cv_at(r, "target", "convert.disks", "probe"), text, hint);
	cv_assert_error(cv_both(r, "convert.disks", &source), text, hint);
	assert_string_equal(jstr(source, "error.kind", ""), "cancelled");
	assert_non_null(strstr(jstr(source, "error.text", ""), far));
	json_object_set_new(r->more, "replace", json_true());
	cv_do_both(r, "convert.disks");
	cv_assert_same(r);
}

static void another_states_copy_is_refused(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *marker = mem_printf("%s/erp/.drover", r->target);
	AUTO_FREE char *text = mem_printf("cannot write to '%s/erp': it was made from another "
					  "state directory", r->target);
	const char *other = "{\"lineage\":\"ffff\",\"machine\":\"erp\",\"plan\":\"p\"}";

	cv_do_both(r, "convert.disks");
	assert_int_equal(io_write_file(AT_FDCWD, marker, other, strlen(other), 0600), 0);
	cv_assert_error(cv_both(r, "convert.disks", NULL), text, "move it away, choose another "
		     "target.dir, or say target: { replace: true } to overwrite it");
}

static void a_source_that_grew_or_shrank_is_refused(void **s)
{
	struct rig *r = *s;
	const char *hint = "drover rollback PLAN --to convert, then drover run PLAN";

	cv_do_both(r, "convert.disks");
	assert_int_equal(truncate(r->src, SIZE + MIB), 0);
	cv_assert_error(cv_both(r, "cutover.pass", NULL), "cannot go on with disk 'root': it has "
		     "26214912 bytes now, the copy was begun with 25166336", hint);
	cv_assert_error(cv_at(r, "source", "convert.disks", "probe"), "cannot go on with disk 'root': "
		     "it has 26214912 bytes now, the copy was begun with 25166336", hint);
	assert_int_equal(truncate(r->src, MIB), 0);
	cv_assert_error(cv_both(r, "cutover.pass", NULL), "cannot go on with disk 'root': it has "
		     "1048576 bytes now, the copy was begun with 25166336", hint);
}

static void a_missing_source_is_named(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *text = mem_printf("cannot find disk 'root': '%s': No such file or "
					  "directory", r->src);

	unlink(r->src);
	cv_assert_error(cv_at(r, "source", "convert.disks", "probe"), text,
		     "it is looked for on the source's host: is it attached, and the path right?");
}

static void a_base_that_vanished_is_told(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *text = mem_printf("cannot go on with disk 'root': '%s' is gone, its map "
					  "is there", r->base);

	cv_do_both(r, "convert.disks");
	unlink(r->base);
	cv_assert_error(cv_both(r, "cutover.pass", NULL), text,
		     "drover rollback PLAN --to convert, then drover run PLAN");
}

static void chunks_of_an_odd_size_are_refused(void **s)
{
	struct rig *r = *s;
	const char *text = "cannot copy in chunks of 100000 bytes: it is no multiple of 4096 that is "
			   "allowed", *hint = "from 64KiB to 4MiB";

	json_object_set_new(r->args, "chunk", json_integer(100000));
	cv_assert_error(cv_at(r, "source", "convert.disks", "probe"), text, hint);
	cv_assert_error(cv_both(r, "convert.disks", NULL), text, hint);
}

/* Before anything is sent: in the words of the refusal, unless nothing is left to do. */
static void a_preview_tells_of_chunks_that_were_changed(void **s)
{
	struct rig *r = *s;
	const char *text = "cannot go on with disk 'root' in chunks of 65536 bytes: it was begun with "
			   "1048576", *hint = "set chunk back, or drover rollback PLAN --to convert";
	AUTO_JSON *before = NULL, *over = NULL, *further = NULL;

	cv_do_both(r, "convert.disks");
	before = cv_at(r, "target", "convert.disks", "probe");
	json_object_set_new(r->args, "chunk", json_integer(65536));
	over = cv_at(r, "target", "convert.disks", "probe");
	assert_int_equal(json_array_size(jget(before, "findings")), 0);
	assert_true(json_equal(over, before));
	json_object_set_new(r->args, "passes", json_integer(2));
	further = cv_at(r, "target", "convert.disks", "probe");
	assert_string_equal(jstr(further, "state", ""), "partial");
	assert_string_equal(jstr(json_array_get(jget(further, "findings"), 0), "code", ""),
			    "target.chunk");
	assert_string_equal(jstr(json_array_get(jget(further, "findings"), 0), "text", ""), text);
	assert_string_equal(jstr(json_array_get(jget(further, "findings"), 0), "remedy", ""), hint);
	cv_assert_error(cv_both(r, "convert.disks", NULL), text, hint);
}

static void a_disk_that_is_not_in_the_plan_is_refused(void **s)
{
	struct rig *r = *s;

	json_object_set_new(r->args, "disks", json_pack("[s]", "rooot"));
	cv_assert_error(cv_at(r, "source", "convert.disks", "probe"), "cannot copy disk 'rooot': the "
		     "machine has none of that name",
		     "the machine's disks are the keys of source.disks");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RAW(a_freeze_that_ended_too_early_is_no_last_pass),
		RAW(a_foreign_directory_is_refused_unless_it_may_be_replaced),
		RAW(another_states_copy_is_refused),
		RAW(a_source_that_grew_or_shrank_is_refused),
		RAW(a_missing_source_is_named),
		RAW(a_base_that_vanished_is_told),
		RAW(chunks_of_an_odd_size_are_refused),
		RAW(a_preview_tells_of_chunks_that_were_changed),
		RAW(a_disk_that_is_not_in_the_plan_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
