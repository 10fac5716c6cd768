/* SPDX-License-Identifier: Apache-2.0
 * test_marker - what says whose a copy is came to harm: an undo passes nothing by that may be ours,
 * and takes nothing away that may be another's, until somebody says whose it is.
 */
#include "tests/unit/convertrig.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void put(const char *path, const char *text)
{
	io_remove_tree(path);
	assert_int_equal(io_write_file(AT_FDCWD, path, text, strlen(text), 0600), 0);
}

/* ---- a machine's directory ---------------------------------------------------------------- */

struct home {
	char *dir, *marker;	/* of the machine, and in it */
	char *ours;		/* what the marker of this plan's copy says */
	char *hint;		/* of all that is said of a damaged one */
};

static void home_free(struct home *h)
{
	free(h->dir);
	free(h->marker);
	free(h->ours);
	free(h->hint);
}
#define AUTO_HOME __attribute__((cleanup(home_free))) struct home

static struct home home_of(struct rig *r)
{
	struct home h = { .dir = mem_printf("%s/erp", r->target) };

	h.marker = mem_printf("%s/.drover", h.dir);
	h.ours = mem_printf("{\"lineage\":\"%s\",\"machine\":\"erp\",\"plan\":\"p\"}", cv_lineage());
	h.hint = mem_printf("if '%s' is this plan's copy, put %s into a new '%s'; if it is not, remove "
			    "that file; then type the same again", h.dir, h.ours, h.marker);
	return h;
}

static void assert_told(struct rig *r, const struct home *h, const char *op, const char *why)
{
	AUTO_FREE char *text = mem_printf("cannot tell whose '%s' is: %s", h->dir, why);

	cv_assert_error(cv_at(r, "target", "convert.disks", op), text, h->hint);
	assert_int_equal(access(r->base, F_OK), 0);
	assert_int_equal(access(r->map, F_OK), 0);
}

static void what_a_damaged_marker_stands_beside_is_told_and_undone_when_it_is_mended(void **s)
{
	static const char *const damaged[] = { "", "{\"lineage\": \"1111", "not a marker", "{}", "[]",
		"{\"lineage\":\"1111\"}", "{\"machine\":\"erp\"}", "{\"lineage\":7,\"machine\":\"erp\"}" };
	struct rig *r = *s;
	AUTO_HOME h = home_of(r);
	AUTO_FREE char *why = mem_printf("'%s' is damaged", h.marker);

	cv_do_both(r, "convert.disks");
	for (size_t i = 0; i < ARRAY_LEN(damaged); i++) {
		put(h.marker, damaged[i]);
		assert_told(r, &h, "undo", why);
		assert_told(r, &h, "probe", why);
	}
	put(h.marker, h.ours);
	cv_do_at(r, "target", "convert.disks", "undo");
	assert_int_equal(access(h.dir, F_OK), -1);
}

static void a_pipe_or_a_directory_in_its_place_is_told(void **s)
{
	struct rig *r = *s;
	AUTO_HOME h = home_of(r);
	AUTO_FREE char *damaged = mem_printf("'%s' is damaged", h.marker);
	AUTO_FREE char *unread = mem_printf("cannot read '%s': Is a directory", h.marker);

	cv_do_both(r, "convert.disks");
	assert_int_equal(unlink(h.marker), 0);
	assert_int_equal(mkfifo(h.marker, 0600), 0);
	assert_told(r, &h, "undo", damaged);
	assert_int_equal(unlink(h.marker), 0);
	assert_int_equal(mkdir(h.marker, 0700), 0);
	assert_told(r, &h, "undo", unread);
	assert_told(r, &h, "probe", unread);
	put(h.marker, h.ours);
	cv_do_at(r, "target", "convert.disks", "undo");
	assert_int_equal(access(h.dir, F_OK), -1);
}

/* As the hint has it of what is not ours. */
static void what_has_no_marker_or_anothers_is_left_by_an_undo_that_ends_well(void **s)
{
	struct rig *r = *s;
	AUTO_HOME h = home_of(r);

	cv_do_both(r, "convert.disks");
	assert_int_equal(unlink(h.marker), 0);
	cv_do_at(r, "target", "convert.disks", "undo");
	put(h.marker, "{\"lineage\":\"1111\",\"machine\":\"erp\",\"plan\":\"p\"}");
	cv_do_at(r, "target", "convert.disks", "undo");
	assert_int_equal(access(r->base, F_OK), 0);
}

