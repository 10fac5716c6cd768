/* SPDX-License-Identifier: Apache-2.0
 * How hard a stream compresses, on links and data that are only numbers.
 */
#include "engine/base/mem.h"
#include "modules/lib/zip.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MIB 1048576.0
#define THREADS 2

/* What a level costs and gains: MiB a second of one thread (reading and digesting
 * included), and what is left of a byte. */
struct data { double speed[8], shrunk[8]; };

static const struct data text = {
	.speed = { 1000, 280, 220, 150, 90, 60, 45, 30 },
	.shrunk = { 1.0, 0.40, 0.37, 0.34, 0.33, 0.31, 0.30, 0.29 },
};
static const struct data noise = {
	.speed = { 1000, 700, 650, 600, 550, 500, 450, 400 },
	.shrunk = { 1, 1, 1, 1, 1, 1, 1, 1 },
};

struct link { struct zip z; double now; };

static void begin(struct link *l)
{
	l->now = 1e9;
	zip_begin(&l->z, THREADS, (uint64_t)l->now);
}

/* So many MiB over a link of `rate` MiB/s; the plain MiB/s that this gave. */
static double send(struct link *l, const struct data *d, double rate, int mib)
{
	double start = l->now;

	for (int i = 0; i < mib; i++) {
		int level = zip_level(&l->z);
		double cpu = 1e9 / d->speed[level], wire = 1e9 * d->shrunk[level] / rate;
		double each = cpu / THREADS > wire ? cpu / THREADS : wire;

		l->now += each;
		zip_note(&l->z, (uint64_t)l->now, (uint64_t)MIB,
			 (uint64_t)(MIB * d->shrunk[level]), (uint64_t)(each * THREADS - cpu));
	}
	return mib * 1e9 / (l->now - start);
}

static void a_fast_link_is_not_kept_waiting(void **state)
{
	struct link l;

	(void)state;
	begin(&l);
	assert_true(send(&l, &text, 5000, 4096) > 1900);
	assert_int_equal(zip_level(&l.z), 0);
}

static void a_slower_link_takes_what_is_compressed(void **state)
{
	struct link l;

	(void)state;
	begin(&l);
	send(&l, &text, 110, 2048);
	assert_in_range(zip_level(&l.z), 1, 2);
	/* nearly all that two threads can compress */
	assert_true(send(&l, &text, 110, 2048) > 250);
}

static void the_slowest_link_gets_the_fewest_bytes(void **state)
{
	struct link l;

	(void)state;
	begin(&l);
	send(&l, &text, 1, 256);
	assert_int_equal(zip_level(&l.z), 7);
}

static void what_does_not_shrink_goes_plain(void **state)
{
	struct link l;

	(void)state;
	begin(&l);
	send(&l, &noise, 10, 4096);
	assert_int_equal(zip_level(&l.z), 0);
}

static void it_follows_the_link(void **state)
{
	struct link l;

	(void)state;
	begin(&l);
	send(&l, &text, 5000, 1024);
	assert_int_equal(zip_level(&l.z), 0);
	send(&l, &text, 2, 256);
	assert_int_equal(zip_level(&l.z), 7);
	send(&l, &text, 5000, 4096);
	assert_int_equal(zip_level(&l.z), 0);
}

static void a_trial_costs_little(void **state)
{
	struct link l;
	double plain = 300;

	(void)state;
	/* compressing gains nothing here and costs much: it is tried now and then */
	begin(&l);
	send(&l, &noise, plain, 1024);
	assert_true(send(&l, &noise, plain, 32768) > plain * 0.98);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_fast_link_is_not_kept_waiting),
		cmocka_unit_test(a_slower_link_takes_what_is_compressed),
		cmocka_unit_test(the_slowest_link_gets_the_fewest_bytes),
		cmocka_unit_test(what_does_not_shrink_goes_plain),
		cmocka_unit_test(it_follows_the_link),
		cmocka_unit_test(a_trial_costs_little),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
