/* SPDX-License-Identifier: Apache-2.0
 * addr - numeric addresses, parsed and asked for; local ones.
 */
#include "engine/base/addr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int parse_port(const char **s, uint16_t *out)
{
	size_t n = strspn(*s, "0123456789");
	long v = n > 0 && n < 6 ? strtol(*s, NULL, 10) : 0;

	if (v < 1 || v > 65535)
		return -1;
	*out = (uint16_t)v;
	*s += n;
	return 0;
}

static int parse_ports(const char *s, struct addr *a)
{
	if (parse_port(&s, &a->from) < 0)
		return -1;
	a->to = a->from;
	if (*s == '-') {
		s++;
		if (parse_port(&s, &a->to) < 0)
			return -1;
	}
	return *s == '\0' && a->from <= a->to ? 0 : -1;
}

static int parse(const char *s, struct addr *out)
{
	const char *end = s + strlen(s), *ports = NULL;
	struct sockaddr_storage ss;

	if (*s == '[') {
		end = strchr(++s, ']');
		if (!end || (end[1] && end[1] != ':'))
			return -1;
		ports = end[1] ? end + 2 : NULL;
	} else if (strchr(s, ':') && strchr(s, ':') == strrchr(s, ':')) {
		end = strchr(s, ':');
		ports = end + 1;
	}
	if ((size_t)(end - s) >= sizeof(out->text))
		return -1;
	memcpy(out->text, s, (size_t)(end - s));
	if (!addr_socket(out->text, 0, &ss))
		return -1;
	return ports ? parse_ports(ports, out) : 0;
}

int addr_parse(const char *s, struct addr *out)
{
	memset(out, 0, sizeof(*out));
	if (parse(s, out) == 0)
		return 0;
	memset(out, 0, sizeof(*out));
	return -1;
}

socklen_t addr_socket(const char *text, uint16_t port, struct sockaddr_storage *out)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)out;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;

	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		return sizeof(*v4);
	}
	if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
		return sizeof(*v6);
	}
	return 0;
}

int addr_peer(int fd, struct addr *out)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t n = sizeof(ss);
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&ss;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&ss;

	memset(out, 0, sizeof(*out));
	if (fd < 0 || getpeername(fd, (struct sockaddr *)&ss, &n) < 0)
		return -1;
	if (ss.ss_family == AF_INET)
		return inet_ntop(AF_INET, &v4->sin_addr, out->text, ADDR_TEXT) ? 0 : -1;
	if (ss.ss_family != AF_INET6 || v6->sin6_scope_id)
		return -1;
	if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
		return inet_ntop(AF_INET, v6->sin6_addr.s6_addr + 12, out->text,
				 ADDR_TEXT) ? 0 : -1;
	return inet_ntop(AF_INET6, &v6->sin6_addr, out->text, ADDR_TEXT) ? 0 : -1;
}

socklen_t addr_local(const char *name, struct sockaddr_un *out)
{
	size_t n = strlen(name);

	*out = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (n > sizeof(out->sun_path) - 1)
		n = sizeof(out->sun_path) - 1;
	memcpy(out->sun_path + 1, name, n);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n);
}
