/* SPDX-License-Identifier: Apache-2.0
 * test_proof - damage is found, told, and mended; maps that are not to be believed.
 */
#include "engine/base/mem.h"
#include "modules/lib/proof_impl.h"
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

/* ---- the proof --------------------------------------------------------------------------- */

static void a_proof_finds_one_changed_byte_and_says_where(void **s)
{
	struct rig *r = *s;
	AUTO_JSON *out = NULL;

	cv_do_both(r, "convert.disks");
	cv_assert_state(r, "target", "validate.disks", "absent");
	cv_put(r->base, 5 * MIB + 1000, "!", 1);
	cv_assert_damage(r, cv_at(r, "target", "validate.disks", "apply"), "damaged",
			 "written by pass 1 at T, never proven)");
	out = cv_both_do(r, "convert.disks", "mend", NULL);
	cv_take_facts(r, out);
	cv_do_at(r, "target", "validate.disks", "apply");
	cv_assert_state(r, "target", "validate.disks", "done");
	cv_put(r->base, 5 * MIB + 1000, "!", 1);
	cv_put(r->base, 20 * MIB, "!", 1);
	cv_assert_damage(r, cv_at(r, "target", "validate.disks", "apply"), "damaged",
			 "sent again by pass 2 at T, proven at T), and 1 more");
}

/* What is proven is the whole disk, though only a part was sent again. */
static void what_is_damaged_is_sent_again_and_nothing_else(void **s)
{
	struct rig *r = *s;
	AUTO_JSON *source = NULL, *out = NULL, *proof = NULL;
	const json_t *pass;

	cv_do_both(r, "convert.disks");
	cv_put(r->base, 0, "!", 1);
	cv_put(r->base, 5 * MIB, "!", 1);
	json_decref(cv_at(r, "target", "validate.disks", "apply"));
	cv_fill(r->src, 9 * MIB, 100, 4);		/* the source serves on */
	out = cv_both_do(r, "convert.disks", "mend", &source);
	cv_take_facts(r, out);
	pass = json_array_get(jget(source, "volatile.passes.root"), 0);
	assert_int_equal(jint(pass, "data", 0), 2 * MIB);
	assert_int_equal(jint(pass, "read", 0), 2 * MIB);
	proof = cv_at(r, "target", "validate.disks", "apply");
	cv_take_facts(r, proof);
	assert_string_equal(jstr(json_array_get(jget(proof, "findings"), 0), "code", ""),
			    "disk.mended");
	assert_int_equal(jint(r->facts, "proof.root.pass", 0), 2);
	cv_do_both(r, "cutover.pass");
	cv_do_at(r, "target", "cutover.proof", "apply");
	cv_assert_same(r);
}

/* In a cutover it is the very instant of the last pass that is sent again. */
static void the_last_pass_is_mended_to_the_digest_that_was_recorded(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *digest = NULL;
	AUTO_JSON *out = NULL;

	cv_do_both(r, "convert.disks");
	cv_do_at(r, "target", "validate.disks", "apply");
	cv_fill(r->src, 9 * MIB, 100, 4);
	cv_do_both(r, "cutover.pass");
	digest = mem_strdup(jstr(r->facts, "pass.root.digest", ""));
	cv_put(r->base, 9 * MIB + 50, "!", 1);
	json_decref(cv_at(r, "target", "cutover.proof", "apply"));
	cv_assert_state(r, "target", "cutover.pass", "absent");
	out = cv_both_do(r, "cutover.pass", "mend", NULL);
	cv_take_facts(r, out);
	cv_assert_state(r, "target", "cutover.pass", "done");
	cv_do_at(r, "target", "cutover.proof", "apply");
	assert_string_equal(jstr(r->facts, "final.root.digest", ""), digest);
	cv_assert_same(r);
}

static void a_mending_that_was_cut_off_is_gone_on_with(void **s)
{
	struct rig *r = *s;
	AUTO_JSON *out = NULL;
	AUTO_ERR e = { 0 };

	cv_do_both(r, "convert.disks");
	cv_put(r->base, 5 * MIB + 1000, "!", 1);
	json_decref(cv_at(r, "target", "validate.disks", "apply"));
	struct map *m = map_open(r->map, true, &e);
	assert_int_equal(map_begin_mend(m, 2, &e), 0);
	map_close(m);
	out = cv_at(r, "target", "validate.disks", "apply");
	assert_string_equal(jstr(out, "error.kind", ""), "damaged");
	json_decref(out);
	out = cv_both_do(r, "convert.disks", "mend", NULL);
	cv_take_facts(r, out);
	cv_do_at(r, "target", "validate.disks", "apply");
	cv_assert_same(r);
}

