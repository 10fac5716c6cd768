/* SPDX-License-Identifier: Apache-2.0
 * The forecast from measured passes.
 */
#include "engine/base/mem.h"
#include "modules/lib/warm.h"
#include "tests/unit/convertrig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#undef MIB
#define MIB (1ull << 20)	/* thousands of them */

/* The wall clock is put on by an hour each time somebody looks at it. */
static bool clock_jumps;

int clock_gettime(clockid_t id, struct timespec *t)
{
	static int looks;
	int rc = (int)syscall(SYS_clock_gettime, id, t);

	if (clock_jumps && id == CLOCK_REALTIME)
		t->tv_sec += 3600 * ++looks;
	return rc;
}

static void add(json_t *passes, int64_t at, uint64_t ms, uint64_t changed)
{
	struct warm_pass p = { .pass = (uint32_t)json_array_size(passes) + 1, .at = at,
		.ms = ms, .read = changed, .changed = changed, .wire = changed };

	warm_add(passes, &p);
}

static void one_pass_tells_nothing(void **s)
{
	AUTO_JSON *passes = json_array();
	struct warm_forecast f;

	(void)s;
	assert_false(warm_forecast(passes, &f));
	add(passes, 1000, 60000, 6000 * MIB);
	assert_false(warm_forecast(passes, &f));
	assert_null(warm_text(passes));
}

/* 2 MiB/s become dirty, 100 MiB/s are carried, a pass takes 500 ms at least. */
static void a_steady_writer_is_forecast_from_its_rate(void **s)
{
	AUTO_JSON *passes = json_array();
	struct warm_forecast f;

	(void)s;
	add(passes, 0, 60000, 6000 * MIB);
	add(passes, 60000, 1700, 120 * MIB);
	add(passes, 70000, 700, 20 * MIB);
	add(passes, 80000, 500, 20 * MIB);
	assert_true(warm_forecast(passes, &f));
	assert_int_equal(f.dirty, 2 * MIB);
	/* 500 ms, and 1 MiB written in them at 102400 bytes a millisecond */
	assert_in_range(f.p50_ms, 509, 511);
	assert_in_range(f.p90_ms, 509, 511);
	assert_false(f.shrinking);
}

/* What a last pass brings was written since the newest one began, however long ago that is. */
static void a_last_pass_brings_what_was_written_since(void **s)
{
	AUTO_JSON *passes = json_array();
	uint64_t bytes, ms;

	(void)s;
	add(passes, 0, 60000, 6000 * MIB);
	assert_false(warm_ahead(passes, 60000, 6000 * MIB, &bytes, &ms));
	add(passes, 60000, 1700, 120 * MIB);
	add(passes, 70000, 500, 20 * MIB);
	assert_true(warm_ahead(passes, 80000, 6000 * MIB, &bytes, &ms));
	assert_int_equal(bytes, 20 * MIB);
	assert_in_range(ms, 699, 701);		/* 500 ms, and 20 MiB at 100 MiB/s */
	assert_true(warm_ahead(passes, 170000, 6000 * MIB, &bytes, &ms));
	assert_int_equal(bytes, 200 * MIB);
	assert_true(warm_ahead(passes, 0, 6000 * MIB, &bytes, &ms));	/* a clock that was put back */
	assert_int_equal(bytes, MIB);
	assert_true(warm_ahead(passes, 1000 * 86400000LL, 6000 * MIB, &bytes, &ms));
	assert_int_equal(bytes, 6000 * MIB);		/* no more than there is */
}

/* As much becomes dirty in a second as can be carried. */
static void passes_end_when_the_downtime_cannot_be_met(void **s)
{
	AUTO_JSON *passes = json_array();

	(void)s;
	add(passes, 0, 60000, 6000 * MIB);
	assert_false(warm_hopeless(passes, 10000));	/* nothing can be said yet */
	add(passes, 60000, 58000, 5800 * MIB);
	add(passes, 118000, 59000, 5900 * MIB);
	assert_true(warm_hopeless(passes, 10000));
	assert_false(warm_hopeless(passes, 600000));
	assert_false(warm_hopeless(passes, 0));		/* the plan does not say */
	add(passes, 177000, 20000, 2000 * MIB);
	assert_false(warm_hopeless(passes, 10000));	/* they shrink: go on */
}

