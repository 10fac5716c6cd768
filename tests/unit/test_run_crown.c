/* SPDX-License-Identifier: Apache-2.0
 * test_run_crown - the engine is killed at the k-th boundary, k = 1, 2, ... until the
 * run passes; after each death going on and going back must both end where an
 * undisturbed run ends. A boundary is a step of a call on a host or a report event of
 * the engine, so that every gap between two records is met.
 */
#include "tests/unit/migration.h"
#include "tests/unit/part.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

/* Every boundary; with the sanitizers, which make each state slow, every seventh. */
#define STRIDE (MEM_SANITIZED ? test_part(7, 23) : test_part(1, 11))

/* Forward to the end, through a cutover that may have been begun. */
static int finish(struct migration *g)
{
	int status = migration_run(g, RUN_GO);

	if (status != 0 && status != ERR_STOPPED && !strcmp(migration_meta(g, "serves"), "source"))
		return status;
	return migration_run(g, RUN_CUTOVER);
}

/* The machine's files but for evidence: what a step sent in the very moment of the
 * engine's death is not known to it. */
static json_t *files_of(struct migration *g)
{
	json_t *files = migration_files(g), *text;
	const char *path;
	void *tmp;

	json_object_foreach_safe(files, tmp, path, text)
		if (!strncmp(path, "evidence/", 9))
			json_object_del(files, path);
	return files;
}

static void assert_moved(struct migration *g, const json_t *files, int k)
{
	AUTO_JSON *now = NULL;

	if (g->f->w->broken[0] || fake_get(g->f, "b.serving") != 1)
		fail_msg("killed at %d: %s", k, g->f->w->broken);
	assert_int_equal(fake_get(g->f, "a.serving"), 0);
	assert_int_equal(fake_get(g->f, "a.power"), 0);
	assert_int_equal(fake_get(g->f, "b.disk"), 2);
	assert_int_equal(fake_get(g->f, "b.overlay"), 1);
	now = files_of(g);
	if (!json_equal(now, files)) {
		AUTO_FREE char *a = json_pretty(now), *b = json_pretty(files);

		fail_msg("struck at %d: the tree is\n%s\nnot\n%s", k, a, b);
	}
}

static void assert_as_before(struct migration *g, int k)
{
	static const char *const zero[] = { "b.image", "b.disk", "b.overlay", "b.boot",
					    "b.serving" };

	if (g->f->w->broken[0])
		fail_msg("killed at %d: %s", k, g->f->w->broken);
	for (size_t i = 0; i < ARRAY_LEN(zero); i++)
		if (fake_get(g->f, zero[i]) != 0)
			fail_msg("killed at %d: %s is %d", k, zero[i],
				 fake_get(g->f, zero[i]));
	assert_int_equal(fake_get(g->f, "a.serving"), 1);
	assert_int_equal(fake_get(g->f, "a.power"), 1);
}

/* Run until killed at k; false when the whole passed. */
static bool killed_forward(struct migration *g, int k)
{
	int status;

	g->f->boundary_at_reports = true;
	fake_strike(g->f, FAULT_KILL, k);
	status = migration_run_child(g, RUN_GO);
	if (status == 0)
		status = migration_run_child(g, RUN_CUTOVER);
	fake_strike(g->f, FAULT_NONE, 0);
	if (status != 0 && status != FAKE_KILLED)
		fail_msg("boundary %d: the run ended with %d", k, status);
	return status == FAKE_KILLED;
}

static json_t *undisturbed_files(void)
{
	struct migration *g = migration_new();
	json_t *files;

	assert_int_equal(finish(g), 0);
	files = files_of(g);
	assert_true(json_object_size(files) > 10);
	migration_free(g);
	return files;
}

static void a_run_killed_anywhere_goes_on_to_the_same_end(void **state)
{
	AUTO_JSON *files = undisturbed_files();
	bool died = true;
	int k;

	(void)state;
	for (k = 1; died; k += STRIDE) {
		struct migration *g = migration_new();
		int status;

		died = killed_forward(g, k);
		status = finish(g);
		if (status)
			fail_msg("killed at %d: going on ended with %d: %s", k, status,
				 g->err.what ? g->err.what : "");
		assert_moved(g, files, k);
		/* what the second attempt kept did not replace what the first one did */
		g->discard = true;
		assert_int_equal(migration_run(g, RUN_ROLLBACK), 0);
		assert_as_before(g, k);
		migration_free(g);
	}
	assert_true(k > 60);
}

