/* SPDX-License-Identifier: Apache-2.0
 * netconf - one small reader for each way a guest may configure its network.
 */
#include "modules/lib/netconf.h"
#include "engine/base/mem.h"
#include "modules/lib/conf.h"
#include "modules/lib/fstab.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

int netconf_prefix(const char *mask)
{
	struct in_addr in;
	uint32_t m;

	if (inet_pton(AF_INET, mask, &in) != 1)
		return -1;
	m = ntohl(in.s_addr);
	return ~m & (~m + 1) ? -1 : __builtin_popcount(m);
}

static json_t *interface(const char *system, const char *name, const char *method,
			 const char *file)
{
	json_t *o = json_object();

	jset(o, "name", jtext(name, strlen(name)));
	jset_str(o, "method", method);
	jset(o, "address", json_null());
	jset(o, "gateway", json_null());
	jset_str(o, "file", file);
	jset_str(o, "system", system);
	return o;
}

static void set_text(json_t *o, const char *key, const char *s)
{
	if (s && *s)
		jset(o, key, jtext(s, strlen(s)));
}

/* Address and mask or prefix length, in whichever form they are given. */
static void set_address(json_t *o, const char *address, const char *mask,
			const char *prefix)
{
	int bits = mask ? netconf_prefix(mask) : -1;
	AUTO_FREE char *full = NULL;

	if (!address || !*address)
		return;
	if (strchr(address, '/') || (!prefix && bits < 0))
		full = mem_strdup(address);
	else if (prefix)
		full = mem_printf("%s/%s", address, prefix);
	else
		full = mem_printf("%s/%d", address, bits);
	set_text(o, "address", full);
}

/* ---- ifupdown --------------------------------------------------------------- */

static void read_ifupdown(const char *file, const char *text, json_t *out)
{
	const char *line, *f, *rest = text;
	size_t n, len;

	while (line_next(&rest, &line, &n)) {
		AUTO_FREE char *name = NULL, *method = NULL, *a = NULL, *m = NULL, *g = NULL;
		json_t *o;

		if (!line_field(line, n, 0, &f, &len) || len != 5 ||
		    strncmp(f, "iface", 5) != 0 || !line_field(line, n, 2, &f, &len) ||
		    len != 4 || strncmp(f, "inet", 4) != 0 ||
		    !line_field(line, n, 1, &f, &len))
			continue;
		name = mem_strndup(f, len);
		if (strcmp(name, "lo") == 0)
			continue;
		method = ifupdown_method(text, name);
		o = interface("ifupdown", name, method, file);
		a = ifupdown_get(text, name, "address");
		m = ifupdown_get(text, name, "netmask");
		g = ifupdown_get(text, name, "gateway");
		set_address(o, a, m && strchr(m, '.') ? m : NULL,
			    m && !strchr(m, '.') ? m : NULL);
		set_text(o, "gateway", g);
		jadd(out, o);
	}
}

/* ---- systemd-networkd --------------------------------------------------------- */

static void read_networkd(const char *file, const char *text, json_t *out)
{
	AUTO_FREE char *name = conf_get(text, "Match", "Name");
	AUTO_FREE char *mac = conf_get(text, "Match", "MACAddress");
	AUTO_FREE char *dhcp = conf_get(text, "Network", "DHCP");
	AUTO_FREE char *address = conf_get(text, "Network", "Address");
	AUTO_FREE char *address2 = conf_get(text, "Address", "Address");
	AUTO_FREE char *gateway = conf_get(text, "Network", "Gateway");
	AUTO_FREE char *gateway2 = conf_get(text, "Route", "Gateway");
	bool is_dhcp = dhcp && strchr("yti", tolower((unsigned char)*dhcp));
	json_t *o;

	if (!name && !mac)
		return;
	o = interface("networkd", name ? name : "", is_dhcp ? "dhcp" : "static", file);
	set_address(o, address ? address : address2, NULL, NULL);
	set_text(o, "gateway", gateway ? gateway : gateway2);
	set_text(o, "mac", mac);
	jadd(out, o);
}

/* ---- NetworkManager ------------------------------------------------------------ */

