/* SPDX-License-Identifier: Apache-2.0
 * test_status - what `drover status` says is to be typed next, after runs of a pretend machine.
 */
#include "engine/cli/cli.h"
#include "tests/unit/migration.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The pretend steps by the names of real ones. */
static const char plan[] =
	"plan: erp\n"
	"hosts: { a: { ssh: root@a }, b: { ssh: root@b } }\n"
	"machines:\n"
	"  erp:\n"
	"    source: { host: a, disks: [/dev/sda],\n"
	"              power: { command: { off: [down], on: [up], status: [st], at: b } } }\n"
	"    target: { host: b, dir: /srv }\n"
	"    cutover: [ quiesce, \"off\", start ]\n";

/* The status ends with this, in which @ is the plan's file. */
static void status_ends(struct migration *g, const char *want)
{
	AUTO_FREE char *file = mem_printf("%s/status.yaml", g->p.dir), *out = NULL;
	AUTO_STR line = { 0 };
	struct cli c;
	size_t len = 0;
	FILE *f = fopen(file, "w");

	assert_non_null(f);
	fputs(plan, f);
	fclose(f);
	for (const char *p = want; *p; p++)
		if (*p == '@')
			str_add(&line, file);
		else
			str_addc(&line, *p);
	setenv("COLUMNS", "1000", 1);
	cli_init(&c);
	c.out = open_memstream(&out, &len);
	c.args[0] = file;
	assert_int_equal(cli_close(&c, verb_status(&c)), 0);
	fclose(c.out);
	unsetenv("COLUMNS");
	assert_non_null(strstr(out, "\nNext: "));
	assert_string_equal(strstr(out, "\nNext: ") + 1, line.s);
}

static void once_the_target_serves_both_ends_of_it_are_named(void **state)
{
	struct migration *g = *state;

	migration_ends(g, RUN_GO, 0);
	migration_ends(g, RUN_CUTOVER, 0);
	status_ends(g, "Next: drover finalize @, or drover rollback @ --discard-target-writes\n");
}

/* Ctrl-C, twice. */
static void interrupt_start(struct fake *f, const char *module, const char *op)
{
	(void)f;
	if (strcmp(module, "cutover.start") == 0 && strcmp(op, "apply") == 0) {
		run_interrupt();
		run_interrupt();
	}
}

static void of_a_start_that_was_interrupted_the_way_back_is_named(void **state)
{
	struct migration *g = *state;

	migration_ends(g, RUN_GO, 0);
	g->f->on_call = interrupt_start;
	migration_rule(g, "cutover.start")->slow_ms = 1000;
	migration_ends(g, RUN_CUTOVER, ERR_STOPPED);
	assert_string_equal(migration_meta(g, "serves"), "unknown");
	status_ends(g, "Next: drover cutover @, or drover rollback @ --to cutover "
		    "--discard-target-writes\n");
	g->f->on_call = NULL;
	migration_ends(g, RUN_GO, ERR_STEP);	/* which says the same */
	migration_has(g->err.hint, "--to cutover --discard-target-writes");
	/* and that is what goes back */
	g->phase = PHASE_CUTOVER;
	g->discard = true;
	migration_ends(g, RUN_ROLLBACK, 0);
	migration_went_back(g);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, migration_set_up, migration_tear_down)
int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(once_the_target_serves_both_ends_of_it_are_named),
		TEST(of_a_start_that_was_interrupted_the_way_back_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
