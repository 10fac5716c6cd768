/* SPDX-License-Identifier: Apache-2.0
 * test_screen_live - what a terminal shows of a run: the last lines are redrawn in place.
 */
#include "tests/unit/screenrig.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void a_terminal_shows_progress_that_is_redrawn_in_place(void **state)
{
	struct screenrig *r = screenrig_new(true);

	(void)state;
	screenrig_feed(r, screenrig_begin);
	screen_tick(r->s);
	screen_tick(r->s);		/* too soon */
	r->clock.now_ms += 2000;
	screen_tick(r->s);
	r->clock.now_ms += 1000;
	screenrig_feed(r, screenrig_progress);
	r->width = 62;
	screen_tick(r->s);
	r->width = 40;			/* made narrower: the line now takes two rows */
	screenrig_feed(r, (const char *const []){
		"{\"t\":\"step\",\"machine\":\"erp-db\",\"phase\":\"convert\",\"step\":\"disks\",\"state\":\"done\"}", NULL });
	screenrig_says(r,
		"erp  run  erp.yaml  run 7f3a2c11  2 machines, 1 host\n"
		"erp-db   convert.disks  running\n"
		"\r\x1b[1A\x1b[J"
		"erp-db   convert.disks  running 2s\n"
		"\r\x1b[1A\x1b[J"
		"erp-db   convert.disks  root  11.0 GiB of 40.0 GiB  27%  212 \n"
		"\r\x1b[2A\x1b[J"
		"10:00:03  erp-db   convert.disks         done\n");
}

static void how_long_it_waits_is_told_before_what_for(void **state)
{
	struct screenrig *r = screenrig_new(true);

	(void)state;
	screenrig_feed(r, screenrig_begin);
	r->width = 48;
	screenrig_feed(r, (const char *const []){
		"{\"t\":\"progress\",\"machine\":\"erp-db\",\"phase\":\"convert\",\"step\":\"disks\",\"done\":65,\"unit\":\"s\",\"what\":\" Booting a kernel of a name too long\"}", NULL });
	screen_tick(r->s);
	screenrig_says(r,
		"erp  run  erp.yaml  run 7f3a2c11  2 machines, 1 host\n"
		"erp-db   convert.disks  1m05s  Booting a kernel\n"
		"\r\x1b[1A\x1b[J");
}

static void what_hangs_below_a_finding_is_under_it_also_on_a_terminal(void **state)
{
	struct screenrig *r = screenrig_new(true);

	(void)state;
	screenrig_feed(r, screenrig_begin);
	screen_tick(r->s);		/* the finding comes where the progress was */
	screenrig_feed(r, (const char *const []){
		"{\"t\":\"finding\",\"machine\":\"erp-db\",\"severity\":\"blocker\",\"code\":\"disk.old\",\"text\":\"old\",\"waived\":\"CHG123\"}", NULL });
	screenrig_says(r,
		"erp  run  erp.yaml  run 7f3a2c11  2 machines, 1 host\n"
		"erp-db   convert.disks  running\n"
		"\r\x1b[1A\x1b[J"
		"10:00:03  accepted erp-db   disk.old: old\n"
		"                            reason: CHG123\n");
}

static void a_terminal_counts_down_to_the_next_pass(void **state)
{
	struct screenrig *r = screenrig_new(true);

	(void)state;
	screenrig_feed(r, screenrig_begin);
	screenrig_feed(r, (const char *const []){ PASS("done"), REST("41500"), NULL });
	screen_tick(r->s);
	r->clock.now_ms += 41600;	/* it begins within a moment */
	screen_tick(r->s);
	r->clock.now_ms += 1000;	/* another machine is at it */
	screen_tick(r->s);
	screenrig_feed(r, (const char *const []){ REST("0"), NULL });
	r->clock.now_ms += 1000;
	screen_tick(r->s);
	screenrig_feed(r, (const char *const []){ REST("2000"), PASS("running"), NULL });
	screen_tick(r->s);
	screenrig_says(r,
		"erp  run  erp.yaml  run 7f3a2c11  2 machines, 1 host\n"
		"10:00:03  erp-db   convert.disks         done\n"
		"erp-db   convert.disks  next pass in 42s\n"
		"\r\x1b[1A\x1b[J"
		"erp-db   convert.disks  next pass in 1s\n"
		"\r\x1b[1A\x1b[J"
		"erp-db   convert.disks  next pass when it is its turn\n"
		"\r\x1b[1A\x1b[J"
		"erp-db   convert.disks  running\n"
		"\r\x1b[1A\x1b[J");
}

static void of_many_machines_it_is_told_how_many_have_begun(void **state)
{
	struct screenrig *r = screenrig_new(true);

	(void)state;
	screenrig_begin_forty(r);
	screenrig_feed(r, (const char *const []){
		"{\"t\":\"step\",\"machine\":\"m02\",\"phase\":\"convert\",\"step\":\"disks\",\"state\":\"failed\",\"error\":\"no space\"}",
		"{\"t\":\"step\",\"machine\":\"m01\",\"phase\":\"convert\",\"step\":\"disks\",\"state\":\"running\"}", NULL });
	screen_tick(r->s);
	screenrig_says(r,
		"p  run  p.yaml  40 machines, 0 hosts\n"
		"10:00:03  m02      convert.disks         FAILED: no space\n"
		"m01      convert.disks  running\n"
		"2 of 40 machines begun, 1 FAILED\n"
		"\r\x1b[2A\x1b[J");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_terminal_shows_progress_that_is_redrawn_in_place),
		cmocka_unit_test(how_long_it_waits_is_told_before_what_for),
		cmocka_unit_test(what_hangs_below_a_finding_is_under_it_also_on_a_terminal),
		cmocka_unit_test(a_terminal_counts_down_to_the_next_pass),
		cmocka_unit_test(of_many_machines_it_is_told_how_many_have_begun),
	};

	setlocale(LC_CTYPE, "C.UTF-8");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
