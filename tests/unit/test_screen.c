/* SPDX-License-Identifier: Apache-2.0
 * The screen: recorded events in, the whole text out.
 */
#include "engine/base/mem.h"
#include "engine/cli/screen.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct rig {
	struct clock_fake clock;
	struct screen_options o;
	struct screen *s;
	char *text;
	size_t len;
	int width;
};

static int width_of(void *arg)
{
	return ((struct rig *)arg)->width;
}

static struct rig *rig_new(bool live)
{
	struct rig *r = mem_alloc(sizeof(*r));

	clock_fake_init(&r->clock);
	r->width = 80;
	r->o = (struct screen_options){ .out = open_memstream(&r->text, &r->len), .live = live,
		.clock = &r->clock.clock, .width = width_of, .arg = r };
	return r;
}

/* Feed events, one a line; the time is put in. */
static void feed(struct rig *r, const char *const *lines)
{
	if (!r->s)
		r->s = screen_new(&r->o);
	for (; *lines; lines++) {
		AUTO_ERR e = {0};
		AUTO_JSON *ev = json_parse(*lines, strlen(*lines), &e);

		if (!ev)
			fail_msg("%s: %s", *lines, e.what);
		jset_str(ev, "at", "2026-11-21T10:00:03Z");
		screen_event(r->s, ev);
	}
}

static void expect_end(struct rig *r, const char *want)
{
	screen_free(r->s);
	fclose(r->o.out);
	assert_string_equal(r->text, want);
	free(r->text);
	free(r);
}

/* ---- previews ------------------------------------------------------------ */

