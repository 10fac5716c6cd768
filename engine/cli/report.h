/* SPDX-License-Identifier: Apache-2.0
 * report - one run and what is seen of it: the screen or JSON Lines, questions,
 * signals; and previews as files.
 */
#ifndef DROVER_REPORT_H
#define DROVER_REPORT_H

#include "engine/cli/cli.h"

/* Can the file be written? Asked before the hosts are: 0, or the exit status, told. */
int report_can_save(struct cli *c, const char *file);
/* A preview as a file: {"drover": "preview", "v": 1, "file": the plan's absolute
 * path, "options": {machine, only, until}, "preview": run_plan's document}. */
int report_save(struct cli *c, const char *file, const json_t *preview);
/* Is the file a saved preview? 1 with *doc (caller owns), 0 when it is something
 * else (a plan), or -1 with e when it claims to be one and is broken. */
int report_saved(const char *file, json_t **doc, struct err *e);
/* Load the plan that c->args[0] names or, when it is a saved preview of `kind`,
 * the plan behind it: then o->saved is set and its options hold. *doc is owned by
 * the caller. 0, or the exit status, told. */
int report_open(struct cli *c, struct run_options *o, enum run_kind kind, json_t **doc);

#endif
