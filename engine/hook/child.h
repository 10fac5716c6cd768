/* SPDX-License-Identifier: Apache-2.0
 * hook/child - the process in which a check's Lua runs: the engine's own program
 * started again, with a socket to the engine as file descriptor 0 and nothing
 * else of it. Limits and the filter of system calls are set before any Lua.
 */
#ifndef DROVER_HOOK_CHILD_H
#define DROVER_HOOK_CHILD_H

#define HOOK_CHILD_ARG "--hook-child"

/* Serve one check on descriptor 0; returns the process's exit status. */
int hook_child_main(void);

#endif