static void read_nm(const char *file, const char *text, json_t *out)
{
	AUTO_FREE char *name = conf_get(text, "connection", "interface-name");
	AUTO_FREE char *type = conf_get(text, "connection", "type");
	AUTO_FREE char *mac = conf_get(text, "ethernet", "mac-address");
	AUTO_FREE char *method = conf_get(text, "ipv4", "method");
	AUTO_FREE char *address = conf_get(text, "ipv4", "address1");
	AUTO_FREE char *gateway = conf_get(text, "ipv4", "gateway");
	char *comma = address ? strpbrk(address, ",;") : NULL;
	json_t *o;

	if ((type && strstr(type, "ethernet") == NULL) || (!name && !mac))
		return;
	o = interface("NetworkManager", name ? name : "",
		      method && strcmp(method, "manual") == 0 ? "static" : "dhcp", file);
	if (comma)
		*comma++ = 0;
	set_address(o, address, NULL, NULL);
	set_text(o, "gateway", gateway ? gateway : comma);
	set_text(o, "mac", mac);
	jadd(out, o);
}

/* ---- ifcfg ---------------------------------------------------------------------- */

static void read_ifcfg(const char *file, const char *text, json_t *out)
{
	const char *base = strrchr(file, '/') + strlen("/ifcfg-");
	AUTO_FREE char *name = conf_get(text, NULL, "DEVICE");
	AUTO_FREE char *mac = conf_get(text, NULL, "HWADDR");
	AUTO_FREE char *proto = conf_get(text, NULL, "BOOTPROTO");
	AUTO_FREE char *address = conf_get(text, NULL, "IPADDR");
	AUTO_FREE char *mask = conf_get(text, NULL, "NETMASK");
	AUTO_FREE char *prefix = conf_get(text, NULL, "PREFIX");
	AUTO_FREE char *gateway = conf_get(text, NULL, "GATEWAY");
	json_t *o;

	if (strcmp(base, "lo") == 0)
		return;
	o = interface("ifcfg", name ? name : base,
		      proto && strcmp(proto, "dhcp") == 0 ? "dhcp" : "static", file);
	set_address(o, address, mask, prefix);
	set_text(o, "gateway", gateway);
	set_text(o, "mac", mac);
	jadd(out, o);
}

/* ---- netplan --------------------------------------------------------------------- */

static size_t indent_of(const char *line, size_t n)
{
	size_t i = 0;

	while (i < n && line[i] == ' ')
		i++;
	return i;
}

static bool blank_line(const char *line, size_t n)
{
	size_t i = indent_of(line, n);

	return i == n || line[i] == '#';
}

/* "NAME:" or "'NAME':", nothing behind it. */
static bool is_name(const char *p, size_t n, const char *name)
{
	size_t len = strlen(name), q = n > 1 && (*p == '"' || *p == '\'');

	while (n && strchr(" \t\r", p[n - 1]))
		n--;
	return n == len + 2 * q + 1 && strncmp(p + q, name, len) == 0 && p[n - 1] == ':';
}

bool netplan_find(const char *text, const char *iface, struct netplan_block *b)
{
	size_t ethernets = SIZE_MAX, at = SIZE_MAX, n;
	const char *line, *rest = text;

	*b = (struct netplan_block){ 0 };
	while (line_next(&rest, &line, &n)) {
		size_t in = indent_of(line, n);

		if (blank_line(line, n))
			continue;
		if (b->at && in <= at)
			return true;
		if (b->at) {
			if (!b->indent)
				b->indent = in;
			b->end = rest;
		} else if (is_name(line + in, n - in, "ethernets")) {
			ethernets = in;
		} else if (ethernets != SIZE_MAX && in <= ethernets) {
			ethernets = SIZE_MAX;
		} else if (ethernets != SIZE_MAX && is_name(line + in, n - in, iface)) {
			at = in;
			b->at = b->end = rest;
		}
	}
	return b->at != NULL;
}

/* The scalar behind "KEY:" at the block's own depth; NULL. */
static char *netplan_value(const struct netplan_block *b, const char *key)
{
	const char *line, *rest = b->at;
	size_t n, len = strlen(key);

	while (rest < b->end && line_next(&rest, &line, &n)) {
		size_t in = indent_of(line, n);
		const char *p = line + in;

		if (in != b->indent || strncmp(p, key, len) != 0 || p[len] != ':')
			continue;
		p += len + 1 + strspn(p + len + 1, " ");
		return mem_strndup(p, (size_t)(line + n - p));
	}
	return NULL;
}

