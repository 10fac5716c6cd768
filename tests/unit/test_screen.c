/* SPDX-License-Identifier: Apache-2.0
 * test_screen - what a run says line by line, without a terminal, and the table at its end.
 */
#include "engine/base/mem.h"
#include "tests/unit/screenrig.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void a_run_without_a_terminal_is_plain_lines(void **state)
{
	struct screenrig *r = screenrig_new(false);

	(void)state;
	screenrig_feed(r, screenrig_begin);
	screenrig_feed(r, screenrig_progress);		/* too early to be told */
	r->clock.now_ms += 10000;
	screenrig_feed(r, screenrig_progress);
	screenrig_feed(r, screenrig_progress);		/* told a moment ago */
	screen_tick(r->s);		/* nothing is redrawn */
	screenrig_feed(r, (const char *const []){
		"{\"t\":\"step\",\"machine\":\"erp-db\",\"phase\":\"convert\",\"step\":\"disks\",\"state\":\"done\",\"took_ms\":192000}",
		"{\"t\":\"step\",\"machine\":\"erp-db\",\"phase\":\"convert\",\"step\":\"check\",\"state\":\"probing\"}",
		"{\"t\":\"step\",\"machine\":\"erp-db\",\"phase\":\"convert\",\"step\":\"check\",\"state\":\"unchanged\"}",
		"{\"t\":\"step\",\"machine\":\"erp-web\",\"phase\":\"assess\",\"step\":\"host\",\"state\":\"running\"}",
		"{\"t\":\"finding\",\"machine\":\"erp-web\",\"severity\":\"warning\",\"code\":\"net.mtu\",\"text\":\"9000 here\"}",
		"{\"t\":\"finding\",\"machine\":\"erp-web\",\"severity\":\"info\",\"code\":\"x\",\"text\":\"not told\"}",
		"{\"t\":\"host\",\"host\":\"db1\",\"state\":\"down\",\"error\":\"link lost\",\"hint\":\"ssh db1\"}",
		"{\"t\":\"step\",\"machine\":\"erp-web\",\"phase\":\"convert\",\"step\":\"disks\",\"state\":\"failed\",\"attempt\":3,\"attempts\":3,\"error\":\"no space\",\"hint\":\"make room\",\"place\":\"erp.yaml:7:9\"}",
		"{\"t\":\"serves\",\"machine\":\"erp-db\",\"who\":\"target\"}",
		"{\"t\":\"end\",\"status\":1,\"bytes\":42949672960,\"ms\":200000,\"next\":\"drover run erp.yaml\"}", NULL });
	screenrig_says(r,
		"erp  run  erp.yaml  run 7f3a2c11  2 machines, 1 host\n"
		"10:00:03  erp-db   convert.disks         root  11.0 GiB of 40.0 GiB  27%  212 MiB/s  2m20s left\n"
		"10:00:03  erp-db   convert.disks         done in 3m12s\n"
		"10:00:03  warning  erp-web  net.mtu: 9000 here\n"
		"10:00:03  host db1  DOWN: link lost\n"
		"            ssh db1\n"
		"10:00:03  erp-web  convert.disks         FAILED (attempt 3 of 3): no space\n"
		"                   make room\n"
		"                   the step stands at erp.yaml:7:9\n"
		"10:00:03  erp-db   serves: target\n"
		"\n"
		"machine  assess   convert  serves   took\n"
		"erp-db   as is    done     target   3m12s\n"
		"erp-web  stopped  FAILED   -        -\n"
		"\n"
		"run: a step FAILED, see above, 3m20s, 40.0 GiB moved\n"
		"Next: drover run erp.yaml\n");
}

