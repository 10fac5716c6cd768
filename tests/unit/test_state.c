/* SPDX-License-Identifier: Apache-2.0
 * test_state - records become history; nothing acknowledged is lost.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "engine/base/proc.h"
#include "engine/state/state.h"
#include "tests/unit/part.h"

#include <git2.h>
#include <setjmp.h>
#include <stdarg.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct fix {
	char root[64];		/* a temporary folder */
	char dir[96];		/* the state in it */
	struct loop *loop;
};

static int setup(void **state)
{
	struct fix *f = mem_alloc(sizeof(*f));

	strcpy(f->root, "/tmp/drover-test.XXXXXX");
	assert_non_null(mkdtemp(f->root));
	snprintf(f->dir, sizeof(f->dir), "%s/.drover", f->root);
	f->loop = loop_new(&clock_real);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	loop_free(f->loop);
	io_remove_tree(f->root);
	free(f);
	return 0;
}

/* ---- helpers ------------------------------------------------------------------- */

static struct state *open_ok(struct fix *f, enum state_mode mode)
{
	AUTO_ERR e = { 0 };
	struct state *s = state_open(f->dir, "erp", mode, f->loop, &e);

	if (!s)
		fail_msg("%s", e.what);
	return s;
}

static void close_ok(struct state *s)
{
	AUTO_ERR e = { 0 };

	if (state_close(s, &e) < 0)
		fail_msg("%s", e.what);
}

static void flush_ok(struct state *s)
{
	AUTO_ERR e = { 0 };

	if (state_flush(s, &e) < 0)
		fail_msg("%s", e.what);
}

/* Opening must fail; the whole message is compared up to `rest`. */
static void open_fails(struct fix *f, enum state_mode mode, enum err_kind kind,
		       const char *message)
{
	AUTO_ERR e = { 0 };

	if (state_open(f->dir, "erp", mode, f->loop, &e))
		fail_msg("the state was opened, not refused: %s", message);
	assert_int_equal(e.kind, kind);
	assert_non_null(e.hint);
	if (!strstr(e.what, message))
		fail_msg("'%s' is not in '%s'", message, e.what);
}

/* set is "path=text" or NULL. */
static void put(struct state *s, const char *machine, const char *subject, const char *set,
		const char *trailers)
{
	AUTO_JSON *o = set ? json_object() : NULL;
	AUTO_JSON *t = trailers ? json_loads(trailers, 0, NULL) : NULL;
	AUTO_FREE char *path = set ? mem_strndup(set, strcspn(set, "=")) : NULL;
	struct record r = { .machine = machine, .kind = "outcome", .step = "convert.disks",
		.subject = subject, .set = o, .trailers = t };

	if (set)
		json_object_set_new(o, path, json_string(strchr(set, '=') + 1));
	state_append(s, &r, NULL, NULL);
}

static void put_meta(struct state *s, const char *edits)
{
	AUTO_JSON *m = json_loads(edits, 0, NULL);
	struct record r = { .kind = "note", .meta = m };

	assert_non_null(m);
	state_append(s, &r, NULL, NULL);
}

static void put_del(struct state *s, const char *machine, const char *path)
{
	AUTO_JSON *d = json_pack("[s]", path);
	struct record r = { .machine = machine, .kind = "undo", .subject = "removed",
		.del = d };

	state_append(s, &r, NULL, NULL);
}

/* git's own opinion: stdout of `git ARGS` in the state; caller frees. */
static char *git(struct fix *f, const char *a, const char *b, const char *c)
{
	const char *argv[] = { "git", "-c", "safe.directory=*", "-C", f->dir, a, b, c, NULL };
	struct proc p = { .argv = argv, .timeout_ms = 60000 };
	AUTO_ERR e = { 0 };
	char *out;

	if (proc_run(&p, &e) < 0)
		fail_msg("%s", e.what);
	out = mem_strdup(p.out.s ? p.out.s : "");
	proc_free(&p);
	return out;
}

static void fsck_clean(struct fix *f)
{
	free(git(f, "fsck", "--full", "--strict"));
}

static int count_commit(const struct state_commit *c, void *arg)
{
	(void)c;
	(*(int *)arg)++;
	return 0;
}

static int log_length(struct state *s, const char *machine)
{
	AUTO_ERR e = { 0 };
	int n = 0;

	if (state_log(s, machine, count_commit, &n, &e) < 0)
		fail_msg("%s", e.what);
	return n;
}

/* ---- what is recorded can be read ------------------------------------------------ */