/* The first IPv4 address in "[10.0.0.2/24, ...]" or in the list below. */
static char *netplan_address(const struct netplan_block *b)
{
	const char *line, *rest = b->at;
	size_t n;
	bool inside = false;

	while (rest < b->end && line_next(&rest, &line, &n)) {
		size_t in = indent_of(line, n);
		const char *p = line + in;

		if (in == b->indent && *p != '-')
			inside = strncmp(p, "addresses:", 10) == 0;
		if (!inside)
			continue;
		for (p += *p == 'a' ? 10 : 0; p < line + n; p++) {
			size_t k = strspn(p, "0123456789./");

			if (k > 6 && memchr(p, '/', k) && memchr(p, '.', k))
				return mem_strndup(p, k);
		}
	}
	return NULL;
}

static void read_netplan_one(const char *file, const char *text, const char *name,
			     json_t *out)
{
	AUTO_FREE char *dhcp = NULL, *address = NULL, *gateway = NULL;
	struct netplan_block b;
	json_t *o;

	if (!netplan_find(text, name, &b))
		return;
	dhcp = netplan_value(&b, "dhcp4");
	address = netplan_address(&b);
	gateway = netplan_value(&b, "gateway4");
	o = interface("netplan", name, dhcp && strchr("ty", *dhcp) ? "dhcp" : "static", file);
	set_text(o, "address", address);
	set_text(o, "gateway", gateway);
	jadd(out, o);
}

/* The names below `ethernets:`. */
static void read_netplan(const char *file, const char *text, json_t *out)
{
	size_t ethernets = SIZE_MAX, level = SIZE_MAX, n;
	const char *line, *rest = text;

	while (line_next(&rest, &line, &n)) {
		size_t in = indent_of(line, n);
		const char *p = line + in;
		size_t len = strcspn(p, ":\n");

		if (blank_line(line, n))
			continue;
		if (is_name(p, n - in, "ethernets")) {
			ethernets = in;
			level = SIZE_MAX;
		} else if (ethernets != SIZE_MAX && in <= ethernets) {
			ethernets = SIZE_MAX;
		} else if (ethernets != SIZE_MAX && (level == SIZE_MAX || in == level)) {
			size_t q = *p == '"' || *p == '\'';
			AUTO_FREE char *name = mem_strndup(p + q, len > 2 * q ? len - 2 * q : 0);

			level = in;
			read_netplan_one(file, text, name, out);
		}
	}
}

/* ---- all of them ------------------------------------------------------------------ */

static const struct {
	const char *path;	/* a file, or a directory */
	const char *head, *tail; /* of names in that directory; NULL: any */
	void (*read)(const char *file, const char *text, json_t *out);
} places[] = {
	{ "/etc/netplan", NULL, ".yaml", read_netplan },
	{ "/etc/NetworkManager/system-connections", NULL, NULL, read_nm },
	{ "/etc/systemd/network", NULL, ".network", read_networkd },
	{ "/etc/sysconfig/network-scripts", "ifcfg-", NULL, read_ifcfg },
	{ "/etc/sysconfig/network", "ifcfg-", NULL, read_ifcfg },
	{ "/etc/network/interfaces", NULL, NULL, read_ifupdown },
	{ "/etc/network/interfaces.d", NULL, NULL, read_ifupdown },
};

static bool name_fits(const char *name, const char *head, const char *tail)
{
	size_t n = strlen(name), h = head ? strlen(head) : 0, t = tail ? strlen(tail) : 0;

	return n > h + t && (!h || strncmp(name, head, h) == 0) &&
	       (!t || strcmp(name + n - t, tail) == 0) && name[n - 1] != '~';
}

static void read_one(struct gtree *t, size_t i, const char *file, json_t *out)
{
	AUTO_FREE char *text = gtree_read(t, file, GTREE_FILE_MAX, NULL);

	if (text)
		places[i].read(file, text, out);
}

json_t *netconf_read(struct gtree *t)
{
	json_t *all = json_object(), *out = json_array();

	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		AUTO_NAMES **names = gtree_list(t, places[i].path);

		if (!names)
			read_one(t, i, places[i].path, out);
		for (char **n = names; n && *n; n++) {
			AUTO_FREE char *file = mem_printf("%s/%s", places[i].path, *n);

			if (name_fits(*n, places[i].head, places[i].tail))
				read_one(t, i, file, out);
		}
	}
	jset_str(all, "system", jstr(json_array_get(out, 0), "system", "unknown"));
	jset(all, "interfaces", out);
	return all;
}
