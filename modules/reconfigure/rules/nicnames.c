/* SPDX-License-Identifier: Apache-2.0
 * nicnames - interfaces keep their names. On a new bus ens192 would become ens3, and a
 * server without its address is lost: a systemd .link file names each interface by its
 * MAC (and an old udev rule where the guest has no systemd); where the MAC changes,
 * files that name the old one get the new one.
 */
#include "engine/base/mem.h"
#include "modules/lib/fstab.h"
#include "modules/reconfigure/rules/rules.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define UDEV_RULES "/etc/udev/rules.d/70-persistent-net.rules"

static int name_by_link(struct rule_env *r, const struct rule_nic *nic)
{
	AUTO_FREE char *path = mem_printf("/etc/systemd/network/10-drover-%s.link", nic->name);
	AUTO_FREE char *text = mem_printf("[Match]\nMACAddress=%s\n\n[Link]\nName=%s\n",
					  nic->mac, nic->name);
	AUTO_FREE char *why = mem_printf("%s keeps its name", nic->name);

	return rule_put_new(r, path, text, 0644, why);
}

static int name_by_udev(struct rule_env *r, const struct rule_nic *nic)
{
	AUTO_FREE char *old = changeset_text(r->set, UDEV_RULES);
	AUTO_FREE char *name = mem_printf("NAME=\"%s\"", nic->name);
	AUTO_FREE char *text = NULL, *why = NULL;

	if (old && strstr(old, name))
		return 0;
	text = mem_printf("%sSUBSYSTEM==\"net\", ACTION==\"add\", DRIVERS==\"?*\", "
			  "ATTR{address}==\"%s\", ATTR{type}==\"1\", KERNEL==\"*\", %s\n",
			  old ? old : "", nic->mac, name);
	why = mem_printf("%s keeps its name", nic->name);
	return rule_put_new(r, UDEV_RULES, text, 0644, why);
}

/* ---- files that name a MAC that changes ------------------------------------------------ */

struct swap { const char *old, *now; };

static char *swap_mac(void *arg, int number, const char *line)
{
	const struct swap *s = arg;
	size_t n = strlen(s->old);
	const char *p;

	(void)number;
	for (p = line; *p; p++)
		if (strncasecmp(p, s->old, n) == 0)
			return mem_printf("%.*s%s%s", (int)(p - line), line, s->now, p + n);
	return NULL;
}

static const struct { const char *dir, *ending; } mac_files[] = {
	{ "/etc/udev/rules.d", "-net.rules" },
	{ "/etc/sysconfig/network-scripts", "" },
	{ "/etc/sysconfig/network", "" },
	{ "/etc/NetworkManager/system-connections", "" },
	{ "/etc/systemd/network", "" },
	{ "/etc/netplan", ".yaml" },
	{ "/etc/network", "interfaces" },
};

static int swap_in_dir(struct rule_env *r, const char *dir, const char *ending,
		       struct swap *s)
{
	AUTO_NAMES **names = gtree_list(r->set->tree, dir);
	size_t tail = strlen(ending);

	for (char **n = names; n && *n; n++) {
		size_t len = strlen(*n);
		AUTO_FREE char *path = mem_printf("%s/%s", dir, *n), *text = NULL;

		if (len < tail || strcmp(*n + len - tail, ending) != 0 ||
		    !gtree_is_file(r->set->tree, path))
			continue;
		text = changeset_text(r->set, path);
		if (text && rule_put(r, path, lines_map(text, swap_mac, s),
				     "the interface has a new MAC") < 0)
			return -1;
	}
	return 0;
}

static int swap_macs(struct rule_env *r, const struct rule_nic *nic)
{
	struct swap s = { nic->old_mac, nic->mac };

	if (!nic->old_mac || !*nic->old_mac || strcasecmp(nic->old_mac, nic->mac) == 0)
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(mac_files); i++)
		if (swap_in_dir(r, mac_files[i].dir, mac_files[i].ending, &s) < 0)
			return -1;
	return 0;
}

/* A VLAN or a bond is named by the guest itself. */
static bool is_made_by_guest(const char *name)
{
	return strchr(name, '.') || strncmp(name, "bond", 4) == 0 ||
	       strncmp(name, "br", 2) == 0;
}

static int run(struct rule_env *r)
{
	bool systemd = gtree_is_dir(r->set->tree, "/usr/lib/systemd") ||
		       gtree_is_dir(r->set->tree, "/lib/systemd") ||
		       gtree_is_dir(r->set->tree, "/etc/systemd");
	size_t count;
	struct rule_nic *nics = rule_nics(r, &count);
	int res = nics ? 0 : -1;

	for (size_t i = 0; i < count && res == 0; i++) {
		res = swap_macs(r, &nics[i]);
		if (res == 0 && nics[i].named && !is_made_by_guest(nics[i].name))
			res = systemd ? name_by_link(r, &nics[i]) : name_by_udev(r, &nics[i]);
	}
	rule_nics_free(nics, count);
	return res;
}

const struct rule rule_nicnames = {
	.name = "nicnames",
	.summary = "keep the names of interfaces by MAC",
	.run = run,
};
