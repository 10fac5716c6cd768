/* SPDX-License-Identifier: Apache-2.0
 * module - find a module in the table that the Makefile makes.
 */
#include "modules/module.h"

#include <stdio.h>
#include <string.h>

const char *const probe_state_names[] = {
	[STATE_ABSENT] = "absent",
	[STATE_PARTIAL] = "partial",
	[STATE_DONE] = "done",
	[STATE_UNKNOWN] = "unknown",
};

const struct module *module_named(const char *name)
{
	for (size_t i = 0; name && modules[i]; i++)
		if (strcmp(modules[i]->name, name) == 0)
			return modules[i];
	return NULL;
}

static const struct module *find_in(const char *folder, const char *verb)
{
	char name[96];

	if ((size_t)snprintf(name, sizeof(name), "%s.%s", folder, verb) >=
	    sizeof(name))
		return NULL;
	return module_named(name);
}

const struct module *module_find(enum phase phase, const char *verb)
{
	const struct module *m = find_in(phase_names[phase], verb);

	return m ? m : find_in("any", verb);
}
