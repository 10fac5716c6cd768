/* SPDX-License-Identifier: Apache-2.0
 * test_freeze - file systems are frozen, all or none, held, and let go. Needs root.
 */
#include "engine/agent/ctx.h"
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "modules/lib/freeze.h"
#include "tests/unit/freezerig.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void freeze_holds_all_file_systems_until_undo(void **state)
{
	struct fz_world *w = *state;

	if (!fz_can_run)
		skip();
	fz_state_is(w, "absent");
	fz_must(w, "apply");
	assert_true(fz_frozen(w->mount[0]));
	assert_true(fz_frozen(w->mount[1]));
	fz_state_is(w, "done");
	fz_must(w, "apply");	/* a retry takes the same freeze on */
	fz_must(w, "undo");
	assert_false(fz_frozen(w->mount[0]));
	assert_false(fz_frozen(w->mount[1]));
	fz_state_is(w, "absent");
	fz_must(w, "undo");
}

static void freeze_lists_the_deepest_first(void **state)
{
	struct fz_world *w = *state;
	AUTO_JSON *list = NULL;
	AUTO_FREE char *first = NULL, *last = NULL;

	if (!fz_can_run)
		skip();
	list = freeze_list(jget(w->input, "facts.machine"));
	first = mem_printf("%s (ext4)", w->mount[1]);
	last = mem_printf("%s (ext4)", w->mount[0]);
	assert_int_equal(json_array_size(list), 2);
	assert_string_equal(json_string_value(json_array_get(list, 0)), first);
	assert_string_equal(json_string_value(json_array_get(list, 1)), last);
}

/* Another agent, which waits with its step `apply` done. What that kept is known here, too. */
static pid_t agent_that_froze(struct fz_world *w)
{
	char text[8192];
	size_t len = 0;
	int up[2];
	ssize_t n;
	pid_t agent;

	assert_int_equal(pipe(up), 0);
	agent = fork();
	if (agent == 0) {	/* whose child the step is */
		AUTO_FREE char *input = NULL;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		fz_must(w, "apply");
		input = json_canonical(w->input);
		io_write_full(up[1], input, strlen(input));
		close(up[1]);
		for (;;)
			pause();
	}
	close(up[1]);
	while ((n = read(up[0], text + len, sizeof(text) - len)) > 0)
		len += (size_t)n;
	close(up[0]);
	json_decref(w->input);
	w->input = json_parse(text, len, NULL);
	assert_non_null(w->input);
	assert_true(fz_frozen(w->mount[0]));
	return agent;
}

static void freeze_is_let_go_when_the_agent_is_killed(void **state)
{
	struct fz_world *w = *state;
	pid_t agent;

	if (!fz_can_run)
		skip();
	agent = agent_that_froze(w);
	kill(agent, SIGKILL);
	waitpid(agent, NULL, 0);
	fz_wait_for_thaw(w->mount[0]);
	fz_wait_for_thaw(w->mount[1]);
}

/* That one is ending, and its freeze with it: who goes on begins a freeze of its own. */
static void freeze_of_an_earlier_agent_is_not_relied_on(void **state)
{
	struct fz_world *w = *state;
	pid_t agent;

	if (!fz_can_run)
		skip();
	agent = agent_that_froze(w);
	fz_state_is(w, "absent");
	fz_must(w, "apply");
	kill(agent, SIGKILL);
	waitpid(agent, NULL, 0);
	fz_state_is(w, "done");
	fz_must(w, "undo");
	assert_false(fz_frozen(w->mount[0]));
}

/* While the source is switched off nobody may be left to ask. */
static void freeze_made_to_last_is_anybodys(void **state)
{
	struct fz_world *w = *state;
	pid_t agent;

	if (!fz_can_run)
		skip();
	agent = agent_that_froze(w);
	fz_must(w, "hold");
	kill(agent, SIGKILL);
	waitpid(agent, NULL, 0);
	fz_state_is(w, "done");
	fz_must(w, "undo");
	assert_false(fz_frozen(w->mount[0]));
}

static void freeze_ends_at_its_deadline_and_says_so(void **state)
{
	struct fz_world *w = *state;
	struct ctx *c;
	struct freeze *f = NULL;
	AUTO_JSON *r = NULL;

	if (!fz_can_run)
		skip();
	jset_int(jget(w->input, "args"), "hold", 600000);
	r = fz_call(w, "apply");
	assert_true(jbool(r, "ok", false));
	c = ctx_new(-1, 1, w->input, NULL);
	c->agent = getpid();
	freeze_attach(c, &f);
	assert_non_null(f);
	assert_int_equal(freeze_extend(c, f, 200), 0);	/* from now: it counts while we look */
	fz_wait_for_thaw(w->mount[1]);
	fz_wait_for_thaw(w->mount[0]);
	assert_int_equal(freeze_end(c, f), -1);
	assert_string_equal(c->text, "the freeze had ended before it was let go: what was "
			    "read since then is not one instant");
	ctx_free(c);
	fz_state_is(w, "absent");
}