static void a_record_becomes_a_commit_with_trailers(void **state)
{
	struct fix *f = *state;
	struct state *s = open_ok(f, STATE_WRITE);
	AUTO_FREE char *log = NULL, *text = NULL, *run = mem_strdup(state_run_id(s));
	AUTO_FREE char *want = NULL;

	put(s, "db", "convert disks: copied 11.2 GiB", "facts/disks.json={\"a\":1}",
	    "{\"Host\":\"db1\",\"Took\":\"3s\"}");
	close_ok(s);
	log = git(f, "log", "--format=%an|%B", "erp/db/main");
	want = mem_printf("drover|convert disks: copied 11.2 GiB\n\nHost: db1\nTook: 3s\n"
			  "Machine: db\nStep: convert.disks\nRun: %s\nSeq: 2\n\n", run);
	assert_string_equal(log, want);
	text = git(f, "show", "erp/db/main:facts/disks.json", NULL);
	assert_string_equal(text, "{\"a\":1}");
	fsck_clean(f);
}

static void the_tree_id_is_the_one_git_computes(void **state)
{
	struct fix *f = *state;
	struct state *s = open_ok(f, STATE_WRITE);
	AUTO_FREE char *id = NULL;
	AUTO_ERR e = { 0 };
	char hex[41];

	put(s, "db", "one", "description.json={}", NULL);
	put(s, "db", "two", "steps/convert.disks/result.json=x", NULL);
	put(s, "db", "three", "steps/convert.disks/undo/a=y", NULL);
	put(s, "db", "four", "steps.txt=beside the folder", NULL);
	assert_int_equal(state_tree_id(s, "db", hex, &e), 0);
	close_ok(s);
	id = git(f, "rev-parse", "erp/db/main^{tree}", NULL);
	id[40] = '\0';
	assert_string_equal(id, hex);
}

static void removing_a_prefix_removes_the_folder(void **state)
{
	struct fix *f = *state;
	struct state *s = open_ok(f, STATE_WRITE);
	AUTO_FREE char *list = NULL;

	put(s, "db", "one", "facts/a.json=1", NULL);
	put(s, "db", "two", "facts/b.json=2", NULL);
	put(s, "db", "three", "keep=3", NULL);
	put_del(s, "db", "facts/");
	assert_int_equal(json_object_size(state_tree(s, "db")), 1);
	close_ok(s);
	list = git(f, "ls-tree", "-r", "erp/db/main");
	assert_null(strstr(list, "facts"));
	assert_non_null(strstr(list, "keep"));
}

static void a_file_gives_way_to_a_folder_and_back(void **state)
{
	struct fix *f = *state;
	struct state *s = open_ok(f, STATE_WRITE);
	AUTO_ERR e = { 0 };
	AUTO_FREE char *id = NULL;
	char hex[41];

	put(s, "db", "one", "a=file", NULL);
	put(s, "db", "two", "a/b/c=deep", NULL);
	put(s, "db", "three", "a/b=file again", NULL);
	assert_int_equal(state_tree_id(s, "db", hex, &e), 0);
	assert_string_equal(json_string_value(json_object_get(state_tree(s, "db"), "a/b")),
			    "file again");
	close_ok(s);
	id = git(f, "rev-parse", "erp/db/main^{tree}", NULL);
	assert_memory_equal(id, hex, 40);
}

static void edits_without_a_subject_ride_with_the_next_commit(void **state)
{
	struct fix *f = *state;
	struct state *s = open_ok(f, STATE_WRITE);

	put(s, "db", NULL, "steps/s/undo/x=kept", NULL);
	assert_non_null(json_object_get(state_tree(s, "db"), "steps/s/undo/x"));
	assert_int_equal(log_length(s, "db"), 0);
	put(s, "db", "done", "r=1", NULL);
	assert_int_equal(log_length(s, "db"), 1);
	close_ok(s);
	s = open_ok(f, STATE_READ);
	assert_string_equal(jstr(state_tree(s, "db"), "steps/s/undo/x", ""), "kept");
	close_ok(s);
}

static void riding_edits_outlive_the_run_that_made_them(void **state)
{
	struct fix *f = *state;
	struct state *s = open_ok(f, STATE_WRITE);

	put(s, "db", "begun", "a=1", NULL);
	put(s, "db", NULL, "undo=kept", NULL);
	close_ok(s);
	for (int i = 0; i < 3; i++) {
		s = open_ok(f, i == 1 ? STATE_READ : STATE_WRITE);
		assert_string_equal(jstr(state_tree(s, "db"), "undo", ""), "kept");
		close_ok(s);
	}
	s = open_ok(f, STATE_WRITE);
	put(s, "db", "done", NULL, NULL);
	close_ok(s);
	s = open_ok(f, STATE_READ);
	assert_string_equal(jstr(state_tree(s, "db"), "undo", ""), "kept");
	assert_int_equal(log_length(s, "db"), 2);
	close_ok(s);
}

