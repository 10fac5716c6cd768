/* SPDX-License-Identifier: Apache-2.0
 * netns - reach a network namespace by name or by path.
 */
#ifndef DROVER_NETNS_H
#define DROVER_NETNS_H

struct ctx;

/* A descriptor of the namespace: a name as `ip netns` knows it, or an absolute path
 * such as /proc/42/ns/net. -1 with the failure told. */
int netns_open(struct ctx *c, const char *name);

#endif
