/* SPDX-License-Identifier: Apache-2.0
 * phase - the six phases, in the order in which a machine passes them.
 */
#ifndef DROVER_PHASE_H
#define DROVER_PHASE_H

enum phase {
	PHASE_ASSESS, PHASE_BACKUP, PHASE_CONVERT,
	PHASE_RECONFIGURE, PHASE_VALIDATE, PHASE_CUTOVER,
	PHASE_COUNT
};

extern const char *const phase_names[PHASE_COUNT];
int phase_of(const char *name);		/* -1 if it is none */

#endif