static void freeze_takes_all_or_nothing(void **state)
{
	struct fz_world *w = *state;
	AUTO_JSON *r = NULL;
	AUTO_FREE char *text = NULL;
	AUTO_FD fd = -1;

	if (!fz_can_run)
		skip();
	fd = open(w->mount[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(ioctl(fd, FIFREEZE, 0), 0);
	r = fz_call(w, "apply");
	text = mem_printf("cannot freeze '%s': somebody froze it already", w->mount[0]);
	assert_false(jbool(r, "ok", true));
	assert_string_equal(jstr(r, "error.text", ""), text);
	assert_int_equal(ioctl(fd, FITHAW, 0), 0);
	assert_false(fz_frozen(w->mount[1]));
}

/* In a PID namespace reboot(2) ends that namespace alone: its first process dies of
 * SIGINT, which is what Linux does there for RB_POWER_OFF. */
static _Noreturn void first_process(struct fz_world *w)
{
	struct freeze *f = NULL;
	struct ctx *c;
	AUTO_JSON *r = fz_call(w, "apply");

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
	struct fz_world *w = *state;
	int st = 0;
	pid_t pid;

	if (!fz_can_run)
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

/* ---- what is frozen ---------------------------------------------------------------------- */

/* The inner one writes through the outer one: it would wait for ever were it frozen after that
 * one, or thawed before it. */
static void a_file_system_in_a_file_of_another_is_frozen_first_and_thawed_last(void **state)
{
	struct fz_world *w = *state;

	if (!w->input)
		skip();
	fz_must(w, "apply");
	assert_true(fz_frozen(w->mount[0]));
	assert_true(fz_frozen(w->mount[1]));
	fz_must(w, "undo");
	assert_false(fz_frozen(w->mount[0]));
	assert_false(fz_frozen(w->mount[1]));
}

static bool may_write(const char *dir)
{
	AUTO_FREE char *path = mem_printf("%s/page", dir);
	AUTO_FD fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0 || errno == EROFS);
	return fd >= 0;
}

/* So is an ESP. */
static void what_cannot_freeze_is_read_only_until_the_thaw(void **state)
{
	struct fz_world *w = *state;

	if (!w->input)
		skip();
	fz_must(w, "apply");
	assert_true(fz_frozen(w->mount[0]));
	assert_false(may_write(w->mount[1]));
	fz_state_is(w, "done");
	fz_must(w, "undo");
	assert_false(fz_frozen(w->mount[0]));
	assert_true(may_write(w->mount[1]));
}

/* Whose writer keeps it from that is synced, and no obstacle. */
static void what_cannot_freeze_and_is_written_to_is_synced(void **state)
{
	struct fz_world *w = *state;
	AUTO_FREE char *path = w->input ? mem_printf("%s/log", w->mount[1]) : NULL;
	AUTO_FD fd = path ? open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) : -1;

	if (!w->input)
		skip();
	assert_int_equal(io_write_full(fd, "x", 1), 0);
	fz_must(w, "apply");
	assert_true(fz_frozen(w->mount[0]));
	assert_int_equal(io_write_full(fd, "y", 1), 0);
	fz_must(w, "undo");
	assert_true(may_write(w->mount[1]));
}

static void what_somebody_else_thawed_is_not_held(void **state)
{
	struct fz_world *w = *state;
	AUTO_FD fd = -1;

	if (!fz_can_run)
		skip();
	fz_must(w, "apply");
	fd = open(w->mount[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(ioctl(fd, FITHAW, 0), 0);
	fz_state_is(w, "absent");
	fz_must(w, "apply");	/* a new instant */
	assert_true(fz_frozen(w->mount[1]));
	fz_state_is(w, "done");
	fz_must(w, "undo");
	assert_false(fz_frozen(w->mount[0]));
	assert_false(fz_frozen(w->mount[1]));
}

static void a_freeze_that_is_over_cannot_be_made_to_last(void **state)
{
	struct fz_world *w = *state;
	AUTO_JSON *r = NULL;

	if (!fz_can_run)
		skip();
	fz_must(w, "apply");
	fz_must(w, "undo");
	r = fz_call(w, "hold");
	assert_false(jbool(r, "ok", true));
	assert_string_equal(jstr(r, "error.text", ""), "the freeze is over");
}

static void nothing_is_frozen_for_an_agent_that_is_dead(void **state)
{
	struct fz_world *w = *state;
	struct freeze *f = NULL;
	struct ctx *c;

	if (!fz_can_run)
		skip();
	c = ctx_new(-1, 1, w->input, NULL);
	c->agent = 1;		/* not our parent: that one has died */
	assert_int_equal(freeze_begin(c, ctx_fact(c, "machine"), 60000, &f), -1);
	assert_string_equal(c->text, "cannot freeze: the agent is gone");
	assert_false(fz_frozen(w->mount[0]));
	ctx_free(c);
}

#define T(f) cmocka_unit_test_setup_teardown(f, fz_set_up, fz_tear_down)
#define NESTED(f) cmocka_unit_test_setup_teardown(f, fz_set_up_nested, fz_tear_down)
#define UNFROZEN(f) cmocka_unit_test_setup_teardown(f, fz_set_up_unfrozen, fz_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(freeze_holds_all_file_systems_until_undo),
		T(freeze_lists_the_deepest_first),
		T(freeze_is_let_go_when_the_agent_is_killed),
		T(freeze_of_an_earlier_agent_is_not_relied_on),
		T(freeze_made_to_last_is_anybodys),
		T(freeze_ends_at_its_deadline_and_says_so),
		T(freeze_takes_all_or_nothing),
		T(freeze_can_cut_the_power),
		T(what_somebody_else_thawed_is_not_held),
		T(a_freeze_that_is_over_cannot_be_made_to_last),
		T(nothing_is_frozen_for_an_agent_that_is_dead),
		NESTED(a_file_system_in_a_file_of_another_is_frozen_first_and_thawed_last),
		UNFROZEN(what_cannot_freeze_is_read_only_until_the_thaw),
		UNFROZEN(what_cannot_freeze_and_is_written_to_is_synced),
	};

	fz_look();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
