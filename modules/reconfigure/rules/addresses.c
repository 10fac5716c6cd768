/* SPDX-License-Identifier: Apache-2.0
 * addresses - static addresses as the plan says, in the way the guest configures its
 * network. Where the plan gives no address nothing is touched.
 */
#include "engine/base/mem.h"
#include "modules/lib/conf.h"
#include "modules/lib/fstab.h"
#include "modules/lib/netconf.h"
#include "modules/reconfigure/rules/rules.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* What one interface is to have. */
struct wish {
	const char *iface;
	const char *address;	/* with prefix */
	char *bare;		/* without; owned */
	const char *prefix;	/* "24" */
	const char *gateway;	/* NULL: as it was */
	const char *dns[4];	/* borrowed from the plan; NULL ends */
};

/* One step of a chain of changes to a text: the old one is freed. */
static void step(char **text, char *now)
{
	free(*text);
	*text = now;
}

static char *dns_list(const struct wish *w, const char *between)
{
	AUTO_STR s = { 0 };

	for (size_t i = 0; i < 3 && w->dns[i]; i++)
		str_addf(&s, "%s%s", i ? between : "", w->dns[i]);
	return s.len ? str_take(&s) : NULL;
}

static char *by_ifupdown(const char *text, const struct wish *w)
{
	char *t = ifupdown_set_method(text, w->iface, "static");
	AUTO_FREE char *dns = dns_list(w, " ");

	step(&t, ifupdown_set(t, w->iface, "address", w->address));
	step(&t, ifupdown_set(t, w->iface, "netmask", NULL));
	if (w->gateway)
		step(&t, ifupdown_set(t, w->iface, "gateway", w->gateway));
	if (dns)
		step(&t, ifupdown_set(t, w->iface, "dns-nameservers", dns));
	return t;
}

static char *by_networkd(const char *text, const struct wish *w)
{
	AUTO_FREE char *own = conf_get(text, "Address", "Address");
	AUTO_FREE char *route = conf_get(text, "Route", "Gateway");
	AUTO_FREE char *dhcp = conf_get(text, "Network", "DHCP");
	AUTO_FREE char *dns = dns_list(w, " ");
	char *t = conf_set(text, own ? "Address" : "Network", "Address", w->address);

	if (dhcp)
		step(&t, conf_set(t, "Network", "DHCP", "no"));
	if (w->gateway)
		step(&t, conf_set(t, route ? "Route" : "Network", "Gateway", w->gateway));
	if (dns)
		step(&t, conf_set(t, "Network", "DNS", dns));
	return t;
}

static char *by_nm(const char *text, const struct wish *w)
{
	AUTO_FREE char *old = conf_get(text, "ipv4", "address1");
	AUTO_FREE char *key = conf_get(text, "ipv4", "gateway");
	AUTO_FREE char *dns = dns_list(w, ";");
	const char *comma = old ? strchr(old, ',') : NULL;
	const char *gateway = w->gateway ? w->gateway : key ? key : comma ? comma + 1 : NULL;
	AUTO_FREE char *full = gateway ? mem_printf("%s,%s", w->address, gateway)
				       : mem_strdup(w->address);
	char *t = conf_set(text, "ipv4", "method", "manual");

	step(&t, conf_set(t, "ipv4", "address1", full));
	step(&t, conf_set(t, "ipv4", "gateway", NULL));
	if (dns)
		step(&t, conf_set(t, "ipv4", "dns", dns));
	return t;
}

static char *by_ifcfg(const char *text, const struct wish *w)
{
	char *t = conf_set(text, NULL, "BOOTPROTO", "static");

	step(&t, conf_set(t, NULL, "IPADDR", w->bare));
	step(&t, conf_set(t, NULL, "NETMASK", NULL));
	step(&t, conf_set(t, NULL, "PREFIX", w->prefix));
	if (w->gateway)
		step(&t, conf_set(t, NULL, "GATEWAY", w->gateway));
	for (size_t i = 0; i < 3 && w->dns[i]; i++) {
		AUTO_FREE char *key = mem_printf("DNS%zu", i + 1);

		step(&t, conf_set(t, NULL, key, w->dns[i]));
	}
	return t;
}

/* ---- netplan: the keys that we write replace those of the same name ----------------- */

static bool is_replaced(const char *p, const struct wish *w)
{
	static const char *const always[] = { "dhcp4:", "addresses:" };

	for (size_t i = 0; i < ARRAY_LEN(always); i++)
		if (strncmp(p, always[i], strlen(always[i])) == 0)
			return true;
	if (w->gateway && (strncmp(p, "gateway4:", 9) == 0 || strncmp(p, "routes:", 7) == 0))
		return true;
	return w->dns[0] && strncmp(p, "nameservers:", 12) == 0;
}