static void meta_is_one_document_again_after_reopening(void **state)
{
	struct fix *f = *state;
	struct state *s = open_ok(f, STATE_WRITE);
	AUTO_FREE char *before = NULL, *after = NULL, *list = NULL;

	put_meta(s, "{\"machines/db/steps/convert.disks\":{\"status\":\"done\"},"
		 "\"machines/db/serves\":\"source\",\"machines/web/phase\":\"assess\"}");
	put_meta(s, "{\"ledger/kvm1/file:/srv/a b/x~1\":{\"lasting\":true},"
		 "\"ledger/kvm1/netns:n\":{}, \"hosts/kvm1/seen\":1}");
	put_meta(s, "{\"ledger/kvm1/netns:n\":null, \"machines/web\":null}");
	assert_true(jbool(json_object_get(jget(state_meta(s), "ledger.kvm1"),
					  "file:/srv/a b/x/"), "lasting", false));
	before = json_canonical(state_meta(s));
	close_ok(s);
	list = git(f, "ls-tree", "-r", "refs/drover/erp/meta");
	assert_non_null(strstr(list, "machines/db.json"));
	assert_null(strstr(list, "machines/web.json"));
	s = open_ok(f, STATE_READ);
	after = json_canonical(state_meta(s));
	assert_string_equal(before, after);
	close_ok(s);
}

static void the_epoch_rises_with_every_writer_and_the_lineage_stays(void **state)
{
	struct fix *f = *state;
	char lineage[33] = "";

	for (uint64_t i = 1; i <= 3; i++) {
		struct state *s = open_ok(f, STATE_WRITE);

		assert_int_equal(state_epoch(s), i);
		assert_int_equal(strlen(state_lineage(s)), 32);
		if (i > 1)
			assert_string_equal(state_lineage(s), lineage);
		strcpy(lineage, state_lineage(s));
		close_ok(s);
	}
}

static void the_beginning_of_a_phase_is_found_by_its_trailer(void **state)
{
	struct fix *f = *state;
	struct state *s = open_ok(f, STATE_WRITE);
	AUTO_ERR e = { 0 };
	char before[41], found[41];

	assert_int_equal(state_begin_id(s, "db", "convert", found, &e), 0);
	put(s, "db", "begin convert", "a=1", "{\"Begins\":\"convert\"}");
	assert_int_equal(state_tree_id(s, "db", before, &e), 0);
	put(s, "db", "converted", "a=2", NULL);
	assert_int_equal(state_begin_id(s, "db", "convert", found, &e), 1);
	assert_string_equal(found, before);
	assert_int_equal(state_begin_id(s, "db", "cutover", found, &e), 0);
	close_ok(s);
}

static int join_subjects(const struct state_commit *c, void *arg)
{
	str_addf(arg, "%s:%s ", c->machine, c->subject);
	return 0;
}

static void the_log_of_all_machines_is_in_the_order_of_records(void **state)
{
	struct fix *f = *state;
	struct state *s = open_ok(f, STATE_WRITE);
	AUTO_STR text = { 0 };
	AUTO_ERR e = { 0 };

	put(s, "a", "1", NULL, NULL);
	put(s, "b", "2", NULL, NULL);
	put(s, "c", "3", NULL, NULL);
	put(s, "a", "4", NULL, NULL);
	put(s, "b", "5", NULL, NULL);
	assert_int_equal(state_log(s, NULL, join_subjects, &text, &e), 0);
	assert_string_equal(text.s, "b:5 a:4 c:3 b:2 a:1 ");
	close_ok(s);
}

static void revisions_are_named_in_five_ways(void **state)
{
	struct fix *f = *state;
	struct state *s = open_ok(f, STATE_WRITE);
	AUTO_ERR e = { 0 };
	AUTO_FREE char *id = NULL, *diff = NULL;
	static const struct { const char *rev, *text; } rows[] = {
		{ "HEAD", "3\n" }, { "HEAD~0", "3\n" }, { "HEAD~1", "2\n" },
		{ "convert", "2\n" },
	};

	put(s, "db", "one", "n=1\n", NULL);
	put(s, "db", "two", "n=2\n", "{\"Begins\":\"convert\"}");
	put(s, "db", "three", "n=3\n", NULL);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_JSON *t = state_show(s, "db", rows[i].rev, "n", &e);

		assert_string_equal(json_string_value(t), rows[i].text);
	}
	id = git(f, "rev-parse", "erp/db/main~2", NULL);
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
	close_ok(s);
}

/* ---- acknowledgements ---------------------------------------------------------- */

struct heard { int n; char order[64]; char *error; };

static void hear(void *arg, struct err *e)
{
	struct heard *h = arg;

	h->n++;
	if (e && !h->error)
		h->error = mem_strdup(e->what);
}

