/* SPDX-License-Identifier: Apache-2.0
 * test_freeze_dog - a freeze has a watchdog, and that a keeper: what is killed has a successor, and
 * what nothing holds any more is let go of. Needs root.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "modules/lib/freeze_priv.h"
#include "tests/unit/freezerig.h"
#include "tests/unit/modtest.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/fs.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- what the watchdog is made of ------------------------------------------------------ */

/* The number behind `key` in a file of /proc/PID; -1: it has none. */
static long proc_number(pid_t pid, const char *file, const char *key)
{
	AUTO_FREE char *path = mem_printf("/proc/%d/%s", (int)pid, file);
	AUTO_FREE char *text = io_read_file(AT_FDCWD, path, 65536, NULL);
	const char *at = text ? strstr(text, key) : NULL;

	return at ? strtol(at + strlen(key), NULL, 10) : -1;
}

/* Root of a container may not. */
static bool may_be_spared(void)
{
	AUTO_FD fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
	bool yes = write(fd, "-1000", 5) == 5;

	assert_true(!yes || write(fd, "0", 1) == 1);
	return yes;
}

static void watchdog_and_keeper_stay_in_memory_and_are_spared(void **state)
{
	struct fz_world *w = *state;
	bool spared = may_be_spared();
	pid_t pair[2];

	if (!w->input)
		skip();
	fz_must(w, "apply");
	fz_find_pair(w, &pair[0], &pair[1]);	/* by the mounts that both have open */
	for (int i = 0; i < 2; i++) {
		if (!MEM_SANITIZED) {	/* its shadow cannot be locked, so nothing is */
			assert_true(proc_number(pair[i], "status", "RssAnon:") > 0);
			assert_true(proc_number(pair[i], "status", "VmLck:") >=
				    proc_number(pair[i], "status", "RssAnon:"));
		}
		if (spared)
			assert_int_equal(proc_number(pair[i], "oom_score_adj", ""), -1000);
	}
	fz_must(w, "undo");
}

/* ---- when somebody kills what holds it ------------------------------------------------ */

/* A zombie is dead: who reaps it is not our affair. */
static bool is_dead(pid_t pid)
{
	AUTO_FREE char *path = mem_printf("/proc/%d/stat", (int)pid);
	AUTO_FREE char *text = io_read_file(AT_FDCWD, path, 4096, NULL);
	const char *after = text ? strrchr(text, ')') : NULL;

	return !after || after[2] == 'Z' || after[2] == 'X';
}

static void wait_for_death(pid_t pid)
{
	while (!is_dead(pid))
		sched_yield();
}

static void kill_both(const struct fz_world *w)
{
	pid_t keeper, dog;

	fz_find_pair(w, &keeper, &dog);
	kill(keeper, SIGSTOP);
	kill(dog, SIGSTOP);
	kill(keeper, SIGKILL);
	kill(dog, SIGKILL);
	wait_for_death(keeper);
	wait_for_death(dog);
}

static void a_killed_watchdog_has_a_successor(void **state)
{
	struct fz_world *w = *state;
	pid_t keeper, dog, other, next;

	if (!fz_can_run)
		skip();
	fz_must(w, "apply");
	fz_find_pair(w, &keeper, &dog);
	kill(dog, SIGKILL);
	do
		fz_find_pair(w, &other, &next);
	while (next == dog);
	assert_int_equal(other, keeper);
	fz_state_is(w, "done");
	assert_true(fz_frozen(w->mount[0]));
	fz_must(w, "undo");
	assert_false(fz_frozen(w->mount[0]));
	assert_false(fz_frozen(w->mount[1]));
}

static void a_watchdog_whose_keeper_is_killed_keeps_a_successor_itself(void **state)
{
	struct fz_world *w = *state;
	pid_t keeper, dog, other, next;

	if (!fz_can_run)
		skip();
	fz_must(w, "apply");
	fz_find_pair(w, &keeper, &dog);
	kill(keeper, SIGKILL);
	do
		fz_find_pair(w, &other, &next);
	while (other != dog);
	kill(dog, SIGKILL);
	do
		fz_find_pair(w, &other, &keeper);
	while (other != next && keeper != next);
	fz_state_is(w, "done");
	fz_must(w, "undo");
	assert_false(fz_frozen(w->mount[0]));
}

