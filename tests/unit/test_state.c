/* SPDX-License-Identifier: Apache-2.0
 * test_state - records become history that can be read.
 */
#include "engine/base/proc.h"
#include "engine/state/state.h"
#include "tests/unit/staterig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- what is recorded can be read ------------------------------------------------ */

static void a_record_becomes_a_commit_with_trailers(void **state)
{
	struct fix *f = *state;
	struct state *s = st_open(f, STATE_WRITE);
	AUTO_FREE char *log = NULL, *text = NULL, *run = mem_strdup(state_run_id(s));
	AUTO_FREE char *want = NULL;

	st_put(s, "db", "convert disks: copied 11.2 GiB", "facts/disks.json={\"a\":1}",
	    "{\"Host\":\"db1\",\"Took\":\"3s\"}");
	st_close(s);
	log = st_git(f, "log", "--format=%an|%B", "erp/db/main");
	want = mem_printf("drover|convert disks: copied 11.2 GiB\n\nHost: db1\nTook: 3s\n"
			  "Machine: db\nStep: convert.disks\nRun: %s\nSeq: 2\n\n", run);
	assert_string_equal(log, want);
	text = st_git(f, "show", "erp/db/main:facts/disks.json", NULL);
	assert_string_equal(text, "{\"a\":1}");
	st_fsck(f);
}

static void the_tree_id_is_the_one_git_computes(void **state)
{
	struct fix *f = *state;
	struct state *s = st_open(f, STATE_WRITE);
	AUTO_FREE char *id = NULL;
	AUTO_ERR e = { 0 };
	char hex[41];

	st_put(s, "db", "one", "description.json={}", NULL);
	st_put(s, "db", "two", "steps/convert.disks/result.json=x", NULL);
	st_put(s, "db", "three", "steps/convert.disks/undo/a=y", NULL);
	st_put(s, "db", "four", "steps.txt=beside the folder", NULL);
	assert_int_equal(state_tree_id(s, "db", hex, &e), 0);
	st_close(s);
	id = st_git(f, "rev-parse", "erp/db/main^{tree}", NULL);
	id[40] = '\0';
	assert_string_equal(id, hex);
}

static void removing_a_prefix_removes_the_folder(void **state)
{
	struct fix *f = *state;
	struct state *s = st_open(f, STATE_WRITE);
	AUTO_FREE char *list = NULL;

	st_put(s, "db", "one", "facts/a.json=1", NULL);
	st_put(s, "db", "two", "facts/b.json=2", NULL);
	st_put(s, "db", "three", "keep=3", NULL);
	st_put_del(s, "db", "facts/");
	assert_int_equal(json_object_size(state_tree(s, "db")), 1);
	st_close(s);
	list = st_git(f, "ls-tree", "-r", "erp/db/main");
	assert_null(strstr(list, "facts"));
	assert_non_null(strstr(list, "keep"));
}

static void a_file_gives_way_to_a_folder_and_back(void **state)
{
	struct fix *f = *state;
	struct state *s = st_open(f, STATE_WRITE);
	AUTO_ERR e = { 0 };
	AUTO_FREE char *id = NULL;
	char hex[41];

	st_put(s, "db", "one", "a=file", NULL);
	st_put(s, "db", "two", "a/b/c=deep", NULL);
	st_put(s, "db", "three", "a/b=file again", NULL);
	assert_int_equal(state_tree_id(s, "db", hex, &e), 0);
	assert_string_equal(json_string_value(json_object_get(state_tree(s, "db"), "a/b")),
			    "file again");
	st_close(s);
	id = st_git(f, "rev-parse", "erp/db/main^{tree}", NULL);
	assert_memory_equal(id, hex, 40);
}

static void edits_without_a_subject_ride_with_the_next_commit(void **state)
{
	struct fix *f = *state;
	struct state *s = st_open(f, STATE_WRITE);

	st_put(s, "db", NULL, "steps/s/undo/x=kept", NULL);
	assert_non_null(json_object_get(state_tree(s, "db"), "steps/s/undo/x"));
	assert_int_equal(st_log_length(s, "db"), 0);
	st_put(s, "db", "done", "r=1", NULL);
	assert_int_equal(st_log_length(s, "db"), 1);
	st_close(s);
	s = st_open(f, STATE_READ);
	assert_string_equal(jstr(state_tree(s, "db"), "steps/s/undo/x", ""), "kept");
	st_close(s);
}

