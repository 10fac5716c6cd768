/* SPDX-License-Identifier: Apache-2.0
 * handover - a cutover takes over from the `sync --keep` that holds the state: it asks, waits
 * until that one's pass is over, and goes on with the writes still traced.
 */
#include "engine/cli/cli.h"
#include "engine/base/mem.h"
#include "engine/base/text.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define WAIT_MS (10u * 60 * 1000)
#define LOOK_MS 100

int cli_parse_wait(struct cli *c, uint64_t *ms)
{
	const char *text = c->opt[OPT_WAIT];
	AUTO_ERR e = { 0 };

	*ms = WAIT_MS;
	if (!text || text_parse_duration(text, ms) == 0)
		return 0;
	err_set(&e, ERR_USAGE, "cannot use --wait '%s': it is no duration", text);
	err_hint(&e, "for example: drover cutover %s --wait 30m", c->args[0]);
	return cli_fail(c, &e);
}

static void tell_waiting(struct cli *c, const char *who, uint64_t ms)
{
	AUTO_FREE char *text = NULL;
	char most[24];
	json_t *o;

	text_duration(ms, most);
	text = mem_printf("waiting until the sync --keep of %s has ended its pass, at most %s",
			  who, most);
	if (c->json) {
		o = json_object();
		jset_str(o, "text", text);
		cli_json(c, "log", o);
	} else {
		cli_say(c, 2, "%s", text);
	}
	fflush(c->out);
}

static int not_in_time(struct cli *c, const char *dir, const char *who, uint64_t ms)
{
	AUTO_ERR e = { 0 };
	char waited[24];

	text_duration(ms, waited);
	err_set(&e, ERR_HELD, "cannot take over state '%s': the pass of %s has not ended within %s",
		dir, who, waited);
	err_hint(&e, "wait longer with --wait DURATION; or end that run with `kill`, which leaves "
		     "the rest of its pass to the cutover");
	return cli_fail(c, &e);
}

/* 1: open; 0: still held by `who`, or by nobody who says so; -1 with e. */
static int try_open(struct cli *c, const char *dir, const char *who, struct err *e)
{
	AUTO_FREE char *now = NULL;

	c->state = state_open_as(dir, c->plan->name, STATE_WRITE, c->lineage, c->loop, e);
	if (c->state)
		return 1;
	now = e->kind == ERR_HELD ? state_holder(dir) : NULL;
	if (e->kind != ERR_HELD || (now && strcmp(now, who) != 0))
		return -1;	/* another one was quicker */
	err_clear(e);
	return 0;
}

static int wait_for_it(struct cli *c, const char *dir, const char *who, uint64_t ms)
{
	uint64_t until = clock_real.mono_ms(clock_real.arg) + ms;
	AUTO_ERR e = { 0 };
	AUTO_FD asking = state_ask(dir, &e);
	int rc;

	if (asking < 0)
		return cli_fail(c, &e);
	tell_waiting(c, who, ms);
	while ((rc = try_open(c, dir, who, &e)) == 0) {
		if (clock_real.mono_ms(clock_real.arg) >= until)
			return not_in_time(c, dir, who, ms);
		poll(NULL, 0, LOOK_MS);
	}
	return rc < 0 ? cli_fail(c, &e) : 0;
}

int cli_take_state(struct cli *c, uint64_t wait_ms)
{
	AUTO_FREE char *dir = cli_state_dir(c), *who = NULL;

	if (state_offered(dir))
		who = state_holder(dir);
	if (!c->loop)
		c->loop = loop_new(&clock_real);
	return who ? wait_for_it(c, dir, who, wait_ms) : cli_open_state(c, STATE_WRITE);
}