static void a_file_in_the_place_of_the_directory_is_nothing_of_ours(void **s)
{
	struct rig *r = *s;
	AUTO_HOME h = home_of(r);
	AUTO_FREE char *text = mem_printf("cannot write to '%s': it is no directory", h.dir);

	put(h.dir, "mine");
	cv_do_at(r, "target", "convert.disks", "undo");
	assert_int_equal(access(h.dir, F_OK), 0);
	cv_assert_error(cv_at(r, "target", "convert.disks", "probe"), text, "move it away, choose "
			"another target.dir, or say target: { replace: true } to overwrite it");
}

static void a_damaged_marker_is_written_anew_where_the_plan_lets_it_be_replaced(void **s)
{
	struct rig *r = *s;
	AUTO_HOME h = home_of(r);

	cv_do_both(r, "convert.disks");
	put(h.marker, "");
	json_object_set_new(r->more, "replace", json_true());
	cv_do_both(r, "convert.disks");
	cv_assert_same(r);
	cv_do_at(r, "target", "convert.disks", "undo");
	assert_int_equal(access(h.dir, F_OK), -1);
}

static void assert_blocker(struct rig *r, const char *text, const char *remedy)
{
	AUTO_JSON *out = cv_at(r, "target", "cutover.pass", "probe");
	const json_t *f = json_array_get(jget(out, "findings"), 0);

	assert_string_equal(jstr(f, "code", ""), "target.copy");
	assert_string_equal(jstr(f, "text", ""), text);
	assert_string_equal(jstr(f, "remedy", ""), remedy);
	assert_int_equal(json_array_size(jget(out, "findings")), 1);
}

/* It would end the cutover while nobody is served. */
static void a_damaged_marker_is_told_before_the_last_pass(void **s)
{
	struct rig *r = *s;
	AUTO_HOME h = home_of(r);
	AUTO_FREE char *text = mem_printf("cannot tell whose '%s' is: '%s' is damaged", h.dir,
					  h.marker);

	cv_do_both(r, "convert.disks");
	put(h.marker, "");
	assert_blocker(r, text, h.hint);
}

/* ---- a file in a directory that others share ------------------------------------------------ */

struct shared {
	char *folder, *base, *claim;
	char *tag;		/* what the claim of this disk's copy says */
	char *text, *hint;	/* what is said of a damaged one */
};

static void shared_free(struct shared *f)
{
	free(f->folder);
	free(f->base);
	free(f->claim);
	free(f->tag);
	free(f->text);
	free(f->hint);
}
#define AUTO_SHARED __attribute__((cleanup(shared_free))) struct shared

/* The rig's disk goes there. */
static struct shared share(struct rig *r)
{
	struct shared f = { .folder = mem_printf("%s/shared", r->dir) };

	f.base = mem_printf("%s/erp-root.%s", f.folder, r->format);
	f.claim = mem_printf("%s/.erp-root.%s.drover", f.folder, r->format);
	f.tag = mem_printf("drover/%s/p/erp/root", cv_lineage());
	f.text = mem_printf("cannot tell whose '%s' is: '%s' is damaged", f.base, f.claim);
	f.hint = mem_printf("if it is this plan's copy, put %s into a new '%s'; if it is another plan's, "
			    "drover preview of that one says what to put there; then type the same "
			    "again", f.tag, f.claim);
	assert_int_equal(io_mkdirs(f.folder, 0700), 0);
	json_object_set_new(r->more, "disks", json_pack("{s:{s:s}}", "root", "dir", f.folder));
	return f;
}