static void riding_edits_outlive_the_run_that_made_them(void **state)
{
	struct fix *f = *state;
	struct state *s = st_open(f, STATE_WRITE);

	st_put(s, "db", "begun", "a=1", NULL);
	st_put(s, "db", NULL, "undo=kept", NULL);
	st_close(s);
	for (int i = 0; i < 3; i++) {
		s = st_open(f, i == 1 ? STATE_READ : STATE_WRITE);
		assert_string_equal(jstr(state_tree(s, "db"), "undo", ""), "kept");
		st_close(s);
	}
	s = st_open(f, STATE_WRITE);
	st_put(s, "db", "done", NULL, NULL);
	st_close(s);
	s = st_open(f, STATE_READ);
	assert_string_equal(jstr(state_tree(s, "db"), "undo", ""), "kept");
	assert_int_equal(st_log_length(s, "db"), 2);
	st_close(s);
}

static void meta_is_one_document_again_after_reopening(void **state)
{
	struct fix *f = *state;
	struct state *s = st_open(f, STATE_WRITE);
	AUTO_FREE char *before = NULL, *after = NULL, *list = NULL;

	st_put_meta(s, "{\"machines/db/steps/convert.disks\":{\"status\":\"done\"},"
		 "\"machines/db/serves\":\"source\",\"machines/web/phase\":\"assess\"}");
	st_put_meta(s, "{\"ledger/kvm1/file:/srv/a b/x~1\":{\"lasting\":true},"
		 "\"ledger/kvm1/netns:n\":{}, \"hosts/kvm1/seen\":1}");
	st_put_meta(s, "{\"ledger/kvm1/netns:n\":null, \"machines/web\":null}");
	assert_true(jbool(json_object_get(jget(state_meta(s), "ledger.kvm1"),
					  "file:/srv/a b/x/"), "lasting", false));
	before = json_canonical(state_meta(s));
	st_close(s);
	list = st_git(f, "ls-tree", "-r", "refs/drover/erp/meta");
	assert_non_null(strstr(list, "machines/db.json"));
	assert_null(strstr(list, "machines/web.json"));
	s = st_open(f, STATE_READ);
	after = json_canonical(state_meta(s));
	assert_string_equal(before, after);
	st_close(s);
}

static void the_epoch_rises_with_every_writer_and_the_lineage_stays(void **state)
{
	struct fix *f = *state;
	char lineage[33] = "";

	for (uint64_t i = 1; i <= 3; i++) {
		struct state *s = st_open(f, STATE_WRITE);

		assert_int_equal(state_epoch(s), i);
		assert_int_equal(strlen(state_lineage(s)), 32);
		if (i > 1)
			assert_string_equal(state_lineage(s), lineage);
		strcpy(lineage, state_lineage(s));
		st_close(s);
	}
}

static void the_beginning_of_a_phase_is_found_by_its_trailer(void **state)
{
	struct fix *f = *state;
	struct state *s = st_open(f, STATE_WRITE);
	AUTO_ERR e = { 0 };
	char before[41], found[41];

	assert_int_equal(state_begin_id(s, "db", "convert", found, &e), 0);
	st_put(s, "db", "begin convert", "a=1", "{\"Begins\":\"convert\"}");
	assert_int_equal(state_tree_id(s, "db", before, &e), 0);
	st_put(s, "db", "converted", "a=2", NULL);
	assert_int_equal(state_begin_id(s, "db", "convert", found, &e), 1);
	assert_string_equal(found, before);
	assert_int_equal(state_begin_id(s, "db", "cutover", found, &e), 0);
	st_close(s);
}

static int join_subjects(const struct state_commit *c, void *arg)
{
	str_addf(arg, "%s:%s ", c->machine, c->subject);
	return 0;
}