/* ---- a map that is not to be believed ------------------------------------------------- */

static void cut_to(const char *path, off_t length)
{
	assert_int_equal(truncate(path, length), 0);
}

static void a_truncated_map_is_filled_again(void **s)
{
	struct rig *r = *s;
	AUTO_JSON *out = NULL;

	cv_do_both(r, "convert.disks");
	cut_to(r->map, 8192 + 100);
	out = cv_at(r, "target", "validate.disks", "apply");
	assert_string_equal(jstr(out, "error.kind", ""), "damaged");
	assert_non_null(strstr(jstr(out, "error.text", ""), "its map does not know it"));
	json_decref(out);
	out = cv_both_do(r, "convert.disks", "mend", NULL);
	cv_take_facts(r, out);
	cv_do_at(r, "target", "validate.disks", "apply");
	cut_to(r->map, 8192);
	cv_do_both(r, "cutover.pass");
	cv_do_at(r, "target", "cutover.proof", "apply");
	cv_assert_same(r);
}

/* Put back from a backup, say: what it says was true of another base. */
static void a_stale_map_proves_nothing(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *old = NULL;
	AUTO_JSON *out = NULL;

	cv_do_both(r, "convert.disks");
	cv_do_at(r, "target", "validate.disks", "apply");
	old = cv_copy_aside(r, r->map, "old.map");
	AUTO_FREE char *before = cv_copy_aside(r, r->src, "before.raw");
	cv_fill(r->src, 0, MIB, 7);
	cv_do_both(r, "cutover.pass");
	cv_do_at(r, "target", "cutover.proof", "apply");
	assert_int_equal(rename(old, r->map), 0);
	/* The source has again what the old map says; the base has not. */
	assert_int_equal(rename(before, r->src), 0);
	cv_do_both(r, "cutover.pass");
	out = cv_at(r, "target", "cutover.proof", "apply");
	assert_string_equal(jstr(out, "error.kind", ""), "damaged");
	json_decref(out);
	out = cv_both_do(r, "cutover.pass", "mend", NULL);
	cv_take_facts(r, out);
	cv_do_at(r, "target", "cutover.proof", "apply");
	cv_assert_same(r);
}

/* The target itself was put back, beneath its map. */
static void a_stale_base_is_mended(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *old = NULL;
	AUTO_JSON *out = NULL;

	cv_do_both(r, "convert.disks");
	old = cv_copy_aside(r, r->base, "old.base");
	cv_fill(r->src, 9 * MIB, 2 * MIB, 7);
	cv_do_both(r, "cutover.pass");
	assert_int_equal(rename(old, r->base), 0);
	json_decref(cv_at(r, "target", "cutover.proof", "apply"));
	out = cv_both_do(r, "cutover.pass", "mend", NULL);
	cv_take_facts(r, out);
	cv_do_at(r, "target", "cutover.proof", "apply");
	cv_assert_same(r);
}

static void a_copy_goes_on_in_the_chunks_it_was_begun_with(void **s)
{
	struct rig *r = *s;

	json_object_set_new(r->args, "chunk", json_integer(MIB / 4));
	cv_do_both(r, "convert.disks");
	json_object_del(r->args, "chunk");
	cv_fill(r->src, 9 * MIB, 100, 4);
	cv_do_both(r, "cutover.pass");
	assert_int_equal(jint(r->facts, "pass.root.chunk", 0), MIB / 4);
	cv_assert_same(r);
}

static void the_last_proof_reads_what_the_last_pass_wrote(void **s)
{
	struct rig *r = *s;

	cv_do_both(r, "convert.disks");
	cv_do_at(r, "target", "validate.disks", "apply");
	cv_fill(r->src, 9 * MIB, 100, 4);
	cv_do_both(r, "cutover.pass");
	cv_assert_state(r, "target", "cutover.proof", "absent");
	/* Proven before and not written since: not read again. */
	cv_put(r->base, 0, "!", 1);
	cv_do_at(r, "target", "cutover.proof", "apply");
	assert_string_equal(jstr(r->facts, "final.root.digest", "a"),
			    jstr(r->facts, "pass.root.digest", "b"));
	cv_assert_state(r, "target", "cutover.proof", "done");
	/* Written by the last pass: read, until that is proven too. */
	json_object_del(r->facts, "final");
	cv_put(r->base, 9 * MIB, "!", 1);
	AUTO_JSON *out = cv_at(r, "target", "cutover.proof", "apply");
	assert_non_null(strstr(jstr(out, "error.text", ""), "byte 9437184, length 1048576"));
}

