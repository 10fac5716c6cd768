/* SPDX-License-Identifier: Apache-2.0
 * screenrig - see the header.
 */
#include "tests/unit/screenrig.h"

#include "engine/base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int width_of(void *arg)
{
	return ((struct screenrig *)arg)->width;
}

struct screenrig *screenrig_new(bool live)
{
	struct screenrig *r = mem_alloc(sizeof(*r));

	clock_fake_init(&r->clock);
	r->width = 80;
	r->o = (struct screen_options){ .out = open_memstream(&r->text, &r->len), .live = live,
		.clock = &r->clock.clock, .width = width_of, .arg = r };
	return r;
}

void screenrig_feed(struct screenrig *r, const char *const *lines)
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

void screenrig_close(struct screenrig *r)
{
	screen_free(r->s);
	fclose(r->o.out);
}

void screenrig_free(struct screenrig *r)
{
	free(r->text);
	free(r);
}

void screenrig_says(struct screenrig *r, const char *want)
{
	screenrig_close(r);
	assert_string_equal(r->text, want);
	screenrig_free(r);
}

/* ---- runs that have begun ---------------------------------------------- */

const char *const screenrig_begin[] = {
	"{\"t\":\"start\",\"kind\":\"run\",\"plan\":\"erp\",\"file\":\"erp.yaml\",\"run\":\"7f3a2c11\",\"machines\":[\"erp-db\",\"erp-web\"],\"hosts\":[\"db1\"]}",
	"{\"t\":\"serves\",\"machine\":\"erp-db\",\"who\":\"source\"}",
	"{\"t\":\"step\",\"machine\":\"erp-db\",\"phase\":\"assess\",\"step\":\"machine\",\"state\":\"unchanged\",\"took_ms\":10}",
	"{\"t\":\"step\",\"machine\":\"erp-db\",\"phase\":\"convert\",\"step\":\"disks\",\"state\":\"running\"}", NULL };
const char *const screenrig_progress[] = {
	"{\"t\":\"progress\",\"machine\":\"erp-db\",\"phase\":\"convert\",\"step\":\"disks\",\"done\":11811160064,\"total\":42949672960,\"unit\":\"bytes\",\"what\":\"root\",\"rate\":222298112,\"left_ms\":140000}", NULL };

void screenrig_begin_forty(struct screenrig *r)
{
	AUTO_JSON *start = json_pack("{s:s, s:s, s:s, s:s, s:[], s:[]}", "t", "start", "kind",
		"run", "plan", "p", "file", "p.yaml", "machines", "hosts");
	AUTO_FREE char *begins = NULL;

	for (int i = 0; i < 40; i++)
		json_array_append_new(json_object_get(start, "machines"), json_sprintf("m%02d", i));
	begins = json_dumps(start, 0);
	screenrig_feed(r, (const char *const []){ begins, NULL });
}
