/* SPDX-License-Identifier: Apache-2.0
 * screenrig - a screen that writes into memory, under a clock that a test moves: recorded
 * events in, the whole text out.
 */
#ifndef DROVER_TESTS_SCREENRIG_H
#define DROVER_TESTS_SCREENRIG_H

#include "engine/cli/screen.h"

#include <stdbool.h>
#include <stddef.h>

struct screenrig {
	struct clock_fake clock;
	struct screen_options o;	/* a test may change them before the first event */
	struct screen *s;		/* NULL until then */
	char *text;			/* what it wrote; complete once it was closed */
	size_t len;
	int width;			/* of the terminal, in columns */
};

/* `live`: the screen is a terminal. */
struct screenrig *screenrig_new(bool live);
/* Events, one a line, the last NULL; the time is put in. */
void screenrig_feed(struct screenrig *r, const char *const *lines);
/* No more events come: the screen ends, the text is whole. */
void screenrig_close(struct screenrig *r);
void screenrig_free(struct screenrig *r);
/* Close it: the test fails unless this is the whole text. Frees the rig. */
void screenrig_says(struct screenrig *r, const char *want);

/* A run of two machines has begun, the first one's disks are being copied. */
extern const char *const screenrig_begin[];
/* And are at 27 per cent. */
extern const char *const screenrig_progress[];
/* A run of the machines m00 to m39 has begun. */
void screenrig_begin_forty(struct screenrig *r);

/* That step of erp-db, and the pause until its next pass. */
#define PASS(STATE) "{\"t\":\"step\",\"machine\":\"erp-db\",\"phase\":\"convert\",\"step\":\"disks\",\"state\":\"" STATE "\"}"
#define REST(MS) "{\"t\":\"rest\",\"machine\":\"erp-db\",\"phase\":\"convert\",\"step\":\"disks\",\"ms\":" MS "}"

#endif
