/* SPDX-License-Identifier: Apache-2.0
 * attach - `drover-agent --attach`, run over SSH beside the agent: the stream of a step that
 * the engine relays, at this host's end.
 */
#ifndef DROVER_ATTACH_H
#define DROVER_ATTACH_H

/* Hand over a socket as the stream of a step, by the agent's `name` and the secret that is
 * the first line of stdin; the preamble with the nonce goes out first. Then bytes go between it
 * and stdin and stdout as engine/wire/pass.h has it, until the step is over. The exit status. */
int attach_run(const char *name, const char *step, const char *nonce);

#endif
