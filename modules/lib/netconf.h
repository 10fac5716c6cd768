/* SPDX-License-Identifier: Apache-2.0
 * netconf - how a guest configures its network: ifupdown, netplan, systemd-networkd,
 * NetworkManager key files, ifcfg (Red Hat and SUSE).
 */
#ifndef DROVER_NETCONF_H
#define DROVER_NETCONF_H

#include "modules/lib/gtree.h"

/* {system, interfaces: [{name, method, address, gateway, file, system, mac, by_mac}]};
 * address with prefix or null; mac where the file itself names one. system is that of
 * the first interface, or "unknown". Owned. */
json_t *netconf_read(struct gtree *t);

/* For netplan, whose layout is the meaning: the line range of `ethernets: NAME:`. */
struct netplan_block {
	const char *at, *end;	/* lines below NAME: */
	size_t indent;		/* of these lines */
};
bool netplan_find(const char *text, const char *iface, struct netplan_block *b);

/* 255.255.255.0 -> 24; -1 when it is no mask. */
int netconf_prefix(const char *mask);

#endif