static void an_outcome_is_told_through_the_loop(void **state)
{
	struct fix *f = *state;
	struct state *s = open_ok(f, STATE_WRITE);
	struct heard h = { 0 };
	struct record r = { .machine = "db", .kind = "outcome", .subject = "x" };

	for (int i = 0; i < 10; i++)
		state_append(s, &r, hear, &h);
	assert_int_equal(h.n, 0);
	while (h.n < 10)
		loop_turn(f->loop, -1);
	assert_null(h.error);
	assert_int_equal(loop_turn(f->loop, 0), 0);	/* nothing left to wait for */
	close_ok(s);
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
	struct state *s = open_ok(f, STATE_WRITE);

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_JSON *set = json_pack("{ss}", rows[i].path, "text");
		struct record r = { .machine = rows[i].machine, .kind = "outcome",
			.subject = "x", .set = set };
		struct heard h = { 0 };

		state_append(s, &r, hear, &h);
		while (h.n < 1)
			loop_turn(f->loop, -1);
		assert_string_equal(h.error, rows[i].text);
		free(h.error);
	}
	assert_int_equal(log_length(s, NULL), 0);
	close_ok(s);
}

static void with_a_virtual_clock_the_journal_does_not_lag(void **state)
{
	struct fix *f = *state;
	struct clock_fake clock;
	struct loop *loop;
	struct heard h = { 0 };
	struct state *s;
	AUTO_ERR e = { 0 };
	struct record r = { .machine = "db", .kind = "intent", .subject = "x" };
	uint64_t before;

	clock_fake_init(&clock);
	loop = loop_new(&clock.clock);
	s = state_open(f->dir, "erp", STATE_WRITE, loop, &e);
	assert_non_null(s);
	before = clock.now_ms;
	state_append(s, &r, hear, &h);
	loop_turn(loop, -1);
	assert_int_equal(h.n, 1);
	assert_int_equal(clock.now_ms, before);
	close_ok(s);
	loop_free(loop);
}

static void what_is_untold_when_closing_is_told_then(void **state)
{
	struct fix *f = *state;
	struct state *s = open_ok(f, STATE_WRITE);
	struct heard h = { 0 };
	struct record r = { .machine = "db", .kind = "outcome", .subject = "x" };

	state_append(s, &r, hear, &h);
	close_ok(s);
	assert_int_equal(h.n, 1);
}

/* ---- reading beside a writer ------------------------------------------------------ */

static void a_reader_sees_all_that_is_durable_and_writes_nothing(void **state)
{
	struct fix *f = *state;
	struct state *w = open_ok(f, STATE_WRITE), *r;
	char wid[41], rid[41];
	AUTO_ERR e = { 0 };
	struct heard h = { 0 };
	struct record rec = { .machine = "db", .kind = "outcome", .subject = "x" };

	for (int i = 0; i < 50; i++) {
		AUTO_FREE char *set = mem_printf("f%d=%d", i, i);

		put(w, "db", "more", set, NULL);
	}
	state_append(w, &rec, hear, &h);
	while (h.n < 1)
		loop_turn(f->loop, -1);
	r = open_ok(f, STATE_READ);		/* git may be anywhere by now */
	assert_int_equal(log_length(r, "db"), 51);
	assert_int_equal(state_tree_id(w, "db", wid, &e), 0);
	assert_int_equal(state_tree_id(r, "db", rid, &e), 0);
	assert_string_equal(wid, rid);
	close_ok(r);
	close_ok(w);
}

static void a_missing_state_reads_as_an_empty_one(void **state)
{
	struct fix *f = *state;
	struct state *s = open_ok(f, STATE_READ);

	assert_true(state_is_empty(s));
	assert_null(state_tree(s, "db"));
	assert_int_equal(log_length(s, NULL), 0);
	close_ok(s);
	assert_int_equal(access(f->dir, F_OK), -1);
}

/* ---- what is not ours, or damaged -------------------------------------------------- */

static void write_file(struct fix *f, const char *name, const char *text)
{
	AUTO_FREE char *path = mem_printf("%s/%s", f->dir, name);

	assert_int_equal(io_write_file(AT_FDCWD, path, text, strlen(text), 0600), 0);
}

static void a_foreign_directory_is_refused(void **state)
{
	struct fix *f = *state;

	mkdir(f->dir, 0700);
	write_file(f, "thesis.txt", "mine");
	open_fails(f, STATE_WRITE, ERR_SYSTEM, "it holds 'thesis.txt' and was not made by drover");
	open_fails(f, STATE_READ, ERR_SYSTEM, "it holds 'thesis.txt' and was not made by drover");
}

static void a_newer_format_is_refused(void **state)
{
	struct fix *f = *state;

	close_ok(open_ok(f, STATE_WRITE));
	write_file(f, "drover.json", "{\"format\":\"drover state\",\"version\":2}");
	open_fails(f, STATE_WRITE, ERR_SYSTEM, "it has format 2, this drover knows 1");
	write_file(f, "drover.json", "{\"format\":\"dro");
	open_fails(f, STATE_READ, ERR_SYSTEM, "its file 'drover.json' is damaged");
}