static void what_a_damaged_claim_stands_beside_is_told_and_undone_when_it_is_mended(void **s)
{
	static const char *const damaged[] = { "", "drover/1111", "somebody's\n" };
	struct rig *r = *s;
	AUTO_SHARED f = share(r);

	cv_do_both(r, "convert.disks");
	for (size_t i = 0; i < ARRAY_LEN(damaged); i++) {
		put(f.claim, damaged[i]);
		cv_assert_error(cv_at(r, "target", "convert.disks", "undo"), f.text, f.hint);
		cv_assert_error(cv_at(r, "target", "convert.disks", "probe"), f.text, f.hint);
		assert_blocker(r, f.text, f.hint);
		assert_int_equal(access(f.base, F_OK), 0);
	}
	put(f.claim, f.tag);
	cv_do_at(r, "target", "convert.disks", "undo");
	assert_int_equal(rmdir(f.folder), 0);	/* nothing is left in it */
}

static void a_damaged_claim_of_a_file_that_is_gone_goes_too(void **s)
{
	struct rig *r = *s;
	AUTO_SHARED f = share(r);

	cv_do_both(r, "convert.disks");
	put(f.claim, "drover/1111");
	assert_int_equal(unlink(f.base), 0);
	cv_do_at(r, "target", "convert.disks", "undo");
	assert_int_equal(rmdir(f.folder), 0);
}

static void what_is_gone_with_its_directory_is_undone(void **s)
{
	struct rig *r = *s;
	AUTO_SHARED f = share(r);

	cv_do_both(r, "convert.disks");
	assert_int_equal(io_remove_tree(f.folder), 0);
	cv_do_at(r, "target", "convert.disks", "undo");
	cv_assert_state(r, "target", "convert.disks", "absent");
}

static void a_damaged_claim_is_written_anew_where_the_plan_lets_it_be_replaced(void **s)
{
	struct rig *r = *s;
	AUTO_SHARED f = share(r);

	put(f.base, "older");
	put(f.claim, "drover/1111");
	json_object_set_new(r->more, "replace", json_true());
	cv_do_both(r, "convert.disks");
	cv_do_at(r, "target", "convert.disks", "undo");
	assert_int_equal(rmdir(f.folder), 0);
}

/* ---- a device ----------------------------------------------------------------------------- */

/* Its map says how much of it is the copy's. */
static void a_device_whose_map_is_damaged_is_not_said_to_be_given_back(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *file = mem_printf("%s/device", r->dir), *text = NULL, *hint = NULL;
	char *loop = r->loop = geteuid() ? NULL : cv_loop(file, SIZE, "512");

	if (!loop)
		skip();
	text = mem_printf("cannot use map '%s': it is damaged", r->map);
	hint = mem_printf("wipe '%s' by hand if the copy is on it (wipefs -a, blkdiscard), remove "
			  "'%s', then type the same again", loop, r->map);
	json_object_set_new(r->more, "disks", json_pack("{s:{s:s}}", "root", "path", loop));
	cv_do_both(r, "convert.disks");
	put(r->map, "no map");
	cv_assert_error(cv_at(r, "target", "convert.disks", "undo"), text, hint);
	assert_int_equal(unlink(r->map), 0);
	cv_do_at(r, "target", "convert.disks", "undo");
	cv_assert_state(r, "target", "convert.disks", "absent");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RAW(what_a_damaged_marker_stands_beside_is_told_and_undone_when_it_is_mended),
		RAW(a_pipe_or_a_directory_in_its_place_is_told),
		RAW(what_has_no_marker_or_anothers_is_left_by_an_undo_that_ends_well),
		RAW(a_file_in_the_place_of_the_directory_is_nothing_of_ours),
		QCOW2(a_damaged_marker_is_written_anew_where_the_plan_lets_it_be_replaced),
		RAW(a_damaged_marker_is_told_before_the_last_pass),
		RAW(what_a_damaged_claim_stands_beside_is_told_and_undone_when_it_is_mended),
		QCOW2(what_a_damaged_claim_stands_beside_is_told_and_undone_when_it_is_mended),
		RAW(a_damaged_claim_of_a_file_that_is_gone_goes_too),
		RAW(what_is_gone_with_its_directory_is_undone),
		QCOW2(a_damaged_claim_is_written_anew_where_the_plan_lets_it_be_replaced),
		RAW(a_device_whose_map_is_damaged_is_not_said_to_be_given_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
