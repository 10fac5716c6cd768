/* SPDX-License-Identifier: Apache-2.0
 * screen - report events (engine/README.md) as a person wants to see them: a
 * preview as one page, a run as lines with a live region below them, and a table
 * at the end. It knows events, a stream, a width and a clock; nothing else, so
 * that recorded events give the same text in a test.
 */
#ifndef DROVER_SCREEN_H
#define DROVER_SCREEN_H

#include "engine/base/clock.h"
#include "engine/base/json.h"
#include "engine/base/mem.h"

#include <stdbool.h>
#include <stdio.h>

struct screen;

struct screen_options {
	FILE *out;
	bool live;		/* a terminal: redraw in place; else plain lines only */
	bool color;
	bool diff;		/* every diff whole; else only short ones */
	int verbose;
	const struct clock *clock;
	int (*width)(void *arg);	/* columns, asked at every redraw */
	void *arg;
};

struct screen *screen_new(const struct screen_options *o);
void screen_free(struct screen *s);		/* NULL is harmless */
/* What is known of a machine before its first event: "db1 -> kvm1", and who served
 * when it was last recorded (NULL: nothing is recorded). */
void screen_machine(struct screen *s, const char *name, const char *title,
		    const char *serves);
void screen_event(struct screen *s, const json_t *event);
/* A few times a second: redraw the live region. */
void screen_tick(struct screen *s);
/* Take the live region away, so that something else may be printed (a question);
 * the next tick brings it back. */
void screen_hide(struct screen *s);

#endif