static void a_preview_is_one_page(void **state)
{
	struct rig *r = rig_new(false);

	(void)state;
	r->s = screen_new(&r->o);
	screen_machine(r->s, "erp-db", "db1 -> kvm1", "source");
	feed(r, (const char *const []){
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
	expect_end(r,
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
	struct rig *r = rig_new(false);
	char *line, *text;

	feed(r, (const char *const []){
		"{\"t\":\"start\",\"kind\":\"cutover-preview\",\"plan\":\"p\",\"file\":\"p.yaml\",\"machines\":[\"m\"],\"hosts\":[]}",
		event, "{\"t\":\"end\",\"status\":0}", NULL });
	screen_free(r->s);
	fclose(r->o.out);
	line = strstr(r->text, "  downtime");
	text = mem_strndup(line ? line : "", line ? strcspn(line, "\n") : 0);
	free(r->text);
	free(r);
	return text;
}

static void a_downtime_is_held_against_what_the_plan_allows(void **state)
{
	static const struct { const char *event, *line; } rows[] = {
		{ "{\"t\":\"downtime\",\"machine\":\"m\",\"ms\":240000,\"ms90\":540000,\"allowed_ms\":600000}",
		  "  downtime     est. 4m00s (P90 9m00s), within the 10m00s that the plan allows" },
		{ "{\"t\":\"downtime\",\"machine\":\"m\",\"ms\":240000,\"ms90\":540000,\"allowed_ms\":300000}",
		  "  downtime     est. 4m00s (P90 9m00s), perhaps more than the 5m00s that the plan allows" },
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
	struct rig *r = rig_new(false);

	(void)state;
	feed(r, long_diff);
	expect_end(r,
		"p  rollback preview  p.yaml  1 host asked, 0 changed\n"
		"\n"
		"LOST     m  3 MiB written since 10:00\n"
		"\n"
		"m\n"
		"  convert      x       ~ f  +13 -0  [--diff]\n"
		"\n"
		"1 machine:  + 0  ~ 1  - 0  ? 0\n"
		"--diff shows every diff whole\n");
	r = rig_new(false);
	r->o.diff = true;
	feed(r, long_diff);
	screen_free(r->s);
	fclose(r->o.out);
	assert_non_null(strstr(r->text, "+13 -0\n                         +1\n"));
	assert_null(strstr(r->text, "--diff"));
	free(r->text);
	free(r);
}

static void control_characters_of_hosts_are_shown(void **state)
{
	struct rig *r = rig_new(false);

	(void)state;
	feed(r, (const char *const []){
		"{\"t\":\"start\",\"kind\":\"preview\",\"plan\":\"p\",\"file\":\"p.yaml\",\"machines\":[\"m\"],\"hosts\":[]}",
		"{\"t\":\"change\",\"machine\":\"m\",\"phase\":\"convert\",\"step\":\"x\",\"mark\":\"+\",\"text\":\"a\\u001b]0;evil\\u0007\"}",
		"{\"t\":\"end\",\"status\":0}", NULL });
	expect_end(r,
		"p  run preview  p.yaml  0 hosts asked, 0 changed\n"
		"\n"
		"m\n"
		"  convert      x       + a\\x1b]0;evil\\x07\n"
		"\n"
		"1 machine:  + 1  ~ 0  - 0  ? 0\n");
}

static void long_lines_are_wrapped_and_no_path_or_command_is_broken(void **state)
{
	struct rig *r = rig_new(false);

	(void)state;
	feed(r, (const char *const []){
		"{\"t\":\"start\",\"kind\":\"run\",\"plan\":\"p\",\"file\":\"p.yaml\",\"machines\":[\"m\"],\"hosts\":[]}",
		"{\"t\":\"finding\",\"machine\":\"m\",\"severity\":\"warning\",\"code\":\"disk.busy\",\"text\":\"disk 'root' (/var/lib/libvirt/images/a-long-name-of-an-image.raw) is in use by another program on the source\",\"remedy\":\"shut the machine down, or let cutover quiesce it\"}",
		"{\"t\":\"log\",\"machine\":\"m\",\"text\":\"the step is asked again; to see it, type drover status p.yaml --machine m --until convert and look\"}",
		"{\"t\":\"step\",\"machine\":\"m\",\"phase\":\"convert\",\"step\":\"disks\",\"state\":\"failed\",\"error\":\"cannot go on with disk 'root': it has 2147483648 bytes now, the copy was begun with 1073741824\",\"hint\":\"drover rollback p.yaml --to convert, then drover run p.yaml\"}",
		NULL });
	expect_end(r,
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

/* ---- runs ---------------------------------------------------------------- */

static const char *const begin[] = {
	"{\"t\":\"start\",\"kind\":\"run\",\"plan\":\"erp\",\"file\":\"erp.yaml\",\"run\":\"7f3a2c11\",\"machines\":[\"erp-db\",\"erp-web\"],\"hosts\":[\"db1\"]}",
	"{\"t\":\"serves\",\"machine\":\"erp-db\",\"who\":\"source\"}",
	"{\"t\":\"step\",\"machine\":\"erp-db\",\"phase\":\"assess\",\"step\":\"machine\",\"state\":\"unchanged\",\"took_ms\":10}",
	"{\"t\":\"step\",\"machine\":\"erp-db\",\"phase\":\"convert\",\"step\":\"disks\",\"state\":\"running\"}", NULL };
static const char *const progress[] = {
	"{\"t\":\"progress\",\"machine\":\"erp-db\",\"phase\":\"convert\",\"step\":\"disks\",\"done\":11811160064,\"total\":42949672960,\"unit\":\"bytes\",\"what\":\"root\",\"rate\":222298112,\"left_ms\":140000}", NULL };

static void a_run_without_a_terminal_is_plain_lines(void **state)
{
	struct rig *r = rig_new(false);

	(void)state;
	feed(r, begin);
	feed(r, progress);		/* too early to be told */
	r->clock.now_ms += 10000;
	feed(r, progress);
	feed(r, progress);		/* told a moment ago */
	screen_tick(r->s);		/* nothing is redrawn */
	feed(r, (const char *const []){
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
	expect_end(r,
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
	struct rig *r = rig_new(false);

	(void)state;
	feed(r, (const char *const []){
		"{\"t\":\"start\",\"kind\":\"cutover\",\"plan\":\"erp\",\"file\":\"erp.yaml\",\"run\":\"7f3a2c11\",\"machines\":[\"db\"],\"hosts\":[\"a\"]}",
		"{\"t\":\"figures\",\"machine\":\"db\",\"still\":\"frozen\",\"still_ms\":3281,\"down_ms\":77460,\"changes\":\"trace\",\"proof\":{\"root\":\"5f0c2a118d00ffff\"}}",
		"{\"t\":\"end\",\"status\":0,\"bytes\":0,\"ms\":80000,\"next\":\"drover finalize erp.yaml\"}", NULL });
	expect_end(r,
		"erp  cutover  erp.yaml  run 7f3a2c11  1 machine, 1 host\n\n"
		"machine  serves   took\n"
		"db       -        -\n\n"
		"db: frozen for 3.2s until it was off, nobody served for 1m17s, changes by traced\n"
		"  writes, proven: root 5f0c2a118d00\n\n"
		"cutover: done, 1m20s\n"
		"Next: drover finalize erp.yaml\n");
}

static void a_name_that_is_too_wide_has_a_line_of_its_own(void **state)
{
	struct rig *r = rig_new(false);

	(void)state;
	feed(r, (const char *const []){
		"{\"t\":\"start\",\"kind\":\"run\",\"plan\":\"p\",\"file\":\"p.yaml\",\"machines\":[\"the-machine-of-a-department-with-a-long-name\",\"b\"],\"hosts\":[]}",
		"{\"t\":\"step\",\"machine\":\"the-machine-of-a-department-with-a-long-name\",\"phase\":\"convert\",\"step\":\"x\",\"state\":\"done\"}",
		"{\"t\":\"step\",\"machine\":\"b\",\"phase\":\"convert\",\"step\":\"x\",\"state\":\"done\"}",
		"{\"t\":\"finding\",\"machine\":\"the-machine-of-a-department-with-a-long-name\",\"severity\":\"warning\",\"code\":\"net.mtu\",\"text\":\"9000 here\"}",
		"{\"t\":\"end\",\"status\":0,\"ms\":5}", NULL });
	expect_end(r,
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
	struct rig *r = rig_new(false);

	(void)state;
	feed(r, (const char *const []){
		"{\"t\":\"start\",\"kind\":\"run\",\"plan\":\"p\",\"file\":\"p.yaml\",\"machines\":[\"m\"],\"hosts\":[\"a\"]}",
		"{\"t\":\"host\",\"host\":\"a\",\"state\":\"down\",\"error\":\"no answer\",\"hint\":\"is sshd running?\"}",
		"{\"t\":\"host\",\"host\":\"a\",\"state\":\"connecting\"}",
		"{\"t\":\"host\",\"host\":\"a\",\"state\":\"down\",\"error\":\"no answer\",\"hint\":\"is sshd running?\"}",
		"{\"t\":\"step\",\"machine\":\"m\",\"phase\":\"convert\",\"step\":\"disks\",\"state\":\"failed\",\"error\":\"host 'a': no answer\",\"hint\":\"is sshd running?\",\"place\":\"p.yaml:7:9\"}",
		"{\"t\":\"host\",\"host\":\"a\",\"state\":\"ready\"}",
		"{\"t\":\"host\",\"host\":\"a\",\"state\":\"down\",\"error\":\"no answer\",\"hint\":\"is sshd running?\"}",
		NULL });
	expect_end(r,
		"p  run  p.yaml  1 machine, 1 host\n"
		"10:00:03  host a  DOWN: no answer\n"
		"            is sshd running?\n"
		"10:00:03  m        convert.disks         FAILED: host a is DOWN, see above\n"
		"                   the step stands at p.yaml:7:9\n"
		"10:00:03  host a  DOWN: no answer\n"
		"            is sshd running?\n");
}

static void a_terminal_shows_progress_that_is_redrawn_in_place(void **state)
{
	struct rig *r = rig_new(true);

	(void)state;
	feed(r, begin);
	screen_tick(r->s);
	screen_tick(r->s);		/* too soon */
	r->clock.now_ms += 2000;
	screen_tick(r->s);
	r->clock.now_ms += 1000;
	feed(r, progress);
	r->width = 62;
	screen_tick(r->s);
	r->width = 40;			/* made narrower: the line now takes two rows */
	feed(r, (const char *const []){
		"{\"t\":\"step\",\"machine\":\"erp-db\",\"phase\":\"convert\",\"step\":\"disks\",\"state\":\"done\"}", NULL });
	expect_end(r,
		"erp  run  erp.yaml  run 7f3a2c11  2 machines, 1 host\n"
		"erp-db   convert.disks  running\n"
		"\r\x1b[1A\x1b[J"
		"erp-db   convert.disks  running 2s\n"
		"\r\x1b[1A\x1b[J"
		"erp-db   convert.disks  root  11.0 GiB of 40.0 GiB  27%  212 \n"
		"\r\x1b[2A\x1b[J"
		"10:00:03  erp-db   convert.disks         done\n");
}

static void one_disk_of_several_is_shown_beside_all(void **state)
{
	struct rig *r = rig_new(false);

	(void)state;
	feed(r, begin);
	r->clock.now_ms += 60000;
	feed(r, (const char *const []){
		"{\"t\":\"progress\",\"machine\":\"erp-db\",\"phase\":\"convert\",\"step\":\"disks\",\"done\":11811160064,\"total\":42949672960,\"unit\":\"bytes\",\"what\":\"data\",\"pass\":2,\"part\":{\"done\":1073741824,\"total\":2147483648}}", NULL });
	expect_end(r,
		"erp  run  erp.yaml  run 7f3a2c11  2 machines, 1 host\n"
		"10:00:03  erp-db   convert.disks         data pass 2 50%  11.0 GiB of 40.0 GiB  27%\n");
}

static void how_long_it_waits_is_told_before_what_for(void **state)
{
	struct rig *r = rig_new(true);

	(void)state;
	feed(r, begin);
	r->width = 48;
	feed(r, (const char *const []){
		"{\"t\":\"progress\",\"machine\":\"erp-db\",\"phase\":\"convert\",\"step\":\"disks\",\"done\":65,\"unit\":\"s\",\"what\":\" Booting a kernel of a name too long\"}", NULL });
	screen_tick(r->s);
	expect_end(r,
		"erp  run  erp.yaml  run 7f3a2c11  2 machines, 1 host\n"
		"erp-db   convert.disks  1m05s  Booting a kernel\n"
		"\r\x1b[1A\x1b[J");
}

static void what_hangs_below_a_finding_is_under_it_also_on_a_terminal(void **state)
{
	struct rig *r = rig_new(true);

	(void)state;
	feed(r, begin);
	screen_tick(r->s);		/* the finding comes where the progress was */
	feed(r, (const char *const []){
		"{\"t\":\"finding\",\"machine\":\"erp-db\",\"severity\":\"blocker\",\"code\":\"disk.old\",\"text\":\"old\",\"waived\":\"CHG123\"}", NULL });
	expect_end(r,
		"erp  run  erp.yaml  run 7f3a2c11  2 machines, 1 host\n"
		"erp-db   convert.disks  running\n"
		"\r\x1b[1A\x1b[J"
		"10:00:03  accepted erp-db   disk.old: old\n"
		"                            reason: CHG123\n");
}

#define PASS(STATE) "{\"t\":\"step\",\"machine\":\"erp-db\",\"phase\":\"convert\",\"step\":\"disks\",\"state\":\"" STATE "\"}"
#define REST(MS) "{\"t\":\"rest\",\"machine\":\"erp-db\",\"phase\":\"convert\",\"step\":\"disks\",\"ms\":" MS "}"

static void a_terminal_counts_down_to_the_next_pass(void **state)
{
	struct rig *r = rig_new(true);

	(void)state;
	feed(r, begin);
	feed(r, (const char *const []){ PASS("done"), REST("41500"), NULL });
	screen_tick(r->s);
	r->clock.now_ms += 41600;	/* it begins within a moment */
	screen_tick(r->s);
	r->clock.now_ms += 1000;	/* another machine is at it */
	screen_tick(r->s);
	feed(r, (const char *const []){ REST("0"), NULL });
	r->clock.now_ms += 1000;
	screen_tick(r->s);
	feed(r, (const char *const []){ REST("2000"), PASS("running"), NULL });
	screen_tick(r->s);
	expect_end(r,
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

static void a_plain_log_says_once_when_the_next_pass_comes(void **state)
{
	struct rig *r = rig_new(false);

	(void)state;
	feed(r, begin);
	feed(r, (const char *const []){ PASS("done"), REST("41500"), NULL });
	r->clock.now_ms += 20000;
	screen_tick(r->s);
	feed(r, (const char *const []){ REST("0"), NULL });
	expect_end(r,
		"erp  run  erp.yaml  run 7f3a2c11  2 machines, 1 host\n"
		"10:00:03  erp-db   convert.disks         done\n"
		"10:00:03  erp-db   next pass in 42s\n");
}

static void begin_forty(struct rig *r)
{
	AUTO_JSON *start = json_pack("{s:s, s:s, s:s, s:s, s:[], s:[]}", "t", "start", "kind",
		"run", "plan", "p", "file", "p.yaml", "machines", "hosts");
	AUTO_FREE char *begins = NULL;

	for (int i = 0; i < 40; i++)
		json_array_append_new(json_object_get(start, "machines"), json_sprintf("m%02d", i));
	begins = json_dumps(start, 0);
	feed(r, (const char *const []){ begins, NULL });
}

static void of_many_machines_it_is_told_how_many_have_begun(void **state)
{
	struct rig *r = rig_new(true);

	(void)state;
	begin_forty(r);
	feed(r, (const char *const []){
		"{\"t\":\"step\",\"machine\":\"m02\",\"phase\":\"convert\",\"step\":\"disks\",\"state\":\"failed\",\"error\":\"no space\"}",
		"{\"t\":\"step\",\"machine\":\"m01\",\"phase\":\"convert\",\"step\":\"disks\",\"state\":\"running\"}", NULL });
	screen_tick(r->s);
	expect_end(r,
		"p  run  p.yaml  40 machines, 0 hosts\n"
		"10:00:03  m02      convert.disks         FAILED: no space\n"
		"m01      convert.disks  running\n"
		"2 of 40 machines begun, 1 FAILED\n"
		"\r\x1b[2A\x1b[J");
}

static void of_many_machines_those_that_are_well_are_counted(void **state)
{
	struct rig *r = rig_new(false);

	(void)state;
	begin_forty(r);
	for (int i = 0; i < 38; i++) {
		AUTO_FREE char *ev = mem_printf("{\"t\":\"step\",\"machine\":\"m%02d\",\"phase\":"
			"\"convert\",\"step\":\"disks\",\"state\":\"%s\",\"error\":%s}", i,
			i == 7 ? "failed" : "unchanged", i == 7 ? "\"no space\"" : "null");

		feed(r, (const char *const []){ ev, NULL });
	}
	feed(r, (const char *const []){ "{\"t\":\"end\",\"status\":1,\"ms\":5000}", NULL });
	expect_end(r,
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
	struct rig *r = rig_new(false);

	(void)state;
	r->o.color = true;
	feed(r, begin);
	feed(r, (const char *const []){
		"{\"t\":\"step\",\"machine\":\"erp-db\",\"phase\":\"convert\",\"step\":\"disks\",\"state\":\"done\"}", NULL });
	expect_end(r,
		"\x1b[1merp  run\x1b[0m  erp.yaml  run 7f3a2c11  2 machines, 1 host\n"
		"\x1b[2m10:00:03\x1b[0m  erp-db   convert.disks         \x1b[32mdone\x1b[0m\n");
}

static void wide_characters_keep_the_columns(void **state)
{
	struct rig *r = rig_new(false);

	(void)state;
	feed(r, (const char *const []){
		"{\"t\":\"start\",\"kind\":\"run\",\"plan\":\"p\",\"file\":\"p.yaml\",\"machines\":[\"日本語機械\",\"b\"],\"hosts\":[]}",
		"{\"t\":\"step\",\"machine\":\"b\",\"phase\":\"convert\",\"step\":\"x\",\"state\":\"done\"}", NULL });
	expect_end(r,
		"p  run  p.yaml  2 machines, 0 hosts\n"
		"10:00:03  b           convert.x             done\n");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_preview_is_one_page),
		cmocka_unit_test(a_downtime_is_held_against_what_the_plan_allows),
		cmocka_unit_test(a_long_diff_is_shown_when_asked_for),
		cmocka_unit_test(control_characters_of_hosts_are_shown),
		cmocka_unit_test(long_lines_are_wrapped_and_no_path_or_command_is_broken),
		cmocka_unit_test(a_run_without_a_terminal_is_plain_lines),
		cmocka_unit_test(what_a_cutover_cost_is_told_in_times_that_people_read),
		cmocka_unit_test(a_name_that_is_too_wide_has_a_line_of_its_own),
		cmocka_unit_test(a_host_that_stays_down_is_told_once),
		cmocka_unit_test(a_terminal_shows_progress_that_is_redrawn_in_place),
		cmocka_unit_test(one_disk_of_several_is_shown_beside_all),
		cmocka_unit_test(how_long_it_waits_is_told_before_what_for),
		cmocka_unit_test(what_hangs_below_a_finding_is_under_it_also_on_a_terminal),
		cmocka_unit_test(a_terminal_counts_down_to_the_next_pass),
		cmocka_unit_test(a_plain_log_says_once_when_the_next_pass_comes),
		cmocka_unit_test(of_many_machines_it_is_told_how_many_have_begun),
		cmocka_unit_test(of_many_machines_those_that_are_well_are_counted),
		cmocka_unit_test(colours_are_there_when_asked_for),
		cmocka_unit_test(wide_characters_keep_the_columns),
	};

	setlocale(LC_CTYPE, "C.UTF-8");
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