static void a_read_only_directory_is_refused(void **state)
{
	struct fix *f = *state;
	pid_t pid;
	int status;

	close_ok(open_ok(f, STATE_WRITE));
	if (geteuid() != 0)
		skip();		/* needs another user to be */
	assert_int_equal(chmod(f->root, 0755), 0);
	assert_int_equal(chmod(f->dir, 0755), 0);
	pid = fork();
	if (pid == 0) {
		AUTO_ERR e = { 0 };

		if (setuid(65534) < 0 || state_open(f->dir, "erp", STATE_WRITE, f->loop, &e))
			_exit(1);
		_exit(strstr(e.what, "Permission denied") && e.hint ? 0 : 2);
	}
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
}

static void a_state_of_another_user_is_refused(void **state)
{
	struct fix *f = *state;
	AUTO_FREE char *git_dir = mem_printf("%s/.", f->dir);

	if (geteuid() != 0)
		skip();
	close_ok(open_ok(f, STATE_WRITE));
	assert_int_equal(chown(git_dir, 65534, 65534), 0);
	open_fails(f, STATE_WRITE, ERR_SYSTEM, "it belongs to another user");
}

typedef void file_fn(struct fix *f, const char *path);

static void each_file(struct fix *f, const char *path, file_fn *fn)
{
	DIR *d = opendir(path);
	struct dirent *entry;

	assert_non_null(d);
	while ((entry = readdir(d))) {
		AUTO_FREE char *sub = mem_printf("%s/%s", path, entry->d_name);

		if (entry->d_name[0] == '.')
			continue;
		if (entry->d_type == DT_DIR)
			each_file(f, sub, fn);
		else
			fn(f, sub);
	}
	closedir(d);
}

static void read_all(struct fix *f, enum state_mode mode, const char *path, bool must_fail)
{
	AUTO_ERR e = { 0 };
	struct state *s = state_open(f->dir, "erp", mode, f->loop, &e);
	int n = 0;

	if (s && state_log(s, NULL, count_commit, &n, &e) == 0 && n > 0)
		for (const char *const *m = (const char *const []){ "a", "b", NULL }; *m; m++) {
			AUTO_JSON *list = state_show(s, *m, "HEAD", NULL, &e);
			const json_t *tree = err_is(&e) ? NULL : state_tree(s, *m);

			if (!list || !tree) {
				if (!err_is(&e))
					err_set(&e, ERR_SYSTEM, "no tree");
				break;
			}
		}
	if (must_fail && !err_is(&e))
		fail_msg("the damage of '%s' was not seen", path);
	state_close(s, NULL);
}

/* Not synced: thousands of these are written. */
static void overwrite(const char *path, const char *p, size_t n)
{
	int fd;

	chmod(path, 0600);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(io_write_full(fd, p, n), 0);
	close(fd);
}

/* The file with one byte changed, at its start, middle and end, is never a
 * crash: reading tells, opening for writing refuses. */
static void flip(struct fix *f, const char *path)
{
	size_t n;
	AUTO_FREE char *was = io_read_file(AT_FDCWD, path, 1 << 20, &n);
	const size_t at[] = { 0, n / 2, n - 1 };

	assert_non_null(was);
	for (size_t i = 0; i < ARRAY_LEN(at); i++) {
		char keep = was[at[i]];

		was[at[i]] = (char)(keep ^ (1 << (i % 8)));
		overwrite(path, was, n);
		read_all(f, STATE_READ, path, false);
		if (!strstr(path, ".rev") && !strstr(path, ".bitmap"))
			open_fails(f, STATE_WRITE, ERR_SYSTEM, path);
		was[at[i]] = keep;
	}
	overwrite(path, was, n);
}

static void a_flipped_byte_in_any_object_is_an_error_not_a_crash(void **state)
{
	struct fix *f = *state;
	struct state *s = open_ok(f, STATE_WRITE);
	AUTO_FREE char *objects = mem_printf("%s/objects", f->dir);

	put(s, "a", "one", "facts/x.json={\"long\":\"text text text text\"}", NULL);
	put(s, "b", "two", "n=2", NULL);
	put(s, "a", "three", "m=3", NULL);
	close_ok(s);
	each_file(f, objects, flip);
	close_ok(open_ok(f, STATE_WRITE));	/* all is back as it was */
}

/* The same for what steers git: an error or a sound state, never a crash. */
static void flip_any(struct fix *f, const char *path)
{
	size_t n;
	AUTO_FREE char *was = io_read_file(AT_FDCWD, path, 1 << 20, &n);

	for (size_t i = 0; i < n; i += (size_t)test_part(3, 13)) {
		was[i] ^= 0x10;
		overwrite(path, was, n);
		read_all(f, STATE_READ, path, false);
		was[i] ^= 0x10;
	}
	overwrite(path, was, n);
}

