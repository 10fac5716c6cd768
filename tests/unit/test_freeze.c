/* SPDX-License-Identifier: Apache-2.0
 * test_freeze - the freeze and its watchdog, on file systems of the test's own: two
 * loop devices, one mounted below the other, in a mount namespace of its own. Needs
 * root. The machine's own file systems are never touched.
 */
#include "engine/agent/ctx.h"
#include "engine/base/io.h"
#include "engine/base/proc.h"
#include "modules/lib/freeze.h"
#include "modules/lib/freeze_priv.h"
#include "tests/unit/modtest.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static bool can_run;

struct world {
	char dir[64];
	char *loop[2];		/* /dev/loopN */
	char *mount[2];		/* dir/a, dir/a/b */
	json_t *input;
};

static int run(const char *const *argv, struct str *out)
{
	struct proc p = { .argv = argv, .timeout_ms = 60000 };
	int rc = proc_run(&p, NULL);

	if (out) {
		*out = p.out;
		p.out = (struct str){0};
	}
	proc_free(&p);
	return rc;
}

static void make_disk(struct world *w, int i, const char *where)
{
	AUTO_FREE char *file = mem_printf("%s/disk%d", w->dir, i);
	const char *const mkfs[] = { "mkfs.ext4", "-q", "-O", "^has_journal", file, NULL };
	const char *const setup[] = { "losetup", "-f", "--show", file, NULL };
	AUTO_STR out = {0};
	int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_int_equal(ftruncate(fd, 8 << 20), 0);
	close(fd);
	assert_int_equal(run(mkfs, NULL), 0);
	assert_int_equal(run(setup, &out), 0);
	out.s[strcspn(out.s, "\n")] = '\0';
	w->loop[i] = mem_strdup(out.s);
	w->mount[i] = mem_printf("%s/%s", w->dir, where);
	assert_int_equal(io_mkdirs(w->mount[i], 0700), 0);
	assert_int_equal(mount(w->loop[i], w->mount[i], "ext4", 0, NULL), 0);
}

static json_t *fact_disk(const char *name, const char *path)
{
	return json_pack("{s:s,s:s,s:s}", "name", name, "path", path, "kind", "block");
}

