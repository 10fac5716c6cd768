/* SPDX-License-Identifier: Apache-2.0
 * one_machine - show and diff speak of one machine: the only one, or the one
 * that --machine names.
 */
#include "engine/cli/one_machine.h"

int cli_one_machine(struct cli *c, const char **name)
{
	AUTO_ERR e = { 0 };
	uint32_t hits = 0;

	for (uint32_t i = 0; i < c->plan->machine_count; i++)
		if (cli_wants(c, i) && hits++ == 0)
			*name = c->plan->machines[i].name;
	if (hits == 1)
		return 0;
	err_set(&e, ERR_USAGE, "cannot %s %u machines at once", c->verb->name, hits);
	err_hint(&e, "name one: drover %s %s -m %s", c->verb->name, c->plan->typed, *name);
	return cli_fail(c, &e);
}
