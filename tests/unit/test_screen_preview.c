/* SPDX-License-Identifier: Apache-2.0
 * test_screen_preview - what a preview shows of a machine: one page, its diffs and its downtime.
 */
#include "engine/base/mem.h"
#include "tests/unit/screenrig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void a_preview_is_one_page(void **state)
{
	struct screenrig *r = screenrig_new(false);

	(void)state;
	r->s = screen_new(&r->o);
	screen_machine(r->s, "erp-db", "db1 -> kvm1", "source");
	screenrig_feed(r, (const char *const []){
		"{\"t\":\"start\",\"kind\":\"preview\",\"plan\":\"erp\",\"file\":\"erp.yaml\",\"machines\":[\"erp-db\"],\"hosts\":[\"db1\",\"kvm1\"],\"cutover\":true}",
		"{\"t\":\"serves\",\"machine\":\"erp-db\",\"who\":\"source\"}",
		"{\"t\":\"finding\",\"machine\":\"erp-db\",\"severity\":\"warning\",\"code\":\"clock\",\"text\":\"db1 is 41 s ahead\"}",
		"{\"t\":\"finding\",\"machine\":\"erp-db\",\"severity\":\"blocker\",\"code\":\"net.ip-in-use\",\"text\":\"10.1.0.6 answers\",\"remedy\":\"release it\"}",
		"{\"t\":\"finding\",\"machine\":\"erp-db\",\"severity\":\"blocker\",\"code\":\"disk.old\",\"text\":\"old\",\"waived\":\"CHG123\"}",
		"{\"t\":\"step\",\"machine\":\"erp-db\",\"phase\":\"assess\",\"step\":\"machine\",\"state\":\"done\"}",
		"{\"t\":\"change\",\"machine\":\"erp-db\",\"phase\":\"convert\",\"step\":\"disks\",\"mark\":\"+\",\"text\":\"root 40 GiB -> root.qcow2\"}",
		"{\"t\":\"change\",\"machine\":\"erp-db\",\"phase\":\"convert\",\"step\":\"disks\",\"mark\":\".\",\"text\":\"scratch is not copied\"}",
		"{\"t\":\"cost\",\"machine\":\"erp-db\",\"phase\":\"convert\",\"step\":\"disks\",\"read\":42949672960,\"send\":12884901888,\"ms\":240000}",
		"{\"t\":\"step\",\"machine\":\"erp-db\",\"phase\":\"convert\",\"step\":\"disks\",\"state\":\"done\"}",
		"{\"t\":\"change\",\"machine\":\"erp-db\",\"phase\":\"reconfigure\",\"step\":\"guest\",\"mark\":\"~\",\"path\":\"/etc/fstab\",\"text\":\"/etc/fstab +1 -1\",\"diff\":\"--- a\\n+++ b\\n@@ -1 +1 @@\\n-/dev/sda1 /\\n+UUID=1 /\\n\"}",
		"{\"t\":\"change\",\"machine\":\"erp-db\",\"phase\":\"reconfigure\",\"step\":\"guest\",\"mark\":\"?\",\"text\":\"initramfs: at most +9 modules\"}",
		"{\"t\":\"step\",\"machine\":\"erp-db\",\"phase\":\"reconfigure\",\"step\":\"guest\",\"state\":\"unknown\"}",
		"{\"t\":\"step\",\"machine\":\"erp-db\",\"phase\":\"validate\",\"step\":\"boot\",\"state\":\"failed\",\"error\":\"cannot run 'qemu': not found\",\"hint\":\"apt install qemu-system-x86\",\"place\":\"erp.yaml:9:3\"}",
		"{\"t\":\"end\",\"status\":1,\"ms\":250000,\"ms90\":500000,\"measured\":2,\"assumed\":1,\"next\":\"drover preview erp.yaml\"}", NULL });
	screenrig_says(r,
		"erp  run preview  erp.yaml  2 hosts asked, 0 changed\n"
		"\n"
		"BLOCKER  erp-db   net.ip-in-use: 10.1.0.6 answers\n"
		"                  mend: release it\n"
		"warning  erp-db   clock: db1 is 41 s ahead\n"
		"accepted erp-db   disk.old: old\n"
		"                  reason: CHG123\n"
		"\n"
		"erp-db  db1 -> kvm1, serves: source, est. 4m00s\n"
		"  assess       machine  = asked\n"
		"  convert      disks    + root 40 GiB -> root.qcow2\n"
		"                        . scratch is not copied\n"
		"                        read 40.0 GiB, send 12.0 GiB, est. 4m00s\n"
		"  reconfigure  guest    ~ /etc/fstab  +1 -1\n"
		"                          @@ -1 +1 @@\n"
		"                          -/dev/sda1 /\n"
		"                          +UUID=1 /\n"
		"                        ? initramfs: at most +9 modules\n"
		"  validate     boot     FAILED: cannot run 'qemu': not found\n"
		"                        apt install qemu-system-x86\n"
		"                        the step stands at erp.yaml:9:3\n"
		"\n"
		"The cutover is NOT part of this run; preview it with:\n"
		"drover cutover erp.yaml --preview\n"
		"\n"
		"1 machine:  + 1  ~ 1  - 0  ? 1   12.0 GiB to send, est. 4m10s (P90 8m20s)\n"
		"Times are estimates, from earlier runs; 1 of 3 steps was not measured yet.\n"
		"1 step could not be asked\n"
		"1 blocker: a run will refuse\n"
		"Next: drover preview erp.yaml\n");
}

