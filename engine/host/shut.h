/* SPDX-License-Identifier: Apache-2.0
 * shut - pairs of hosts that could not be joined directly, remembered for a while: the next
 * stream between them need not wait for the same answer.
 */
#ifndef DROVER_SHUT_H
#define DROVER_SHUT_H

#include <stdint.h>

#define SHUT_MS 600000u		/* then it is tried again: a firewall may have been opened */

struct shut;
struct shut *shut_new(void);
void shut_free(struct shut *s);		/* NULL is harmless */
/* They did not meet at `now_ms`, and why. Texts are copied. */
void shut_add(struct shut *s, const char *a, const char *b, const char *why, uint64_t now_ms);
/* Why they cannot meet, whichever way round; borrowed. NULL: not known, or too long ago.
 * s may be NULL. */
const char *shut_why(const struct shut *s, const char *a, const char *b, uint64_t now_ms);

#endif
