/* SPDX-License-Identifier: Apache-2.0
 * warm - what passes of a serving machine measured, and how long a cutover would hold
 * it still if it came now.
 *
 * Fact `warm`, volatile: {enough, passes: [{pass, at, ms, read, changed, wire, held}],
 * followed: {DISK: "trace"|"bitmap"|"snapshot"|null}}, newest last. enough: fewer passes than the
 * plan allows will do. followed: by what the writes to a disk are known from its newest pass
 * on. at: the source's wall clock in milliseconds when the pass began. changed: bytes sent as
 * data or as zeros.
 */
#ifndef DROVER_WARM_H
#define DROVER_WARM_H

#include "engine/base/json.h"

#include <stdbool.h>
#include <stdint.h>

struct warm_pass {
	uint32_t pass;
	int64_t at;		/* ms, the source's wall clock, when it began */
	uint64_t ms;		/* it took */
	uint64_t read, changed, wire;	/* bytes, of all disks */
	bool held;		/* the source stood still */
};

/* Milliseconds now, by the wall clock. */
int64_t warm_now(void);
/* Add a pass to the list; the oldest go. */
void warm_add(json_t *passes, const struct warm_pass *p);

struct warm_forecast {
	uint64_t p50_ms, p90_ms;	/* of the last pass, if it came now */
	uint64_t dirty;		/* bytes that become dirty in a second; the median */
	uint64_t dirty_p90;	/* what nine of ten times are not more than */
	bool shrinking;		/* the newest pass changed clearly less than the one before */
};
/* From two passes on. False: nothing can be said yet. */
bool warm_forecast(const json_t *passes, struct warm_forecast *f);
/* What a last pass would bring that came at `now` (as `at`), and how long it would take: what
 * becomes dirty from the beginning of the newest one on, at most `most` bytes. From two passes
 * on, else false. */
bool warm_ahead(const json_t *passes, int64_t now, uint64_t most, uint64_t *bytes, uint64_t *ms);
/* No further pass will let the last one fit into the downtime that the plan allows: it would
 * take longer, and passes do not shrink. allowed_ms 0: the plan does not say. */
bool warm_hopeless(const json_t *passes, int64_t allowed_ms);
/* A line for people about the newest pass, with the forecast; new. NULL: nothing can be said yet. */
char *warm_text(const json_t *passes);

#endif
