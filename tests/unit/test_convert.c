/* SPDX-License-Identifier: Apache-2.0
 * test_convert - what is copied: the first time, in later passes, of free space; and what an undo
 * takes away.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "modules/lib/map.h"
#include "tests/unit/convertrig.h"
#include "tests/unit/modtest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- a copy, and its undo ------------------------------------------------------------------ */

static void a_copy_is_equal_and_probed_as_done(void **s)
{
	struct rig *r = *s;

	cv_assert_state(r, "source", "convert.disks", "done");
	cv_assert_state(r, "target", "convert.disks", "absent");
	cv_do_both(r, "convert.disks");
	cv_assert_same(r);
	cv_assert_state(r, "target", "convert.disks", "done");
	assert_int_equal(jint(r->facts, "disks.root.pass", 0), 1);
	assert_int_equal(jint(r->facts, "disks.root.size", 0), SIZE);
}

/* Of both ends' events, the last progress that the source told of this disk. Owned. */
static json_t *last_progress(struct rig *r, const char *what)
{
	struct modtest_end end[2] = {
		{ .module = "convert.disks", .in = cv_input(r, "source") },
		{ .module = "convert.disks", .in = cv_input(r, "target") } };
	json_t *last = NULL, *ev;
	size_t i;

	modtest_both(end);
	json_array_foreach(end[0].events, i, ev)
		if (strcmp(jstr(ev, "e", ""), "progress") == 0 &&
		    strcmp(jstr(ev, "what", ""), what) == 0)
			last = ev;
	json_incref(last);
	for (i = 0; i < 2; i++) {
		assert_true(jbool(end[i].out, "ok", false));
		json_decref(end[i].in);
		json_decref(end[i].out);
		json_decref(end[i].events);
	}
	return last;
}

/* A disk of 16 MiB, to be read first, with one chunk of data; the other, of 64 MiB, has three. */
static void two_disks(struct rig *r)
{
	AUTO_FREE char *other = NULL;

	assert_int_equal(truncate(r->src, 0), 0);
	other = cv_copy_aside(r, r->src, "other.raw");
	cv_fill(r->src, 2 * MIB, MIB + 5, 1);
	cv_fill(r->src, 50 * MIB, 4096, 2);
	assert_int_equal(truncate(r->src, 64 * MIB), 0);
	cv_fill(other, 7 * MIB, 4096, 3);
	assert_int_equal(truncate(other, 16 * MIB), 0);
	r->also = json_pack("{s:{s:s,s:s,s:b}}", "data", "image", other, "format", "raw", "copy", 1);
}

static void a_copy_tells_how_much_it_reads_as_the_preview_did(void **s)
{
	struct rig *r = *s;
	AUTO_JSON *before = NULL, *progress = NULL;

	two_disks(r);
	before = cv_at(r, "source", "convert.disks", "probe");
	assert_int_equal(jint(before, "cost.read", 0), 4 * MIB);
	progress = last_progress(r, "root");
	assert_int_equal(jint(progress, "total", 0), 4 * MIB);
	assert_int_equal(jint(progress, "done", 0), 4 * MIB);
	assert_int_equal(jint(progress, "part.total", 0), 3 * MIB);
}

static void a_last_pass_that_compares_is_foretold_to_read_no_holes(void **s)
{
	struct rig *r = *s;
	AUTO_JSON *before = NULL;

	two_disks(r);
	cv_do_both(r, "convert.disks");
	before = cv_at(r, "source", "cutover.pass", "probe");
	assert_int_equal(jint(before, "cost.read", 0), 4 * MIB);
}

static void a_disk_whose_writes_are_known_is_no_part_of_what_is_read_whole(void **s)
{
	struct rig *r = *s;
	AUTO_JSON *progress = NULL;

	two_disks(r);
	json_object_set_new(r->facts, "warm", json_pack("{s:{s:s}}", "followed", "root", "trace"));
	progress = last_progress(r, "data");
	assert_int_equal(jint(progress, "total", 0), MIB);
	assert_int_equal(jint(progress, "done", 0), MIB);
}

static void undo_brings_back_the_same_answer_and_an_empty_place(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *dir = mem_printf("%s/erp", r->target);
	AUTO_JSON *before = cv_at(r, "target", "convert.disks", "probe"), *after = NULL;

	cv_do_both(r, "convert.disks");
	cv_do_at(r, "target", "convert.disks", "undo");
	after = cv_at(r, "target", "convert.disks", "probe");
	assert_true(json_equal(json_object_get(before, "stable"),
			       json_object_get(after, "stable")));
	assert_int_equal(access(dir, F_OK), -1);
	cv_do_at(r, "target", "convert.disks", "undo");
}

/* The same at the target, once the plan calls its disk `system`. */
static json_t *as_renamed(struct rig *r, const char *op)
{
	AUTO_JSON *in = cv_input(r, "target");
	json_t *disks = jget(in, "machine.source.disks");

	json_object_set(disks, "system", json_object_get(disks, "root"));
	json_object_del(disks, "root");
	return modtest_call("convert.disks", op, in, NULL);
}