static void the_log_of_all_machines_is_in_the_order_of_records(void **state)
{
	struct fix *f = *state;
	struct state *s = st_open(f, STATE_WRITE);
	AUTO_STR text = { 0 };
	AUTO_ERR e = { 0 };

	st_put(s, "a", "1", NULL, NULL);
	st_put(s, "b", "2", NULL, NULL);
	st_put(s, "c", "3", NULL, NULL);
	st_put(s, "a", "4", NULL, NULL);
	st_put(s, "b", "5", NULL, NULL);
	assert_int_equal(state_log(s, NULL, join_subjects, &text, &e), 0);
	assert_string_equal(text.s, "b:5 a:4 c:3 b:2 a:1 ");
	st_close(s);
}

static void revisions_are_named_in_five_ways(void **state)
{
	struct fix *f = *state;
	struct state *s = st_open(f, STATE_WRITE);
	AUTO_ERR e = { 0 };
	AUTO_FREE char *id = NULL, *diff = NULL;
	static const struct { const char *rev, *text; } rows[] = {
		{ "HEAD", "3\n" }, { "HEAD~0", "3\n" }, { "HEAD~1", "2\n" },
		{ "convert", "2\n" },
	};

	st_put(s, "db", "one", "n=1\n", NULL);
	st_put(s, "db", "two", "n=2\n", "{\"Begins\":\"convert\"}");
	st_put(s, "db", "three", "n=3\n", NULL);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_JSON *t = state_show(s, "db", rows[i].rev, "n", &e);

		assert_string_equal(json_string_value(t), rows[i].text);
	}
	id = st_git(f, "rev-parse", "erp/db/main~2", NULL);
	id[7] = '\0';
	AUTO_JSON *first = state_show(s, "db", id, "n", &e);
	assert_string_equal(json_string_value(first), "1\n");
	diff = state_diff(s, "db", id, "HEAD", &e);
	assert_non_null(strstr(diff, "--- a/n\n+++ b/n\n@@ -1 +1 @@\n-1\n+3\n"));
	assert_null(state_show(s, "db", "HEAD~3", "n", &e));
	assert_string_equal(e.what, "cannot find 'HEAD~3' in the history of 'db'");
	err_clear(&e);
	assert_null(state_show(s, "db", "HEAD", "m", &e));
	assert_string_equal(e.what, "cannot show 'm' of 'db': it is not there at HEAD");
	st_close(s);
}

/* ---- acknowledgements ---------------------------------------------------------- */

static void an_outcome_is_told_through_the_loop(void **state)
{
	struct fix *f = *state;
	struct state *s = st_open(f, STATE_WRITE);
	struct st_heard h = { 0 };
	struct record r = { .machine = "db", .kind = "outcome", .subject = "x" };

	for (int i = 0; i < 10; i++)
		state_append(s, &r, st_hear, &h);
	assert_int_equal(h.n, 0);
	while (h.n < 10)
		loop_turn(f->loop, -1);
	assert_null(h.error);
	assert_int_equal(loop_turn(f->loop, 0), 0);	/* nothing left to wait for */
	st_close(s);
}

static void a_bad_record_is_refused_with_a_reason(void **state)
{
	static const struct { const char *machine, *path, *text; } rows[] = {
		{ "../x", "a", "cannot record: '../x' is no name of a machine" },
		{ "a.lock", "a", "cannot record: 'a.lock' is no name of a machine" },
		{ "a..b", "a", "cannot record: 'a..b' is no name of a machine" },
		{ "db", "../a", "cannot record '../a': it is no path with a text in a "
			"machine's tree" },
		{ "db", "a//b", "cannot record 'a//b': it is no path with a text in a "
			"machine's tree" },
		{ "db", "x/.GIT/y", "cannot record 'x/.GIT/y': it is no path with a text in a "
			"machine's tree" },
		{ NULL, "a", "cannot record 'x': a tree needs a machine" },
	};
	struct fix *f = *state;
	struct state *s = st_open(f, STATE_WRITE);

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_JSON *set = json_pack("{ss}", rows[i].path, "text");
		struct record r = { .machine = rows[i].machine, .kind = "outcome",
			.subject = "x", .set = set };
		struct st_heard h = { 0 };

		state_append(s, &r, st_hear, &h);
		while (h.n < 1)
			loop_turn(f->loop, -1);
		assert_string_equal(h.error, rows[i].text);
		free(h.error);
	}
	assert_int_equal(st_log_length(s, NULL), 0);
	st_close(s);
}

