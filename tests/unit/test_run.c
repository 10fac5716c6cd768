/* SPDX-License-Identifier: Apache-2.0
 * test_run - a migration of one pretend machine, forward, backward and previewed.
 */
#include "tests/unit/migration.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static int setup(void **state)
{
	*state = migration_new();
	return 0;
}

static int teardown(void **state)
{
	migration_free(*state);
	return 0;
}

static void run_then_cutover_moves_the_machine(void **state)
{
	struct migration *g = *state;

	assert_int_equal(migration_run(g, RUN_GO), 0);
	assert_int_equal(fake_get(g->f, "b.disk"), 2);
	assert_int_equal(fake_get(g->f, "a.serving"), 1);
	assert_int_equal(migration_run(g, RUN_CUTOVER), 0);
	assert_int_equal(fake_get(g->f, "a.power"), 0);
	assert_int_equal(fake_get(g->f, "b.serving"), 1);
	assert_string_equal(g->f->w->broken, "");
	assert_string_equal(migration_meta(g, "serves"), "target");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(run_then_cutover_moves_the_machine, setup,
						teardown),
	};

	(void)argc;
	(void)argv;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
