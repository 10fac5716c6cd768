/* SPDX-License-Identifier: Apache-2.0
 * ask_host - for verbs that ask a host something outside of a run: one call, and
 * its answer.
 */
#ifndef DROVER_CLI_ASK_HOST_H
#define DROVER_CLI_ASK_HOST_H

#include "engine/cli/cli.h"

/* Connect to host `host` of c->plan, run OP of MODULE there with `args` (borrowed),
 * and say goodbye. The RESULT, caller owns; NULL with e when the host could not be
 * reached or the call failed. Progress is shown on a terminal. */
json_t *cli_ask_host(struct cli *c, uint32_t host, const char *module, const char *op,
		     const json_t *args, struct err *e);

#endif
