/* SPDX-License-Identifier: Apache-2.0
 * hook/source - where a check's Lua comes from: a file beside the plan, or one of the
 * ready-made ones that drover carries (lua/).
 */
#ifndef DROVER_HOOK_SOURCE_H
#define DROVER_HOOK_SOURCE_H

#include "engine/base/err.h"
#include "engine/base/json.h"

/* The text of args.file or args.use; *name is what errors call it. Both owned by the
 * caller. NULL with e. */
char *source_load(const json_t *args, const char *dir, char **name, struct err *e);

#endif
