/* SPDX-License-Identifier: Apache-2.0
 * test_nights - what may happen to a copy happens to it, in any order, and a model says what
 * must be true after each command (night.h).
 *
 * SEED=n is the first night, SEEDS=n how many there are; a night that fails tells its story.
 * NIGHT_LOUD=1 tells it while it goes on.
 */
#define STRIKE_HERE
#include "engine/base/mem.h"
#include "tests/unit/night.h"
#include "tests/unit/part.h"
#include "tests/unit/strike.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>

#define ACTS 14u
#define NIGHTS 8
#define NIGHTS_QUICK 4

static unsigned commands;	/* of all nights that ended well */

static const char *a_pass(struct night *n)
{
	static const char *const of[] = { "convert.disks", "call.sync", "cutover.pass" };

	return of[n->sent ? night_dice(n, 3) : 0];
}

static void pass(struct night *n)
{
	json_object_set_new(n->r->args, "passes", json_integer((json_int_t)night_dice(n, 2) + 1));
	night_must(n, a_pass(n));
}

/* One attempt; others come before the next one. */
static void unlucky_pass(struct night *n)
{
	enum mishap m = (enum mishap)(night_dice(n, MISHAPS - 1) + 1);

	night_risk(n, a_pass(n), m);
}

static void proof(struct night *n)
{
	if (n->sent)
		night_must(n, "validate.disks");
}

static void last_proof(struct night *n)
{
	if (!n->sent)
		return;
	night_must(n, "cutover.pass");
	night_must(n, "cutover.proof");
}

static void unlucky_proof(struct night *n)
{
	static const enum mishap some[] = { STRIKE_KILL, STRIKE_EIO, UNHEARD, UNHEARD };

	if (n->sent)
		night_risk(n, "validate.disks", some[night_dice(n, 4)]);
	if (n->sent && !n->odd && n->mishap == UNHEARD && n->came)
		night_assert_read(n, "validate.disks");
}

static void other_size(struct night *n)
{
	night_resize(n);
	night_must(n, "convert.disks");
}

static const struct act {
	unsigned weight;
	void (*fn)(struct night *n);
} acts[] = {
	{ 30, night_scribble },
	{ 10, night_other_scribble },
	{ 14, pass },
	{ 18, unlucky_pass },
	{ 4, proof },
	{ 2, last_proof },
	{ 2, unlucky_proof },
	{ 5, night_probe },
	{ 2, other_size },
	{ 3, night_harm_map },
	{ 3, night_harm_base },
	{ 3, night_keep_files },
	{ 3, night_put_back },
	{ 3, night_end_tracker },
	{ 6, night_replan },
	{ 2, night_overrun },
	{ 4, night_medium },
	{ 2, night_undo },
	{ 4, night_backup },
	{ 2, night_restore },
	{ 3, night_seed },
};

static void some_act(struct night *n)
{
	unsigned sum = 0, dice;

	for (size_t i = 0; i < ARRAY_LEN(acts); i++)
		sum += acts[i].weight;
	dice = (unsigned)night_dice(n, sum);
	for (const struct act *a = acts;; dice -= a++->weight)
		if (dice < a->weight) {
			a->fn(n);
			return;
		}
}

/* In the end all is as it should be, and then as it was. */
static void a_night(void **state)
{
	struct night *n = *state;

	n->strike = strike;
	strike->bad_end = 0;
	if (night_dice(n, 4) == 0)
		night_backup(n);	/* since which all is known */
	for (n->acts = 0; n->acts < ACTS; n->acts++)
		some_act(n);
	night_must(n, "convert.disks");
	night_must(n, "validate.disks");
	night_undo(n);
	commands += n->commands;
	n->over = true;
}

static unsigned from_env(const char *name, unsigned otherwise)
{
	const char *s = getenv(name);

	return s ? (unsigned)strtoul(s, NULL, 10) : otherwise;
}

int main(void)
{
	unsigned first = from_env("SEED", 1);
	unsigned count = from_env("SEEDS", getenv("SEED") ? 1 : (unsigned)test_part(NIGHTS, NIGHTS_QUICK));
	AUTO_FREE struct CMUnitTest *tests = mem_alloc(count * sizeof(*tests));
	int rc;

	strike_begin();
	for (unsigned i = 0; i < count; i++)
		tests[i] = (struct CMUnitTest){ mem_printf("the_night_of_seed_%u", first + i), a_night,
			night_set_up, night_tear_down, (void *)(uintptr_t)(first + i) };
	rc = _cmocka_run_group_tests("nights", tests, count, NULL, NULL);
	printf("%u nights, %u commands\n", count, commands);
	for (unsigned i = 0; i < count; i++)
		free((void *)(uintptr_t)tests[i].name);
	return rc;
}