static char *downtime_line(const char *event)
{
	struct screenrig *r = screenrig_new(false);
	const char *line, *end;
	char *text;

	screenrig_feed(r, (const char *const []){
		"{\"t\":\"start\",\"kind\":\"cutover-preview\",\"plan\":\"p\",\"file\":\"p.yaml\",\"machines\":[\"m\"],\"hosts\":[]}",
		event, "{\"t\":\"end\",\"status\":0}", NULL });
	screenrig_close(r);
	line = strstr(r->text, "  downtime");
	end = line ? strstr(line, "\n\n") : NULL;
	text = mem_strndup(end ? line : "", end ? (size_t)(end - line) : 0);
	screenrig_free(r);
	return text;
}

static void a_downtime_is_held_against_what_the_plan_allows(void **state)
{
	static const struct { const char *event, *line; } rows[] = {
		{ "{\"t\":\"downtime\",\"machine\":\"m\",\"ms\":240000,\"ms90\":540000,\"allowed_ms\":600000}",
		  "  downtime     est. 4m00s (P90 9m00s), within the 10m00s that the plan allows" },
		{ "{\"t\":\"downtime\",\"machine\":\"m\",\"ms\":240000,\"ms90\":540000,\"allowed_ms\":300000}",
		  "  downtime     est. 4m00s (P90 9m00s), perhaps more than the 5m00s that the plan\n"
		  "               allows" },
		{ "{\"t\":\"downtime\",\"machine\":\"m\",\"ms\":240000,\"ms90\":540000,\"allowed_ms\":60000}",
		  "  downtime     est. 4m00s (P90 9m00s), MORE than the 1m00s that the plan allows" },
		{ "{\"t\":\"downtime\",\"machine\":\"m\",\"ms\":240000,\"ms90\":540000}",
		  "  downtime     est. 4m00s (P90 9m00s)" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_FREE char *line = downtime_line(rows[i].event);

		assert_string_equal(line, rows[i].line);
	}
}

static const char *const long_diff[] = {
	"{\"t\":\"start\",\"kind\":\"rollback-preview\",\"plan\":\"p\",\"file\":\"p.yaml\",\"machines\":[\"m\"],\"hosts\":[\"h\"]}",
	"{\"t\":\"lost\",\"machine\":\"m\",\"text\":\"3 MiB written since 10:00\"}",
	"{\"t\":\"change\",\"machine\":\"m\",\"phase\":\"convert\",\"step\":\"x\",\"mark\":\"~\",\"text\":\"f\",\"diff\":\"+1\\n+2\\n+3\\n+4\\n+5\\n+6\\n+7\\n+8\\n+9\\n+10\\n+11\\n+12\\n+13\\n\"}",
	"{\"t\":\"end\",\"status\":0}", NULL };

static void a_long_diff_is_shown_when_asked_for(void **state)
{
	struct screenrig *r = screenrig_new(false);

	(void)state;
	screenrig_feed(r, long_diff);
	screenrig_says(r,
		"p  rollback preview  p.yaml  1 host asked, 0 changed\n"
		"\n"
		"LOST     m  3 MiB written since 10:00\n"
		"\n"
		"m\n"
		"  convert      x       ~ f  +13 -0  [--diff]\n"
		"\n"
		"1 machine:  + 0  ~ 1  - 0  ? 0\n"
		"--diff shows every diff whole\n");
	r = screenrig_new(false);
	r->o.diff = true;
	screenrig_feed(r, long_diff);
	screenrig_close(r);
	assert_non_null(strstr(r->text, "+13 -0\n                         +1\n"));
	assert_null(strstr(r->text, "--diff"));
	screenrig_free(r);
}

static void control_characters_of_hosts_are_shown(void **state)
{
	struct screenrig *r = screenrig_new(false);

	(void)state;
	screenrig_feed(r, (const char *const []){
		"{\"t\":\"start\",\"kind\":\"preview\",\"plan\":\"p\",\"file\":\"p.yaml\",\"machines\":[\"m\"],\"hosts\":[]}",
		"{\"t\":\"change\",\"machine\":\"m\",\"phase\":\"convert\",\"step\":\"x\",\"mark\":\"+\",\"text\":\"a\\u001b]0;evil\\u0007\"}",
		"{\"t\":\"end\",\"status\":0}", NULL });
	screenrig_says(r,
		"p  run preview  p.yaml  0 hosts asked, 0 changed\n"
		"\n"
		"m\n"
		"  convert      x       + a\\x1b]0;evil\\x07\n"
		"\n"
		"1 machine:  + 1  ~ 0  - 0  ? 0\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_preview_is_one_page),
		cmocka_unit_test(a_downtime_is_held_against_what_the_plan_allows),
		cmocka_unit_test(a_long_diff_is_shown_when_asked_for),
		cmocka_unit_test(control_characters_of_hosts_are_shown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
