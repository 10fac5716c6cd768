/* SPDX-License-Identifier: Apache-2.0
 * netns - reach a network namespace by name or by path.
 */
#ifndef DROVER_NETNS_H
#define DROVER_NETNS_H

struct ctx;

/* A descriptor of the namespace: a name as `ip netns` knows it, or an absolute path
 * such as /proc/42/ns/net. -1 with the failure told. */
int netns_open(struct ctx *c, const char *name);
/* The namespace that a call is to be made from: its argument `netns`, or for a check
 * `at: fence` that of the machine's test copy; NULL: the host's own. May point into
 * buf. */
const char *netns_wanted(const struct ctx *c, char buf[80]);

#endif