static void what_a_cutover_cost_is_told_in_times_that_people_read(void **state)
{
	struct screenrig *r = screenrig_new(false);

	(void)state;
	screenrig_feed(r, (const char *const []){
		"{\"t\":\"start\",\"kind\":\"cutover\",\"plan\":\"erp\",\"file\":\"erp.yaml\",\"run\":\"7f3a2c11\",\"machines\":[\"db\"],\"hosts\":[\"a\"]}",
		"{\"t\":\"figures\",\"machine\":\"db\",\"still\":\"frozen\",\"still_ms\":3281,\"down_ms\":77460,\"changes\":\"trace\",\"proof\":{\"root\":\"5f0c2a118d00ffff\"}}",
		"{\"t\":\"end\",\"status\":0,\"bytes\":0,\"ms\":80000,\"next\":\"drover finalize erp.yaml\"}", NULL });
	screenrig_says(r,
		"erp  cutover  erp.yaml  run 7f3a2c11  1 machine, 1 host\n\n"
		"machine  serves   took\n"
		"db       -        -\n\n"
		"db: frozen for 3.2s until it was off, nobody served for 1m17s, changes by traced\n"
		"  writes, proven: root 5f0c2a118d00\n\n"
		"cutover: done, 1m20s\n"
		"Next: drover finalize erp.yaml\n");
}

static void long_lines_are_wrapped_and_no_path_or_command_is_broken(void **state)
{
	struct screenrig *r = screenrig_new(false);

	(void)state;
	screenrig_feed(r, (const char *const []){
		"{\"t\":\"start\",\"kind\":\"run\",\"plan\":\"p\",\"file\":\"p.yaml\",\"machines\":[\"m\"],\"hosts\":[]}",
		"{\"t\":\"finding\",\"machine\":\"m\",\"severity\":\"warning\",\"code\":\"disk.busy\",\"text\":\"disk 'root' (/var/lib/libvirt/images/a-long-name-of-an-image.raw) is in use by another program on the source\",\"remedy\":\"shut the machine down, or let cutover quiesce it\"}",
		"{\"t\":\"log\",\"machine\":\"m\",\"text\":\"the step is asked again; to see it, type drover status p.yaml --machine m --until convert and look\"}",
		"{\"t\":\"step\",\"machine\":\"m\",\"phase\":\"convert\",\"step\":\"disks\",\"state\":\"failed\",\"error\":\"cannot go on with disk 'root': it has 2147483648 bytes now, the copy was begun with 1073741824\",\"hint\":\"drover rollback p.yaml --to convert, then drover run p.yaml\"}",
		NULL });
	screenrig_says(r,
		"p  run  p.yaml  1 machine, 0 hosts\n"
		"10:00:03  warning  m        disk.busy: disk 'root'\n"
		"                            (/var/lib/libvirt/images/a-long-name-of-an-image.raw)\n"
		"                            is in use by another program on the source\n"
		"                            mend: shut the machine down, or let cutover quiesce\n"
		"                                  it\n"
		"10:00:03  m        the step is asked again; to see it, type\n"
		"                   drover status p.yaml --machine m --until convert and look\n"
		"10:00:03  m        convert.disks         FAILED: cannot go on with disk 'root':\n"
		"                   it has 2147483648 bytes now, the copy was begun with\n"
		"                   1073741824\n"
		"                   drover rollback p.yaml --to convert, then drover run p.yaml\n");
}

