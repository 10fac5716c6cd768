/* SPDX-License-Identifier: Apache-2.0
 * run/report - what leaves the run as events.
 */
#ifndef DROVER_RUN_REPORT_H
#define DROVER_RUN_REPORT_H

#include "engine/run/priv.h"

/* Report events. `o` is stolen. */
void report(struct run *r, const char *type, json_t *o);
json_t *report_step_new(struct run *r, struct mach *m, uint32_t node);
void report_step(struct run *r, struct mach *m, uint32_t node, const char *state,
		 int attempt, uint64_t took_ms, const json_t *result);
/* A step that was cut waits for its next attempt. */
void report_again(struct run *r, struct mach *m, uint32_t node, int attempt, uint64_t took_ms,
		  const json_t *result);
void report_start(struct run *r);
void report_log(struct run *r, struct mach *m, const char *step, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* Between two passes of the machine's step: the next one in `ms`; 0: none follows. */
void report_rest(struct run *r, struct mach *m, uint32_t node, uint64_t ms);
void report_serves(struct run *r, struct mach *m, const char *who);
void report_end(struct run *r, int status);
void run_status(struct run *r, enum err_kind kind);	/* the worst one stays */
void count_add(struct run *r, const char *what, int64_t n);

#endif
