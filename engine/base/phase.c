/* SPDX-License-Identifier: Apache-2.0
 * phase - the names of the six phases.
 */
#include "engine/base/phase.h"

#include <string.h>

const char *const phase_names[PHASE_COUNT] = {
	"assess", "backup", "convert", "reconfigure", "validate", "cutover",
};

int phase_of(const char *name)
{
	for (int i = 0; name && i < PHASE_COUNT; i++)
		if (strcmp(phase_names[i], name) == 0)
			return i;
	return -1;
}