static void a_name_that_is_too_wide_has_a_line_of_its_own(void **state)
{
	struct screenrig *r = screenrig_new(false);

	(void)state;
	screenrig_feed(r, (const char *const []){
		"{\"t\":\"start\",\"kind\":\"run\",\"plan\":\"p\",\"file\":\"p.yaml\",\"machines\":[\"the-machine-of-a-department-with-a-long-name\",\"b\"],\"hosts\":[]}",
		"{\"t\":\"step\",\"machine\":\"the-machine-of-a-department-with-a-long-name\",\"phase\":\"convert\",\"step\":\"x\",\"state\":\"done\"}",
		"{\"t\":\"step\",\"machine\":\"b\",\"phase\":\"convert\",\"step\":\"x\",\"state\":\"done\"}",
		"{\"t\":\"finding\",\"machine\":\"the-machine-of-a-department-with-a-long-name\",\"severity\":\"warning\",\"code\":\"net.mtu\",\"text\":\"9000 here\"}",
		"{\"t\":\"end\",\"status\":0,\"ms\":5}", NULL });
	screenrig_says(r,
		"p  run  p.yaml  2 machines, 0 hosts\n"
		"10:00:03  the-machine-of-a-department-with-a-long-name\n"
		"                   convert.x             done\n"
		"10:00:03  b        convert.x             done\n"
		"10:00:03  warning  the-machine-of-a-department-with-a-long-name\n"
		"                            net.mtu: 9000 here\n"
		"\n"
		"machine  convert  serves   took\n"
		"the-machine-of-a-department-with-a-long-name\n"
		"         done     -        -\n"
		"b        done     -        -\n"
		"\n"
		"run: done, 5ms\n");
}

static void a_host_that_stays_down_is_told_once(void **state)
{
	struct screenrig *r = screenrig_new(false);

	(void)state;
	screenrig_feed(r, (const char *const []){
		"{\"t\":\"start\",\"kind\":\"run\",\"plan\":\"p\",\"file\":\"p.yaml\",\"machines\":[\"m\"],\"hosts\":[\"a\"]}",
		"{\"t\":\"host\",\"host\":\"a\",\"state\":\"down\",\"error\":\"no answer\",\"hint\":\"is sshd running?\"}",
		"{\"t\":\"host\",\"host\":\"a\",\"state\":\"connecting\"}",
		"{\"t\":\"host\",\"host\":\"a\",\"state\":\"down\",\"error\":\"no answer\",\"hint\":\"is sshd running?\"}",
		"{\"t\":\"step\",\"machine\":\"m\",\"phase\":\"convert\",\"step\":\"disks\",\"state\":\"failed\",\"error\":\"host 'a': no answer\",\"hint\":\"is sshd running?\",\"place\":\"p.yaml:7:9\"}",
		"{\"t\":\"host\",\"host\":\"a\",\"state\":\"ready\"}",
		"{\"t\":\"host\",\"host\":\"a\",\"state\":\"down\",\"error\":\"no answer\",\"hint\":\"is sshd running?\"}",
		NULL });
	screenrig_says(r,
		"p  run  p.yaml  1 machine, 1 host\n"
		"10:00:03  host a  DOWN: no answer\n"
		"            is sshd running?\n"
		"10:00:03  m        convert.disks         FAILED: host a is DOWN, see above\n"
		"                   the step stands at p.yaml:7:9\n"
		"10:00:03  host a  DOWN: no answer\n"
		"            is sshd running?\n");
}

static void one_disk_of_several_is_shown_beside_all(void **state)
{
	struct screenrig *r = screenrig_new(false);

	(void)state;
	screenrig_feed(r, screenrig_begin);
	r->clock.now_ms += 60000;
	screenrig_feed(r, (const char *const []){
		"{\"t\":\"progress\",\"machine\":\"erp-db\",\"phase\":\"convert\",\"step\":\"disks\",\"done\":11811160064,\"total\":42949672960,\"unit\":\"bytes\",\"what\":\"data\",\"pass\":2,\"part\":{\"done\":1073741824,\"total\":2147483648}}", NULL });
	screenrig_says(r,
		"erp  run  erp.yaml  run 7f3a2c11  2 machines, 1 host\n"
		"10:00:03  erp-db   convert.disks         data pass 2 50%  11.0 GiB of 40.0 GiB  27%\n");
}