static void a_flipped_byte_in_refs_and_config_is_never_a_crash(void **state)
{
	static const char *const files[] = { "HEAD", "config", "drover.json",
		"refs/heads/erp/a/main", "refs/drover/erp/meta" };
	struct fix *f = *state;
	struct state *s = open_ok(f, STATE_WRITE);

	put(s, "a", "one", "x=1", NULL);
	close_ok(s);
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		AUTO_FREE char *path = mem_printf("%s/%s", f->dir, files[i]);

		flip_any(f, path);
	}
	close_ok(open_ok(f, STATE_WRITE));
}

static void a_flipped_byte_in_a_pack_is_seen(void **state)
{
	struct fix *f = *state;
	struct state *s = open_ok(f, STATE_WRITE);
	AUTO_FREE char *pack = mem_printf("%s/objects/pack", f->dir);

	put(s, "a", "one", "x=1", NULL);
	put(s, "b", "two", "y=2", NULL);
	close_ok(s);
	free(git(f, "gc", "-q", "--prune=now"));
	each_file(f, pack, flip);
	close_ok(open_ok(f, STATE_WRITE));
}

static void without_its_journal_a_state_goes_on_from_git(void **state)
{
	struct fix *f = *state;
	struct state *s = open_ok(f, STATE_WRITE);
	AUTO_FREE char *wal = mem_printf("%s/journal/erp.wal", f->dir);

	put(s, "a", "one", "x=1", NULL);
	put(s, "a", "two", "x=2", NULL);
	close_ok(s);
	assert_int_equal(unlink(wal), 0);
	s = open_ok(f, STATE_WRITE);
	assert_int_equal(state_epoch(s), 2);
	put(s, "a", "three", "x=3", NULL);
	close_ok(s);
	s = open_ok(f, STATE_READ);
	assert_int_equal(log_length(s, "a"), 3);
	assert_string_equal(jstr(state_tree(s, "a"), "x", ""), "3");
	close_ok(s);
}

static size_t loose_count(struct fix *f)
{
	AUTO_FREE char *out = git(f, "count-objects", NULL, NULL);

	return strtoul(out, NULL, 10);
}

static void many_loose_objects_become_a_pack(void **state)
{
	struct fix *f = *state;
	struct state *s = open_ok(f, STATE_WRITE), *reader;
	git_repository *repo = NULL;
	AUTO_JSON *text = NULL;
	AUTO_ERR e = { 0 };
	git_oid id;

	put(s, "a", "one", "x=1", NULL);
	put(s, "a", "two", "x=2", NULL);
	close_ok(s);
	git_libgit2_init();
	git_libgit2_opts(GIT_OPT_ENABLE_FSYNC_GITDIR, 0);
	assert_int_equal(git_repository_open_bare(&repo, f->dir), 0);
	for (int i = 0; i < 4200; i++)
		assert_int_equal(git_blob_create_from_buffer(&id, repo, &i, sizeof(i)), 0);
	git_repository_free(repo);
	git_libgit2_shutdown();
	assert_true(loose_count(f) > 4200);

	reader = open_ok(f, STATE_READ);
	close_ok(open_ok(f, STATE_WRITE));
	assert_true(loose_count(f) < 100);
	/* one that was open meanwhile finds all where it is now */
	text = state_show(reader, "a", "HEAD~1", "x", &e);
	assert_string_equal(json_string_value(text), "1");
	close_ok(reader);
	fsck_clean(f);
}

/* A tree of `n` entries that are all `id`. */
static git_oid multiply(git_repository *repo, const git_oid *id, int n, git_filemode_t mode)
{
	git_treebuilder *b = NULL;
	git_oid out;

	assert_int_equal(git_treebuilder_new(&b, repo, NULL), 0);
	for (int i = 0; i < n; i++) {
		char name[16];

		snprintf(name, sizeof(name), "n%d", i);
		assert_int_equal(git_treebuilder_insert(NULL, b, name, id, mode), 0);
	}
	assert_int_equal(git_treebuilder_write(&out, b), 0);
	git_treebuilder_free(b);
	return out;
}

/* Let the machine's branch stand at a tree that somebody else made. */
static void plant(struct fix *f, int width, int depth)
{
	git_repository *repo = NULL;
	git_signature *who = NULL;
	git_tree *tree = NULL;
	git_oid id, commit;

	git_libgit2_init();
	assert_int_equal(git_repository_open_bare(&repo, f->dir), 0);
	assert_int_equal(git_blob_create_from_buffer(&id, repo, "x", 1), 0);
	id = multiply(repo, &id, width, GIT_FILEMODE_BLOB);
	while (--depth > 0)
		id = multiply(repo, &id, width, GIT_FILEMODE_TREE);
	assert_int_equal(git_tree_lookup(&tree, repo, &id), 0);
	assert_int_equal(git_signature_new(&who, "x", "x@x", 1, 0), 0);
	assert_int_equal(git_commit_create(&commit, repo, NULL, who, who, NULL, "x\n\nSeq: 99\n",
					   tree, 0, NULL), 0);
	git_reference *ref = NULL;
	assert_int_equal(git_reference_create(&ref, repo, "refs/heads/erp/a/main", &commit, 1,
					      NULL), 0);
	git_reference_free(ref);
	git_signature_free(who);
	git_tree_free(tree);
	git_repository_free(repo);
	git_libgit2_shutdown();
}

