/* SPDX-License-Identifier: Apache-2.0
 * test_state_harm - a state that is foreign, or that others have changed: it is refused, told, or gone
 * on from.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "tests/unit/staterig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <git2.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

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
	st_open_fails(f, STATE_WRITE, ERR_SYSTEM, "it holds 'thesis.txt' and was not made by drover");
	st_open_fails(f, STATE_READ, ERR_SYSTEM, "it holds 'thesis.txt' and was not made by drover");
}

static void a_newer_format_is_refused(void **state)
{
	struct fix *f = *state;

	st_close(st_open(f, STATE_WRITE));
	write_file(f, "drover.json", "{\"format\":\"drover state\",\"version\":2}");
	st_open_fails(f, STATE_WRITE, ERR_SYSTEM, "it has format 2, this drover knows 1");
	write_file(f, "drover.json", "{\"format\":\"dro");
	st_open_fails(f, STATE_READ, ERR_SYSTEM, "its file 'drover.json' is damaged");
}

static void a_read_only_directory_is_refused(void **state)
{
	struct fix *f = *state;
	pid_t pid;
	int status;

	st_close(st_open(f, STATE_WRITE));
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
	st_close(st_open(f, STATE_WRITE));
	assert_int_equal(chown(git_dir, 65534, 65534), 0);
	st_open_fails(f, STATE_WRITE, ERR_SYSTEM, "it belongs to another user");
}

static void without_its_journal_a_state_goes_on_from_git(void **state)
{
	struct fix *f = *state;
	struct state *s = st_open(f, STATE_WRITE);
	AUTO_FREE char *wal = mem_printf("%s/journal/erp.wal", f->dir);

	st_put(s, "a", "one", "x=1", NULL);
	st_put(s, "a", "two", "x=2", NULL);
	st_close(s);
	assert_int_equal(unlink(wal), 0);
	s = st_open(f, STATE_WRITE);
	assert_int_equal(state_epoch(s), 2);
	st_put(s, "a", "three", "x=3", NULL);
	st_close(s);
	s = st_open(f, STATE_READ);
	assert_int_equal(st_log_length(s, "a"), 3);
	assert_string_equal(jstr(state_tree(s, "a"), "x", ""), "3");
	st_close(s);
}

static size_t loose_count(struct fix *f)
{
	AUTO_FREE char *out = st_git(f, "count-objects", NULL, NULL);

	return strtoul(out, NULL, 10);
}

static void many_loose_objects_become_a_pack(void **state)
{
	struct fix *f = *state;
	struct state *s = st_open(f, STATE_WRITE), *reader;
	git_repository *repo = NULL;
	AUTO_JSON *text = NULL;
	AUTO_ERR e = { 0 };
	git_oid id;

	st_put(s, "a", "one", "x=1", NULL);
	st_put(s, "a", "two", "x=2", NULL);
	st_close(s);
	git_libgit2_init();
	git_libgit2_opts(GIT_OPT_ENABLE_FSYNC_GITDIR, 0);
	assert_int_equal(git_repository_open_bare(&repo, f->dir), 0);
	for (int i = 0; i < 4200; i++)
		assert_int_equal(git_blob_create_from_buffer(&id, repo, &i, sizeof(i)), 0);
	git_repository_free(repo);
	git_libgit2_shutdown();
	assert_true(loose_count(f) > 4200);

	reader = st_open(f, STATE_READ);
	st_close(st_open(f, STATE_WRITE));
	assert_true(loose_count(f) < 100);
	/* one that was open meanwhile finds all where it is now */
	text = state_show(reader, "a", "HEAD~1", "x", &e);
	assert_string_equal(json_string_value(text), "1");
	st_close(reader);
	st_fsck(f);
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
	struct state *s = st_open(f, STATE_WRITE);
	static const int shape[][2] = { { 10, 9 }, { 1, 40 } };

	st_put(s, "a", "one", "x=1", NULL);
	st_close(s);
	for (size_t i = 0; i < 2; i++) {
		AUTO_ERR e = { 0 };
		char hex[41];

		plant(f, shape[i][0], shape[i][1]);
		s = st_open(f, STATE_READ);
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
	struct state *s = st_open(f, STATE_WRITE);
	AUTO_ERR e = { 0 };

	st_put(s, "a", "one", "x=1", NULL);
	st_put(s, "a", "two", "x=2", NULL);
	st_flush(s);
	free(st_git(f, "update-ref", "refs/heads/erp/a/main", "refs/heads/erp/a/main~1"));
	st_put(s, "a", "three", "x=3", NULL);
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
	struct state *s = st_open(f, STATE_WRITE);

	st_put(s, "a", "one", "x=1", NULL);
	st_close(s);
	for (size_t i = 0; i < ARRAY_LEN(litter); i++)
		write_file(f, litter[i], "");
	s = st_open(f, STATE_WRITE);
	st_put(s, "a", "two", "x=2", NULL);
	st_close(s);
	for (size_t i = 0; i < ARRAY_LEN(litter); i++) {
		AUTO_FREE char *path = mem_printf("%s/%s", f->dir, litter[i]);

		assert_int_equal(access(path, F_OK), -1);
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, st_setup, st_teardown)

/* ---- a check that is ended from outside ---------------------------------------------- */

static bool kills;	/* whoever is forked next, once */

static void in_child(void)
{
	if (kills)
		raise(SIGKILL);
}

static void a_check_that_is_killed_is_no_damage(void **state)
{
	struct fix *f = *state;
	AUTO_ERR e = { 0 };

	st_close(st_open(f, STATE_WRITE));
	kills = true;
	assert_null(state_open(f->dir, "erp", STATE_WRITE, f->loop, &e));
	kills = false;
	assert_non_null(strstr(e.what, "its check was ended by signal 9 (Killed)"));
	assert_non_null(strstr(e.hint, "type the same again"));
	assert_null(strstr(e.hint, "backup"));
	st_close(st_open(f, STATE_WRITE));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_foreign_directory_is_refused),
		T(a_newer_format_is_refused),
		T(a_read_only_directory_is_refused),
		T(a_state_of_another_user_is_refused),
		T(without_its_journal_a_state_goes_on_from_git),
		T(a_branch_moved_by_another_program_is_told),
		T(a_tree_that_multiplies_itself_is_refused),
		T(many_loose_objects_become_a_pack),
		T(stale_locks_of_a_killed_writer_do_not_hinder),
		T(a_check_that_is_killed_is_no_damage),
	};

	if (pthread_atfork(NULL, NULL, in_child) != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
