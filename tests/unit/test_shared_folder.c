/* SPDX-License-Identifier: Apache-2.0
 * test_shared_folder - two states whose plans put a disk of one name into one directory
 * (target.disks.X.dir): one has it, the other is told, whoever comes when.
 */
#include "tests/unit/convertrig.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#define OTHERS_HINT "name another place for one of them under target.disks"

struct two {
	struct rig *r[2];	/* each with a state, a source and a target.dir of its own */
	char *folder, *base, *others;	/* both's; what who comes second is told */
};

static int set_up(void **state)
{
	static const char *const lineages[] = { "11111111111111111111111111111111",
		"22222222222222222222222222222222" };
	struct two *t = mem_alloc(sizeof(*t));
	const char *format = *state;

	for (int i = 0; i < 2; i++) {
		void *r;

		cv_set_up_as(&r, format);
		t->r[i] = r;
		if (i == 0) {
			t->folder = mem_printf("%s/shared", t->r[0]->dir);
			assert_int_equal(io_mkdirs(t->folder, 0700), 0);
		}
		t->r[i]->lineage = lineages[i];
		json_object_set_new(t->r[i]->more, "disks",
				    json_pack("{s:{s:s}}", "root", "dir", t->folder));
		free(t->r[i]->base);
		t->r[i]->base = mem_printf("%s/erp-root.%s", t->folder, format);
	}
	cv_fill(t->r[1]->src, 3 * MIB, MIB, 9);
	t->base = t->r[0]->base;
	t->others = mem_printf("cannot write to '%s': another state, plan, machine or disk has its "
			       "copy there", t->base);
	*state = t;
	return 0;
}

static int tear_down(void **state)
{
	struct two *t = *state;

	for (int i = 1; i >= 0; i--) {
		void *r = t->r[i];

		cv_tear_down(&r);
	}
	free(t->folder);
	free(t->others);
	free(t);
	return 0;
}

static void assert_nothing_in(const char *folder)
{
	DIR *d = opendir(folder);
	struct dirent *de;

	assert_non_null(d);
	while ((de = readdir(d)))
		if (strcmp(de->d_name, ".") && strcmp(de->d_name, ".."))
			fail_msg("'%s' is left in it", de->d_name);
	closedir(d);
}

/* It was killed once it had noted where its base is to be. */
static void begin_only(struct rig *r)
{
	AUTO_FREE char *claim = mem_printf("%.*s.erp-root.%s.drover",
					   (int)(strrchr(r->base, '/') + 1 - r->base), r->base, r->format);

	cv_do_both(r, "convert.disks");
	assert_int_equal(unlink(r->map), 0);
	assert_int_equal(unlink(r->base), 0);
	assert_int_equal(unlink(claim), 0);
	json_object_clear(r->facts);
}

static void what_another_state_made_is_not_taken_by_who_only_began(void **s)
{
	struct two *t = *s;

	begin_only(t->r[0]);
	cv_do_both(t->r[1], "convert.disks");
	cv_assert_error(cv_at(t->r[0], "target", "convert.disks", "probe"), t->others, OTHERS_HINT);
	cv_assert_error(cv_both(t->r[0], "convert.disks", NULL), t->others, OTHERS_HINT);
	cv_do_at(t->r[0], "target", "convert.disks", "undo");
	cv_assert_same(t->r[1]);
	cv_do_at(t->r[1], "target", "validate.disks", "apply");
	cv_do_at(t->r[1], "target", "convert.disks", "undo");
	assert_nothing_in(t->folder);
	cv_do_both(t->r[0], "convert.disks");
	cv_assert_same(t->r[0]);
}

/* Its copy was removed by hand, and another one's is there now. */
static void a_later_pass_does_not_write_into_what_another_state_made(void **s)
{
	struct two *t = *s;

	cv_do_both(t->r[0], "convert.disks");
	assert_int_equal(unlink(t->base), 0);
	cv_do_both(t->r[1], "convert.disks");
	cv_fill(t->r[0]->src, 0, MIB, 5);
	cv_assert_error(cv_both(t->r[0], "call.sync", NULL), t->others, OTHERS_HINT);
	cv_assert_same(t->r[1]);
}

/* Both have looked, and noted where it is to be; then both would make it. */
static void of_two_states_that_make_one_file_at_once_one_is_told(void **s)
{
	struct two *t = *s;
	int gate = open(t->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), status, won = 0, winner = 0;
	pid_t pid[2];

	assert_int_equal(flock(gate, LOCK_EX), 0);
	for (int i = 0; i < 2; i++) {
		pid[i] = fork();
		if (pid[i] == 0) {
			AUTO_JSON *out = cv_both(t->r[i], "convert.disks", NULL);

			_exit(jbool(out, "ok", false) ? 0 :
			      strcmp(jstr(out, "error.text", ""), t->others) ? 2 : 1);
		}
	}
	for (int i = 0; i < 2; i++) {
		AUTO_FREE char *record = mem_printf("%s/erp/root.place", t->r[i]->target);

		while (access(record, F_OK) < 0 && waitpid(pid[i], &status, WNOHANG) == 0)
			usleep(1000);
	}
	assert_int_equal(flock(gate, LOCK_UN), 0);
	close(gate);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 2);
		won += WEXITSTATUS(status) == 0;
		winner = WEXITSTATUS(status) == 0 ? i : winner;
	}
	assert_int_equal(won, 1);
	cv_assert_same(t->r[winner]);
	cv_do_at(t->r[!winner], "target", "convert.disks", "undo");
	cv_assert_same(t->r[winner]);
	cv_do_at(t->r[winner], "target", "convert.disks", "undo");
	assert_nothing_in(t->folder);
}

/* As drover made copies before it claimed them. */
static void a_copy_without_a_claim_is_its_records(void **s)
{
	struct two *t = *s;
	AUTO_FREE char *claim = mem_printf("%s/.erp-root.%s.drover", t->folder, t->r[0]->format);

	cv_do_both(t->r[0], "convert.disks");
	assert_int_equal(unlink(claim), 0);
	cv_fill(t->r[0]->src, 0, MIB, 5);
	cv_do_both(t->r[0], "call.sync");
	cv_assert_same(t->r[0]);
	cv_do_at(t->r[0], "target", "convert.disks", "undo");
	assert_nothing_in(t->folder);
}

#define T(f, format) { #f "_as_" format, f, set_up, tear_down, (void *)(uintptr_t)format }

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_another_state_made_is_not_taken_by_who_only_began, "raw"),
		T(what_another_state_made_is_not_taken_by_who_only_began, "qcow2"),
		T(a_later_pass_does_not_write_into_what_another_state_made, "raw"),
		T(of_two_states_that_make_one_file_at_once_one_is_told, "raw"),
		T(of_two_states_that_make_one_file_at_once_one_is_told, "qcow2"),
		T(a_copy_without_a_claim_is_its_records, "raw"),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
