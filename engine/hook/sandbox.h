/* SPDX-License-Identifier: Apache-2.0
 * hook/sandbox - what a check's process gives up before any Lua is read: open
 * files, memory, processor time, and all system calls but a few.
 */
#ifndef DROVER_HOOK_SANDBOX_H
#define DROVER_HOOK_SANDBOX_H

#include <stddef.h>
#include <stdint.h>

/* Close everything above descriptor 0 except 1 and 2; die with the engine; leave no
 * core. First thing in the child. */
void sandbox_start(void);
/* Address space (what is mapped now plus `memory` and some room), processor time,
 * then the filter of system calls. Not reversible. -1 with errno: nothing of Lua may
 * be run then. Under a sanitizer only the processor time is limited. */
int sandbox_enter(uint64_t memory, uint64_t timeout_ms);

#endif