static void add_netplan(struct str *out, const struct wish *w, int in)
{
	AUTO_FREE char *dns = dns_list(w, ", ");

	str_addf(out, "%*sdhcp4: false\n%*saddresses: [%s]\n", in, "", in, "", w->address);
	if (w->gateway)
		str_addf(out, "%*sroutes:\n%*s- to: 0.0.0.0/0\n%*svia: %s\n", in, "",
			 in + 2, "", in + 4, "", w->gateway);
	if (dns)
		str_addf(out, "%*snameservers:\n%*saddresses: [%s]\n", in, "", in + 2, "", dns);
}

static char *by_netplan(const char *text, const struct wish *w)
{
	AUTO_STR out = { 0 };
	struct netplan_block b;
	const char *line, *rest;
	bool dropping = false;
	size_t n;

	if (!netplan_find(text, w->iface, &b))
		return mem_strdup(text);
	str_addn(&out, text, (size_t)(b.at - text));
	add_netplan(&out, w, b.indent ? (int)b.indent : 6);
	for (rest = b.at; rest < b.end && line_next(&rest, &line, &n); ) {
		size_t in = strspn(line, " ");

		if (in <= b.indent && line[in] != '-')
			dropping = is_replaced(line + in, w);
		if (!dropping)
			str_addn(&out, line, (size_t)(rest - line));
	}
	str_add(&out, b.end);
	return str_take(&out);
}

static const struct {
	const char *system;
	char *(*change)(const char *text, const struct wish *w);
} ways[] = {
	{ "ifupdown", by_ifupdown }, { "networkd", by_networkd },
	{ "NetworkManager", by_nm }, { "ifcfg", by_ifcfg }, { "netplan", by_netplan },
};

/* ---- which file ------------------------------------------------------------------------ */

static const json_t *configured(const json_t *net, const struct rule_nic *nic)
{
	size_t i;
	json_t *o;

	json_array_foreach(jget(net, "interfaces"), i, o)
		if (strcmp(jstr(o, "name", ""), nic->name) == 0 ||
		    (nic->old_mac && strcasecmp(jstr(o, "mac", ""), nic->old_mac) == 0))
			return o;
	return NULL;
}

static int change(struct rule_env *r, const json_t *conf, const struct wish *w)
{
	const char *file = jstr(conf, "file", ""), *system = jstr(conf, "system", "");
	AUTO_FREE char *text = changeset_text(r->set, file);
	AUTO_FREE char *why = mem_printf("%s gets %s", w->iface, w->address);

	if (!text)
		return -1;
	/* Already so: not even the layout is touched. */
	if (strcmp(jstr(conf, "address", ""), w->address) == 0 &&
	    (!w->gateway || strcmp(jstr(conf, "gateway", ""), w->gateway) == 0) &&
	    !w->dns[0] && strcmp(jstr(conf, "method", ""), "static") == 0)
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(ways); i++)
		if (strcmp(ways[i].system, system) == 0)
			return rule_put(r, file, ways[i].change(text, w), why);
	return 0;
}

static int wish_for(struct rule_env *r, const json_t *net, const struct rule_nic *nic)
{
	const char *address = jstr(nic->want, "address", NULL);
	const char *slash = address ? strchr(address, '/') : NULL;
	const json_t *conf = configured(net, nic);
	struct wish w = { .iface = nic->name, .address = address,
			  .gateway = jstr(nic->want, "gateway", NULL) };
	json_t *dns = jget(nic->want, "dns");
	AUTO_FREE char *bare = NULL;

	if (!slash)
		return 0;
	if (!conf) {
		rule_find(r, "warning", "guest.no-interface",
			  "configure it in the guest, or take the address out of the plan",
			  "the plan gives %s the address %s, but no network configuration in "
			  "the guest names that interface", nic->name, address);
		return 0;
	}
	bare = mem_strndup(address, (size_t)(slash - address));
	w.bare = bare;
	w.prefix = slash + 1;
	for (size_t i = 0; i < 3 && i < json_array_size(dns); i++)
		w.dns[i] = json_string_value(json_array_get(dns, i));
	return change(r, conf, &w);
}

static int run(struct rule_env *r)
{
	AUTO_JSON *net = netconf_read(r->set->tree);
	size_t count;
	struct rule_nic *nics = rule_nics(r, &count);
	int res = nics ? 0 : -1;

	for (size_t i = 0; i < count && res == 0; i++)
		res = wish_for(r, net, &nics[i]);
	rule_nics_free(nics, count);
	return res;
}

const struct rule rule_addresses = {
	.name = "addresses",
	.summary = "give interfaces the addresses that the plan says",
	.run = run,
};
