/* SPDX-License-Identifier: Apache-2.0
 * fence - a network namespace with no way out, for a test copy: one bridge and one
 * tap for each NIC, and on the bridge an address from the guest's own subnet (its
 * gateway's, where that is known), so that a check inside the fence reaches the
 * guest where it will answer later.
 */
#ifndef DROVER_FENCE_H
#define DROVER_FENCE_H

#include "engine/base/err.h"
#include "engine/base/json.h"

#include <stdbool.h>

/* The namespace's name, as `ip netns` lists it: "drover-<machine>". */
void fence_name(const char *machine, char out[80]);
bool fence_there(const char *name);
/* Make it. `nics` are a definition's, each with "tap" and, where known, "address"
 * ("10.1.0.5/24") and "gateway". What is left of an earlier one goes first. */
int fence_make(const char *name, const json_t *nics, struct err *e);
/* Take it away; fine when it is not there. */
int fence_remove(const char *name, struct err *e);
/* A descriptor for setns(2) or struct proc; -1 with e. */
int fence_open(const char *name, struct err *e);
/* The address that a host in the guest's subnet can have beside it, with prefix.
 * False: none, or the guest's is not known. */
bool fence_beside(const char *address, const char *gateway, char out[80]);

/* A tap on a bridge of this host's own network, for a machine that serves. */
int fence_tap_make(const char *tap, const char *bridge, struct err *e);
int fence_tap_remove(const char *tap, struct err *e);
bool fence_link_there(const char *name);

#endif
