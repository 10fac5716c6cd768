/* SPDX-License-Identifier: Apache-2.0
 * power - switch a source off and on, and ask whether it is. Silence is no proof:
 * POWER_UNKNOWN is neither off nor on.
 */
#ifndef DROVER_POWER_H
#define DROVER_POWER_H

#include "modules/module.h"

enum power_state { POWER_UNKNOWN, POWER_ON, POWER_OFF };
extern const char *const power_state_names[];	/* "unknown" "on" "off" */

enum power_kind {
	POWER_NONE,	/* the plan names none */
	POWER_COMMAND,	/* off, on, status: three commands */
	POWER_LIBVIRT,	/* a domain of the libvirt of this host */
	POWER_MANUAL,	/* a person, who is asked */
};

struct power {
	struct ctx *c;		/* the call: when it is stopped, so is what it runs; borrowed */
	enum power_kind kind;
	const json_t *spec;	/* what stands under the kind; borrowed */
	const char *name;	/* of the machine; borrowed */
	const char *domain;	/* POWER_LIBVIRT; borrowed */
};

/* What source.power of the spec says; a source of kind domain without it is
 * switched by its own libvirt. -1 (told) when it is incomplete. */
int power_of(struct ctx *c, struct power *p);
/* Ask the facility. POWER_MANUAL and a facility that does not answer clearly give
 * POWER_UNKNOWN; `why` (may be NULL) then gets the reason, owned. Never fails. */
enum power_state power_ask(const struct power *p, char **why);
/* Switch, and wait until the facility says so. A person is asked instead. `hard`:
 * cut the power rather than ask the system to end. 0 when proven, else -1 (told). */
int power_switch(struct ctx *c, const struct power *p, bool on, bool hard);
/* A person's word that the machine is off is of the run in which it is given. */
enum power_word { WORD_NONE, WORD_OF_OLD, WORD_OF_NOW };
enum power_word power_word(struct ctx *c);
int power_give_word(struct ctx *c);	/* -1 (told): it could not be kept */
/* libvirt: does the domain start with its host? 1, 0; others: 0. -1 (told): libvirt does
 * not say. */
int power_autostart(struct ctx *c, const struct power *p);
int power_set_autostart(struct ctx *c, const struct power *p, bool on);

#endif
