/* SPDX-License-Identifier: Apache-2.0
 * test_state_harm - a state that is foreign, damaged, full or killed: nothing
 * acknowledged is lost, and nothing false is read.
 */
#include "engine/base/io.h"
#include "engine/base/proc.h"
#include "engine/state/state.h"
#include "tests/unit/part.h"
#include "tests/unit/staterig.h"

#include <git2.h>
#include <setjmp.h>
#include <stdarg.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

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

	if (s && state_log(s, NULL, st_count, &n, &e) == 0 && n > 0)
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
			st_open_fails(f, STATE_WRITE, ERR_SYSTEM, path);
		was[at[i]] = keep;
	}
	overwrite(path, was, n);
}

static void a_flipped_byte_in_any_object_is_an_error_not_a_crash(void **state)
{
	struct fix *f = *state;
	struct state *s = st_open(f, STATE_WRITE);
	AUTO_FREE char *objects = mem_printf("%s/objects", f->dir);

	st_put(s, "a", "one", "facts/x.json={\"long\":\"text text text text\"}", NULL);
	st_put(s, "b", "two", "n=2", NULL);
	st_put(s, "a", "three", "m=3", NULL);
	st_close(s);
	each_file(f, objects, flip);
	st_close(st_open(f, STATE_WRITE));	/* all is back as it was */
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
	struct state *s = st_open(f, STATE_WRITE);

	st_put(s, "a", "one", "x=1", NULL);
	st_close(s);
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		AUTO_FREE char *path = mem_printf("%s/%s", f->dir, files[i]);

		flip_any(f, path);
	}
	st_close(st_open(f, STATE_WRITE));
}

static void a_flipped_byte_in_a_pack_is_seen(void **state)
{
	struct fix *f = *state;
	struct state *s = st_open(f, STATE_WRITE);
	AUTO_FREE char *pack = mem_printf("%s/objects/pack", f->dir);

	st_put(s, "a", "one", "x=1", NULL);
	st_put(s, "b", "two", "y=2", NULL);
	st_close(s);
	free(st_git(f, "gc", "-q", "--prune=now"));
	each_file(f, pack, flip);
	st_close(st_open(f, STATE_WRITE));
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

/* ---- a full disk ------------------------------------------------------------------- */

static char *append_and_hear(struct fix *f, struct state *s, const char *kind)
{
	struct st_heard h = { 0 };
	struct record r = { .machine = "db", .kind = kind, .subject = kind };

	state_append(s, &r, st_hear, &h);
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
	s = st_open(f, STATE_WRITE);
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
	s = st_open(f, STATE_WRITE);
	n = st_log_length(s, "db");
	st_close(s);
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
	struct state *s = st_open(f, mode);

	for (unsigned i = 0; i < MACHINES; i++) {
		AUTO_FREE char *name = mem_printf("m%u", i);
		AUTO_FREE char *path = mem_printf("machines.m%u.n", i);
		uint32_t in_tree = (uint32_t)atoi(jstr(state_tree(s, name), "n", "0"));

		assert_true(in_tree >= acked[i]);
		assert_true(jint(state_meta(s), path, 0) >= acked[i]);
		assert_int_equal(jint(state_meta(s), path, 0), in_tree);
	}
	st_close(s);
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
	st_fsck(f);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, st_setup, st_teardown)
	const struct CMUnitTest tests[] = {
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