static void a_plain_log_says_once_when_the_next_pass_comes(void **state)
{
	struct screenrig *r = screenrig_new(false);

	(void)state;
	screenrig_feed(r, screenrig_begin);
	screenrig_feed(r, (const char *const []){ PASS("done"), REST("41500"), NULL });
	r->clock.now_ms += 20000;
	screen_tick(r->s);
	screenrig_feed(r, (const char *const []){ REST("0"), NULL });
	screenrig_says(r,
		"erp  run  erp.yaml  run 7f3a2c11  2 machines, 1 host\n"
		"10:00:03  erp-db   convert.disks         done\n"
		"10:00:03  erp-db   next pass in 42s\n");
}

static void of_many_machines_those_that_are_well_are_counted(void **state)
{
	struct screenrig *r = screenrig_new(false);

	(void)state;
	screenrig_begin_forty(r);
	for (int i = 0; i < 38; i++) {
		AUTO_FREE char *ev = mem_printf("{\"t\":\"step\",\"machine\":\"m%02d\",\"phase\":"
			"\"convert\",\"step\":\"disks\",\"state\":\"%s\",\"error\":%s}", i,
			i == 7 ? "failed" : "unchanged", i == 7 ? "\"no space\"" : "null");

		screenrig_feed(r, (const char *const []){ ev, NULL });
	}
	screenrig_feed(r, (const char *const []){ "{\"t\":\"end\",\"status\":1,\"ms\":5000}", NULL });
	screenrig_says(r,
		"p  run  p.yaml  40 machines, 0 hosts\n"
		"10:00:03  m07      convert.disks         FAILED: no space\n"
		"\nmachine         convert  serves   took\n"
		"37 machines     as is    -        -\n"
		"2 machines      -        -        -\n"
		"m07             FAILED   -        -\n"
		"\nm07  convert.disks: no space\n"
		"\nrun: a step FAILED, see above, 5s\n");
}

static void colours_are_there_when_asked_for(void **state)
{
	struct screenrig *r = screenrig_new(false);

	(void)state;
	r->o.color = true;
	screenrig_feed(r, screenrig_begin);
	screenrig_feed(r, (const char *const []){
		"{\"t\":\"step\",\"machine\":\"erp-db\",\"phase\":\"convert\",\"step\":\"disks\",\"state\":\"done\"}", NULL });
	screenrig_says(r,
		"\x1b[1merp  run\x1b[0m  erp.yaml  run 7f3a2c11  2 machines, 1 host\n"
		"\x1b[2m10:00:03\x1b[0m  erp-db   convert.disks         \x1b[32mdone\x1b[0m\n");
}

static void wide_characters_keep_the_columns(void **state)
{
	struct screenrig *r = screenrig_new(false);

	(void)state;
	screenrig_feed(r, (const char *const []){
		"{\"t\":\"start\",\"kind\":\"run\",\"plan\":\"p\",\"file\":\"p.yaml\",\"machines\":[\"日本語機械\",\"b\"],\"hosts\":[]}",
		"{\"t\":\"step\",\"machine\":\"b\",\"phase\":\"convert\",\"step\":\"x\",\"state\":\"done\"}", NULL });
	screenrig_says(r,
		"p  run  p.yaml  2 machines, 0 hosts\n"
		"10:00:03  b           convert.x             done\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_run_without_a_terminal_is_plain_lines),
		cmocka_unit_test(what_a_cutover_cost_is_told_in_times_that_people_read),
		cmocka_unit_test(long_lines_are_wrapped_and_no_path_or_command_is_broken),
		cmocka_unit_test(a_name_that_is_too_wide_has_a_line_of_its_own),
		cmocka_unit_test(a_host_that_stays_down_is_told_once),
		cmocka_unit_test(one_disk_of_several_is_shown_beside_all),
		cmocka_unit_test(a_plain_log_says_once_when_the_next_pass_comes),
		cmocka_unit_test(of_many_machines_those_that_are_well_are_counted),
		cmocka_unit_test(colours_are_there_when_asked_for),
		cmocka_unit_test(wide_characters_keep_the_columns),
	};

	setlocale(LC_CTYPE, "C.UTF-8");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