/* Little is written, but a pass seems to begin an hour before the one that it follows. */
static void a_clock_that_is_put_back_ends_no_passes(void **s)
{
	AUTO_JSON *passes = json_array();
	struct warm_forecast f;

	(void)s;
	add(passes, 7200000, 60000, 6000 * MIB);
	add(passes, 3600000, 1000, 120 * MIB);
	add(passes, 3601000, 1000, 120 * MIB);
	assert_false(warm_hopeless(passes, 1500));
	assert_true(warm_forecast(passes, &f));
	assert_int_equal(f.dirty, 2 * MIB);	/* in a minute at least, so long the first took */
}

static void a_pass_takes_no_longer_when_the_clock_is_set(void **s)
{
	struct rig *r = *s;
	AUTO_JSON *source = NULL, *out = NULL;

	clock_jumps = true;
	out = cv_both(r, "convert.disks", &source);
	clock_jumps = false;
	assert_true(jbool(out, "ok", false));
	json_t *pass = json_array_get(jget(source, "facts.warm.volatile.passes"), 0);
	assert_int_equal(jint(pass, "pass", 0), 1);
	assert_in_range(jint(pass, "ms", -1), 0, 3599999);
}

static void a_burst_shows_in_the_ninth_of_ten(void **s)
{
	AUTO_JSON *passes = json_array();
	AUTO_FREE char *text = NULL;
	struct warm_forecast f;

	(void)s;
	add(passes, 0, 10000, 1000 * MIB);
	for (int i = 1; i <= 10; i++)
		add(passes, 10000 * i, 1000, i == 5 || i == 7 ? 100 * MIB : 10 * MIB);
	assert_true(warm_forecast(passes, &f));
	assert_int_equal(f.dirty, MIB);
	assert_in_range(f.p50_ms, 1009, 1011);
	assert_in_range(f.p90_ms, 1099, 1101);
	text = warm_text(passes);	/* nobody takes the middle for all there is */
	assert_non_null(strstr(text, "; 1.0 MiB/s (P50), 10.0 MiB/s (P90) become dirty. "));
}

static void a_clock_that_went_back_divides_by_nothing(void **s)
{
	AUTO_JSON *passes = json_array();
	AUTO_FREE char *text = NULL;
	struct warm_forecast f;

	(void)s;
	add(passes, 50000, 0, 0);
	add(passes, 40000, 0, 0);
	assert_true(warm_forecast(passes, &f));
	assert_int_equal(f.p50_ms, 0);
	text = warm_text(passes);
	assert_non_null(strstr(text, "pass 2: 0 B read"));
}

static void the_oldest_passes_are_forgotten(void **s)
{
	AUTO_JSON *passes = json_array();

	(void)s;
	for (int i = 0; i < 100; i++)
		add(passes, i, 1, 1);
	assert_int_equal(json_array_size(passes), 32);
	assert_int_equal(jint(json_array_get(passes, 0), "at", -1), 68);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_pass_tells_nothing),
		cmocka_unit_test(a_steady_writer_is_forecast_from_its_rate),
		cmocka_unit_test(a_last_pass_brings_what_was_written_since),
		cmocka_unit_test(passes_end_when_the_downtime_cannot_be_met),
		cmocka_unit_test(a_clock_that_is_put_back_ends_no_passes),
		RAW(a_pass_takes_no_longer_when_the_clock_is_set),
		cmocka_unit_test(a_burst_shows_in_the_ninth_of_ten),
		cmocka_unit_test(a_clock_that_went_back_divides_by_nothing),
		cmocka_unit_test(the_oldest_passes_are_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
