/* SPDX-License-Identifier: Apache-2.0
 * fstab - device names that depend on the bus become the UUID of what they mean.
 * UUID, LABEL, LVM, md, floppies and CDs stay as they are.
 */
#include "engine/base/mem.h"
#include "modules/lib/devname.h"
#include "modules/lib/fstab.h"
#include "modules/reconfigure/rules/rules.h"

static char *stable_name(void *arg, int line, const char *spec)
{
	struct rule_env *r = arg;
	json_t *part;
	char *name;

	if (!devname_is_unstable(spec))
		return NULL;
	part = devname_partition(r->machine, spec);
	name = part ? devname_stable(part) : NULL;
	if (!name)
		rule_find(r, "warning", "guest.fstab-unknown",
			  "name its disk in the plan, or take the line out of the guest's "
			  "fstab", "/etc/fstab line %d: %s is no partition of the disks in the "
			  "plan; the line stays as it is", line, spec);
	return name;
}

static int run(struct rule_env *r)
{
	AUTO_FREE char *text = changeset_text(r->set, "/etc/fstab");

	if (!text)
		return 0;
	return rule_put(r, "/etc/fstab", lines_map_field(text, 0, stable_name, r),
			"file systems by UUID");
}

const struct rule rule_fstab = {
	.name = "fstab",
	.summary = "name file systems by UUID",
	.run = run,
};
