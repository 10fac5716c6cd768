/* SPDX-License-Identifier: Apache-2.0
 * crypttab - encrypted partitions by UUID.
 */
#include "engine/base/mem.h"
#include "modules/lib/devname.h"
#include "modules/lib/fstab.h"
#include "modules/reconfigure/rules/rules.h"

static char *stable_name(void *arg, int line, const char *device)
{
	struct rule_env *r = arg;
	json_t *part;
	char *name;

	if (!devname_is_unstable(device))
		return NULL;
	part = devname_partition(r->machine, device);
	name = part ? devname_stable(part) : NULL;
	if (!name)
		rule_find(r, "warning", "guest.crypttab-unknown", "name its disk in the plan",
			  "/etc/crypttab line %d: %s is no partition of the disks in the plan",
			  line, device);
	return name;
}

static int run(struct rule_env *r)
{
	AUTO_FREE char *text = changeset_text(r->set, "/etc/crypttab");

	if (!text)
		return 0;
	return rule_put(r, "/etc/crypttab", lines_map_field(text, 1, stable_name, r),
			"encrypted partitions by UUID");
}

const struct rule rule_crypttab = {
	.name = "crypttab",
	.summary = "name encrypted partitions by UUID",
	.run = run,
};
