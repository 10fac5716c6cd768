/* SPDX-License-Identifier: Apache-2.0
 * test_handover - passes that go on and on until their state is wanted, and who waits for it.
 */
#include "engine/base/io.h"
#include "engine/cli/cli.h"
#include "engine/state/lock.h"
#include "tests/unit/migration.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the passes ------------------------------------------------------------------- */

/* What happens at the k-th time that a pass gets there. */
struct turn {
	struct migration *g;
	const char *at;		/* "running" "done" */
	int pass;		/* 0: never */
	void (*fn)(struct turn *t);
	int asking;		/* a descriptor, or -1 */
	void (*report)(void *arg, const json_t *event);
};

static struct turn turn;

static void ask(struct turn *t)
{
	t->asking = state_ask(t->g->p.state_dir, NULL);
	assert_true(t->asking >= 0);
}

static void interrupt(struct turn *t)
{
	(void)t;
	run_interrupt();
}

static void on_report(void *arg, const json_t *event)
{
	turn.report(arg, event);
	if (!strcmp(jstr(event, "t", ""), "step") &&
	    !strcmp(jstr(event, "state", ""), turn.at) && --turn.pass == 0)
		turn.fn(&turn);
}

/* Passes until `fn`, called at the `pass`-th time, ends them; how many there were. */
static int passes_until(struct migration *g, const char *at, int pass,
			void (*fn)(struct turn *))
{
	struct run_options o = { .kind = RUN_SYNC, .only = -1, .until = -1, .keep = true };
	int before = fake_applies(g->f, "call.sync");
	struct run_seams seams;
	struct state *s;

	fake_restart(g->f);
	seams = fake_seams(g->f);
	turn = (struct turn){ g, at, pass, fn, -1, seams.report };
	seams.report = on_report;
	s = state_open(g->p.state_dir, "erp", STATE_WRITE, g->f->loop, NULL);
	assert_non_null(s);
	assert_int_equal(run_plan(g->p.plan, g->p.graph, s, &seams, &o, NULL, &g->err), 0);
	assert_int_equal(state_close(s, NULL), 0);
	mem_close_fd(&turn.asking);
	/* each end of the copy was called once a pass */
	return (fake_applies(g->f, "call.sync") - before) / 2;
}

static struct migration *copied(void)
{
	struct migration *g = migration_new();

	assert_int_equal(migration_run(g, RUN_GO), 0);
	return g;
}

static void passes_end_with_the_one_under_way_when_the_state_is_wanted(void **state)
{
	struct migration *g = copied();

	(void)state;
	migration_rule(g, "call.sync")->slow_ms = 5000;
	assert_int_equal(passes_until(g, "running", 3, ask), 3);
	assert_non_null(fake_event(g->f, "log", "text", "a cutover waits for the state: this "
				   "ends when the pass under way is over"));
	assert_non_null(fake_event(g->f, "step", "state", "done"));
	assert_int_equal(migration_run(g, RUN_CUTOVER), 0);
	migration_free(g);
}

static void a_rest_between_passes_is_cut_short(void **state)
{
	static void (*const how[])(struct turn *) = { ask, interrupt };
	struct migration *g = copied();

	(void)state;
	migration_rule(g, "call.sync")->slow_ms = 50000;	/* and as long a rest */
	for (size_t i = 0; i < ARRAY_LEN(how); i++) {
		uint64_t began;

		fake_restart(g->f);
		began = g->f->clock.now_ms;
		assert_int_equal(passes_until(g, "done", 1, how[i]), 1);
		assert_true(g->f->clock.now_ms - began < 90000);
	}
	migration_free(g);
}

static void only_passes_without_end_offer_their_state(void **state)
{
	struct migration *g = copied();

	(void)state;
	assert_int_equal(passes_until(g, "done", 1, ask), 1);
	assert_false(state_offered(g->p.state_dir));
	assert_int_equal(migration_run(g, RUN_SYNC), 0);	/* ends by itself */
	migration_free(g);
}