static int setup(void **state)
{
	struct world *w = mem_alloc(sizeof(*w));

	*state = w;
	snprintf(w->dir, sizeof(w->dir), "/tmp/drover-test.XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	if (!can_run)
		return 0;
	make_disk(w, 0, "a");
	make_disk(w, 1, "a/b");
	w->input = json_pack("{s:{s:i}, s:{s:s,s:{s:s,s:s}}, s:{s:{s:[o,o]}}, s:{s:b}}",
			     "args", "hold", 60000, "machine", "name", "m", "source", "host",
			     "a", "kind", "block", "facts", "machine", "disks",
			     fact_disk("root", w->loop[0]), fact_disk("data", w->loop[1]),
			     "run", "preview", 0);
	assert_non_null(w->input);
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	for (int i = 1; i >= 0; i--) {
		const char *const detach[] = { "losetup", "-d", w->loop[i], NULL };

		if (!w->loop[i])
			continue;
		umount2(w->mount[i], MNT_DETACH);
		run(detach, NULL);
		free(w->loop[i]);
		free(w->mount[i]);
	}
	io_remove_tree(w->dir);
	json_decref(w->input);
	free(w);
	return 0;
}

/* A second freeze is refused where there is one; else it is taken back at once. */
static bool frozen(const char *dir)
{
	AUTO_FD fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	if (ioctl(fd, FIFREEZE, 0) < 0) {
		assert_int_equal(errno, EBUSY);
		return true;
	}
	assert_int_equal(ioctl(fd, FITHAW, 0), 0);
	return false;
}

/* A write waits as long as the file system is frozen: no clock is needed. */
static void wait_for_thaw(const char *dir)
{
	AUTO_FREE char *path = mem_printf("%s/written", dir);

	alarm(60);
	assert_int_equal(io_write_file(AT_FDCWD, path, "x", 1, 0600), 0);
	alarm(0);
}

/* What the ledger holds after these events: the last entry, or NULL. Borrowed. */
static const json_t *entry_of(const json_t *events)
{
	const json_t *event, *entry = NULL;
	size_t i;

	json_array_foreach(events, i, event)
		if (!strcmp(jstr(event, "e", ""), "ledger"))
			entry = strcmp(jstr(event, "op", ""), "add") ? NULL : event;
	return entry;
}

static json_t *call(struct world *w, const char *op)
{
	json_t *events = NULL;
	json_t *r = modtest_call("cutover.quiesce", op, w->input, &events);

	modtest_keep(w->input, events);
	if (!strcmp(op, "apply") || !strcmp(op, "undo"))
		jset(w->input, "ledger", json_deep_copy(entry_of(events)));
	json_decref(events);
	return r;
}

static void must(struct world *w, const char *op)
{
	AUTO_JSON *r = call(w, op);

	if (!jbool(r, "ok", false))
		fail_msg("%s: %s", op, jstr(r, "error.text", "?"));
}

static void state_is(struct world *w, const char *want)
{
	AUTO_JSON *r = call(w, "probe");

	assert_true(jbool(r, "ok", false));
	assert_string_equal(jstr(r, "state", ""), want);
}

static void freeze_holds_all_file_systems_until_undo(void **state)
{
	struct world *w = *state;

	if (!can_run)
		skip();
	state_is(w, "absent");
	must(w, "apply");
	assert_true(frozen(w->mount[0]));
	assert_true(frozen(w->mount[1]));
	state_is(w, "done");
	must(w, "apply");	/* a retry takes the same freeze on */
	must(w, "undo");
	assert_false(frozen(w->mount[0]));
	assert_false(frozen(w->mount[1]));
	state_is(w, "absent");
	must(w, "undo");
}

static void freeze_lists_the_deepest_first(void **state)
{
	struct world *w = *state;
	AUTO_JSON *list = NULL;
	AUTO_FREE char *first = NULL, *last = NULL;

	if (!can_run)
		skip();
	list = freeze_list(jget(w->input, "facts.machine"));
	first = mem_printf("%s (ext4)", w->mount[1]);
	last = mem_printf("%s (ext4)", w->mount[0]);
	assert_int_equal(json_array_size(list), 2);
	assert_string_equal(json_string_value(json_array_get(list, 0)), first);
	assert_string_equal(json_string_value(json_array_get(list, 1)), last);
}

static void freeze_is_let_go_when_the_agent_is_killed(void **state)
{
	struct world *w = *state;
	int up[2];
	char ok = 0;
	pid_t agent;

	if (!can_run)
		skip();
	assert_int_equal(pipe(up), 0);
	agent = fork();
	if (agent == 0) {	/* whose child the step is */
		AUTO_JSON *r = call(w, "apply");

		ok = jbool(r, "ok", false);
		io_write_full(up[1], &ok, 1);
		for (;;)
			pause();
	}
	assert_int_equal(io_read_full(up[0], &ok, 1), 1);
	assert_int_equal(ok, 1);
	assert_true(frozen(w->mount[0]));
	kill(agent, SIGKILL);
	waitpid(agent, NULL, 0);
	wait_for_thaw(w->mount[0]);
	wait_for_thaw(w->mount[1]);
	close(up[0]);
	close(up[1]);
}

static void freeze_ends_at_its_deadline_and_says_so(void **state)
{
	struct world *w = *state;
	struct ctx *c;
	struct freeze *f = NULL;
	AUTO_JSON *r = NULL;

	if (!can_run)
		skip();
	jset_int(jget(w->input, "args"), "hold", 600000);
	r = call(w, "apply");
	assert_true(jbool(r, "ok", false));
	c = ctx_new(-1, 1, w->input, NULL);
	freeze_attach(c, &f);
	assert_non_null(f);
	assert_int_equal(freeze_extend(c, f, 200), 0);	/* from now: it counts while we look */
	wait_for_thaw(w->mount[1]);
	wait_for_thaw(w->mount[0]);
	assert_int_equal(freeze_end(c, f), -1);
	assert_string_equal(c->text, "the freeze had ended before it was let go: what was "
			    "read since then is not one instant");
	ctx_free(c);
	state_is(w, "absent");
}

static void freeze_takes_all_or_nothing(void **state)
{
	struct world *w = *state;
	AUTO_JSON *r = NULL;
	AUTO_FREE char *text = NULL;
	AUTO_FD fd = -1;

	if (!can_run)
		skip();
	fd = open(w->mount[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(ioctl(fd, FIFREEZE, 0), 0);
	r = call(w, "apply");
	text = mem_printf("cannot freeze '%s': somebody froze it already", w->mount[0]);
	assert_false(jbool(r, "ok", true));
	assert_string_equal(jstr(r, "error.text", ""), text);
	assert_int_equal(ioctl(fd, FITHAW, 0), 0);
	assert_false(frozen(w->mount[1]));
}

/* In a PID namespace reboot(2) ends that namespace alone: its first process dies of
 * SIGINT, which is what Linux does there for RB_POWER_OFF. */
static _Noreturn void first_process(struct world *w)
{
	struct freeze *f = NULL;
	struct ctx *c;
	AUTO_JSON *r = call(w, "apply");

	c = ctx_new(-1, 1, w->input, NULL);
	if (getpid() != 1 || !jbool(r, "ok", false))
		_exit(3);
	freeze_attach(c, &f);
	if (f)
		freeze_power_off(c, f);
	_exit(4);
}

static void freeze_can_cut_the_power(void **state)
{
	struct world *w = *state;
	int st = 0;
	pid_t pid;

	if (!can_run)
		skip();
	pid = fork();
	if (pid == 0) {
		if (unshare(CLONE_NEWPID) < 0)
			_exit(2);
		pid = fork();
		if (pid == 0)
			first_process(w);
		waitpid(pid, &st, 0);
		_exit(WIFSIGNALED(st) && WTERMSIG(st) == SIGINT ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &st, 0), pid);
	assert_int_equal(WEXITSTATUS(st), 0);
	/* cut off together with its watchdog; a machine that lost power has no freeze,
	 * this one still has: let go of it for the next test */
	for (int i = 0; i < 2; i++) {
		AUTO_FD fd = open(w->mount[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		assert_int_equal(ioctl(fd, FITHAW, 0), 0);
	}
}

/* ---- when somebody kills what holds it ------------------------------------------------ */

static bool holds(const char *pid, const char *dir)
{
	AUTO_FREE char *path = mem_printf("/proc/%s/fd", pid);
	DIR *fds = atoi(pid) > 0 && atoi(pid) != getpid() ? opendir(path) : NULL;
	struct dirent *entry;
	bool yes = false;

	while (fds && !yes && (entry = readdir(fds))) {
		char to[256] = "";

		yes = readlinkat(dirfd(fds), entry->d_name, to, sizeof(to) - 1) > 0 &&
		      !strcmp(to, dir);
	}
	if (fds)
		closedir(fds);
	return yes;
}

static pid_t parent_of(pid_t pid)
{
	AUTO_FREE char *path = mem_printf("/proc/%d/stat", (int)pid);
	AUTO_FREE char *text = io_read_file(AT_FDCWD, path, 4096, NULL);
	const char *after = text ? strrchr(text, ')') : NULL;

	return after ? (pid_t)strtol(after + 4, NULL, 10) : 0;
}

/* Keeper and watchdog, once both are there. */
static void find_pair(const struct world *w, pid_t *keeper, pid_t *dog)
{
	*keeper = *dog = 0;
	alarm(60);
	while (!*dog) {
		pid_t found[2] = { 0, 0 };
		DIR *proc = opendir("/proc");
		struct dirent *entry;
		int n = 0;

		while ((entry = readdir(proc)))
			if (holds(entry->d_name, w->mount[0]) && n++ < 2)
				found[n - 1] = (pid_t)atoi(entry->d_name);
		closedir(proc);
		for (int i = 0; n == 2 && i < 2; i++)
			if (parent_of(found[i]) == found[!i]) {
				*keeper = found[!i];
				*dog = found[i];
			}
	}
	alarm(0);
}

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
	alarm(60);
	while (!is_dead(pid))
		sched_yield();
	alarm(0);
}

static void kill_both(const struct world *w)
{
	pid_t keeper, dog;

	find_pair(w, &keeper, &dog);
	kill(keeper, SIGSTOP);
	kill(dog, SIGSTOP);
	kill(keeper, SIGKILL);
	kill(dog, SIGKILL);
	wait_for_death(keeper);
	wait_for_death(dog);
}

static void a_killed_watchdog_has_a_successor(void **state)
{
	struct world *w = *state;
	pid_t keeper, dog, other, next;

	if (!can_run)
		skip();
	must(w, "apply");
	find_pair(w, &keeper, &dog);
	kill(dog, SIGKILL);
	do
		find_pair(w, &other, &next);
	while (next == dog);
	assert_int_equal(other, keeper);
	state_is(w, "done");
	assert_true(frozen(w->mount[0]));
	must(w, "undo");
	assert_false(frozen(w->mount[0]));
	assert_false(frozen(w->mount[1]));
}

static void a_watchdog_whose_keeper_is_killed_keeps_a_successor_itself(void **state)
{
	struct world *w = *state;
	pid_t keeper, dog, other, next;

	if (!can_run)
		skip();
	must(w, "apply");
	find_pair(w, &keeper, &dog);
	kill(keeper, SIGKILL);
	do
		find_pair(w, &other, &next);
	while (other != dog);
	kill(dog, SIGKILL);
	do
		find_pair(w, &other, &keeper);
	while (other != next && keeper != next);
	state_is(w, "done");
	must(w, "undo");
	assert_false(frozen(w->mount[0]));
}

static void a_freeze_that_nobody_holds_is_let_go_by_undo(void **state)
{
	struct world *w = *state;

	if (!can_run)
		skip();
	must(w, "apply");
	assert_non_null(jget(w->input, "ledger"));
	kill_both(w);
	assert_true(frozen(w->mount[0]));
	assert_true(frozen(w->mount[1]));
	state_is(w, "absent");
	must(w, "undo");
	assert_false(frozen(w->mount[0]));
	assert_false(frozen(w->mount[1]));
	assert_true(json_is_null(jget(w->input, "ledger")) || !jget(w->input, "ledger"));
}

static void a_freeze_that_nobody_holds_is_let_go_by_cleanup(void **state)
{
	struct world *w = *state;
	AUTO_JSON *input = NULL, *r = NULL;
	json_t *entry;

	if (!can_run)
		skip();
	must(w, "apply");
	entry = jget(w->input, "ledger");
	assert_string_equal(jstr(entry, "kind", ""), "freeze");
	assert_false(jbool(entry, "lasting", false));
	kill_both(w);
	input = json_pack("{s:{s:s,s:s,s:O}}", "args", "kind", "freeze", "name",
			  jstr(entry, "name", ""), "detail", jget(entry, "detail"));
	r = modtest_call("call.cleanup", "apply", input, NULL);
	assert_true(jbool(r, "ok", false));
	assert_false(frozen(w->mount[0]));
	assert_false(frozen(w->mount[1]));
}

static void what_somebody_else_thawed_is_not_held(void **state)
{
	struct world *w = *state;
	AUTO_FD fd = -1;

	if (!can_run)
		skip();
	must(w, "apply");
	fd = open(w->mount[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(ioctl(fd, FITHAW, 0), 0);
	state_is(w, "absent");
	must(w, "apply");	/* a new instant */
	assert_true(frozen(w->mount[1]));
	state_is(w, "done");
	must(w, "undo");
	assert_false(frozen(w->mount[0]));
	assert_false(frozen(w->mount[1]));
}

/* While the source is switched off nobody can ask it: only the clock counts. */
static void a_sealed_freeze_outlives_its_agent(void **state)
{
	struct world *w = *state;
	pid_t agent, keeper, dog;
	int st = 0;

	if (!can_run)
		skip();
	must(w, "apply");	/* for its name */
	must(w, "undo");
	agent = fork();
	if (agent == 0) {
		AUTO_JSON *a = call(w, "apply"), *h = call(w, "hold");

		_exit(jbool(a, "ok", false) && jbool(h, "ok", false) &&
		      jint(h, "volatile.held_ms", 0) == 900000 ? 0 : 1);
	}
	assert_int_equal(waitpid(agent, &st, 0), agent);
	assert_int_equal(WEXITSTATUS(st), 0);
	find_pair(w, &keeper, &dog);
	state_is(w, "done");	/* asked by the next agent */
	assert_true(frozen(w->mount[0]));
	must(w, "undo");
	assert_false(frozen(w->mount[0]));
}

static void a_freeze_that_is_over_cannot_be_made_to_last(void **state)
{
	struct world *w = *state;
	AUTO_JSON *r = NULL;

	if (!can_run)
		skip();
	must(w, "apply");
	must(w, "undo");
	r = call(w, "hold");
	assert_false(jbool(r, "ok", true));
	assert_string_equal(jstr(r, "error.text", ""), "the freeze is over");
}

static void nothing_is_frozen_for_an_agent_that_is_dead(void **state)
{
	struct world *w = *state;
	struct freeze *f = NULL;
	struct ctx *c;

	if (!can_run)
		skip();
	c = ctx_new(-1, 1, w->input, NULL);
	c->agent = 1;		/* not our parent: that one has died */
	assert_int_equal(freeze_begin(c, ctx_fact(c, "machine"), 60000, &f), -1);
	assert_string_equal(c->text, "cannot freeze: the agent is gone");
	assert_false(frozen(w->mount[0]));
	ctx_free(c);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(freeze_holds_all_file_systems_until_undo),
		T(freeze_lists_the_deepest_first),
		T(freeze_is_let_go_when_the_agent_is_killed),
		T(freeze_ends_at_its_deadline_and_says_so),
		T(freeze_takes_all_or_nothing),
		T(freeze_can_cut_the_power),
		T(a_killed_watchdog_has_a_successor),
		T(a_watchdog_whose_keeper_is_killed_keeps_a_successor_itself),
		T(a_freeze_that_nobody_holds_is_let_go_by_undo),
		T(a_freeze_that_nobody_holds_is_let_go_by_cleanup),
		T(what_somebody_else_thawed_is_not_held),
		T(a_sealed_freeze_outlives_its_agent),
		T(a_freeze_that_is_over_cannot_be_made_to_last),
		T(nothing_is_frozen_for_an_agent_that_is_dead),
		cmocka_unit_test(what_does_not_thaw_is_let_go_by_the_kernel_once),
		cmocka_unit_test(what_was_thawed_already_needs_no_last_means),
		cmocka_unit_test(without_a_trigger_there_is_no_last_means),
	};
	AUTO_FREE char *losetup = proc_which("losetup"), *mkfs = proc_which("mkfs.ext4");

	can_run = geteuid() == 0 && losetup && mkfs && unshare(CLONE_NEWNS) == 0 &&
		  mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
