/* SPDX-License-Identifier: Apache-2.0
 * ourname - what a machine's things are called where others keep theirs too, such as a
 * libvirt or a volume group.
 */
#ifndef DROVER_OURNAME_H
#define DROVER_OURNAME_H

#include "modules/module.h"

/* drover-KEY: the same in every step of this machine, another for every other machine, plan
 * and state. Owned. */
char *ourname(const struct ctx *c);
/* May what is called so be one of these? Of a name from elsewhere. */
bool ourname_is(const char *name);

#endif