/* As a run does: on the screen, and once for as long as it is so. */
static void passes_tell_what_they_find_and_say_it_once(void **state)
{
	struct migration *g = copied();
	struct fake_rule *sync = migration_rule(g, "call.sync");
	int before = fake_events(g->f, "finding", NULL, NULL);

	(void)state;
	sync->notices = "snapshot.full";
	sync->role = "source";
	sync->slow_ms = 5000;
	assert_int_equal(passes_until(g, "running", 3, ask), 3);
	assert_int_equal(fake_events(g->f, "finding", "code", "snapshot.full"), 1);
	assert_int_equal(fake_events(g->f, "finding", NULL, NULL), before + 1);
	/* what a pass noticed is no part of the record */
	assert_int_equal(migration_run(g, RUN_CUTOVER), 0);
	migration_free(g);
}

/* ---- who waits ---------------------------------------------------------------------- */

enum holder { HOLDS, LETS_GO, DIES, DEAF };

struct fix {
	char dir[64], state[96];
	FILE *out;		/* what was told */
	char *text;
	size_t len;
	struct cli c;
};

static const char plan_text[] =
	"plan: erp\n"
	"hosts: { here: { local: true } }\n"
	"machines:\n"
	"  erp: { source: { host: here, images: [/srv/a.raw] },\n"
	"         target: { host: here, dir: /srv/b }, assess: [ host: {} ] }\n";