static void a_freeze_that_nobody_holds_is_let_go_by_undo(void **state)
{
	struct fz_world *w = *state;

	if (!fz_can_run)
		skip();
	fz_must(w, "apply");
	assert_non_null(jget(w->input, "ledger"));
	kill_both(w);
	assert_true(fz_frozen(w->mount[0]));
	assert_true(fz_frozen(w->mount[1]));
	fz_state_is(w, "absent");
	fz_must(w, "undo");
	assert_false(fz_frozen(w->mount[0]));
	assert_false(fz_frozen(w->mount[1]));
	assert_true(json_is_null(jget(w->input, "ledger")) || !jget(w->input, "ledger"));
}

static void a_freeze_whose_list_is_damaged_is_let_go_by_undo(void **state)
{
	struct fz_world *w = *state;

	if (!fz_can_run)
		skip();
	fz_must(w, "apply");
	kill_both(w);
	assert_non_null(jget(w->input, "kept.frozen"));
	json_object_set_new(jget(w->input, "kept"), "frozen",
			    json_pack("{s:s}", "text", "[{\"dir\":"));
	fz_must(w, "undo");
	assert_false(fz_frozen(w->mount[0]));
	assert_false(fz_frozen(w->mount[1]));
}

static void a_freeze_that_nobody_holds_is_let_go_by_cleanup(void **state)
{
	struct fz_world *w = *state;
	AUTO_JSON *input = NULL, *r = NULL;
	json_t *entry;

	if (!fz_can_run)
		skip();
	fz_must(w, "apply");
	entry = jget(w->input, "ledger");
	assert_string_equal(jstr(entry, "kind", ""), "freeze");
	assert_false(jbool(entry, "lasting", false));
	kill_both(w);
	input = json_pack("{s:{s:s,s:s,s:O}}", "args", "kind", "freeze", "name",
			  jstr(entry, "name", ""), "detail", jget(entry, "detail"));
	r = modtest_call("call.cleanup", "apply", input, NULL);
	assert_true(jbool(r, "ok", false));
	assert_false(fz_frozen(w->mount[0]));
	assert_false(fz_frozen(w->mount[1]));
}

/* While the source is switched off nobody can ask it: only the clock counts. */
static void a_sealed_freeze_outlives_its_agent(void **state)
{
	struct fz_world *w = *state;
	pid_t agent, keeper, dog;
	int st = 0;

	if (!fz_can_run)
		skip();
	fz_must(w, "apply");	/* for its name */
	fz_must(w, "undo");
	agent = fork();
	if (agent == 0) {
		AUTO_JSON *a = fz_call(w, "apply"), *h = fz_call(w, "hold");

		_exit(jbool(a, "ok", false) && jbool(h, "ok", false) &&
		      jint(h, "volatile.held_ms", 0) == 900000 ? 0 : 1);
	}
	assert_int_equal(waitpid(agent, &st, 0), agent);
	assert_int_equal(WEXITSTATUS(st), 0);
	fz_find_pair(w, &keeper, &dog);
	fz_state_is(w, "done");	/* asked by the next agent */
	assert_true(fz_frozen(w->mount[0]));
	fz_must(w, "undo");
	assert_false(fz_frozen(w->mount[0]));
}

/* ---- the last means ------------------------------------------------------------------ */

/* A watchdog of our own making, whose trigger is a pipe: this machine's is never opened. */
struct last {
	struct freeze_mount mount;
	struct freeze_shared shared;
	struct freeze_dog dog;
	int trigger[2], log[2];
};

