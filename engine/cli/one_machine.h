/* SPDX-License-Identifier: Apache-2.0
 * one_machine - for verbs that speak of one machine.
 */
#ifndef DROVER_CLI_ONE_MACHINE_H
#define DROVER_CLI_ONE_MACHINE_H

#include "engine/cli/cli.h"

/* The plan's only machine, or the one that --machine selects; borrowed. 0, or the
 * exit status after telling why. */
int cli_one_machine(struct cli *c, const char **name);

#endif