static void undo_takes_away_what_a_disk_left_that_was_renamed(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *home = mem_printf("%s/erp", r->target);
	AUTO_FREE char *text = mem_printf("'%s' holds a copy of disk 'root', which the plan does not "
					  "have any more", home);
	AUTO_JSON *seen = NULL, *undone = NULL, *after = NULL;

	cv_do_both(r, "convert.disks");
	seen = as_renamed(r, "probe");
	assert_string_equal(jstr(json_array_get(jget(seen, "findings"), 0), "text", ""), text);
	undone = as_renamed(r, "undo");
	assert_true(jbool(undone, "ok", false));
	assert_int_equal(access(home, F_OK), -1);
	after = as_renamed(r, "probe");
	assert_int_equal(json_array_size(jget(after, "findings")), 0);
}

static void undo_leaves_what_is_not_ours(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *dir = mem_printf("%s/erp", r->target);

	assert_int_equal(mkdir(dir, 0700), 0);
	assert_int_equal(io_write_file(AT_FDCWD, r->base, "mine", 4, 0600), 0);
	cv_do_at(r, "target", "convert.disks", "undo");
	assert_int_equal(access(r->base, F_OK), 0);
}

/* ---- passes -------------------------------------------------------------------------------- */

static void later_passes_bring_what_changed(void **s)
{
	struct rig *r = *s;
	AUTO_JSON *source = NULL, *out = NULL;
	const json_t *pass;

	json_object_set_new(r->args, "passes", json_integer(2));
	cv_do_both(r, "convert.disks");
	cv_fill(r->src, 9 * MIB + 5, 10, 9);
	cv_fill(r->src, 0, MIB, 10);
	out = cv_both(r, "cutover.pass", &source);
	cv_take_facts(r, out);
	cv_assert_same(r);
	assert_int_equal(jint(r->facts, "pass.root.pass", 0), 3);
	pass = json_array_get(jget(source, "volatile.passes.root"), 0);
	assert_int_equal(jint(pass, "data", 0), 2 * MIB);
	assert_int_equal(jint(pass, "same", 0), SIZE - 2 * MIB);
	cv_assert_state(r, "target", "cutover.pass", "done");
}

/* It was about to write all of the disk; of chunk 1 some of the new data arrived. */
static void cut_a_pass_off(const struct rig *r)
{
	const char *torn[] = { "qemu-io", "-f", r->format, "-c", "write -q -P 7 1M 4k", r->base, NULL };
	AUTO_MAP *m = map_open(r->map, true, NULL);

	assert_int_equal(map_begin(m, 2, NULL), 0);
	assert_int_equal(map_cover(m, 0, map_chunks(m), NULL), 0);
	cv_run_ok(torn);
}

static void what_a_pass_had_not_overwritten_when_it_was_cut_off_is_not_sent_again(void **s)
{
	struct rig *r = *s;
	AUTO_JSON *out = NULL;

	cv_do_both(r, "convert.disks");
	cut_a_pass_off(r);
	out = cv_both(r, "convert.disks", NULL);
	cv_take_facts(r, out);
	assert_int_equal(jint(out, "facts.disks.volatile.root.changed", 0), MIB);
	cv_assert_same(r);
	cv_do_at(r, "target", "validate.disks", "apply");
}

/* Passes until one changed little, of a machine that allows `downtime` to the last one. */
static void open_passes(struct rig *r, int64_t downtime)
{
	json_object_set_new(r->args, "passes", json_integer(30));
	json_object_set_new(r->args, "until", json_pack("{s:i}", "changed", 1));
	r->downtime_ms = downtime;
}

static unsigned passes_made(struct rig *r)
{
	return (unsigned)jint(r->facts, "disks.root.pass", 0);
}

/* The finding of that code in the source's answer, or NULL. */
static const char *finding(const json_t *answer, const char *code)
{
	const json_t *f;
	size_t i;

	json_array_foreach(json_object_get(answer, "findings"), i, f)
		if (strcmp(jstr(f, "code", ""), code) == 0)
			return jstr(f, "severity", "");
	return NULL;
}

/* All is other data between two passes, and the last one may take no time at all. */
static void passes_that_cannot_catch_up_end_with_a_blocker(void **s)
{
	struct rig *r = *s;
	AUTO_JSON *answer = NULL;

	cv_do_both_told(r, "convert.disks");
	cv_fill(r->src, 0, SIZE, 77);
	open_passes(r, 1);
	cv_do_both_told(r, "convert.disks");
	assert_int_equal(passes_made(r), 2);
	cv_assert_state(r, "target", "convert.disks", "done");
	answer = cv_at(r, "source", "convert.disks", "probe");
	assert_string_equal(finding(answer, "convert.downtime"), "blocker");
}