static void last_open(struct last *l, int fd)
{
	memset(l, 0, sizeof(*l));
	assert_int_equal(pipe2(l->trigger, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(pipe2(l->log, O_CLOEXEC | O_NONBLOCK), 0);
	l->mount.fd = fd;
	l->dog = (struct freeze_dog){ .mounts = &l->mount, .n = 1, .shared = &l->shared,
				      .sysrq = l->trigger[1], .kmsg = l->log[1] };
	atomic_store(&l->shared.frozen[0], true);
	atomic_store(&l->shared.phase, FREEZE_HELD);
}

static void last_close(struct last *l, const char *trigger, const char *log)
{
	char said[FREEZE_ANSWER] = "", keys[8] = "";

	close(l->trigger[1]);
	close(l->log[1]);
	assert_true(read(l->trigger[0], keys, sizeof(keys) - 1) >= 0);
	assert_true(read(l->log[0], said, sizeof(said) - 1) >= 0);
	assert_string_equal(keys, trigger);
	assert_string_equal(said, log);
	close(l->trigger[0]);
	close(l->log[0]);
}

static void what_does_not_thaw_is_let_go_by_the_kernel_once(void **state)
{
	struct last l;

	(void)state;
	last_open(&l, -1);		/* FITHAW fails */
	assert_false(freeze_thaw_all(&l.dog));
	assert_int_equal(atomic_load(&l.shared.phase), FREEZE_OVER);
	assert_true(atomic_load(&l.shared.last_means));	/* and so the step is told */
	freeze_last_means(&l.dog, "FITHAW does not return");
	last_close(&l, "j", "drover: all file systems thawed (sysrq j), because FITHAW failed: "
		   "Bad file descriptor\n");
}

static void what_was_thawed_already_needs_no_last_means(void **state)
{
	struct last l;
	AUTO_FD dir = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (geteuid() != 0)
		skip();
	(void)state;
	last_open(&l, dir);		/* never frozen: EINVAL */
	assert_false(freeze_thaw_all(&l.dog));
	assert_false(atomic_load(&l.shared.last_means));
	last_close(&l, "", "");
}

static void without_a_trigger_there_is_no_last_means(void **state)
{
	struct last l;

	(void)state;
	last_open(&l, -1);
	l.dog.sysrq = -1;
	assert_false(freeze_thaw_all(&l.dog));
	assert_false(atomic_load(&l.shared.last_means));
	last_close(&l, "", "");
}

/* ---- when a test ends with what it froze ------------------------------------------------- */

/* A test of its own; it says where its world is. */
static _Noreturn void freeze_and_stay(int told, bool hang)
{
	void *state = NULL;
	struct fz_world *w;
	int fd;

	if (fz_set_up(&state) < 0)
		_exit(1);
	w = state;
	fd = open(w->mount[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (ioctl(fd, FIFREEZE, 0) < 0 || io_write_full(told, w->dir, sizeof(w->dir)) < 0)
		_exit(2);
	close(fd);	/* a guard would have it open, too */
	if (hang) {
		fz_guard(w, 1);
		fz_wait_for_thaw(w->mount[0]);
		_exit(3);
	}
	for (;;)
		pause();
}

static bool has_a_device(const char *dir)
{
	bool yes = false;
	glob_t g;

	if (glob("/sys/block/loop*/loop/backing_file", 0, NULL, &g) != 0)
		return false;
	for (size_t i = 0; i < g.gl_pathc; i++) {
		AUTO_FREE char *file = io_read_file(AT_FDCWD, g.gl_pathv[i], 4096, NULL);

		yes = yes || (file && strstr(file, dir));
	}
	globfree(&g);
	return yes;
}

static void assert_nothing_stays(bool hang)
{
	char dir[sizeof(((struct fz_world *)0)->dir)], more;
	int told[2], st = 0;
	pid_t test;

	if (!fz_can_run)
		skip();
	assert_int_equal(pipe2(told, O_CLOEXEC), 0);
	test = fork();
	if (test == 0)
		freeze_and_stay(told[1], hang);
	close(told[1]);
	assert_int_equal(io_read_full(told[0], dir, sizeof(dir)), sizeof(dir));
	if (!hang)
		kill(test, SIGKILL);
	assert_int_equal(waitpid(test, &st, 0), test);
	assert_true(WIFSIGNALED(st) && WTERMSIG(st) == SIGKILL);
	assert_int_equal(read(told[0], &more, 1), 0);	/* its guard has ended, too */
	close(told[0]);
	assert_int_equal(access(dir, F_OK), -1);
	assert_int_equal(errno, ENOENT);
	assert_false(has_a_device(dir));
}

static void a_test_that_hangs_leaves_nothing_frozen(void **state)
{
	(void)state;
	assert_nothing_stays(true);
}

static void a_test_that_is_killed_leaves_nothing_frozen(void **state)
{
	(void)state;
	assert_nothing_stays(false);
}

#define T(f) cmocka_unit_test_setup_teardown(f, fz_set_up, fz_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_killed_watchdog_has_a_successor),
		T(a_watchdog_whose_keeper_is_killed_keeps_a_successor_itself),
		T(a_freeze_that_nobody_holds_is_let_go_by_undo),
		T(a_freeze_whose_list_is_damaged_is_let_go_by_undo),
		T(a_freeze_that_nobody_holds_is_let_go_by_cleanup),
		T(a_sealed_freeze_outlives_its_agent),
		T(watchdog_and_keeper_stay_in_memory_and_are_spared),
		cmocka_unit_test(what_does_not_thaw_is_let_go_by_the_kernel_once),
		cmocka_unit_test(what_was_thawed_already_needs_no_last_means),
		cmocka_unit_test(without_a_trigger_there_is_no_last_means),
		cmocka_unit_test(a_test_that_hangs_leaves_nothing_frozen),
		cmocka_unit_test(a_test_that_is_killed_leaves_nothing_frozen),
	};

	fz_look();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
