/* SPDX-License-Identifier: Apache-2.0
 * clock - the real clock, and one for tests that moves only when told.
 */
#include "engine/base/clock.h"

#include <time.h>

static uint64_t real_mono(void *arg)
{
	struct timespec ts;

	(void)arg;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static int64_t real_wall(void *arg)
{
	(void)arg;
	return (int64_t)time(NULL);
}

const struct clock clock_real = { real_mono, real_wall, NULL, NULL };

static uint64_t fake_mono(void *arg)
{
	return ((struct clock_fake *)arg)->now_ms;
}

static int64_t fake_wall(void *arg)
{
	struct clock_fake *f = arg;

	return f->wall0_s + (int64_t)(f->now_ms / 1000);
}

static void fake_advance(void *arg, uint64_t mono_ms)
{
	struct clock_fake *f = arg;

	if (mono_ms > f->now_ms)
		f->now_ms = mono_ms;
}

void clock_fake_init(struct clock_fake *f)
{
	f->clock = (struct clock){ fake_mono, fake_wall, fake_advance, f };
	f->now_ms = 1000;
	f->wall0_s = 1800000000;
}

void clock_iso(int64_t wall_s, char out[21])
{
	time_t t = (time_t)wall_s;
	struct tm tm;

	gmtime_r(&t, &tm);
	if (strftime(out, 21, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		out[0] = '\0';
}