static void with_a_virtual_clock_the_journal_does_not_lag(void **state)
{
	struct fix *f = *state;
	struct clock_fake clock;
	struct loop *loop;
	struct st_heard h = { 0 };
	struct state *s;
	AUTO_ERR e = { 0 };
	struct record r = { .machine = "db", .kind = "intent", .subject = "x" };
	uint64_t before;

	clock_fake_init(&clock);
	loop = loop_new(&clock.clock);
	s = state_open(f->dir, "erp", STATE_WRITE, loop, &e);
	assert_non_null(s);
	before = clock.now_ms;
	state_append(s, &r, st_hear, &h);
	loop_turn(loop, -1);
	assert_int_equal(h.n, 1);
	assert_int_equal(clock.now_ms, before);
	st_close(s);
	loop_free(loop);
}

static void what_is_untold_when_closing_is_told_then(void **state)
{
	struct fix *f = *state;
	struct state *s = st_open(f, STATE_WRITE);
	struct st_heard h = { 0 };
	struct record r = { .machine = "db", .kind = "outcome", .subject = "x" };

	state_append(s, &r, st_hear, &h);
	st_close(s);
	assert_int_equal(h.n, 1);
}

/* ---- reading beside a writer ------------------------------------------------------ */

static void a_reader_sees_all_that_is_durable_and_writes_nothing(void **state)
{
	struct fix *f = *state;
	struct state *w = st_open(f, STATE_WRITE), *r;
	char wid[41], rid[41];
	AUTO_ERR e = { 0 };
	struct st_heard h = { 0 };
	struct record rec = { .machine = "db", .kind = "outcome", .subject = "x" };

	for (int i = 0; i < 50; i++) {
		AUTO_FREE char *set = mem_printf("f%d=%d", i, i);

		st_put(w, "db", "more", set, NULL);
	}
	state_append(w, &rec, st_hear, &h);
	while (h.n < 1)
		loop_turn(f->loop, -1);
	r = st_open(f, STATE_READ);		/* git may be anywhere by now */
	assert_int_equal(st_log_length(r, "db"), 51);
	assert_int_equal(state_tree_id(w, "db", wid, &e), 0);
	assert_int_equal(state_tree_id(r, "db", rid, &e), 0);
	assert_string_equal(wid, rid);
	st_close(r);
	st_close(w);
}

static void a_missing_state_reads_as_an_empty_one(void **state)
{
	struct fix *f = *state;
	struct state *s = st_open(f, STATE_READ);

	assert_true(state_is_empty(s));
	assert_null(state_tree(s, "db"));
	assert_int_equal(st_log_length(s, NULL), 0);
	st_close(s);
	assert_int_equal(access(f->dir, F_OK), -1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, st_setup, st_teardown)
	const struct CMUnitTest tests[] = {
		T(a_record_becomes_a_commit_with_trailers),
		T(the_tree_id_is_the_one_git_computes),
		T(removing_a_prefix_removes_the_folder),
		T(a_file_gives_way_to_a_folder_and_back),
		T(edits_without_a_subject_ride_with_the_next_commit),
		T(riding_edits_outlive_the_run_that_made_them),
		T(meta_is_one_document_again_after_reopening),
		T(the_epoch_rises_with_every_writer_and_the_lineage_stays),
		T(the_beginning_of_a_phase_is_found_by_its_trailer),
		T(the_log_of_all_machines_is_in_the_order_of_records),
		T(revisions_are_named_in_five_ways),
		T(an_outcome_is_told_through_the_loop),
		T(a_bad_record_is_refused_with_a_reason),
		T(with_a_virtual_clock_the_journal_does_not_lag),
		T(what_is_untold_when_closing_is_told_then),
		T(a_reader_sees_all_that_is_durable_and_writes_nothing),
		T(a_missing_state_reads_as_an_empty_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
