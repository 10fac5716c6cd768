/* SPDX-License-Identifier: Apache-2.0
 * clock - the real clock, and one for tests that moves only when told.
 */
#include "engine/base/clock.h"

#include "engine/base/io.h"
#include "engine/base/mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static uint64_t real_mono(void *arg)
{
	struct timespec ts;

	(void)arg;
	/* Not CLOCK_MONOTONIC: a hold at the source runs out while this machine sleeps. */
	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void real_boot(void *arg, char id[CLOCK_BOOT])
{
	AUTO_FREE char *said = io_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 128,
					    NULL);

	(void)arg;
	snprintf(id, CLOCK_BOOT, "%.*s", said ? (int)strcspn(said, "\n") : 0, said ? said : "");
}

static int64_t real_wall(void *arg)
{
	(void)arg;
	return (int64_t)time(NULL);
}

const struct clock clock_real = { real_mono, real_boot, real_wall, NULL, NULL };

static uint64_t fake_mono(void *arg)
{
	return ((struct clock_fake *)arg)->now_ms;
}

static void fake_boot(void *arg, char id[CLOCK_BOOT])
{
	snprintf(id, CLOCK_BOOT, "%s", ((struct clock_fake *)arg)->boot);
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
	f->clock = (struct clock){ fake_mono, fake_boot, fake_wall, fake_advance, f };
	f->now_ms = 1000;
	f->wall0_s = 1800000000;
	f->boot = "fake";
}

void clock_iso(int64_t wall_s, char out[21])
{
	time_t t = (time_t)wall_s;
	struct tm tm;

	gmtime_r(&t, &tm);
	if (strftime(out, 21, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		out[0] = '\0';
}
