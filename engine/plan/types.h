/* SPDX-License-Identifier: Apache-2.0
 * types - from a plan's text to typed JSON and back, by one row of a table. The
 * same rows type module parameters and the plan's own keys.
 */
#ifndef DROVER_TYPES_H
#define DROVER_TYPES_H

#include "engine/base/json.h"
#include "engine/base/mem.h"
#include "modules/module.h"

/* The value that `text` is for a row of a scalar type. NULL when it is none; then
 * *why says so ("is not a size") and *hint how one looks (static, or NULL);
 * the caller frees *why. */
json_t *types_value(const struct param *p, const char *text, char **why,
		    const char **hint);
/* Back to what one would write: 42949672960 with P_SIZE is "40GiB". A new
 * reference; values without units are given back as they are. */
json_t *types_written(const struct param *p, const json_t *value);
bool types_is_scalar(enum param_type t);
/* Text that stays text, so that ${...} may be put in later. */
bool types_is_text(enum param_type t);
const char *types_name(enum param_type t);	/* "a size", "text", ... */
/* Is `word` one of "a|b|c"? */
bool types_has_word(const char *words, const char *word);

#endif