static void a_tree_that_multiplies_itself_is_refused(void **state)
{
	struct fix *f = *state;
	struct state *s = open_ok(f, STATE_WRITE);
	static const int shape[][2] = { { 10, 9 }, { 1, 40 } };

	put(s, "a", "one", "x=1", NULL);
	close_ok(s);
	for (size_t i = 0; i < 2; i++) {
		AUTO_ERR e = { 0 };
		char hex[41];

		plant(f, shape[i][0], shape[i][1]);
		s = open_ok(f, STATE_READ);
		assert_null(state_show(s, "a", "HEAD", NULL, &e));
		assert_string_equal(e.what, "cannot read a tree of the state: it is larger or "
				    "deeper than any that drover makes");
		err_clear(&e);
		assert_int_equal(state_tree_id(s, "a", hex, &e), -1);
		assert_int_equal(state_close(s, NULL), -1);	/* it is damaged */
	}
}

static void a_branch_moved_by_another_program_is_told(void **state)
{
	struct fix *f = *state;
	struct state *s = open_ok(f, STATE_WRITE);
	AUTO_ERR e = { 0 };

	put(s, "a", "one", "x=1", NULL);
	put(s, "a", "two", "x=2", NULL);
	flush_ok(s);
	free(git(f, "update-ref", "refs/heads/erp/a/main", "refs/heads/erp/a/main~1"));
	put(s, "a", "three", "x=3", NULL);
	assert_int_equal(state_close(s, &e), -1);
	assert_non_null(strstr(e.what, "cannot record in 'refs/heads/erp/a/main'"));
	assert_non_null(strstr(e.what, "another program has moved it"));
}

static void stale_locks_of_a_killed_writer_do_not_hinder(void **state)
{
	static const char *const litter[] = { "refs/heads/erp/a/main.lock",
		"refs/drover/erp/meta.lock", "packed-refs.lock",
		"objects/00/tmp_object_git2_abcdef" };
	struct fix *f = *state;
	struct state *s = open_ok(f, STATE_WRITE);

	put(s, "a", "one", "x=1", NULL);
	close_ok(s);
	for (size_t i = 0; i < ARRAY_LEN(litter); i++)
		write_file(f, litter[i], "");
	s = open_ok(f, STATE_WRITE);
	put(s, "a", "two", "x=2", NULL);
	close_ok(s);
	for (size_t i = 0; i < ARRAY_LEN(litter); i++) {
		AUTO_FREE char *path = mem_printf("%s/%s", f->dir, litter[i]);

		assert_int_equal(access(path, F_OK), -1);
	}
}

/* ---- a full disk ------------------------------------------------------------------- */

static char *append_and_hear(struct fix *f, struct state *s, const char *kind)
{
	struct heard h = { 0 };
	struct record r = { .machine = "db", .kind = kind, .subject = kind };

	state_append(s, &r, hear, &h);
	while (h.n < 1)
		loop_turn(f->loop, -1);
	return h.error;
}

static void fill(const char *path)
{
	static const char zeros[65536];
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	for (size_t n = sizeof(zeros); n > 0;)
		if (write(fd, zeros, n) < 0)
			n /= 2;
	close(fd);
}

/* In a mount namespace of its own, on a tmpfs of 3 MiB. 0, or the step that did
 * not go as it must. */
static int on_full_disk(struct fix *f)
{
	AUTO_FREE char *filler = mem_printf("%s/filler", f->root);
	AUTO_FREE char *refused = NULL, *taken = NULL, *again = NULL;
	AUTO_ERR e = { 0 };
	struct state *s;
	int n = 0;

	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", f->root, "tmpfs", 0, "size=3m") < 0)
		return 77;
	s = open_ok(f, STATE_WRITE);
	fill(filler);
	for (int i = 0; i < 100 && !refused; i++)	/* fill the file's last page */
		refused = append_and_hear(f, s, "intent");
	if (!refused || !strstr(refused, "cannot start anything more: the disk of"))
		return 2;
	taken = append_and_hear(f, s, "outcome");
	if (taken)
		return 3;
	again = append_and_hear(f, s, "begin");
	if (!again)
		return 4;
	state_close(s, NULL);		/* git may have found no room: the journal did */
	fill(filler);
	if (state_open(f->dir, "erp", STATE_WRITE, f->loop, &e) || e.sys != ENOSPC || !e.hint)
		return 5;
	unlink(filler);
	s = open_ok(f, STATE_WRITE);
	n = log_length(s, "db");
	close_ok(s);
	return n > 0 ? 0 : 6;
}