static void passes_that_can_catch_up_go_on(void **s)
{
	struct rig *r = *s;
	AUTO_JSON *answer = NULL;

	cv_do_both_told(r, "convert.disks");
	cv_fill(r->src, 0, SIZE, 77);
	open_passes(r, 3600000);
	cv_do_both_told(r, "convert.disks");
	assert_int_equal(passes_made(r), 3);
	answer = cv_at(r, "source", "convert.disks", "probe");
	assert_null(finding(answer, "convert.downtime"));
}

/* A kill between the end of a copy and its outcome: of its facts nothing is known, only what
 * was kept, and that it need not go on. */
static void what_passes_measured_outlives_a_kill(void **s)
{
	struct rig *r = *s;
	AUTO_JSON *source = NULL, *told = NULL;

	open_passes(r, 3600000);
	json_decref(cv_both(r, "convert.disks", &source));
	cv_assert_state(r, "target", "convert.disks", "done");
	told = cv_at(r, "source", "convert.disks", "probe");
	assert_true(json_equal(jget(told, "facts.warm.volatile.passes"),
			       jget(source, "facts.warm.volatile.passes")));
	assert_true(jbool(told, "facts.warm.volatile.enough", false));
	assert_int_equal(json_array_size(jget(told, "facts.warm.volatile.passes")), 2);
}

static void what_became_zeros_is_zeros(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *zeros = mem_alloc(3 * MIB);

	cv_do_both(r, "convert.disks");
	cv_put(r->src, 0, zeros, 3 * MIB);
	cv_do_both(r, "cutover.pass");
	cv_assert_same(r);
	cv_do_at(r, "target", "cutover.proof", "apply");
}

/* ---- free space ---------------------------------------------------------------------------- */

/* The source becomes an ext4 that is full of junk where it is free. */
static void make_ext4(struct rig *r)
{
	for (uint64_t at = 0; at < SIZE - MIB; at += MIB)
		cv_fill(r->src, at, MIB, (unsigned)at + 9);
	const char *mkfs[] = { "mke2fs", "-q", "-F", "-t", "ext4", "-E", "nodiscard", r->src,
		NULL };
	cv_run_ok(mkfs);
}

static void free_space_of_a_quiet_disk_is_not_read(void **s)
{
	struct rig *r = *s;
	AUTO_JSON *source = NULL, *target = NULL;
	const json_t *pass;

	make_ext4(r);
	target = cv_both(r, "convert.disks", &source);
	cv_take_facts(r, target);
	pass = json_array_get(jget(source, "volatile.passes.root"), 0);
	assert_in_range(jint(pass, "zero", 0), 10 * MIB, SIZE);
	assert_in_range(jint(pass, "data", 0), MIB, 12 * MIB);
	const char *fsck[] = { "e2fsck", "-f", "-n", r->base, NULL };
	cv_run_ok(fsck);
	cv_do_at(r, "target", "validate.disks", "apply");
}

static void free_space_is_copied_when_the_plan_says_so(void **s)
{
	struct rig *r = *s;

	make_ext4(r);
	json_object_set_new(r->args, "free", json_string("copy"));
	cv_do_both(r, "convert.disks");
	cv_assert_same(r);
}

static void free_space_of_a_disk_that_a_guest_has_is_read(void **s)
{
	struct rig *r = *s;
	AUTO_FD held = -1;

	make_ext4(r);
	held = cv_hold(r);
	assert_true(held >= 0);
	cv_do_both(r, "convert.disks");
	cv_assert_same(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RAW(a_copy_is_equal_and_probed_as_done),
		QCOW2(a_copy_is_equal_and_probed_as_done),
		FOREIGN(a_copy_is_equal_and_probed_as_done),
		RAW(a_copy_tells_how_much_it_reads_as_the_preview_did),
		RAW(a_last_pass_that_compares_is_foretold_to_read_no_holes),
		RAW(a_disk_whose_writes_are_known_is_no_part_of_what_is_read_whole),
		RAW(undo_brings_back_the_same_answer_and_an_empty_place),
		QCOW2(undo_brings_back_the_same_answer_and_an_empty_place),
		AS(undo_brings_back_the_same_answer_and_an_empty_place, "vmdk"),
		RAW(undo_takes_away_what_a_disk_left_that_was_renamed),
		RAW(undo_leaves_what_is_not_ours),
		RAW(later_passes_bring_what_changed),
		QCOW2(later_passes_bring_what_changed),
		FOREIGN(later_passes_bring_what_changed),
		RAW(what_a_pass_had_not_overwritten_when_it_was_cut_off_is_not_sent_again),
		QCOW2(what_a_pass_had_not_overwritten_when_it_was_cut_off_is_not_sent_again),
		RAW(passes_that_cannot_catch_up_end_with_a_blocker),
		RAW(passes_that_can_catch_up_go_on),
		RAW(what_passes_measured_outlives_a_kill),
		FOREIGN(what_became_zeros_is_zeros),
		RAW(free_space_of_a_quiet_disk_is_not_read),
		RAW(free_space_is_copied_when_the_plan_says_so),
		RAW(free_space_of_a_disk_that_a_guest_has_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