static int setup(void **state)
{
	struct fix *f = mem_alloc(sizeof(*f));
	AUTO_FREE char *plan = NULL;

	strcpy(f->dir, "/tmp/drover-test.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->state, sizeof(f->state), "%s/.drover", f->dir);
	plan = mem_printf("%s/erp.yaml", f->dir);
	assert_int_equal(io_write_file(AT_FDCWD, plan, plan_text, strlen(plan_text), 0600), 0);
	f->out = open_memstream(&f->text, &f->len);
	cli_init(&f->c);
	f->c.out = f->c.err = f->out;
	f->c.args[0] = "erp.yaml";
	assert_int_equal(cli_load_plan(&f->c, plan), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	cli_close(&f->c, 0);
	fclose(f->out);
	free(f->text);
	io_remove_tree(f->dir);
	free(f);
	return 0;
}

static void hold(const char *dir, enum holder how, int ready)
{
	struct loop *loop = loop_new(&clock_real);
	struct state *s = state_open(dir, "erp", STATE_WRITE, loop, NULL);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!s || (how != HOLDS && state_offer(s, NULL) < 0) || write(ready, "x", 1) != 1)
		_exit(1);
	while (how == HOLDS || how == DEAF)
		pause();
	while (!state_wanted(s))
		usleep(1000);
	if (how == DIES)
		raise(SIGKILL);
	_exit(state_close(s, NULL) < 0);
}

static pid_t holder(const char *dir, enum holder how)
{
	int p[2];
	pid_t pid;
	char c;

	assert_int_equal(pipe(p), 0);
	pid = fork();
	if (pid == 0)
		hold(dir, how, p[1]);
	close(p[1]);
	assert_int_equal(read(p[0], &c, 1), 1);
	close(p[0]);
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static bool told(struct fix *f, const char *part)
{
	fflush(f->out);
	return strstr(f->text, part) != NULL;
}

static int take(struct fix *f)
{
	uint64_t ms;

	assert_int_equal(cli_parse_wait(&f->c, &ms), 0);
	return cli_take_state(&f->c, ms);
}

static void a_holder_that_is_asked_lets_go(void **state)
{
	struct fix *f = *state;
	pid_t pid = holder(f->state, LETS_GO);
	AUTO_FREE char *who = mem_printf("waiting until the sync --keep of pid %d on ", (int)pid);
	int status;

	assert_int_equal(take(f), 0);
	assert_non_null(f->c.state);
	assert_true(told(f, who));
	assert_true(told(f, "has ended its pass, at most 10m"));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void a_holder_that_dies_is_not_waited_for(void **state)
{
	struct fix *f = *state;
	pid_t pid = holder(f->state, DIES);

	assert_int_equal(take(f), 0);
	assert_non_null(f->c.state);
	end(pid);
}

static void a_holder_that_does_not_answer_keeps_it(void **state)
{
	struct fix *f = *state;
	pid_t pid = holder(f->state, DEAF);

	f->c.opt[OPT_WAIT] = "5ms";
	assert_int_equal(take(f), ERR_HELD);
	assert_null(f->c.state);
	assert_true(told(f, "cannot take over state"));
	assert_true(told(f, "has not ended within 5ms"));
	assert_true(told(f, "--wait DURATION"));
	end(pid);
}

static void a_run_is_not_asked(void **state)
{
	struct fix *f = *state;
	pid_t pid = holder(f->state, HOLDS);

	assert_int_equal(take(f), ERR_HELD);
	assert_true(told(f, "it is held by pid "));
	assert_false(told(f, "waiting"));
	end(pid);
}

static void who_is_refused_hears_that_a_cutover_takes_over(void **state)
{
	struct fix *f = *state;
	pid_t pid = holder(f->state, DEAF);

	assert_int_equal(cli_open_state(&f->c, STATE_WRITE), ERR_HELD);
	assert_true(told(f, "erp.yaml` takes over from it, `kill "));
	end(pid);
}

static void whoever_asks_asks_as_long_as_it_lives(void **state)
{
	struct fix *f = *state;
	struct lock lock;
	int p[2], first, second;
	pid_t pid;
	char c;

	assert_int_equal(io_mkdirs(f->state, 0700), 0);
	assert_int_equal(lock_take(&lock, f->state, "7f3a2c10", 1, NULL), 0);
	assert_false(lock_offered(f->state));
	assert_int_equal(lock_offer(&lock, NULL), 0);
	assert_true(lock_offered(f->state));
	assert_false(lock_wanted(&lock));
	first = lock_ask(f->state, NULL);
	second = lock_ask(f->state, NULL);
	close(first);
	assert_true(lock_wanted(&lock));
	close(second);
	assert_false(lock_wanted(&lock));
	assert_int_equal(pipe(p), 0);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (lock_ask(f->state, NULL) < 0 || write(p[1], "x", 1) != 1)
			_exit(1);
		pause();
	}
	assert_int_equal(read(p[0], &c, 1), 1);
	assert_true(lock_wanted(&lock));
	end(pid);
	assert_false(lock_wanted(&lock));
	close(p[0]);
	close(p[1]);
	lock_release(&lock);
	assert_false(lock_offered(f->state));
}

static void a_duration_that_is_none_is_named(void **state)
{
	struct fix *f = *state;

	uint64_t ms;

	f->c.opt[OPT_WAIT] = "soon";
	assert_int_equal(cli_parse_wait(&f->c, &ms), ERR_USAGE);
	assert_true(told(f, "cannot use --wait 'soon': it is no duration"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(passes_end_with_the_one_under_way_when_the_state_is_wanted),
		cmocka_unit_test(a_rest_between_passes_is_cut_short),
		cmocka_unit_test(only_passes_without_end_offer_their_state),
		cmocka_unit_test(passes_tell_what_they_find_and_say_it_once),
		T(a_holder_that_is_asked_lets_go),
		T(a_holder_that_dies_is_not_waited_for),
		T(a_holder_that_does_not_answer_keeps_it),
		T(a_run_is_not_asked),
		T(who_is_refused_hears_that_a_cutover_takes_over),
		T(whoever_asks_asks_as_long_as_it_lives),
		T(a_duration_that_is_none_is_named),
	};

	setenv("COLUMNS", "1000", 1);	/* where lines break depends on this host's name */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