/* Its generations count from one again, and would be taken for those that were read. */
static void a_copy_that_is_made_anew_is_proven_anew(void **s)
{
	struct rig *r = *s;
	AUTO_JSON *out = NULL;

	cv_do_both(r, "convert.disks");
	cv_do_at(r, "target", "validate.disks", "apply");
	assert_int_equal(unlink(r->map), 0);
	assert_int_equal(unlink(r->base), 0);
	cv_do_both(r, "convert.disks");
	cv_assert_state(r, "target", "validate.disks", "absent");
	cv_put(r->base, 0, "!", 1);	/* the new storage is bad */
	cv_do_both(r, "cutover.pass");
	out = cv_at(r, "target", "cutover.proof", "apply");
	assert_non_null(strstr(jstr(out, "error.text", ""), "byte 0, length 1048576"));
}

/* Its passes go on behind those that were recorded: none of these is what it holds. */
static void a_copy_without_its_map_is_none_that_was_recorded(void **s)
{
	struct rig *r = *s;

	cv_do_both(r, "convert.disks");
	cv_fill(r->src, 9 * MIB, 100, 4);
	assert_int_equal(unlink(r->map), 0);
	cv_do_both(r, "call.sync");
	assert_int_equal(jint(r->facts, "sync.root.pass", 0), 2);
	cv_assert_same(r);
}

/* What was damaged makes the recorded pass one that is not whole; what comes is another. */
static void a_pass_after_damage_is_none_that_was_recorded(void **s)
{
	struct rig *r = *s;

	cv_do_both(r, "convert.disks");
	cv_put(r->base, 9 * MIB, "!", 1);
	json_decref(cv_at(r, "target", "validate.disks", "apply"));
	cv_fill(r->src, 9 * MIB, 100, 4);
	cv_do_both(r, "call.sync");
	assert_int_equal(jint(r->facts, "sync.root.pass", 0), 2);
	cv_assert_same(r);
}

/* What another pass wrote since is of no instant of this cutover. */
static void the_last_proof_wants_the_pass_that_was_recorded(void **s)
{
	struct rig *r = *s;

	cv_do_both(r, "convert.disks");
	cv_do_at(r, "target", "validate.disks", "apply");
	cv_do_both(r, "cutover.pass");
	AUTO_JSON *mine = json_deep_copy(jget(r->facts, "pass"));
	cv_fill(r->src, 9 * MIB, 100, 4);
	cv_do_both(r, "cutover.pass");
	json_object_set(r->facts, "pass", mine);
	cv_assert_error(cv_at(r, "target", "cutover.proof", "apply"), "disk 'root' holds pass 3, the last "
		     "pass that was recorded is 2", "something else copied to it: drover cutover "
		     "PLAN begins with a pass again");
}

static void a_copy_that_was_cut_off_is_not_proven(void **s)
{
	struct rig *r = *s;
	AUTO_ERR e = { 0 };

	cv_do_both(r, "convert.disks");
	struct map *m = map_open(r->map, true, &e);
	assert_int_equal(map_begin(m, 2, &e), 0);
	map_close(m);
	cv_assert_state(r, "target", "convert.disks", "partial");
	cv_assert_error(cv_at(r, "target", "validate.disks", "apply"),
		     "disk 'root' is not whole: pass 2 was interrupted", "drover sync PLAN goes on "
		     "with it");
	cv_do_both(r, "convert.disks");
	cv_do_at(r, "target", "validate.disks", "apply");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RAW(a_proof_finds_one_changed_byte_and_says_where),
		RAW(what_is_damaged_is_sent_again_and_nothing_else),
		RAW(the_last_pass_is_mended_to_the_digest_that_was_recorded),
		RAW(a_mending_that_was_cut_off_is_gone_on_with),
		RAW(a_truncated_map_is_filled_again),
		RAW(a_stale_map_proves_nothing),
		RAW(a_stale_base_is_mended),
		RAW(a_copy_goes_on_in_the_chunks_it_was_begun_with),
		RAW(the_last_proof_reads_what_the_last_pass_wrote),
		RAW(a_copy_that_is_made_anew_is_proven_anew),
		RAW(a_copy_without_its_map_is_none_that_was_recorded),
		RAW(a_pass_after_damage_is_none_that_was_recorded),
		RAW(the_last_proof_wants_the_pass_that_was_recorded),
		RAW(a_copy_that_was_cut_off_is_not_proven),
		QCOW2(a_copy_that_was_cut_off_is_not_proven),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