static void a_run_killed_anywhere_goes_back_to_the_beginning(void **state)
{
	bool died = true;

	(void)state;
	for (int k = 1; died; k += STRIDE) {
		struct migration *g = migration_new();
		int status;

		died = killed_forward(g, k);
		g->discard = true;
		g->phase = PHASE_ASSESS;
		status = migration_run(g, RUN_ROLLBACK);
		if (status)
			fail_msg("killed at %d: going back ended with %d: %s", k, status,
				 g->err.what ? g->err.what : "");
		assert_as_before(g, k);
		migration_free(g);
	}
}

static void a_rollback_killed_anywhere_goes_back_when_run_again(void **state)
{
	bool died = true;

	(void)state;
	for (int k = 1; died; k += STRIDE) {
		struct migration *g = migration_new();
		int status;

		assert_int_equal(finish(g), 0);
		g->discard = true;
		g->phase = PHASE_ASSESS;
		g->f->boundary_at_reports = true;
		fake_strike(g->f, FAULT_KILL, k);
		died = migration_run_child(g, RUN_ROLLBACK) == FAKE_KILLED;
		fake_strike(g->f, FAULT_NONE, 0);
		status = migration_run(g, RUN_ROLLBACK);
		if (status)
			fail_msg("killed at %d: going back again ended with %d: %s", k,
				 status, g->err.what ? g->err.what : "");
		assert_as_before(g, k);
		migration_free(g);
	}
}

/* All the way back, whatever struck on the way there. */
static void assert_goes_back(struct migration *g, int k)
{
	int status;

	g->discard = true;
	g->phase = PHASE_ASSESS;
	status = migration_run(g, RUN_ROLLBACK);
	if (status)
		fail_msg("struck at %d: going back ended with %d: %s", k, status,
			 g->err.what ? g->err.what : "");
	assert_as_before(g, k);
}

/* The connection is lost once, anywhere: the run itself gets over it. */
static void a_connection_lost_anywhere_is_made_again(void **state)
{
	AUTO_JSON *files = undisturbed_files();

	(void)state;
	for (int k = 1;; k += STRIDE) {
		struct migration *g = migration_new();
		int status;

		fake_strike(g->f, FAULT_LOSE, k);
		status = finish(g);
		if (status)
			fail_msg("lost at %d: the run ended with %d: %s", k, status,
				 g->err.what ? g->err.what : "");
		assert_moved(g, files, k);
		bool struck = g->f->w->countdown <= 0;
		fake_strike(g->f, FAULT_NONE, 0);
		assert_goes_back(g, k);
		migration_free(g);
		if (!struck)
			break;
	}
}

/* A call fails once, anywhere: somebody serves afterwards, and going on ends well. */
static void a_failure_anywhere_leaves_somebody_serving(void **state)
{
	AUTO_JSON *files = undisturbed_files();

	(void)state;
	for (int k = 1;; k += STRIDE) {
		struct migration *g = migration_new();
		int status;
		bool struck;

		fake_strike(g->f, FAULT_FAIL, k);
		status = finish(g);
		struck = g->f->w->countdown <= 0;
		fake_strike(g->f, FAULT_NONE, 0);
		if (status && strcmp(migration_meta(g, "serves"), "unknown") &&
		    strcmp(migration_meta(g, "serves"), "target") &&
		    (fake_get(g->f, "a.serving") != 1 || fake_get(g->f, "a.power") != 1))
			fail_msg("failed at %d: nobody serves", k);
		status = finish(g);
		if (status)
			fail_msg("failed at %d: going on ended with %d: %s", k, status,
				 g->err.what ? g->err.what : "");
		assert_moved(g, files, k);
		assert_goes_back(g, k);
		migration_free(g);
		if (!struck)
			break;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_run_killed_anywhere_goes_on_to_the_same_end),
		cmocka_unit_test(a_run_killed_anywhere_goes_back_to_the_beginning),
		cmocka_unit_test(a_rollback_killed_anywhere_goes_back_when_run_again),
		cmocka_unit_test(a_connection_lost_anywhere_is_made_again),
		cmocka_unit_test(a_failure_anywhere_leaves_somebody_serving),
	};

	return cmocka_run_group_tests_name("run_crown", tests, NULL, NULL);
}
