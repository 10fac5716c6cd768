/* SPDX-License-Identifier: Apache-2.0
 * figures - what a cutover cost, as people read it: the event of that name, and what the
 * state keeps of it.
 */
#ifndef DROVER_CLI_FIGURES_H
#define DROVER_CLI_FIGURES_H

#include "engine/base/json.h"

/* "frozen for 0.8s until it was off, nobody served for 41.5s, changes by traced writes,
 * proven: root 5f0c2a118d00"; NULL while the target does not serve yet. Caller frees. */
char *figures_text(const json_t *f);

#endif
