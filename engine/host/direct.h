/* SPDX-License-Identifier: Apache-2.0
 * direct - bring two agents together: one is told to listen, with a key made for this
 * stream, the other to connect with the same key. Both are told over their own control
 * connections; the key is nowhere else. An agent that has both ends is told to join them by
 * a socket. No byte of the stream is seen here.
 */
#ifndef DROVER_DIRECT_H
#define DROVER_DIRECT_H

#include "engine/host/relay.h"

#define DIRECT_AUTO_MS 2000	/* for one end to reach the other, when there is another way */
#define DIRECT_ONLY_MS 30000	/* ... when there is none */
#define DIRECT_GUARD_MS 10000	/* beyond it, for the agents to answer at all */

struct direct;

/* Begin. done() is called once, from the loop and not from inside: how says which way it
 * went, or (not up) why it could not be had. */
struct direct *direct_begin(struct loop *loop, const struct relay_party party[2],
			    uint64_t wait_ms,
			    void (*done)(void *arg, bool up, const char *how), void *arg);
/* What an agent said. */
void direct_heard(struct direct *d, int end, const json_t *body);
/* Not up yet: nobody wants it any more; the agents are told. NULL is harmless. */
void direct_cancel(struct direct *d);
void direct_free(struct direct *d);	/* without a word; NULL is harmless */

#endif