static void on_a_full_disk_nothing_starts_and_what_ends_is_recorded(void **state)
{
	struct fix *f = *state;
	int status;
	pid_t pid;

	if (geteuid() != 0)
		skip();		/* needs to mount */
	pid = fork();
	if (pid == 0)
		_exit(on_full_disk(f));
	waitpid(pid, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(status, 0);
}

/* ---- killed at any moment ------------------------------------------------------------ */

#define ROUNDS test_part(24, 6)
#define MACHINES 4

struct ack { int fd; uint32_t number; };

static void acknowledge(void *arg, struct err *e)
{
	struct ack *a = arg;

	if (!e && write(a->fd, &a->number, sizeof(a->number)) != sizeof(a->number))
		_exit(3);
	free(a);
}

/* The child: counts up on four machines and tells each number that is durable. */
static void write_until_killed(const char *dir, uint32_t from, int fd)
{
	struct loop *loop = loop_new(&clock_real);
	AUTO_ERR e = { 0 };
	struct state *s;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	s = state_open(dir, "erp", STATE_WRITE, loop, &e);
	if (!s) {
		fprintf(stderr, "%s\n", e.what);
		_exit(2);
	}
	for (uint32_t n = from;; n++) {
		AUTO_JSON *set = json_object(), *meta = json_object();
		AUTO_FREE char *machine = mem_printf("m%u", n % MACHINES);
		AUTO_FREE char *pointer = mem_printf("machines/%s/n", machine);
		struct ack *a = mem_alloc(sizeof(*a));
		struct record r = { .machine = machine, .kind = "outcome",
			.subject = n % 5 ? "counted" : NULL, .set = set, .meta = meta };

		*a = (struct ack){ fd, n };
		jset_strf(set, "n", "%u", n);
		jset_int(meta, pointer, n);
		state_append(s, &r, acknowledge, a);
		loop_turn(loop, n % 3 ? 0 : -1);
	}
}

static void check_survivors(struct fix *f, const uint32_t acked[MACHINES], enum state_mode mode)
{
	struct state *s = open_ok(f, mode);

	for (unsigned i = 0; i < MACHINES; i++) {
		AUTO_FREE char *name = mem_printf("m%u", i);
		AUTO_FREE char *path = mem_printf("machines.m%u.n", i);
		uint32_t in_tree = (uint32_t)atoi(jstr(state_tree(s, name), "n", "0"));

		assert_true(in_tree >= acked[i]);
		assert_true(jint(state_meta(s), path, 0) >= acked[i]);
		assert_int_equal(jint(state_meta(s), path, 0), in_tree);
	}
	close_ok(s);
}

static void what_was_acknowledged_is_there_after_any_kill(void **state)
{
	struct fix *f = *state;
	uint32_t acked[MACHINES] = { 0 }, n = 0;
	unsigned seed = 20261121;

	for (int round = 0; round < ROUNDS; round++) {
		int p[2];
		unsigned quota = (unsigned)rand_r(&seed) % 120;
		pid_t pid;

		assert_int_equal(pipe(p), 0);
		pid = fork();
		if (pid == 0) {
			close(p[0]);
			write_until_killed(f->dir, n + 1, p[1]);
		}
		close(p[1]);
		for (unsigned i = 0; i < quota && io_read_full(p[0], &n, 4) == 4; i++)
			acked[n % MACHINES] = n;
		if (quota < 8) {	/* while it opens: by time, any time will do */
			struct pollfd pf = { p[0], POLLIN, 0 };

			poll(&pf, 1, (int)(quota * 3));
		}
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		while (io_read_full(p[0], &n, 4) == 4)
			acked[n % MACHINES] = n;
		close(p[0]);
		check_survivors(f, acked, STATE_READ);
		if (round % 3 == 0)
			check_survivors(f, acked, STATE_WRITE);
		n += 1000;	/* what was written beyond the acknowledged may stand */
	}
	fsck_clean(f);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
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
		T(a_foreign_directory_is_refused),
		T(a_newer_format_is_refused),
		T(a_read_only_directory_is_refused),
		T(a_state_of_another_user_is_refused),
		T(a_flipped_byte_in_any_object_is_an_error_not_a_crash),
		T(a_flipped_byte_in_refs_and_config_is_never_a_crash),
		T(a_flipped_byte_in_a_pack_is_seen),
		T(without_its_journal_a_state_goes_on_from_git),
		T(a_branch_moved_by_another_program_is_told),
		T(a_tree_that_multiplies_itself_is_refused),
		T(many_loose_objects_become_a_pack),
		T(stale_locks_of_a_killed_writer_do_not_hinder),
		T(on_a_full_disk_nothing_starts_and_what_ends_is_recorded),
		T(what_was_acknowledged_is_there_after_any_kill),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
