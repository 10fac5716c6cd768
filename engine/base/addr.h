/* SPDX-License-Identifier: Apache-2.0
 * addr - where a host can be met: a numeric address and a range of ports; where a process of
 * this host can. Names are never resolved here.
 */
#ifndef DROVER_ADDR_H
#define DROVER_ADDR_H

#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#define ADDR_TEXT 64		/* holds any address, with its NUL */

struct addr {
	char text[ADDR_TEXT];	/* "10.9.0.11" or "fd00::11"; "": none */
	uint16_t from, to;	/* ports; both 0: any */
};

/* "ADDR", "ADDR:PORT", "ADDR:FROM-TO"; an IPv6 address with ports stands in brackets.
 * 0, or -1: it is none of these. */
int addr_parse(const char *s, struct addr *out);
/* The numeric address and a port as the kernel wants it; its length, 0 if it is none. */
socklen_t addr_socket(const char *text, uint16_t port, struct sockaddr_storage *out);
/* The address of whoever is at the other end of `fd`. -1: it has none that others could
 * use (no network socket, or only valid on one link). Ports stay 0. */
int addr_peer(int fd, struct addr *out);
/* A local socket by a name that no file system knows, as much of it as there is room for; the
 * address's length. */
socklen_t addr_local(const char *name, struct sockaddr_un *out);

#endif
