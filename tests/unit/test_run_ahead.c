/* SPDX-License-Identifier: Apache-2.0
 * The stream of the last pass is open before the source stands still, and nothing of it is
 * left when the pass does not come.
 */
#include "tests/unit/migration.h"

#include "engine/base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* What was seen while the cutover went on. */
static struct {
	int opened_serving, opened_still;	/* ends that were opened while the source served, or not */
	int open_at_quiesce, open_at_pass;	/* ends that waited when these were applied */
} seen;

static void look(struct fake *f, const char *module, const char *op)
{
	if (!strcmp(op, "open")) {
		assert_string_equal(module, "cutover.pass");
		(*(fake_get(f, "a.serving") ? &seen.opened_serving : &seen.opened_still))++;
	}
	if (!strcmp(op, "apply") && !strcmp(module, "cutover.quiesce"))
		seen.open_at_quiesce = f->w->open_ahead;
	if (!strcmp(op, "apply") && !strcmp(module, "cutover.pass"))
		seen.open_at_pass = f->w->open_ahead;
}

static int set_up(void **state)
{
	struct migration *g = migration_passing();

	memset(&seen, 0, sizeof(seen));
	g->f->on_call = look;
	*state = g;
	return 0;
}

static int tear_down(void **state)
{
	migration_free(*state);
	return 0;
}

static void it_is_open_before_the_source_stands_still(void **state)
{
	struct migration *g = *state;

	migration_ends(g, RUN_CUTOVER, 0);
	assert_int_equal(seen.opened_serving, 2);
	assert_int_equal(seen.opened_still, 0);
	assert_int_equal(seen.open_at_quiesce, 2);
	assert_int_equal(seen.open_at_pass, 0);		/* the last end to go */
	assert_int_equal(g->f->w->open_ahead, 0);
	assert_int_equal(fake_applies(g->f, "cutover.pass"), 2);	/* at either end */
	assert_int_equal(fake_get(g->f, "b.serving"), 1);
}

static void where_it_cannot_be_had_nothing_is_stopped(void **state)
{
	struct migration *g = *state;

	g->f->w->streams = NO_STREAM;
	migration_ends(g, RUN_CUTOVER, ERR_STEP);
	migration_has(g->err.what, "cannot open a stream");
	g->f->w->streams = SILENT_STREAM;
	migration_ends(g, RUN_CUTOVER, ERR_STEP);
	migration_has(g->err.what, "cannot open the stream of 'cutover.pass': no answer within 60 s");
	assert_int_equal(fake_applies(g->f, "cutover.quiesce"), 0);
	assert_int_equal(fake_applies(g->f, "cutover.pass"), 0);
	assert_int_equal(fake_get(g->f, "a.serving"), 1);
	g->f->w->streams = STREAMS;
	migration_ends(g, RUN_CUTOVER, 0);
	assert_int_equal(fake_get(g->f, "b.serving"), 1);
}

static void it_goes_when_the_source_cannot_be_stilled(void **state)
{
	struct migration *g = *state;

	migration_rule(g, "cutover.quiesce")->ask = true;
	g->f->answer = 0;
	migration_ends(g, RUN_CUTOVER, ERR_STEP);
	assert_int_equal(seen.opened_serving, 2);
	assert_int_equal(g->f->w->open_ahead, 0);
	assert_int_equal(fake_applies(g->f, "cutover.pass"), 0);
	migration_went_back(g);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(it_is_open_before_the_source_stands_still),
		TEST(where_it_cannot_be_had_nothing_is_stopped),
		TEST(it_goes_when_the_source_cannot_be_stilled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
