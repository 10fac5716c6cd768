/* SPDX-License-Identifier: Apache-2.0
 * owner - whose word a fact is. What the target starts from, and what its disks were
 * proven to be, is the target's to say: a source that somebody else holds must not be
 * able to tell it a machine to run, or a proof that nobody made.
 */
#include "engine/run/op.h"

#include <string.h>

static const char *const of_target[] = {
	"target.host", "seed", "disks", "pass", "proof", "sync", "final", "readback",
	"definition",
};

json_t *owner_check(const struct op_end *end, json_t *result)
{
	const struct op *o = end->op;
	const struct plan *p = o->r->plan;
	json_t *facts = json_object_get(result, "facts");

	if (end->host == UINT32_MAX || end->host == p->machines[o->m->index].target_host)
		return result;
	for (size_t i = 0; i < ARRAY_LEN(of_target); i++) {
		AUTO_FREE char *text = NULL;

		if (!json_object_get(facts, of_target[i]))
			continue;
		text = mem_printf("host '%s' told the fact '%s', which only the target may tell",
				  p->hosts[end->host].name, of_target[i]);
		json_decref(result);
		return frame_failure("failed", text, "trust nothing that this host says: its agent "
				     "is not what drover sent there");
	}
	return result;
}
