/* SPDX-License-Identifier: Apache-2.0
 * clock - the only source of time. Timeouts use mono; wall is for display.
 */
#ifndef DROVER_CLOCK_H
#define DROVER_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLOCK_BOOT 40

struct clock {
	uint64_t (*mono_ms)(void *arg);	/* since the machine's boot, asleep or not; never
					   goes back */
	/* Which boot that was: two processes that read the same may compare mono_ms. ""
	 * when it cannot be told. */
	void (*boot)(void *arg, char id[CLOCK_BOOT]);
	int64_t (*wall_s)(void *arg);	/* seconds since the epoch, UTC */
	/* A virtual clock jumps here instead of waiting; NULL for the real one. */
	void (*advance_to)(void *arg, uint64_t mono_ms);
	void *arg;
};

extern const struct clock clock_real;

/* A clock that moves only when told (tests). */
struct clock_fake {
	struct clock clock;
	uint64_t now_ms;
	int64_t wall0_s;
	const char *boot;
};
void clock_fake_init(struct clock_fake *f);

/* "2026-02-01T10:00:00Z", 21 bytes with the NUL. */
void clock_iso(int64_t wall_s, char out[21]);

#endif
