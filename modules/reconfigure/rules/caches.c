/* SPDX-License-Identifier: Apache-2.0
 * caches - files that remember the disks of the old machine are taken away; the guest
 * makes them again.
 */
#include "engine/base/mem.h"
#include "modules/reconfigure/rules/rules.h"

static const char *const stale[] = {
	"/etc/blkid.tab", "/etc/blkid/blkid.tab", "/etc/lvm/cache/.cache",
	"/etc/lvm/devices/system.devices",
};

static int run(struct rule_env *r)
{
	for (size_t i = 0; i < ARRAY_LEN(stale); i++)
		if (gtree_is_file(r->set->tree, stale[i]) &&
		    rule_put_new(r, stale[i], NULL, 0, "remembers the old disks") < 0)
			return -1;
	return 0;
}

const struct rule rule_caches = {
	.name = "caches",
	.summary = "forget the disks of the old machine",
	.run = run,
};
